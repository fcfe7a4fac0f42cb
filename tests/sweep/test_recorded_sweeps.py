"""The sweeps that are committed: their results are those of their table, and their commands can be typed."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from scaling.units import parse_duration

SWEEPS = Path(__file__).parents[2] / "sweeps"
RECORDED = sorted(p.parent for p in SWEEPS.glob("*/runs.csv"))


@pytest.mark.parametrize("folder", RECORDED, ids=lambda p: p.name)
def test_every_recorded_result_is_a_row_of_the_table_and_the_reverse(folder: Path) -> None:
    with (folder / "runs.csv").open() as file:
        rows = {row["run_id"] for row in csv.DictReader(file)}
    assert rows
    assert {p.stem for p in (folder / "results").glob("*.json")} == rows


@pytest.mark.parametrize("folder", RECORDED, ids=lambda p: p.name)
def test_a_recorded_sweep_is_planned_as_it_was_where_its_corpus_is_absent(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.cli.sweep_options import design_of

    monkeypatch.chdir(tmp_path)
    recorded = {p.stem for p in (folder / "results").glob("*.json")}
    assert {r.run_id for r in design_of(folder).runs} == recorded


def test_every_deadline_that_a_sweep_proposes_is_a_time() -> None:
    texts = [p.read_text() for p in SWEEPS.rglob("*") if p.suffix in (".toml", ".sh", ".md")]
    texts.append((SWEEPS.parent / "scaling/cli/sweep_options.py").read_text())
    found = [m for t in texts for m in re.findall(r"--deadline \"?(?:\$\{\w+:-)?(\d\w*)", t)]
    found += re.findall(r"end by then: (\w+), (\w+)\.", texts[-1])[0]
    assert len(found) >= 4
    assert all(parse_duration(time) >= 60 for time in found)


@pytest.mark.parametrize("folder", [f for f in RECORDED if (f / "proof.json").exists()], ids=lambda p: p.name)
def test_every_run_of_a_recorded_proof_is_there_apart_from_the_sweeps_own(folder: Path) -> None:
    proofs = [json.loads(path.read_text()) for path in folder.glob("proof*.json")]
    recorded = {p.stem: json.loads(p.read_text()) for p in (folder / "results" / "proof").glob("*.json")}
    assert {(proof["budget"], r["run_id"], r["loss"]) for proof in proofs for r in proof["rows"]} == {
        (r["proof"]["budget"], run_id, r["result"]["loss"]) for run_id, r in recorded.items()
    }


@pytest.mark.parametrize("folder", RECORDED, ids=lambda p: p.name)
def test_the_recorded_table_still_gives_the_recorded_law(folder: Path) -> None:
    from scaling import fit_isoflop, load_runs

    recorded, fit = json.loads((folder / "fit.json").read_text()), fit_isoflop(load_runs(folder / "runs.csv"))
    for name in ("params_exponent", "tokens_exponent"):
        now = getattr(fit, name).to_dict()
        assert now["value"] == pytest.approx(recorded[name]["value"], rel=1e-9)
        assert now["interval"]["low"] == pytest.approx(recorded[name]["interval"]["low"], rel=1e-6)
    assert {f.code for f in fit.findings} <= {
        f["code"] for f in recorded["findings"]
    }  # with those of the table
