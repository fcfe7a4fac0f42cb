"""Commas that are certain, columns that a point elsewhere does not settle, and columns that each tell their own sign."""

from __future__ import annotations

import itertools

import click
import pytest

from scaling import units
from scaling.cli.tables import Number
from scaling.errors import DataError
from scaling.fitting.surface.fit import fit_parametric
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
@pytest.mark.parametrize("decimal", [None, "comma", "point"])
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


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("header", ["tokens (B)", "tokens (billions)", "tokens"])
def test_billions_with_three_decimals_are_asked_where_only_another_column_has_points(
    tmp_path, separator, header
):
    unit = " B" if header == "tokens" else ""
    path = written(
        tmp_path,
        ("params", header, "loss"),
        lambda n, d, loss: (f"{n * 1e6:.0f}", comma(f"{d:.3f}") + unit, f"{loss:.5f}"),
        separator,
    )
    with pytest.raises(DataError, match=r"'1,124.*' could be 1\.124.*--decimal comma or --decimal point"):
        load_runs(path)
    assert_planted(load_runs(path, decimal="comma"))


def test_thousands_of_billions_are_read_beside_whole_hundreds_unless_no_run_has_so_many(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("params\ttokens (B)\tloss\n30,000,000\t500\t3.415\n3e7\t1,500\t3.4\n", encoding="utf-8")
    assert load_runs(path).n_tokens.tolist() == [5e11, 1.5e12]
    path.write_text("params (B)\ttokens\tloss\n500\t1e12\t3.415\n19,518\t1e12\t3.4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"'19,518' could be 19\.518"):
        load_runs(path)


@pytest.mark.parametrize(
    "params", [lambda n: comma(f"{n:.4f}"), lambda n: f"{round(1000 * n):,}.000".replace(",", ".")]
)
def test_columns_that_each_tell_their_sign_need_no_option(tmp_path, params):
    header = "params (M)" if "," in params(19.518) else "params"
    path = written(
        tmp_path,
        (header, "tokens", "loss"),
        lambda n, d, loss: (params(n), f"{d * 1e9:.0f}", f"{loss:.3f}"),
        "\t",
    )
    assert_planted(load_runs(path))


def test_points_between_thousands_are_not_called_a_decimal_comma(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("params;tokens (B);loss\n1.019.542;9,548;3.41507\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"'1\.019\.542' has points between thousands, and .* a decimal point"
    ):
        load_runs(path)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Number(0.5, 0.999), "0,9", 0.9),
        (Number(min=0, min_open=True), "4,5", 4.5),
        (Number(min=0), "4.5", 4.5),
    ],
)
def test_an_option_takes_a_decimal_comma(kind, text, value):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,5", "not in the range"),
        ("0.2", "not in the range"),
        ("4,500", "could be 4.500 or 4500"),
        ("x", "'x' is not"),
    ],
)
def test_an_option_out_of_range_or_unclear_is_refused(text, message):
    with pytest.raises(click.BadParameter, match=message):
        Number(0.5, 0.999).convert(text, None, None)
