"""Architecture: what can be built, what cannot and why, variants and round trips."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from scaling.architecture import PRESETS, Architecture, find_preset
from scaling.errors import UnknownNameError, UsageError

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 64, "n_heads": 4, "vocab_size": 100, "context_length": 32}


def test_sizes_left_out_take_their_defaults() -> None:
    a = Architecture(**SIZES)
    assert (a.n_kv_heads, a.d_head, a.d_ff, a.d_embedding, a.n_decoder_layers) == (4, 16, 256, 64, 0)
    assert a.norm_bias
    assert a.heads == ("lm",)
    assert Architecture(**SIZES, kind="encoder").heads == ()
    assert Architecture(**SIZES, kind="encoder_decoder").n_decoder_layers == 2
    assert not Architecture(**SIZES, norm="rms").norm_bias


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 65}, "n_heads must divide d_model, got d_model 65 and n_heads 4"),
        ({"n_heads": 0}, "n_heads must be a whole number >= 1, got 0"),
        ({"n_layers": -1}, "n_layers must be a whole number >= 1, got -1"),
        ({"n_layers": 2.0}, "n_layers must be a whole number >= 1, got 2.0"),
        ({"n_layers": True}, "n_layers must be a whole number"),
        ({"vocab_size": "4096"}, "vocab_size must be a whole number"),
        ({"n_kv_heads": 3}, "n_kv_heads must divide n_heads, got n_kv_heads 3 and n_heads 4"),
        ({"activation": "swiglu"}, "gated MLP .swiglu. has no agreed width: give d_ff. .* about 170"),
        ({"activation": "silu"}, "unknown activation 'silu'"),
        ({"positions": "rope", "d_head": 15}, "d_head must be even, got 15"),
        ({"norm": "rms", "norm_bias": True}, "RMS norm has no shift"),
        ({"norm_eps": float("nan")}, "norm_eps must be a number > 0, got nan"),
        ({"rope_theta": 0}, "rope_theta must be a number > 0"),
        ({"tie_embeddings": 1}, "tie_embeddings must be true or false, got 1"),
        ({"n_decoder_layers": 2}, "belong to an encoder_decoder, got kind 'decoder'"),
        ({"kind": "encoder_decoder", "n_decoder_layers": 0}, "n_decoder_layers >= 1"),
        (
            {"kind": "encoder_decoder", "n_decoder_layers": 3, "share_stacks": True},
            "share_stacks needs equal",
        ),
        ({"kind": "encoder", "positions": "transformer_xl"}, "defined for a decoder"),
        ({"positions": "rope", "position_offset": 2}, "belongs to learned positions"),
        ({"d_embedding": 32}, "for encoders"),
        ({"heads": ("mlm",)}, "heads of a decoder are 'lm' or none, got mlm"),
        ({"heads": ("lm", "lm")}, "names one twice"),
        ({"heads": ("classifier",)}, "unknown head 'classifier'"),
        ({"kind": "encoder", "heads": "lm"}, "use 'mlm'"),
        ({"kind": "encoder", "heads": "mlm", "tie_embeddings": False}, "shares the token embedding"),
    ],
)
def test_sizes_that_cannot_be_built_say_the_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Architecture(**{**SIZES, **changes})


def test_numpy_integers_become_plain_ones() -> None:
    a = Architecture(**{**SIZES, "d_model": np.int64(64)})
    assert type(a.d_model) is int
    assert a == Architecture(**SIZES)


def test_replace_lets_default_sizes_follow_and_keeps_chosen_ones() -> None:
    a = Architecture(**SIZES)
    wide = a.replace(d_model=128)
    assert (wide.d_head, wide.d_ff, wide.d_embedding) == (32, 512, 128)
    assert a.replace(d_ff=100).replace(d_model=128).d_ff == 100
    assert a.replace(kind="encoder").heads == ()
    assert a.replace(norm="rms").norm_bias is False
    llama = find_preset("llama-3-8b")
    assert llama.replace(d_model=2048, n_heads=16).n_kv_heads == 8
    assert llama.replace(d_model=2048).d_ff == llama.d_ff  # a gated width was always a choice


def test_replace_and_from_dict_name_an_unknown_field() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown architecture field 'n_layer'; did you mean: n_layers"
    ):
        Architecture(**SIZES).replace(n_layer=3)
    with pytest.raises(UnknownNameError, match="unknown architecture field 'dmodel'; did you mean: d_model"):
        Architecture.from_dict({"dmodel": 3})
    with pytest.raises(UsageError, match="needs n_layers, n_heads, vocab_size, context_length; got d_model"):
        Architecture.from_dict({"d_model": 3})
    with pytest.raises(UsageError, match="got nothing"):
        Architecture.from_dict({})


@pytest.mark.parametrize("name", PRESETS)
def test_preset_survives_a_json_round_trip(name: str) -> None:
    a = PRESETS[name]
    assert Architecture.from_dict(json.loads(json.dumps(a.to_dict()))) == a
    assert hash(a) == hash(a.replace())


def test_preset_is_found_however_it_is_written() -> None:
    assert find_preset("GPT-2 XL") is PRESETS["gpt2-xl"]
    assert find_preset("Llama 3 8B") is PRESETS["llama-3-8b"]
    assert find_preset("t5 1.1 small") is PRESETS["t5.1.1-small"]
    assert find_preset("GPT-3") is PRESETS["gpt3-175b"]
    assert find_preset("T0") is PRESETS["t5.1.1-xxl"]


@pytest.mark.parametrize("name", ["", "gpt-5", "llama"])
def test_unknown_preset_lists_near_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown preset"):
        find_preset(name)


def test_learned_table_has_the_unused_rows_of_roberta_and_bart() -> None:
    assert PRESETS["roberta-base"].n_positions == 514
    assert PRESETS["bart-base"].n_positions == 1026
    assert PRESETS["llama-2-7b"].n_positions == 0


def test_post_norm_models_have_no_final_norm() -> None:
    assert not PRESETS["gpt1"].has_final_norm
    assert PRESETS["gpt2"].has_final_norm


@pytest.mark.parametrize(
    ("kind", "n_buckets", "max_distance", "message"),
    [
        ("decoder", 1, 128, "n_relative_buckets must be >= 2 for kind 'decoder', got 1"),
        ("decoder", 2, 1, "relative_max_distance must be above the 1 distances that 2 n_rel.* exactly, got 1"),
        ("decoder", 2, 2, None),
        ("decoder", 32, 16, "relative_max_distance must be above the 16 distances that 32 n_rel.* exactly, got 16"),
        ("decoder", 32, 17, None),
        ("encoder", 3, 128, "n_relative_buckets must be >= 4 for kind 'encoder', got 3"),
        ("encoder", 4, 2, None),
        ("encoder", 32, 8, "relative_max_distance must be above the 8 distances that 32 n_rel.* exactly, got 8"),
        ("encoder", 32, 9, None),
        ("encoder_decoder", 3, 128, "n_relative_buckets must be >= 4 for kind 'encoder_decoder', got 3"),
        ("encoder_decoder", 32, 16, "must be above the 16 distances"),
        ("encoder_decoder", 4, 3, None),
    ],
)  # fmt: skip
def test_relative_buckets_leave_room_for_far_distances(
    kind: str, n_buckets: int, max_distance: int, message: str | None
) -> None:
    """T5's buckets are the logarithm of a distance over the exact ones: of 1 it divides by 0, of less it is no bucket."""
    values = {
        **SIZES, "kind": kind, "positions": "relative_bias", "n_relative_buckets": n_buckets,
        "relative_max_distance": max_distance,
    }  # fmt: skip
    if message is not None:
        with pytest.raises(UsageError, match=message):
            Architecture(**values)
        return
    torch = pytest.importorskip("torch")
    from scaling.lm.models.layers import RelativeBias

    a, behind = Architecture(**values), torch.arange(-40, 41)
    for causal in {"decoder": [True], "encoder": [False]}.get(kind, [True, False]):
        buckets = RelativeBias(a, causal=causal)._bucket(behind)
        assert int(buckets.min()) >= 0
        assert int(buckets.max()) < n_buckets
