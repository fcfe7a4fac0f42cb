from __future__ import annotations

import json
import math
import pickle

import pytest
import torch

from scaling.architecture import Architecture, find_preset
from scaling.errors import DataError, UsageError
from scaling.lm import build_model, load_huggingface, load_model, save_huggingface, save_model

SIZES = {"n_layers": 2, "d_model": 32, "n_heads": 4, "vocab_size": 61, "context_length": 24}
GPT = Architecture(**SIZES)
LLAMA = Architecture(
    **SIZES, n_kv_heads=2, d_ff=56, norm="rms", activation="swiglu", positions="rope", qkv_bias=False,
    attention_output_bias=False, mlp_bias=False, tie_embeddings=False,
)  # fmt: skip
T5 = Architecture(
    **SIZES, kind="encoder_decoder", norm="rms", activation="relu", positions="relative_bias", qkv_bias=False,
    attention_output_bias=False, mlp_bias=False, scale_attention=False, scale_logits=True,
)  # fmt: skip
IDS = torch.arange(20).reshape(2, 10)


def logits(model, **arguments):
    with torch.no_grad():
        return model(IDS, **arguments)


@pytest.mark.parametrize("a", [GPT, LLAMA])
def test_a_token_sees_only_the_past(a):
    model = build_model(a)
    changed = IDS.clone()
    changed[:, 6] = 60
    with torch.no_grad():
        before, after = model(IDS), model(changed)

    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_an_encoder_sees_both_sides_and_no_padding():
    model = build_model(GPT.replace(kind="encoder", heads=("mlm",), norm_position="post"), init_std=0.2)
    keep = torch.ones_like(IDS, dtype=torch.bool)
    keep[:, 7:] = False
    changed, padded = IDS.clone(), IDS.clone()
    changed[:, 6], padded[:, 7:] = 60, 1
    with torch.no_grad():
        assert not torch.allclose(model(IDS)[:, 0], model(changed)[:, 0])
        assert torch.equal(model(IDS, keep_BT=keep)[:, :7], model(padded, keep_BT=keep)[:, :7])


@pytest.mark.parametrize(
    "a", [GPT, LLAMA, GPT.replace(positions="sinusoidal"), GPT.replace(norm_position="post")]
)
def test_padding_on_the_left_changes_nothing(a):
    model = build_model(a, init_std=0.2)
    padded = torch.cat([torch.full((2, 3), 7), IDS], dim=1)
    keep = torch.ones_like(padded, dtype=torch.bool)
    keep[:, :3] = False
    with torch.no_grad():
        assert torch.allclose(
            model(padded, keep_BT=keep)[:, 3:], model(IDS), atol=1e-5
        )  # other kernel: float32


