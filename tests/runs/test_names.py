"""A column name is read by its words: quantity, unit, scale; a word that is not understood makes it no name of ours."""

from __future__ import annotations

import math

import pytest

from scaling.runs import load_runs
from scaling.runs.names import last_words, meaning_of, misspelt


@pytest.mark.parametrize(
    ("header", "name", "scale"),
    [
        ("n_params", "n_params", 1),
        ("Params (M)", "n_params", 1e6),
        ("Mparams", "n_params", 1e6),
        ("params_in_millions", "n_params", 1e6),
        ("Params, B", "n_params", 1e9),
        ("# params", "n_params", 1),
        ("Number of parameters", "n_params", 1),
        ("numParams", "n_params", 1),
        ("config.model.params", "n_params", 1),
        ("arch/total_params", "n_params", 1),
        ("Parámetros (M)", "n_params", 1e6),
        ("N", "n_params", 1),
        ("active_params", "n_params_active", 1),
        ("Activated Params (B)", "n_params_active", 1e9),
        ("non-embedding params", "n_params_nonemb", 1),
        ("Params (non-embedding)", "n_params_nonemb", 1),
        ("non_vocab_parameters", "n_params_nonemb", 1),
        ("throughput/total_tokens", "n_tokens", 1),
        ("Dataset tokens", "n_tokens", 1),
        ("Training tokens (billions)", "n_tokens", 1e9),
        ("tokens [1e9]", "n_tokens", 1e9),
        ("tokens_trained", "n_tokens", 1),
        ("unique tokens", "n_tokens_unique", 1),
        ("compute (PF-days)", "flops", 8.64e19),
        ("compute_pf_days", "flops", 8.64e19),
        ("Compute (petaflop/s-days)", "flops", 8.64e19),
        ("pfdays", "flops", 8.64e19),
        ("total_gflops", "flops", 1e9),
        ("gflops", "flops", 1e9),
        ("train_exaflops", "flops", 1e18),
        ("FLOPs (P)", "flops", 1e15),
        ("training FLOPs (x 10^18)", "flops", 1e18),
        ("C (1e18 FLOPs)", "flops", 1e18),
        ("zettaFLOPs", "flops", 1e21),
        ("flops_budget", "budget", 1),
        ("Compute budget (EFLOP)", "budget", 1e18),
        ("target_flops", "budget", 1),
        ("Test loss", "loss", 1),
        ("eval/loss", "loss", 1),
        ("eval/c4/loss", "loss", 1),
        ("valLoss", "loss", 1),
        ("cross_entropy", "loss", 1),
        ("Pérdida", "loss", 1),
        ("Verlust", "loss", 1),
    ],
)
def test_a_name_is_read_with_its_scale(header: str, name: str, scale: float) -> None:
    meaning = meaning_of(header)
    assert meaning is not None
    assert (meaning.name, meaning.scale) == (name, pytest.approx(scale))


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("perplexity", "perplexity"),
        ("val_perplexity", "perplexity"),
        ("eval/ppl", "perplexity"),
        ("Test PPL", "perplexity"),
        ("wikitext_perplexity", "perplexity"),
        ("loss (perplexity)", "perplexity"),
        ("val_bpb", "bits/byte"),
        ("eval bits-per-byte", "bits/byte"),
        ("loss (bits/byte)", "bits/byte"),
        ("val_bpc", "bits/character"),
        ("bits_per_char", "bits/character"),
        ("bits per token", "bits/token"),
        ("val_loss_nats", "nats/token"),
        ("log_perplexity", "nats/token"),
        ("loss (zlib units)", "zlib units"),
    ],
)
def test_a_unit_of_the_loss_is_understood_anywhere_in_a_name(header: str, unit: str) -> None:
    meaning = meaning_of(header)
    assert meaning is not None
    assert (meaning.name, meaning.unit) == ("loss", unit)


@pytest.mark.parametrize(
    "header",
    [
        "tokens_per_sec", "throughput/tokens_per_sec", "tokens_per_param", "flops_per_token", "loss/token", "tokens/s",
        "flops/token", "peak_flops", "inference_flops", "loss_std", "val_loss_sem", "z_loss", "aux_loss", "log_loss",
        "batch_tokens", "warmup_tokens", "embedding_params", "optimizer/params", "gpu_flops", "error", "width",
        "loss_delta", "learning_rate", "ppl_std",
    ],
)  # fmt: skip
def test_a_rate_a_spread_or_an_unknown_word_makes_no_quantity(header: str) -> None:
    meaning = meaning_of(header)
    assert meaning is None or meaning.name not in ("n_params", "n_tokens", "flops", "loss", "budget"), meaning


def test_a_logarithm_of_stated_base_is_undone() -> None:
    table = {"log10_flops": [18.0, 19.0], "log10(N)": [8.0, 8.5], "loss": [3.0, 2.8]}
    runs = load_runs(table)
    assert runs.flops.tolist() == pytest.approx([1e18, 1e19])
    assert runs.n_params.tolist() == pytest.approx([1e8, 10**8.5])
    assert load_runs({"ln(C)": [math.log(1e18)], "N": [1e8], "L": [3.0]}).flops[0] == pytest.approx(1e18)


@pytest.mark.parametrize("header", ["paloma_loss", "scaling_params", "my training tokens"])
def test_last_words_propose_what_a_name_may_mean(header: str) -> None:
    meaning = last_words(header)
    assert meaning is not None
    assert (
        meaning.name
        == {"loss": "loss", "params": "n_params", "tokens": "n_tokens"}[header.split("_")[-1].split()[-1]]
    )


def test_a_slip_of_the_pen_is_proposed_by_its_words_and_a_rate_is_not() -> None:
    assert (found := misspelt("n_prams")) is not None
    assert found.name == "n_params"
    assert misspelt("tokens_per_sec") is None
