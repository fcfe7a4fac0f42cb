from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling.accounting import count_flops, count_params
from scaling.architecture import PRESETS, Architecture
from scaling.lm.models import Transformer, build_model

N_RANDOM = 200


def random_architecture(seed: int) -> Architecture:
    """Any architecture that can be built, small."""
    rng = random.Random(seed)
    kind = rng.choice(["decoder", "decoder", "encoder", "encoder_decoder"])
    n_kv_heads = rng.choice([1, 2, 3])
    n_heads = n_kv_heads * rng.choice([1, 2, 3])
    d_head = rng.choice([2, 4, 8])
    norm = rng.choice(["layer", "rms"])
    positions = rng.choice(["learned", "rope", "relative_bias", "sinusoidal", "none"])
    chosen: dict[str, Any] = {
        "kind": kind,
        "n_layers": rng.randint(1, 3),
        "d_model": rng.choice([n_heads * d_head, 12, 20]),
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "d_head": d_head,
        "d_ff": rng.randint(1, 40),
        "vocab_size": rng.randint(2, 90),
        "context_length": rng.randint(2, 24),
        "norm": norm,
        "norm_position": rng.choice(["pre", "post"]),
        "norm_bias": norm == "layer" and rng.random() < 0.7,
        "embedding_norm": rng.random() < 0.3,
        "activation": rng.choice(["gelu", "gelu_tanh", "relu", "swiglu", "geglu"]),
        "positions": positions,
        "position_offset": rng.choice([0, 2]) if positions == "learned" else 0,
        "tie_embeddings": rng.random() < 0.5,
        "n_segments": rng.choice([0, 0, 2]),
    }
    for flag in ("qkv_bias", "attention_output_bias", "mlp_bias", "scale_attention", "scale_logits"):
        chosen[flag] = rng.random() < 0.5
    if kind == "encoder":
        chosen["d_embedding"] = rng.choice([chosen["d_model"], 6])
        chosen["heads"] = rng.choice([(), ("mlm",), ("mlm", "nsp"), ("pooler",), ("rtd",)])
        chosen["tie_embeddings"] = True
    if kind == "encoder_decoder":
        chosen["share_stacks"] = rng.random() < 0.3
        chosen["n_decoder_layers"] = chosen["n_layers"] if chosen["share_stacks"] else rng.randint(1, 3)
    return Architecture(**chosen)


def plain_attention() -> Any:
    """Attention as two matmuls: torch's counter does not know the fused kernel of the CPU."""
    return sdpa_kernel(SDPBackend.MATH)


def run_all_heads(model: Any, batch: int, length: int) -> None:
    """One forward pass on whatever device the model is on, with every head that acts on each token."""
    a = model.architecture
    ids = torch.zeros(batch, length, dtype=torch.long, device=model.tokens.weight.device)
    states = model.states(ids, decoder_ids_BT=ids if a.kind == "encoder_decoder" else None)
    if {"lm", "mlm"} & set(a.heads):
        model.logits(states)
    if "rtd" in a.heads:
        model.replaced_logits(states)


@pytest.mark.parametrize("first", range(0, N_RANDOM, 50))
def test_params_equal_the_modules(first):
    for seed in range(first, first + 50):
        a = random_architecture(seed)
        model = build_model(a, device="meta")
        assert sum(p.numel() for p in model.parameters()) == count_params(a).total, a


@pytest.mark.parametrize("first", range(0, N_RANDOM, 50))
def test_matmul_flops_equal_torchs_counter(first):
    for seed in range(first, first + 50):
        a = random_architecture(seed)
        model = Transformer(a)  # real, because the meta device is ten times slower to run
        counter = FlopCounterMode(display=False)
        with counter, plain_attention(), torch.no_grad():
            run_all_heads(model, 2, a.context_length)
        n_tokens = 2 * a.context_length * (2 if a.kind == "encoder_decoder" else 1)
        forward = (
            count_flops(a, n_tokens, convention="palm") / 3
        )  # training is forward and twice that backward
        assert counter.get_total_flops() == pytest.approx(forward, rel=1e-12), a


def test_training_flops_equal_torchs_counter_backward_included():
    a = Architecture(n_layers=2, d_model=32, n_heads=4, vocab_size=50, context_length=16)
    model = build_model(a)
    counter = FlopCounterMode(display=False)
    with counter, plain_attention():
        model(torch.zeros(3, 16, dtype=torch.long)).sum().backward()

    assert counter.get_total_flops() == pytest.approx(count_flops(a, 3 * 16, convention="palm"), rel=1e-12)


@pytest.mark.parametrize(
    "name", [name for name, a in PRESETS.items() if a.positions != "transformer_xl" and not a.n_experts]
)
def test_presets_hold_as_many_parameters_as_counted(name):
    model = build_model(PRESETS[name], device="meta")

    assert sum(p.numel() for p in model.parameters()) == count_params(PRESETS[name]).total