@pytest.mark.parametrize("name", ["gpt2", "gpt3-small", "tiny", "smollm2-135m"])
def test_first_loss_is_ln_vocabulary(name):
    a = find_preset(name).replace(n_layers=2, vocab_size=512, context_length=64)
    model = build_model(a)
    ids = torch.randint(0, 512, (4, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    assert loss.item() == pytest.approx(
        math.log(512), abs=0.2
    )  # logits of N(0, .02 sqrt d) spread it a little


def test_the_residual_stream_is_written_to_with_smaller_weights():
    model = build_model(find_preset("gpt2").replace(n_layers=8, vocab_size=64))
    block = model.decoder.blocks[0]

    assert block.mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert block.mlp.down.weight.std().item() == pytest.approx(0.02 / 16**0.5, rel=0.02)
    assert block.mlp.up.bias.abs().max() == 0
    assert block.mlp_norm.weight.min() == 1


def test_t5_scales_the_query_instead_of_the_scores():
    weight = build_model(T5).encoder.blocks[0].attention.query_key_value.weight

    assert weight[:32].std().item() == pytest.approx((32 * 8) ** -0.5, rel=0.1)  # 1024 draws
    assert weight[32:].std().item() == pytest.approx(32**-0.5, rel=0.1)


def test_a_seed_gives_one_model():
    same, other = build_model(GPT, seed=1), build_model(GPT, seed=2)

    assert torch.equal(build_model(GPT, seed=1).tokens.weight, same.tokens.weight)
    assert not torch.equal(same.tokens.weight, other.tokens.weight)


@pytest.mark.parametrize(
    "a", [GPT, LLAMA, T5, GPT.replace(kind="encoder", heads=("mlm", "nsp"), n_segments=2)]
)
def test_saved_models_come_back_bit_for_bit(a, tmp_path):
    model = build_model(a, seed=5, dtype=torch.bfloat16)
    back = load_model(save_model(model, tmp_path / "m"))

    assert back.architecture == a
    for (name, ours), (_, theirs) in zip(model.named_parameters(), back.named_parameters()):
        assert torch.equal(ours, theirs), name
        assert ours.dtype == theirs.dtype


def test_shared_stacks_are_stored_once(tmp_path):
    a = T5.replace(share_stacks=True)
    model = build_model(a)
    back = load_model(save_model(model, tmp_path))

    assert back.decoder.blocks[0].attention is back.encoder.blocks[0].attention
    assert torch.equal(logits(model, decoder_ids_BT=IDS), logits(back, decoder_ids_BT=IDS))


@pytest.mark.parametrize(
    "a",
    [
        GPT,
        GPT.replace(tie_embeddings=False, d_ff=40),
        GPT.replace(scale_attention=False),
        LLAMA,
        LLAMA.replace(qkv_bias=True),
    ],
)
def test_hugging_face_files_come_back(a, tmp_path):
    model = build_model(a, seed=5)
    back = load_huggingface(save_huggingface(model, tmp_path))

    assert back.architecture == a
    assert torch.equal(logits(model), logits(back))


def test_damaged_files_say_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_model(tmp_path)
    save_model(build_model(GPT), tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:5000])
    with pytest.raises(DataError, match="may be cut short"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    described = json.loads((tmp_path / "architecture.json").read_text())
    described["architecture"]["d_ff"] = 64
    (tmp_path / "architecture.json").write_text(json.dumps(described))
    with pytest.raises(
        DataError, match=r"up.weight has shape \(128, 32\), the architecture needs \(64, 32\)"
    ):
        load_model(tmp_path)
    (tmp_path / "architecture.json").write_text("{")
    with pytest.raises(DataError, match="not an architecture file"):
        load_model(tmp_path)


def test_pickled_weights_are_not_opened(tmp_path):
    save_huggingface(build_model(GPT), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match="are not read"):
        load_huggingface(tmp_path)


def test_what_cannot_be_built_or_written_is_named(tmp_path):
    with pytest.raises(UsageError, match="counted but not built"):
        build_model(find_preset("chinchilla"), device="meta")
    with pytest.raises(UsageError, match="only GPT-2 and Llama"):
        save_huggingface(build_model(T5), tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(UsageError, match="'mamba' cannot be read"):
        load_huggingface(tmp_path)
    with pytest.raises(UsageError, match="needs decoder_ids_BT"):
        build_model(T5)(IDS)


@pytest.mark.parametrize("a", [GPT, LLAMA, T5.replace(kind="decoder", scale_logits=False)])
def test_a_cache_gives_the_logits_of_one_pass(a):
    model = build_model(a, init_std=0.2)
    with torch.no_grad():
        whole = model(IDS)
    step_logits, state = model.start(IDS[:, :4].tolist(), 6)
    for t in range(4, 10):
        assert torch.allclose(step_logits, whole[:, t - 1], atol=2e-5)  # float32, other order of sums
        step_logits = model.step(IDS[:, t], state)


def test_cache_rows_move_as_told():
    model = build_model(LLAMA, init_std=0.2)
    prompts = [[1, 2, 3], [4, 5], [6, 7, 8]]
    for rows in ([2, 1, 0], [0, 0, 2], [1], [2, 2, 1, 0, 0], [0, 1, 2], [1, 2]):
        _, state = model.start(prompts, 4)
        state.reorder(rows)
        moved = model.step(torch.tensor([9] * len(rows)), state)
        _, fresh = model.start([prompts[i] for i in rows], 4)
        assert torch.allclose(moved, model.step(torch.tensor([9] * len(rows)), fresh), atol=1e-5)
