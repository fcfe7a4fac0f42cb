"""`scaling sweep fit` and `verify`: a law, a plan, its proof, and where the runs of a proof are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from scaling.cli import run
from scaling.units import format_flops
from sweeps import SPEC, finish, invoke, planted


def test_fit_ends_with_valleys_a_law_and_a_plan(tmp_path: Path) -> None:
    _, store = planted(tmp_path)
    printed = invoke("fit", str(tmp_path))
    assert "6 valleys of 38 runs" in printed
    assert "tokens for 1.6e12 FLOPs: loss " in printed
    assert len(printed.splitlines()) <= 20
    law_file = json.loads((store.root / "law.json").read_text())
    assert law_file["law"]["coefficients"]["a"] == pytest.approx(0.5, abs=0.03)  # 0.2 % noise
    assert (store.root / "valleys.png").stat().st_size > 10_000
    assert printed.endswith(f"next  scaling sweep verify {tmp_path}\n")


def test_fit_writes_where_it_is_told(tmp_path: Path) -> None:
    _, store = planted(tmp_path)
    before = sorted(p.name for p in store.root.iterdir())
    invoke("fit", str(tmp_path), "-o", str(tmp_path / "out"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["law.json", "runs.csv", "valleys.png"]
    assert sorted(p.name for p in store.root.iterdir()) == before


def test_a_dry_run_says_what_a_proof_costs_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    _, store = planted(tmp_path)
    assert run(["sweep", "verify", str(tmp_path), "--dry-run", "--json", "--slots", "2"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["kind"], plan["budget"], plan["n_slots"]) == ("sweep_proof_plan", 1.6e12, 2)
    assert [r["advice"] for r in plan["runs"]] == [
        "this sweep's law", "20 tokens per parameter", "Kaplan et al. 2020",
    ]  # fmt: skip
    assert all(r["flops"] == pytest.approx(1.6e12, rel=0.01) for r in plan["runs"])
    runs = {r["run_id"]: r for r in plan["runs"]}.values()
    assert len(runs) == 2  # the planted law says 20 tokens per parameter too
    assert plan["work_flops"] == pytest.approx(sum(r["work_flops"] for r in runs))
    longest = max(r["seconds"] for r in runs)
    assert longest <= plan["wall_s"] <= sum(r["seconds"] for r in runs)
    assert run(["sweep", "verify", str(tmp_path), "--dry-run", "--no-measure"]) == 0
    assert "FLOPs to execute" in capsys.readouterr().out
    assert not (store.root / "proofs").exists()


def test_runs_of_a_proof_are_recorded_apart_and_never_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained once (here: given their loss), they come back from what was exported, and no fit of the sweep has them."""
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.sweep.recorded import record_proof
    from scaling.sweep.results import load_store_runs
    from scaling.sweep.store import Store
    from scaling.sweep.verify import plan_proof

    design, store = planted(tmp_path / "first")
    own = [r.run_id for r in design.runs]
    proof = plan_proof(design, fit_isoflop(load_store_runs(store, run_ids=own)), 1.6e12)
    record_proof(store, proof)
    finish(store, proof.design)
    invoke("index", str(store.root))
    assert len((store.root / "runs.csv").read_text().splitlines()) == 1 + 38
    printed = invoke("export", str(tmp_path / "first"), "-o", str(tmp_path / "out"))
    assert "wrote 38 results, 2 of its proof in results/proof" in printed
    assert {p.stem for p in (tmp_path / "out/results/proof").glob("*.json")} == {
        r.run_id for r in proof.advised.values()
    }
    assert len((tmp_path / "out/runs.csv").read_text().splitlines()) == 1 + 38

    again = Store(tmp_path / "again")
    restored = invoke("restore", str(tmp_path / "out"), "--store", str(again.root))
    assert "put 38 results and 2 of its proof into" in restored
    here = [str(tmp_path / "first"), "--store", str(again.root)]
    capsys.readouterr()
    assert run(["sweep", "verify", *here, "--json"]) == 0  # nothing is left to train
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {r["run_id"] for r in rows} == {r.run_id for r in proof.advised.values()}
    assert "6 valleys of 38 runs" in invoke("fit", *here)
    assert "2 of its proof" in invoke("export", *here, "-o", str(tmp_path / "out again"))


