"""Mixtures of experts: what is held, what a token passes, what it costs; worked by hand on a small one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from scaling.accounting import count_flops, count_params, estimate_memory, flop_parts, flops_per_token
from scaling.architecture import Architecture, find_preset
from scaling.cli import run
from scaling.cli.count import count
from scaling.errors import UsageError

DENSE: dict[str, Any] = {
    "n_layers": 3, "d_model": 8, "n_heads": 2, "d_ff": 12, "vocab_size": 10, "context_length": 16, "norm": "rms",
    "activation": "swiglu", "positions": "rope", "qkv_bias": False, "attention_output_bias": False, "mlp_bias": False,
    "tie_embeddings": False,
}  # fmt: skip
MIXTURE = {
    **DENSE, "n_experts": 4, "n_experts_per_token": 2, "d_ff_expert": 5, "n_shared_experts": 1, "d_ff_shared": 7,
    "n_dense_layers": 1,
}  # fmt: skip
EXPERT, SHARED, MLP = 3 * 8 * 5, 3 * 8 * 7, 3 * 8 * 12
REST = 2 * 10 * 8 + 3 * 4 * 8 * 8 + 7 * 8  # both vocabulary matrices, attention, norms


def test_counts_of_a_mixture_worked_by_hand() -> None:
    counts = count_params(Architecture(**MIXTURE))
    assert counts.experts == 2 * 4 * EXPERT
    assert counts.router == 2 * 4 * 8
    assert counts.mlp == MLP + 2 * SHARED
    assert counts.total == REST + MLP + 2 * (4 * EXPERT + SHARED + 4 * 8)
    assert counts.active == counts.total - 2 * 2 * EXPERT
    assert counts.active_non_embedding == counts.active - 2 * 10 * 8


def test_flops_are_of_active_parameters_and_memory_of_all() -> None:
    a = Architecture(**MIXTURE)
    counts = count_params(a)
    assert flops_per_token(a, convention="six_n") == 6 * counts.active
    assert flop_parts(a).mlp == 6 * (MLP + 2 * (2 * EXPERT + SHARED + 4 * 8))
    assert count_flops(a, 100, convention="kaplan") == 600 * (
        MLP + 2 * (2 * EXPERT + SHARED + 32) + 3 * 4 * 64
    )
    memory = estimate_memory(a)
    assert memory.weights_bytes == 2 * counts.total
    assert memory.gradients_bytes == 2 * counts.total
    assert memory.optimizer_bytes == 12 * counts.total


def test_idle_experts_cost_memory_but_neither_flops_nor_activations() -> None:
    few, many = Architecture(**MIXTURE), Architecture(**{**MIXTURE, "n_experts": 400})
    routers = 2 * 396 * 8
    assert flops_per_token(many) - flops_per_token(few) == 6 * routers
    assert count_params(many).active - count_params(few).active == routers
    grown = estimate_memory(many).activations_bytes - estimate_memory(few).activations_bytes
    assert grown == 16 * 2 * 396 * 8  # tokens x layers x the router's scores and softmax in float32


def test_one_expert_as_wide_as_the_mlp_is_the_dense_model_and_a_router() -> None:
    dense = Architecture(**DENSE)
    one = dense.replace(n_experts=1, n_experts_per_token=1)
    assert one.d_ff_expert == dense.d_ff
    assert count_params(one).total == count_params(one).active == count_params(dense).total + 3 * 8
    assert flops_per_token(one) == flops_per_token(dense) + 6 * 3 * 8


def test_tensor_parallelism_splits_experts_and_sharding_takes_the_largest_block() -> None:
    a = Architecture(**{**MIXTURE, "d_ff_expert": 6, "d_ff_shared": 8, "vocab_size": 12})
    halved = estimate_memory(a, n_devices=2, tensor_parallel=2).weights_bytes
    whole = count_params(a)
    kept = whole.router + whole.norm
    assert halved == 2 * (kept + (whole.total - kept) // 2)
    block = 4 * 64 + 16 + 4 * 3 * 8 * 6 + 3 * 8 * 8 + 32  # attention, norms, experts, shared, router
    root = 2 * 12 * 8
    buffers = estimate_memory(a, n_devices=2, strategy="fsdp").communication_bytes
    assert buffers == 2 * (root + 2 * block) + 2 * max(root, block)


def test_a_mixture_survives_json_and_a_dense_model_shows_no_field_of_mixtures() -> None:
    a = Architecture(**MIXTURE)
    assert Architecture.from_dict(json.loads(json.dumps(a.to_dict()))) == a
    assert a.replace(n_layers=5).d_ff_expert == 5
    assert not [name for name in Architecture(**DENSE).to_dict() if "expert" in name or "latent" in name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_experts": 0}, "n_experts_per_token belongs to a mixture of experts, got 2; give n_experts too"),
        ({"n_experts_per_token": 0}, "must be from 1 to the 4 of n_experts, got 0"),
        ({"n_experts_per_token": 5}, "must be from 1 to the 4 of n_experts, got 5"),
        ({"n_dense_layers": 3}, "must leave a layer for the experts, got 3 of 3 layers"),
        ({"d_ff_expert": 0}, "needs d_ff_expert, the width of one expert, got 0"),
        ({"n_experts": -1}, "n_experts must be a whole number >= 0, got -1"),
        ({"n_experts": 2.5}, "n_experts must be a whole number >= 0, got 2.5"),
        ({"n_shared_experts": 0, "shared_expert_gate": True}, "n_shared_experts and their width d_ff_shared go together"),
        ({"kind": "encoder"}, "counted in a decoder only, got kind 'encoder'"),
        ({"attention_window": 4, "n_window_layers": 9}, "n_window_layers are layers of a decoder, got 9"),
        ({"d_head_value": 2}, "d_head_value other than d_head belongs to latent attention"),
        ({"d_latent_q": 2}, "d_latent_q belongs to latent attention, got 2; give d_latent_kv too"),
        ({"d_latent_kv": 4}, "d_head_rope is the rotary part of d_head 4 .* got 0"),
        ({"d_latent_kv": 4, "d_head_rope": 2, "n_kv_heads": 1}, "as many key as query heads"),
    ],
)  # fmt: skip
def test_a_mixture_that_cannot_be_says_the_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Architecture(**{**MIXTURE, **changes})


@pytest.mark.parametrize("convention", ["deepseek", "chinchilla", "chinchilla_body"])
def test_formulas_of_dense_models_are_refused(convention: Any) -> None:
    with pytest.raises(
        UsageError, match=r"written for dense models .* use exact_causal, palm, kaplan or six_n"
    ):
        flops_per_token(Architecture(**MIXTURE), convention=convention)


def test_a_window_reads_the_pairs_that_exist() -> None:
    a = Architecture(**{**DENSE, "attention_window": 3, "n_window_layers": 1})
    # 16 queries: full layers see 1, 2, ..., 16 keys; the window 1, 2, 3, 3, ...
    pairs = 2 * sum(range(1, 17)) + sum(min(i, 3) for i in range(1, 17))
    assert flop_parts(a).attention_scores == pytest.approx(3 * 2 * 2 * 8 * pairs / 16, rel=1e-12)
    assert flop_parts(a, phase="decode").attention_scores == 2 * 2 * 8 * (2 * 16 + 3)


def test_flags_describe_a_mixture_by_hand_and_turn_a_preset_into_one() -> None:
    result = CliRunner().invoke(
        count,
        ["llama-3-8b", "--n-experts", "8", "--n-experts-per-token", "2", "--vocab-size", "32000", "--json"],
    )
    params = json.loads(result.output)["params"]
    assert (params["total"], params["active"]) == (
        46_702_792_704,
        12_879_925_248,
    )  # Mixtral is Mistral with experts


def test_wrong_flags_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["count", "llama-3-8b", "--n-experts", "8"]) == 2
    assert "n_experts_per_token must be from 1 to the 8 of n_experts, got 0" in capsys.readouterr().err


def test_mixtures_are_not_built() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from scaling.lm.models import build_model

    with pytest.raises(UsageError, match=r"a mixture of experts \(4 experts\) can be counted but not built"):
        build_model(Architecture(**MIXTURE))
    for changes, named in (
        ({"qk_norm": "head"}, "qk_norm 'head'"),
        ({"norm_position": "both"}, "both norm position"),
        ({"positions": "alibi"}, "alibi positions"),
        ({"attention_window": 4}, "attention_window 4"),
        ({"head_bias": True}, "head_bias True"),
    ):
        with pytest.raises(UsageError, match=f"{named} can be counted but not built"):
            build_model(Architecture(**{**DENSE, **changes}))
    assert build_model(find_preset("tiny"), device="meta")
