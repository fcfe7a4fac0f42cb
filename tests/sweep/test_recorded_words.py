"""What the page of a recorded sweep says of its proofs is what the proofs measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

SWEEPS = Path(__file__).parents[2] / "sweeps"
PROOFS = sorted(SWEEPS.glob("*/proof*.json"))


@pytest.mark.parametrize("path", PROOFS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_proof_that_missed_its_interval_is_called_missed(path: Path) -> None:
    planned = json.loads(path.read_text())["planned"]
    low, high = planned["curve_interval"]
    text = (path.parent / "README.md").read_text()

    assert planned["inside_curve"] == (low <= planned["measured"] <= high)
    assert f"{planned['loss']:.3f}"[:5] in text
    assert f"{planned['measured']:.3f}"[:5] in text
    if not planned["inside_curve"]:
        assert re.search(r"missed its interval", text)
        outside = max(planned["measured"] - high, low - planned["measured"])
        assert f"{outside:.4f} outside" in text