def test_a_sweep_whose_runs_all_diverged_says_what_to_lower_and_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scaling.cli.sweep_options import design_of, store_of

    invoke("init", str(tmp_path))
    design, store = design_of(tmp_path), store_of(tmp_path, None)
    for one in design.runs:
        store.finish(store.claim(store.add(one.config)), {"status": "diverged", "reason": "loss is nan"})
    assert run(["sweep", "run", str(tmp_path)]) == 3
    assert "all runs diverged: lower recipe.learning_rate" in capsys.readouterr().err


def test_a_proof_tells_a_winner_from_a_tie() -> None:
    from scaling.fitting.surface.prediction import SeedNoise
    from scaling.sweep.verification import ProofRow, verdict

    noise = SeedNoise(standard_deviation=0.01, dof=2, source="repeated cells", level=0.95)  # gap 0.125 at 2.0
    losses = {"law": 2.0, "twenty": 2.1, "kaplan": 2.3}
    size = {"n_params": 1e6, "n_params_non_embedding": 1e6, "n_tokens": 2e7}
    rows = [
        ProofRow(advice=name, run_id=name, loss=loss, predicted_loss=loss, prediction_interval=None, **size)
        for name, loss in losses.items()
    ]
    assert "A tie of law and twenty: they differ by 0.1000 nats/token; two seeds" in verdict(rows, noise)
    assert "Lowest: law, by 0.3000 nats/token over kaplan" in verdict(rows[::2], noise)
    same = [rows[0], replace(rows[0], advice="twenty")]
    assert verdict(same, noise) == "law and twenty ask for the same model."


