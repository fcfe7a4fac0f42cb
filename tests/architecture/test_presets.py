"""The packaged table of presets: its values, its reader and its sources."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from scaling.architecture import PRESETS
from scaling.architecture import presets as module

FROZEN = Path(__file__).with_name("presets_frozen.json")
TABLE = Path(module.__file__).with_name("presets.csv")


def test_every_preset_is_the_architecture_it_has_always_been() -> None:
    """Frozen when the presets still stood in code; a new preset is added to both, an old one never moves."""
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert list(PRESETS) == list(frozen), "the order is that of `scaling count --list`"
    assert {name: a.to_dict() for name, a in PRESETS.items()} == frozen


def test_every_preset_has_a_source_and_a_row_of_its_own() -> None:
    rows = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == list(PRESETS)
    assert all(row["source"] for row in rows)
    folded = [module._fold(n) for row in rows for n in (row["name"], *row["aliases"].split(";")) if n]
    assert len(folded) == len(set(folded)), "two rows answer to one name"


def test_one_preset_is_made_without_the_others() -> None:
    code = (
        "from scaling.architecture import presets as p; n = p._rows.cache_info().currsize;"
        "p.find_preset('gpt2-xl'); print(n, p._rows.cache_info().misses, p._preset.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1", "1"]
