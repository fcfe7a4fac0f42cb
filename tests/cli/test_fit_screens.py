"""First screens of `scaling fit`: short, no wider than the screen, and saying what the JSON says, over many tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from advised_fits import all_inputs
from advised_tables import CASES, Input, fit, inputs_read, planted, without
from click.testing import CliRunner

import scaling.cli.fit
from scaling.blocks import Block, Section, Table, Text, screen
from scaling.cli import cli
from scaling.cli.output import Output
from scaling.errors import ScalingError
from scaling.jsonable import jsonable
from scaling.laws.io import law_from_dict
from scaling.render.terminal import render_terminal
from scaling.units import parse_number

WIDTHS = (72, 80, 100, 140)
MOST_LINES = 20
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inputs() -> list[Input]:
    """Every table of which a message is known, and checks that stand beside the fit on its screen."""
    read = {i.name for i in inputs_read()}  # how a table is written changes no fit
    known = [i for i in all_inputs() if i.arguments[:1] == ("fit",) and not i.name.startswith("option ")]
    known = [i for i in known if i.name not in read or i.name.startswith("case ")]
    table = without(planted(5, 7), "flops")
    both = ("--holdout-above", "rolling", "--compare-laws")
    known += [
        fit("both checks", table, *both),
        fit("both checks of a law", table, "--law", "over_training", *both),
        fit("both checks, much noise", noisy(), *both),
        fit("bootstrap", table, "--bootstrap", "100"),
    ]
    return known


def noisy() -> dict[str, list[Any]]:
    table = planted(5, 7, noise=0.03)
    return {**table, "corpus": ["a", "b"] * 17 + ["a"], "lr": [1e-3] * 35, "batch_tokens": [5e5] * 35}


def shown(
    one: Input, monkeypatch: pytest.MonkeyPatch
) -> tuple[tuple[Block, ...], dict[str, Any], list[str]] | None:
    """The blocks, the JSON and the notes of one result of `scaling fit`; None where it is refused."""
    caught: list[Any] = []

    def give(output: Output, summary: Any, payload: Any, frame: Any = None) -> None:
        caught.append((tuple(summary()), jsonable(payload())))

    monkeypatch.setattr(scaling.cli.fit, "give", give)
    file = Path(one.file)
    if one.content is not None:
        file.write_bytes(one.content)
    arguments = [near(word.replace("{}", str(file))) for word in one.arguments]
    result = CliRunner().invoke(cli, arguments)
    if result.exception is not None and not isinstance(result.exception, (ScalingError, SystemExit)):
        raise result.exception
    notes = " ".join(result.stderr.split()).split("note: ")[1:]
    return (*caught[0], notes) if caught else None


def near(word: str) -> str:
    """A case of the tests as a file of a short name here: no long path fits a line."""
    if not (word.startswith(str(CASES)) and Path(word).is_file()):
        return word
    copy = Path(f"runs{Path(word).suffix}")
    copy.write_bytes(Path(word).read_bytes())
    return str(copy)


@cache
def by_name() -> Mapping[str, Input]:
    return {one.name: one for one in inputs()}


@pytest.mark.parametrize("name", list(by_name()))
def test_a_first_screen_is_short_fits_its_width_and_says_what_the_json_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shown(by_name()[name], monkeypatch)
    if found is None:  # a refusal: tests/cli/test_remedies.py
        return
    blocks, told, notes = found
    for width in WIDTHS:
        lines = render_terminal(screen(blocks), width=width).split("\n")
        above = [
            line
            for text in notes
            for line in textwrap.wrap(f"note: {text}", width, subsequent_indent=" " * 6)
        ]
        assert len(above) + len(lines) <= MOST_LINES, "\n".join([*above, *lines])
        wide = [line for line in lines if len(line) > width and len(line.split()) > 1]
        assert not wide, "\n".join(lines)
    for section in (b for b in blocks if isinstance(b, Section)):
        assert section.blocks()
    if told["kind"] == "fit":
        assert_claim_is_the_jsons(blocks, told)
        assert_table_is_the_laws(blocks, told)


def assert_claim_is_the_jsons(blocks: tuple[Block, ...], told: dict[str, Any]) -> None:
    known = list(numbers_of({k: told[k] for k in told if k not in ("findings", "budgets", "influence")}))
    known += [1.0, 6.0]  # of the formulas themselves
    lead = [b.text for b in blocks[:2] if isinstance(b, Text)]
    if told["method"] == "law":  # its exponents are the law's, their intervals percentiles of its draws
        lead[0] = re.sub(r"\(.*?\)", "", lead[0])
        a = getattr(law_from_dict(told["law"]), "params_exponent", None)
        known += [] if a is None else [a, 1 - a]
    for text in NUMBER.findall(" ".join(lead)):
        assert any(rounds_to(value, text) for value in known), (text, lead)


def numbers_of(told: Any) -> Iterator[float]:
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list):
        for part in told:
            yield from numbers_of(part)
    elif isinstance(told, (int, float)) and not isinstance(told, bool):
        yield float(told)


def rounds_to(value: float, text: str) -> bool:
    """Whether `text` is the value to the digits that it shows."""
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals)
    return abs(value - float(text)) <= 0.5001 * unit or (
        "." not in text and abs(value / float(text) - 1) < 0.05  # 1700: two digits of an error of hundreds
        if float(text)
        else abs(value) < 0.5
    )


def assert_table_is_the_laws(blocks: tuple[Block, ...], told: dict[str, Any]) -> None:
    tables = [b for b in blocks if isinstance(b, Table) and b.headers[1:3] == ("N*", "D*")]
    for row in tables[0].rows if tables else ():
        flops, n_params, n_tokens, *loss = row
        best = law_from_dict(told["law"]).allocate(float(flops.split()[0]))
        # two digits
        assert parse_number(n_params.split()[0]) == pytest.approx(best.n_params, rel=0.05)
        assert parse_number(n_tokens.split()[0]) == pytest.approx(best.n_tokens, rel=0.05)
        if any(loss):
            assert rounds_to(best.loss, loss[0].split()[0])
    assert all(len(t.headers) == 3 or any(row[3] for row in t.rows) for t in tables)  # no column is empty
