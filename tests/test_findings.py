"""Findings in their order: what overturns the answer stands before what only moves it."""

from __future__ import annotations

import pytest

from scaling.findings import error, gravest_first, note, warning


@pytest.mark.parametrize(
    "remedy", ["--law data_constrained", "--method isoflop", "--best-of-cell", "--only a=b"]
)
def test_of_one_severity_a_doubt_that_another_fit_mends_comes_first(remedy: str) -> None:
    plain = warning(code="few", message="few runs")
    named = warning(code="count", message="what does N count?", remedies=("--params-convention total",))
    mended = warning(code="mended", message="mended", remedies=(remedy,))
    faint = note(code="note", message="a note", remedies=(remedy,))
    grave = error(code="grave", message="no number holds")
    ordered = gravest_first([faint, plain, named, mended, grave])
    assert [f.code for f in ordered] == ["grave", "mended", "few", "count", "note"]


def test_the_remedy_of_another_fit_is_the_one_that_fits_another() -> None:
    both = warning(code="x", message="x", remedies=("--params-convention total", "--only corpus=a"))
    assert both.other_fit == "--only corpus=a"
    assert warning(code="x", message="x", remedies=("--level .9",)).other_fit == ""
