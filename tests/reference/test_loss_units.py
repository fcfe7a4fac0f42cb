"""A loss in another unit than the table says is seen beside a published law."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling.reference.example import example_runs
from scaling.reference.loss_units import check_loss_unit
from scaling.runs import Convention, Runs, load_runs


def example_times(factor: float) -> Runs:
    runs = example_runs()
    return replace(runs, loss=runs.loss * factor)


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (1 / math.log(2), "--loss-unit bits/token"),
        (1 / 4.4, "bytes a token if in nats/byte"),
        (1 / math.log(2) / 4.4, "bytes a token if in bits/byte"),
    ],
)
def test_losses_off_by_the_factor_of_a_unit_are_told(factor: float, says: str) -> None:
    found = check_loss_unit(example_times(factor))
    assert found is not None
    assert (found.code, found.severity) == ("loss-unit", "warning")
    assert says in found.message


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_perplexities_are_told_by_their_logarithms_and_stop_the_fit(factor: float) -> None:
    runs = example_runs()
    found = check_loss_unit(replace(runs, loss=np.exp(factor * runs.loss)))
    assert found is not None
    assert found.severity == "error"
    assert found.remedies == ("--loss-unit perplexity", "--loss-unit nats/token")


@pytest.mark.parametrize("factor", [0.79, 1.0, 1.2])  # the Pile and C4 beside Chinchilla's corpus
def test_another_corpus_is_no_other_unit(factor: float) -> None:
    assert check_loss_unit(example_times(factor)) is None


def test_a_stated_unit_and_a_handful_of_runs_are_not_doubted() -> None:
    runs = example_times(1.44)
    other = replace(runs, convention=Convention(params="total", loss_unit="other"))
    assert check_loss_unit(other) is None
    assert check_loss_unit(runs.select([0, 1, 2])) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("epoch_chinchilla", False),
        ("datablations", False),
        ("cerebras_pythia", False),
        ("marin_isoflop", False),
        ("olmo_ladder_final", False),
        ("llama3_isoflop", True),  # .69 to .92, published as normalised negative log likelihood
    ],
)
def test_public_tables(shared_runs: Path, name: str, told: bool) -> None:
    runs = load_runs(shared_runs / f"{name}.csv")
    assert (check_loss_unit(runs.final() if runs.is_curves else runs) is not None) == told
