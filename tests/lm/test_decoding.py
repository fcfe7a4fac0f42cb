from __future__ import annotations

import math

import pytest
import torch
from toy_tables import TableModel, markov_model

from scaling.architecture import Architecture
from scaling.errors import UsageError
from scaling.lm import (
    Beam,
    Greedy,
    RepetitionPenalty,
    Sample,
    Temperature,
    TopK,
    build_model,
    generate,
    stream,
)
from scaling.lm.request import TextTail

SIZES = {"n_layers": 2, "d_model": 32, "n_heads": 4, "vocab_size": 61, "context_length": 40}
ARCHITECTURES = {
    "gpt2": Architecture(**SIZES),
    "gpt1": Architecture(**SIZES, norm_position="post"),
    "llama": Architecture(
        **SIZES, n_kv_heads=2, d_ff=56, norm="rms", activation="swiglu", positions="rope", qkv_bias=False,
        attention_output_bias=False, mlp_bias=False, tie_embeddings=False,
    ),
    "t5": Architecture(
        **SIZES, kind="encoder_decoder", norm="rms", activation="relu", positions="relative_bias", qkv_bias=False,
        attention_output_bias=False, mlp_bias=False, scale_attention=False, scale_logits=True,
    ),
    "bart": Architecture(
        **SIZES, kind="encoder_decoder", norm_position="post", embedding_norm=True, activation="gelu", position_offset=2
    ),
}  # fmt: skip
STRATEGIES = [
    Greedy(),
    Sample(TopK(20), seed=(4, 5, 6)),
    Sample(Temperature(1.5), seed=(1, 2, 3)),
    Sample(RepetitionPenalty(3.0), seed=(7, 8, 9)),
    Beam(3, length_penalty=1.0),
]
PROMPTS = [[3, 14, 15, 9, 26], [5], [35, 8, 9]]


class Bytes:
    """One token a byte; 0 ends."""

    end_of_text = 0

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


class Script:
    """A model that writes a given text, whatever the prompt."""

    def __init__(self, text: str) -> None:
        self.bytes = [*text.encode(), 0]

    def start(self, prompts, n_new_tokens):
        self.at = 0
        return self._logits(len(prompts)), self

    def step(self, ids, state):
        self.at += 1
        return self._logits(len(ids))

    def reorder(self, rows) -> None:
        pass

    def _logits(self, n: int) -> torch.Tensor:
        logits = torch.full((n, 256), -9.0)
        logits[:, self.bytes[self.at]] = 9.0
        return logits


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_of_unequal_prompts_gives_what_each_gives_alone(name, strategy):
    model = build_model(ARCHITECTURES[name], seed=1, init_std=0.3)
    together = generate(model, PROMPTS, None, strategy, max_new_tokens=10, eos_id=7)

    for index, prompt in enumerate(PROMPTS):
        alone_strategy = (
            Sample(*strategy.transforms, seed=strategy.seed[index])
            if isinstance(strategy, Sample)
            else strategy
        )
        alone = generate(model, [prompt], None, alone_strategy, max_new_tokens=10, eos_id=7)[0]
        assert together[index].ids == alone.ids
        assert together[index].token_logprobs == pytest.approx(alone.token_logprobs, abs=1e-4)  # float32


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logprobs_are_the_models_own(name):
    model = build_model(ARCHITECTURES[name], seed=1, init_std=0.3)
    found = generate(model, [PROMPTS[0]], None, Sample(Temperature(0.3), TopK(5)), max_new_tokens=8)[0]

    ids = torch.tensor([PROMPTS[0]])
    written = torch.tensor([found.ids])
    with torch.no_grad():
        if ARCHITECTURES[name].kind == "encoder_decoder":
            logits = model(ids, decoder_ids_BT=torch.cat([torch.tensor([[0]]), written[:, :-1]], dim=1))
        else:
            logits = model(torch.cat([ids, written[:, :-1]], dim=1))[:, len(PROMPTS[0]) - 1 :]
    expected = logits.log_softmax(-1).gather(-1, written[..., None]).flatten().tolist()
    assert found.token_logprobs == pytest.approx(expected, abs=1e-4)
    assert found.logprob == pytest.approx(sum(expected), abs=1e-4)


def test_samples_of_one_prompt_differ_and_repeat_by_seed():
    model = build_model(ARCHITECTURES["llama"], init_std=0.05)
    first = generate(model, PROMPTS[:2], None, Sample(seed=1), max_new_tokens=6, n=3)
    again = generate(model, PROMPTS[:2], None, Sample(seed=1), max_new_tokens=6, n=3)

    assert [(g.prompt_index, g.sample_index) for g in first] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert len({g.ids for g in first}) == 6
    assert [g.ids for g in first] == [g.ids for g in again]
    assert generate(model, PROMPTS[0], None, Sample(seed=1), max_new_tokens=6)[0].ids == first[0].ids


