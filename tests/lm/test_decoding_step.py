"""The unrolled step against the modules it stands for."""

from __future__ import annotations

import random

import pytest
import torch
from test_models_counts import random_architecture
from torch import nn

from scaling.architecture import Architecture
from scaling.lm import build_model
from scaling.lm.models import step as decoding_step

SIZES = {"n_layers": 2, "d_model": 32, "n_heads": 4, "vocab_size": 61, "context_length": 64}
needs_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch was built without MKL")


def generating_architectures(n: int) -> list[Architecture]:
    found = (random_architecture(seed) for seed in range(10_000))
    return [a for a in (next(found) for _ in range(3 * n)) if a.kind != "encoder" and a.context_length > 6][
        :n
    ]


@torch.inference_mode()
def step_by_modules(model, ids_R, state):
    states = model.decoder(
        model.tokens(ids_R[:, None]),
        keep_BS=state.keep_BN,
        cache=state,
        memory_keep_BS=state.memory_keep_BS,
    )
    return model.logits(states[:, -1])


@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
def test_unrolled_steps_equal_the_modules(ragged):
    for index, architecture in enumerate(generating_architectures(30)):
        rng = random.Random(index)
        model = build_model(architecture, seed=index, init_std=0.3)
        n_rows = rng.randint(1, 3)
        prompts = [
            [rng.randrange(architecture.vocab_size) for _ in range(rng.randint(1, 3) if ragged else 2)]
            for _ in range(n_rows)
        ]
        logits, ours = model.start(prompts, 3)
        _, theirs = model.start(prompts, 3)
        for _ in range(3):
            ids = logits.argmax(-1)
            logits = model.step(ids, ours)
            # one row is multiplied as a vector, which may round differently
            torch.testing.assert_close(logits, step_by_modules(model, ids, theirs), rtol=1e-5, atol=1e-5)


def test_a_step_equals_reading_the_whole_text_again():
    model = build_model(Architecture(**SIZES), seed=3, init_std=0.3)
    logits, state = model.start([[5, 9], [7, 1]], 4)
    text = torch.tensor([[5, 9], [7, 1]])
    for _ in range(4):
        ids = logits.argmax(-1)
        text = torch.cat((text, ids[:, None]), dim=1)
        logits = model.step(ids, state)
        torch.testing.assert_close(logits, model(text)[:, -1], rtol=1e-4, atol=1e-5)


@needs_mkl
def test_packed_weights_give_the_same_logits_while_rows_come_and_go():
    model = build_model(Architecture(**SIZES), seed=2, init_std=0.3)
    prompts = [[i, i + 1] for i in range(8)]
    logits, packed = model.start(prompts, 40)
    _, plain = model.start(prompts, 40)
    for rows in (range(8), [0, 2, 3, 4, 5, 7], [1, 2], [0, 0, 1, 1, 0, 1, 0, 1, 1]):
        packed.reorder(rows)
        plain.reorder(rows)
        ids = logits[list(rows)].argmax(-1)
        logits = model.step(ids, packed)
        torch.testing.assert_close(logits, step_by_modules(model, ids, plain), rtol=1e-5, atol=1e-5)


@needs_mkl
def test_weights_are_packed_only_where_it_pays(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "scaling.lm.models.transformer.packed_product",
        lambda n_rows: calls.append(n_rows) or decoding_step.plain_product,
    )
    model = build_model(Architecture(**SIZES))
    for n_rows, n_steps in ((1, 50), (8, 3), (8, 50)):
        _, state = model.start([[1]] * n_rows, n_steps)
        model.step(torch.ones(n_rows, dtype=torch.long), state)
    assert calls == [8]


def test_hooks_and_modules_of_others_are_called_in_every_step():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = build_model(Architecture(**SIZES), init_std=0.3)
    seen = []
    model.decoder.blocks[0].mlp.up.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    other = Doubled(32, 32)
    model.decoder.blocks[1].attention.output = other
    _, ours = model.start([[1, 2]], 3)
    _, theirs = model.start([[1, 2]], 3)
    ids = torch.tensor([4])

    logits = model.step(ids, ours)
    assert len(seen) == 3  # two readings of the prompt and one step
    torch.testing.assert_close(logits, step_by_modules(model, ids, theirs))
