"""What a sweep says of itself, as blocks and as JSON: its design, its states, a proof's loss beside the planned one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweeps import tiny_spec

from scaling.blocks import Blocks, Fields, Section, Table, screen
from scaling.jsonable import jsonable
from scaling.render.terminal import render_terminal
from scaling.sweep.checks import DesignReview, check_design
from scaling.sweep.design import design_sweep
from scaling.sweep.progress import Status, list_runs, look
from scaling.sweep.run import Report
from scaling.sweep.spec import load_sweep
from scaling.sweep.store import Store
from scaling.sweep.timing import Rate
from scaling.sweep.verification import PlannedLoss
from scaling.sweep.worker import add_runs

SWEEPS = Path(__file__).parents[2] / "sweeps"
WIDTHS = (72, 80, 100, 140)


def sections(blocks: Blocks) -> dict[str, Blocks]:
    return {b.name: b.blocks() for b in blocks if isinstance(b, Section)}


def test_a_review_lists_every_run_and_gives_times_only_where_they_were_measured() -> None:
    design = design_sweep(tiny_spec(), vocab_size=32)
    findings = check_design(design)
    review = DesignReview(design=design, findings=findings, rate=None, n_slots=2)
    (table,) = sections(review.summary())["runs"]
    assert isinstance(table, Table)
    assert len(table.rows) == len(design.runs)
    assert {row[-1] for row in table.rows} == {""}
    assert review.wall_s is None
    told = render_terminal(sections(review.summary())["doubts"])
    assert all(f"{f.code}: " in told for f in findings)
    rate = Rate.from_points([(run.flops_per_step, 0.01) for run in design.runs])
    timed = DesignReview(design=design, findings=findings, rate=rate, n_slots=2)
    (cost,) = sections(timed.summary())["cost"]
    assert isinstance(cost, Fields)
    assert "on 2 slots, from a few steps timed just now" in dict(cost.rows)["time here"]
    assert jsonable(timed)["wall_s"] == timed.wall_s == pytest.approx(rate.total_seconds(design.units, 2))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_budgets", [2, 6, 12])
def test_the_first_screen_of_a_design_has_at_most_twenty_lines(width: int, n_budgets: int) -> None:
    spec = load_sweep(SWEEPS / "quickstart" / "sweep.toml")
    budgets = tuple(1.5e10 * 1.6**i for i in range(n_budgets))
    seeds = replace(spec.seeds, replicate_budgets=budgets[:1])
    spec = replace(spec, grid=replace(spec.grid, budgets=budgets), seeds=seeds)
    design = design_sweep(spec, vocab_size=256)
    rate = Rate.from_points([(run.flops_per_step, 0.01) for run in design.runs])
    review = DesignReview(design=design, findings=check_design(design), rate=rate, n_slots=2)
    lines = render_terminal(screen(review.summary()), width=width).splitlines()
    assert len(lines) <= 19  # and the command that runs it
    whole = render_terminal(review.summary(), width=width).splitlines()
    assert max(map(len, [*lines, *whole])) <= width
    assert [r for r in design.runs if f"{r.n_params / 1e3:.3g}k" not in "\n".join(whole)] == []


def test_the_table_of_a_design_has_one_row_a_run_with_the_seconds_it_takes_alone() -> None:
    design = design_sweep(tiny_spec(), vocab_size=32)
    rate = Rate.from_points([(run.flops_per_step, 0.01) for run in design.runs])
    table = DesignReview(design=design, findings=(), rate=rate, n_slots=2).to_frame()
    assert list(table["run_id"]) == [r.run_id for r in design.runs]
    assert list(table["n_params"]) == [r.n_params for r in design.runs]
    assert table["seconds_alone"][0] == rate.run_seconds(design.runs[0])


def test_many_failures_are_a_section_and_three_are_told_at_once() -> None:
    reasons = {f"run{i}": f"why {i} " + "again " * 40 for i in range(5)}
    status = Status(
        states=dict.fromkeys(reasons, "failed"), work_flops=2.0, done_flops=1.0, reasons=reasons, name="s"
    )
    lines = render_terminal(screen(status.summary()), width=72).splitlines()
    assert len(lines) <= 10
    assert "and 2 more: --show failures" in lines
    assert " ".join(reasons["run4"].split()) in render_terminal(
        sections(status.summary())["failures"], width=400
    )
    assert list(status.to_frame()["reason"]) == list(reasons.values())


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