def test_a_proof_shows_the_doubts_about_the_law_and_its_own_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.sweep.results import load_store_runs
    from scaling.sweep.verify import plan_proof

    design, store = planted(tmp_path)
    runs = load_store_runs(store, run_ids=[r.run_id for r in design.runs])
    dry = ["sweep", "verify", str(tmp_path), "--dry-run", "--no-measure"]
    assert run([*dry, "--show", "doubts"]) == 0
    assert "very-long-run: " in capsys.readouterr().out  # Kaplan's
    finish(store, plan_proof(design, fit_isoflop(runs), 1.6e12).design)
    assert run(["sweep", "verify", str(tmp_path), "--json"]) == 0
    proof = json.loads(capsys.readouterr().out)
    assert [f["code"] for f in proof["findings"]["proof"]] == ["very-long-run"]
    assert "dependent-rows" in {f["code"] for f in proof["findings"]["law"]}
    low, high = proof["fitted_E_interval"]
    assert low < 1.4 < high  # planted
    assert proof["lowest"] == ["this sweep's law", "20 tokens per parameter"]  # one model
    assert all(r["inside"] == (r["prediction_interval"][0] <= r["loss"] <= r["prediction_interval"][1])
               for r in proof["rows"])  # fmt: skip
    assert run(["sweep", "verify", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Lowest: this sweep's law and 20 tokens per parameter, by" in " ".join(printed.split())
    assert "20 times the longest run of the sweep" in " ".join(printed.split())
    assert run(["sweep", "verify", str(tmp_path), "--show", "doubts,losses"]) == 0
    told = capsys.readouterr().out
    assert [title for title in ("about the law", "about the runs of the proof") if title not in told] == []
    assert "Two seeds of one model differ by up to" in told
    assert "fitted E = " in told
    assert run(["sweep", "verify", str(tmp_path), "--csv"]) == 0
    table = pd.read_csv(StringIO(capsys.readouterr().out))
    assert list(table["loss"]) == [row["loss"] for row in proof["rows"]]
    for width in (72, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        for command in (dry, ["sweep", "verify", str(tmp_path)]):
            assert run(command) == 0
            lines = capsys.readouterr().out.splitlines()
            assert len(lines) <= 20
            assert max(map(len, lines)) <= width


def test_the_law_that_planned_a_proof_is_held_to_its_own_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines (Approach 2) plan the model, the surface (Approach 3) predicts it: both are shown."""
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.sweep.results import load_store_runs
    from scaling.sweep.verify import plan_proof

    design, store = planted(tmp_path)
    fit = fit_isoflop(load_store_runs(store, design))
    finish(store, plan_proof(design, fit, 1.6e12).design)
    assert run(["sweep", "verify", str(tmp_path), "--json"]) == 0
    proof = json.loads(capsys.readouterr().out)
    planned, ours = proof["planned"], next(r for r in proof["rows"] if r["advice"] == "this sweep's law")
    assert planned["loss"] == pytest.approx(fit.allocate(1.6e12).loss)
    assert planned["measured"] == ours["loss"]
    low, high = planned["curve_interval"]
    assert planned["inside_curve"] == (low <= ours["loss"] <= high)
    assert run(["sweep", "verify", str(tmp_path), "--show", "all"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"planned at {planned['loss']:.4f}" in printed
    assert f"put the lowest loss of this budget at {planned['loss']:.4f}" in printed


def test_a_sweep_that_is_not_finished_is_doubted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    design, store = planted(tmp_path)
    (store.run_dir(design.runs[0].run_id) / "result.json").unlink()
    assert run(["sweep", "fit", str(tmp_path)]) == 0
    assert "1 of 38 runs of this sweep are not finished" in capsys.readouterr().err
    assert run(["sweep", "verify", str(tmp_path), "--dry-run", "--no-measure", "--json"]) == 0
    assert "unfinished-sweep" in {f["code"] for f in json.loads(capsys.readouterr().out)["findings"]["law"]}


def test_a_budget_too_small_to_plan_leaves_the_law_and_its_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(tmp_path)
    assert run(["sweep", "fit", str(tmp_path), "--budget", "1e9"]) == 0
    said = capsys.readouterr()
    assert "no plan: " in said.err
    assert "which is not a language model" in " ".join(said.err.split())
    assert f"law.json, valleys.png in {tmp_path / 'store'}" in " ".join(said.out.split())


def test_the_design_of_recorded_results_needs_no_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    text = SPEC.replace('"synthetic:bits=4,seed=0"', '"no/such/corpus"\nvocab_size = 32')
    (tmp_path / "sweep.toml").write_text(text)
    assert run(["sweep", "design", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "no times: no corpus 'no/such/corpus'" in said.err
    assert "time here" not in said.out


def test_an_absent_corpus_names_the_keys_that_stand_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "sweep.toml"
    spec.write_text(SPEC.replace("synthetic:bits=4,seed=0", "no/such/corpus"))
    assert run(["sweep", "fit", str(spec)]) == 3
    assert "corpus.vocab_size and corpus.n_tokens_unique" in " ".join(capsys.readouterr().err.split())


def test_a_store_is_counted_without_its_spec(tmp_path: Path) -> None:
    design, store = planted(tmp_path / "first")
    store.claim(store.add({"kind": "run", "of": "another sweep"}))
    n = len(design.runs)
    assert invoke("status", str(store.root)).startswith(f"{n + 1} runs in {store.root}: {n} done, 1 running")
    assert '"done": ' + str(n) in invoke("status", str(store.root), "--json")


def test_models_of_a_few_hundred_parameters_are_no_mistaken_unit(tmp_path: Path) -> None:
    from scaling.cli.sweep_options import design_of, store_of
    from scaling.errors import ScalingError

    (tmp_path / "sweep.toml").write_text(SPEC.replace("optimum_params = 2000", "optimum_params = 900"))
    design, store = design_of(tmp_path), store_of(tmp_path, None)
    finish(store, design)
    assert sorted(r.n_params for r in design.runs)[len(design.runs) // 2] < 1500
    with pytest.raises(ScalingError, match="0 of 2: budget 4e7: 3 runs; a parabola valley needs 4"):
        invoke("fit", str(tmp_path))


def test_a_law_that_plans_nothing_asks_for_runs_and_not_for_a_proof(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    design, _ = planted(tmp_path)
    monkeypatch.setattr("scaling.cli.sweep_fit._plan", lambda *_: None)
    assert run(["sweep", "fit", str(tmp_path), "--method", "parametric"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "scaling sweep verify" not in said
    assert f"scaling sweep run {tmp_path}" in said
    more = format_flops(float(f"{10 * design.spec.grid.budgets[-1]:.1g}"))
    assert f"add {more} to the grid's budgets" in said


def test_the_remedy_of_a_sweep_with_few_runs_a_budget_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(tmp_path)
    for command in (["fit"], ["verify", "--dry-run", "--no-measure"]):
        assert run(["sweep", command[0], str(tmp_path), *command[1:], "--min-runs-per-budget", "20"]) == 3
        assert "--min-runs-per-budget" in capsys.readouterr().err
        assert run(["sweep", command[0], str(tmp_path), *command[1:], "--min-runs-per-budget", "3"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert command != ["fit"] or f"scaling sweep verify {tmp_path} --min-runs-per-budget 3" in said
