"""Commas that are certain, columns that a point elsewhere does not settle, and columns that each tell their own sign."""

from __future__ import annotations

import itertools

import pytest

from scaling import units
from scaling.errors import DataError
from scaling.fitting.parametric.fit import fit_parametric
from scaling.runs import load_runs

SIZES = (19.518, 61.724, 195.185, 617.240, 1951.847)  # millions of parameters
TOKENS = (1.124, 3.354, 9.548, 31.237, 98.765)  # billions
RUNS = [
    (n, d, 1.7 + 380 * (n * 1e6) ** -0.34 + 1700 * (d * 1e9) ** -0.36)
    for n, d in itertools.product(SIZES, TOKENS)
]


def written(tmp_path, header, row, separator):
    """A table of the planted law; `row` gives the three cells of a run."""
    lines = [header] + [row(*run) for run in RUNS]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(separator.join(line) for line in lines) + "\n", encoding="utf-8")
    return path


def assert_planted(runs):
    assert runs.n_params.tolist() == pytest.approx([n * 1e6 for n, _, _ in RUNS], rel=1e-3)
    assert runs.n_tokens.tolist() == pytest.approx([d * 1e9 for _, d, _ in RUNS], rel=1e-3)
    assert runs.loss.tolist() == pytest.approx([loss for _, _, loss in RUNS], rel=1e-3)


def comma(text):
    return text.replace(".", ",")


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("decimal", ["comma", "point"])
def test_a_comma_before_an_exponent_is_a_decimal_sign_beside_points_too(tmp_path, separator, decimal):
    path = written(
        tmp_path,
        ("params", "tokens", "loss"),
        lambda n, d, loss: (comma(f"{n * 1e6:.3e}"), comma(f"{d * 1e9:.3e}"), f"{loss:.5f}"),
        separator,
    )
    runs = load_runs(path, decimal=decimal)
    assert_planted(runs)
    assert fit_parametric(runs).estimates["alpha"].value == pytest.approx(0.34, abs=0.01)


@pytest.mark.parametrize(("text", "value"), [("1,400e20", 1.4e20), ("1,400E+20 FLOPs", 1.4e20)])
def test_a_comma_before_the_exponent_of_an_option_is_a_decimal_sign(text, value):
    assert units.parse_flops(text) == pytest.approx(value)
