"""`scaling tokenize explain` and `scaling corpus mixture`: the answer on one screen, the rest by section, as tables."""

from __future__ import annotations

import json
from io import StringIO

import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.cli.corpus import corpus
from scaling.cli.tokenize import tokenize

LOW = ["explain", "low lower lowest", "--vocab-size", "262"]


def out(command, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_tokens_come_first_and_each_step_is_a_section_away() -> None:
    """Worked by hand: l+o and lo+w occur three times, then the words that share ␣lowe."""
    first = out(tokenize, *LOW)
    assert first.startswith("pieces  low | ␣lowe | r | ␣lowe | s | t\n")
    assert "6 for 16 bytes" in first
    assert "merge 4" not in first
    assert "merge 4  ␣lowe | s | t" in out(tokenize, *LOW, "--show", "steps")


def test_json_and_csv_hold_every_merge() -> None:
    told = json.loads(out(tokenize, *LOW, "--json"))
    assert "".join(told["pieces"]) == "low lower lowest"
    assert [m["piece"] for m in told["merges"]] == ["lo", "low", "␣low", "␣lowe"]
    table = pd.read_csv(StringIO(out(tokenize, *LOW, "--csv")))
    assert list(table["count"]) == [3, 3, 2, 2]


@pytest.mark.parametrize("width", [72, 80, 100, 140])
def test_a_long_text_still_fits_one_screen(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = " ".join(f"word{i} jumps over its lazy neighbours" for i in range(200))
    lines = out(tokenize, "explain", text, "--vocab-size", "600").splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= width


def test_a_mixture_is_a_table_of_its_sources() -> None:
    shares = ["--share", "web:0.8:10B", "--share", "code:0.2:1B", "--tokens", "20B"]
    table = pd.read_csv(StringIO(out(corpus, "mixture", *shares, "--csv"))).set_index("name")
    assert table.loc["code", "epochs"] == pytest.approx(0.2 * 20 / 1)
    assert "code" in out(corpus, "mixture", *shares)
