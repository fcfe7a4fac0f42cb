"""What a sweep says of itself, as blocks and as JSON: its design, its states, a proof's loss beside the planned one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_sweeps import tiny_spec

from scaling.blocks import Fields, Table, Text
from scaling.jsonable import jsonable
from scaling.render.terminal import render_terminal
from scaling.sweep.checks import DesignReview, check_design
from scaling.sweep.design import design_sweep
from scaling.sweep.progress import Status, list_runs, look
from scaling.sweep.run import Report
from scaling.sweep.store import Store
from scaling.sweep.timing import Rate
from scaling.sweep.verification import PlannedLoss
from scaling.sweep.worker import add_runs


def test_a_review_lists_every_run_and_gives_times_only_where_they_were_measured() -> None:
    design = design_sweep(tiny_spec(), vocab_size=32)
    findings = check_design(design)
    review = DesignReview(design=design, findings=findings, rate=None, n_slots=2)
    (table,) = (b for b in review.summary() if isinstance(b, Table))
    assert len(table.rows) == len(design.runs)
    assert {row[-1] for row in table.rows} == {""}
    assert review.wall_s is None
    assert all(
        any(f"[{f.code}]" in b.text for b in review.summary() if isinstance(b, Text)) for f in findings
    )
    rate = Rate.from_points([(run.flops_per_step, 0.01) for run in design.runs])
    timed = DesignReview(design=design, findings=findings, rate=rate, n_slots=2)
    (cost,) = (b for b in timed.summary() if isinstance(b, Fields))
    assert "on 2 slots, from a few steps timed just now" in dict(cost.rows)["time here"]
    assert jsonable(timed)["wall_s"] == timed.wall_s == pytest.approx(rate.total_seconds(design.units, 2))


def test_a_run_that_failed_says_why_in_words_and_in_json(tmp_path: Path) -> None:
    design, store = design_sweep(tiny_spec(), vocab_size=32), Store(tmp_path)
    add_runs(store, design)
    bad = design.runs[0].run_id
    lease = store.claim(bad)
    assert lease is not None
    store.fail(lease, "oom", "no room for \x1b[2J a batch")
    status = look(store, design)
    n_left = len(design.runs) - 1
    printed = render_terminal(status.summary())
    assert printed.startswith(f"{design.spec.name}: 1 oom, {n_left} pending; 0 % of the work done\n")
    assert f"{bad} oom: no room for \\x1b[2J a batch" in printed, "no control character reaches a terminal"
    assert jsonable(status)["failures"] == [
        {"run_id": bad, "state": "oom", "reason": "no room for \x1b[2J a batch"}
    ]
    states = {r["run_id"]: (r["state"], r["loss"]) for r in jsonable(list_runs(store, design))["runs"]}
    assert states[bad] == ("oom", None)


def test_a_report_counts_workers_only_where_some_were_lost() -> None:
    status = Status(states={"a": "done", "b": "failed"}, work_flops=2.0, done_flops=1.0)
    report = Report(status=status, wall_s=0.0, interrupted=False, n_workers_lost=0)
    assert render_terminal(report.summary()) == "2 runs: 1 done, 1 failed, nothing to do"
    lost = Report(status=status, wall_s=90.0, interrupted=False, n_workers_lost=2)
    assert render_terminal(lost.summary()) == "2 runs: 1 done, 1 failed; 1.5 min; 2 workers lost on the way"


def test_a_measured_loss_is_set_against_the_curve_that_planned_it() -> None:
    planned = PlannedLoss(loss=2.0, curve_interval=(1.9, 2.1), level=0.95, measured=2.2)
    assert (planned.error, planned.inside_curve) == (pytest.approx(0.1), False)
    assert planned.sentence().endswith("measured 2.2000, +10.0%: outside.")
    assert jsonable(planned).keys() == {"loss", "curve_interval", "measured", "error", "inside_curve"}
