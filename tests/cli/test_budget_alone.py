"""`scaling 1e21` is `scaling plan --flops 1e21`, and a misspelt command is still told."""

from __future__ import annotations

import pytest

from scaling.cli import run


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run([*words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        (["1e21"], ["plan", "--flops", "1e21"]),
        (
            ["1e21", "--law", "hoffmann", "--quiet"],
            ["plan", "--flops", "1e21", "--law", "hoffmann", "--quiet"],
        ),
        (["1 ZFLOP", "--quiet"], ["plan", "--flops", "1 ZFLOP", "--quiet"]),
        (["1", "ZFLOP", "--quiet"], ["plan", "--flops", "1 ZFLOP", "--quiet"]),
        (["11574", "PF-days", "--json"], ["plan", "--flops", "11574 PF-days", "--json"]),
        ([".5e21", "--quiet"], ["plan", "--flops", ".5e21", "--quiet"]),
        (
            ["8xH100", "--time", "14d", "--quiet"],
            ["plan", "--hardware", "8xH100", "--time", "14d", "--quiet"],
        ),
        (["--verbose", "1e21", "--quiet"], ["plan", "--flops", "1e21", "--quiet"]),
    ],
    ids=" ".join,
)
def test_a_budget_without_a_command_is_planned(
    short: list[str], whole: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, *short) == told(capsys, *whole)


def test_a_number_that_is_no_budget_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "7B")
    assert code == 2
    assert "--flops: '7B' is no number of FLOPs" in err
    assert "scaling plan --params 7B" in err


@pytest.mark.parametrize(("name", "near"), [("plam", "plan"), ("fitt", "fit"), ("predcit", "predict")])
def test_a_misspelt_command_is_told_with_the_near_one(
    name: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = told(capsys, name)
    assert code == 2
    assert f"no command {name!r}. Did you mean {near}" in err
