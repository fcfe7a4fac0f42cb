"""Activations and whole-step peaks against torch: what autograd saves, and the live bytes of a training step."""

from __future__ import annotations

from typing import Any

import pytest

from scaling.accounting import count_params, estimate_memory
from scaling.architecture import Architecture

torch = pytest.importorskip("torch")

SIZES: dict[str, Any] = {
    "n_layers": 4,
    "d_model": 128,
    "n_heads": 4,
    "vocab_size": 211,
    "context_length": 256,
}
NO_BIAS: dict[str, Any] = {"qkv_bias": False, "attention_output_bias": False, "mlp_bias": False}
LLAMA = Architecture(
    **SIZES, **NO_BIAS, norm="rms", activation="swiglu", d_ff=352, positions="rope", n_kv_heads=2
)
POST: dict[str, Any] = {"norm_position": "post", "embedding_norm": True, "activation": "gelu"}
CASES = {
    "gpt2": Architecture(**SIZES),
    "relu": Architecture(**SIZES, activation="relu"),
    "bert": Architecture(**SIZES, **POST, kind="encoder", heads=("mlm",)),
    "bart": Architecture(**SIZES, **POST, kind="encoder_decoder"),
}
BATCH, DECODER = 2, 128


def _saved_bytes(a: Architecture, *, autocast: bool = False, compiled: bool = False) -> int:
    """Bytes of distinct storages that autograd keeps between forward and backward, parameters not counted."""
    from scaling.lm.models.build import build_model

    model = build_model(a)
    call = torch.compile(model) if compiled else model
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(BATCH, a.context_length, dtype=torch.long)
    inputs = {"decoder_ids_BT": ids[:, :DECODER]} if a.kind == "encoder_decoder" else {}
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        out = call(ids, **inputs)
    assert out.requires_grad
    return sum(saved.values())


def _estimated(a: Architecture, **options: Any) -> Any:
    decoder = {"decoder_length": DECODER} if a.kind == "encoder_decoder" else {}
    return estimate_memory(a, batch_size=BATCH, **decoder, **options)


@pytest.mark.parametrize("name", CASES)
def test_activations_are_what_autograd_keeps(name: str) -> None:
    a = CASES[name]
    # norm statistics (8 bytes a token and norm) and token ids are not counted: under 1 % at this width; the mean of
    # BART's key-value projection of the memory reads a tensor that the encoder's last norm also keeps
    assert _saved_bytes(a) == pytest.approx(_estimated(a, precision="fp32").activations_bytes, rel=0.012)


def test_activations_under_autocast_are_what_autograd_keeps() -> None:
    a = CASES["gpt2"]
    casts = 2 * count_params(a).matmul  # counted with the weights
    kept = _estimated(a, precision="bf16_autocast").activations_bytes
    assert _saved_bytes(a, autocast=True) == pytest.approx(kept + casts, rel=0.012)


def test_activations_of_a_llama_and_what_this_implementation_adds() -> None:
    tokens, layers = BATCH * LLAMA.context_length, LLAMA.n_layers
    unrotated = (
        4 * tokens * layers * (LLAMA.d_attention + LLAMA.d_kv)
    )  # values are a view of the fused projection
    normalised = 4 * tokens * (2 * layers + 1) * LLAMA.d_model  # RMS norm is not one kernel on the CPU
    kept = _estimated(LLAMA, precision="fp32").activations_bytes
    assert _saved_bytes(LLAMA) == pytest.approx(kept + unrotated + normalised, rel=0.01)


@pytest.mark.slow
def test_compiled_activations_of_a_llama() -> None:
    """The compiled graph keeps neither the activation of the gate nor what the norms return."""
    tokens, layers = BATCH * LLAMA.context_length, LLAMA.n_layers
    unrotated = 4 * tokens * layers * (LLAMA.d_attention + LLAMA.d_kv)
    kept = _estimated(LLAMA, precision="fp32", compiled=True).activations_bytes
    assert _saved_bytes(LLAMA, compiled=True) == pytest.approx(kept + unrotated, rel=0.01)


def test_materialised_attention_keeps_the_softmax() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    a = CASES["bert"]  # a causal mask would be kept too
    with sdpa_kernel(SDPBackend.MATH):
        saved = _saved_bytes(a)
    assert saved == pytest.approx(
        _estimated(a, precision="fp32", attention="materialised").activations_bytes, rel=0.01
    )


@pytest.mark.parametrize(("vocab_size", "autocast"), [(211, False), (4096, False), (4096, True)])
def test_peak_of_a_training_step_is_met_within_a_percent(vocab_size: int, autocast: bool) -> None:
    tools = pytest.importorskip("torch.distributed._tools.mem_tracker")
    from scaling.lm.models.build import build_model

    a = CASES["gpt2"].replace(n_layers=2, vocab_size=vocab_size)
    model = build_model(a)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.zeros(BATCH, a.context_length, dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(ids)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
        loss.backward()
        optimizer.step()

    tracker = tools.MemTracker()
    tracker.track_external(model, optimizer)
    with tracker:
        step()
        tracker.reset_mod_stats()
        step()  # gradients of the first step are still there, as under accumulation
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    estimate = _estimated(a, precision="bf16_autocast" if autocast else "fp32", framework_bytes=0)
    assert peak == pytest.approx(estimate.total_bytes, rel=0.01)
