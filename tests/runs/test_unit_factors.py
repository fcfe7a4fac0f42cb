"""Every unit of loss becomes nats per token by the factor that its name says."""

from __future__ import annotations

import math

import pytest

from scaling.runs import load_runs

LN_2 = 0.693147180559945
BYTES_PER_TOKEN = 4.0
NATS = 2.4  # per token
PRINTED = {  # what a table would print for it
    "nats/token": 2.4,
    "bits/token": 2.4 / LN_2,
    "nats/byte": 0.6,
    "bits/byte": 0.6 / LN_2,
    "perplexity": 11.02317638064160,  # e^2.4
}
SPELLINGS = {
    "nats/token": ("nats/token", "nats", "nats_per_token"),
    "bits/token": ("bits/token", "bits", "bits_per_token"),
    "nats/byte": ("nats/byte", "nats_per_byte"),
    "bits/byte": ("bits/byte", "bpb", "bits_per_byte"),
    "perplexity": ("perplexity", "ppl"),
}


@pytest.mark.parametrize(
    ("unit", "spelt"), [(unit, spelt) for unit, spellings in SPELLINGS.items() for spelt in spellings]
)
def test_a_unit_is_converted_by_its_own_factor(unit: str, spelt: str) -> None:
    table = {"n_params": [1e8, 2e8], "n_tokens": [1e10, 1e10], "loss": [PRINTED[unit], PRINTED[unit]]}
    per_byte = {"bytes_per_token": BYTES_PER_TOKEN} if unit.endswith("byte") else {}
    runs = load_runs(table, loss_unit=spelt, **per_byte)

    assert list(runs.loss) == pytest.approx([NATS, NATS], rel=1e-12)
    assert math.log(PRINTED["perplexity"]) == pytest.approx(NATS)