class Watched:
    """A model that notes what it is asked."""

    def __init__(self, model) -> None:
        self.model, self.prompts_read, self.rows_stepped, self.buffers = model, [], [], set()

    def start(self, prompts, n_new_tokens):
        self.prompts_read.append(len(prompts))
        logits, state = self.model.start(prompts, n_new_tokens)
        assert state.capacity == max(map(len, prompts)) + n_new_tokens
        return logits, state

    def step(self, ids, state):
        self.rows_stepped.append(len(ids))
        self.buffers.add(state.held.data_ptr())
        return self.model.step(ids, state)


def test_samples_share_one_reading_of_the_prompt_and_one_cache():
    watched = Watched(build_model(ARCHITECTURES["gpt2"]))
    generate(watched, PROMPTS[:2], None, Sample(), max_new_tokens=5, n=3)

    assert watched.prompts_read == [2]
    assert watched.rows_stepped == [6] * 4
    assert len(watched.buffers) == 1


def test_finished_rows_leave_the_batch():
    chain = markov_model("abc", [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    stepped = []
    step = chain.step
    chain.step = lambda ids, state: stepped.append(len(ids)) or step(ids, state)

    generate(chain, [[0], [1], [2]], None, max_new_tokens=9, eos_id=2)
    assert stepped == [2, 1]  # "b" ends at once, then "a", then "c"


def test_finish_reasons():
    chain = markov_model("abc", [[0, 1, 0], [0, 0, 1], [1, 0, 0]])

    assert generate(chain, [[0]], None, max_new_tokens=5)[0].finish_reason == "length"
    ended = generate(chain, [[0], [1]], chain, max_new_tokens=5, eos_id=2)
    assert [(g.text, g.ids, g.finish_reason) for g in ended] == [("b", (1, 2), "eos"), ("", (2,), "eos")]
    stopped = generate(chain, "a", chain, max_new_tokens=9, stop=["ab", "zz"])[0]
    assert (stopped.text, stopped.finish_reason) == ("bc", "stop")
    assert stopped.ids == (1, 2, 0, 1)


@pytest.mark.parametrize(
    "written", ["hola, ¿qué tal? 😀 adiós", "STO STOP fin", "aaab", "a" * 45 + "STOP fin"]
)
@pytest.mark.parametrize("stop", [(), ("STOP",), ("tal", "fin"), ("aab",), ("é",)])
def test_a_stream_says_what_generate_says(written, stop):
    pieces = list(stream(Script(written), "x", Bytes(), stop=stop, max_new_tokens=60))
    whole = generate(Script(written), "x", Bytes(), stop=stop, max_new_tokens=60)[0]

    assert (
        "".join(map(str, pieces)) == whole.text == min((written.split(s)[0] for s in (*stop, "\0")), key=len)
    )
    assert "\N{REPLACEMENT CHARACTER}" not in whole.text
    assert tuple(p.id for p in pieces) == whole.ids
    assert [p.finish_reason for p in pieces][-1] == whole.finish_reason
    assert all(p.finish_reason is None for p in pieces[:-1])


def test_a_stream_never_shows_half_a_character_or_the_beginning_of_a_stop_string():
    tail = TextTail(Bytes(), ["STOP"])
    shown = []
    for byte in "é STO ST".encode():
        tail.push(byte)
        shown.append(tail.take(final=False))

    assert shown == ["", "é", " ", "", "", "", "STO ", "", ""]
    assert tail.take(final=True) == "ST"


def test_beams_of_a_real_model_score_at_least_greedy():
    model = build_model(ARCHITECTURES["gpt2"], seed=3, init_std=0.2)
    greedy = generate(model, PROMPTS, None, Greedy(), max_new_tokens=8)
    wide = generate(model, PROMPTS, None, Beam(16), max_new_tokens=8)

    assert all(w.logprob >= g.logprob - 1e-4 for w, g in zip(wide, greedy))


def test_the_callers_tensors_and_grad_mode_are_left_alone():
    model = build_model(ARCHITECTURES["gpt2"])
    pieces = stream(model, [1, 2], None, max_new_tokens=3)
    next(pieces)

    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert generate(model, torch.tensor([[1, 2]]), max_new_tokens=2)[0].prompt_ids == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": []}, "there is no prompt"),
        ({"prompts": [[]]}, "prompt 0 is empty"),
        ({"prompts": [[1], [61]]}, r"prompt 1 has a token id outside 0..60"),
        ({"prompts": "hola"}, "needs a tokenizer"),
        ({"prompts": [[1]], "stop": "x"}, "stop strings need a tokenizer"),
        ({"prompts": [[1]], "tokenizer": Bytes(), "stop": ["a", ""]}, "stop string is empty"),
        ({"prompts": [[1]], "max_new_tokens": 0}, "max_new_tokens must be >= 1"),
        ({"prompts": [[1] * 30], "max_new_tokens": 12}, "exceed the context of 40"),
        ({"prompts": [[1]], "strategy": Sample(seed=[1, 2])}, "2 seeds for 1 prompts"),
        ({"prompts": [[1]], "eos_id": "b"}, "eos_id is a token id >= 0 or several, got 'b'"),
        ({"prompts": [[1]], "n": 2}, "greedy decoding gives one text"),
        ({"prompts": [[1], [2]], "strategy": Sample(seed=[1]), "max_new_tokens": 2}, "1 seeds for 2 prompts"),
        ({"prompts": 1.5}, "a text or whole token ids, got 1.5"),
        ({"prompts": [[1.5]]}, r"a text or whole token ids, got \[1.5\]"),
        ({"prompts": torch.tensor([0.5])}, "a text or whole token ids, got 0.5"),
        ({"prompts": [[1]], "max_new_tokens": 2.5}, "whole, got 2.5"),
        ({"prompts": [[1]], "tokenizer": Bytes(), "stop": [5]}, "stop takes strings"),
        ({"prompts": [[1]], "tokenizer": Sample()}, "the third argument is the tokenizer"),
        ({"prompts": [[1]], "strategy": Temperature(0.5)}, r"write Sample\(Temperature\(tau=0.5\)\)"),
        ({"prompts": [[1]], "strategy": "greedy"}, "got 'greedy'"),
        ({"prompts": "\udcff", "tokenizer": Bytes()}, "is not UTF-8"),
        ({"prompts": [[1]], "n": 0, "strategy": Sample()}, "n must be >= 1"),
        ({"prompts": [[1]], "n": 5, "strategy": Beam(4)}, "4 beams cannot give n=5"),
    ],
)
def test_wrong_arguments_are_told(arguments, message):
    model = build_model(ARCHITECTURES["gpt2"])
    with pytest.raises(UsageError, match=message):
        generate(model, **arguments)


def test_a_transform_of_ones_own_that_leaves_no_token_is_told():
    model = markov_model("ab", [[0.5, 0.5]] * 2)

    def nothing(logits, context):
        return logits - math.inf

    for strategy in (Greedy(nothing), Sample(nothing), Beam(2, nothing)):
        with pytest.raises(UsageError, match="removed every token"):
            generate(model, [[0]], None, strategy, max_new_tokens=1)


def test_what_cannot_be_streamed_or_generated_is_told():
    encoder = build_model(ARCHITECTURES["gpt2"].replace(kind="encoder", heads=("mlm",)))
    with pytest.raises(UsageError, match="cannot generate text"):
        generate(encoder, [[1]])
    with pytest.raises(UsageError, match="cannot be streamed"):
        stream(encoder, [1], None, Beam(2))
    with pytest.raises(UsageError, match="it has no start and step"):
        generate(torch.nn.Linear(2, 2), [[1]])
    with pytest.raises(UsageError, match="add up to 1"):
        TableModel("ab", {"": {"a": 0.5}})
    with pytest.raises(UsageError, match="no row for 'ab'"):
        generate(
            TableModel("ab", {"a": {"b": 1.0}}), "a", TableModel("ab", {"a": {"b": 1.0}}), max_new_tokens=2
        )


def test_a_table_names_its_letters_when_asked_for_others() -> None:
    table = TableModel("ab.", {"": {"a": 0.5, "b": 0.3, ".": 0.2}})
    with pytest.raises(UsageError, match=r"letters of this table are 'ab\.'; got 'z' in 'az'"):
        generate(table, ["az"], table)
    for wrong in (7, -1):
        with pytest.raises(UsageError, match=rf"lie in 0\.\.2, for the letters 'ab\.'; got {wrong}"):
            generate(table, [[wrong]])


def test_any_of_several_ends_ends_a_text():
    model = build_model(ARCHITECTURES["gpt2"], seed=1, init_std=0.3)
    whole = generate(model, [PROMPTS[0]], None, Sample(seed=1), max_new_tokens=12)[0]
    for ends in ([whole.ids[4], 10**6], {whole.ids[4]}, torch.tensor([whole.ids[4]])):
        cut = generate(model, [PROMPTS[0]], None, Sample(seed=1), max_new_tokens=12, eos_id=ends)[0]
        first = whole.ids.index(whole.ids[4])
        assert (cut.ids, cut.finish_reason) == (whole.ids[: first + 1], "eos")


def test_a_prompt_as_long_as_the_context_has_one_more_token_as_in_transformers():
    """The last new token is never read."""
    model = build_model(ARCHITECTURES["gpt2"], seed=1, init_std=0.3)
    prompt = [i % 50 for i in range(40)]
    (found,) = generate(model, [prompt], None, Greedy(), max_new_tokens=1)
    assert found.ids == (int(model(torch.tensor([prompt]))[0, -1].argmax()),)
    (longer,) = generate(model, [prompt[:30]], None, Greedy(), max_new_tokens=11)
    assert longer.ids[0] == int(model(torch.tensor([prompt[:30]]))[0, -1].argmax())
    assert len(longer.ids) == 11
