"""Predicted times and the progress of a sweep, against sums made by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import tiny_spec

from scaling.sweep.checks import check_design
from scaling.sweep.design import Design, PlannedRun, design_sweep
from scaling.sweep.progress import free_items, look
from scaling.sweep.queue import steps_left, trunk_checkpoint, work_queue
from scaling.sweep.run import pause_s
from scaling.sweep.store import Store
from scaling.sweep.timing import Rate, RunTiming
from scaling.sweep.train_run import Job
from scaling.sweep.worker import Worker, add_runs


@pytest.fixture
def design() -> Design:
    return design_sweep(tiny_spec(), vocab_size=32)


def test_seconds_per_step_are_interpolated_in_the_logarithms() -> None:
    rate = Rate.from_points([(1e6, 0.01), (1e8, 0.1), (1e8, 0.1), (1e8, 9.0)])
    assert rate is not None
    assert rate.seconds_per_step(1e7) == pytest.approx((0.01 * 0.1) ** 0.5)
    assert rate.seconds_per_step(1e5) == 0.01  # overhead does not shrink with the model
    assert rate.seconds_per_step(1e9) == pytest.approx(1.0)
    assert Rate.from_points([(1e6, 0.0)]) is None


def test_rates_are_measured_on_one_thread_as_a_slot_trains(design: Design) -> None:
    """With all threads a busy machine showed hours for a sweep of minutes."""
    torch = pytest.importorskip("torch")
    from scaling.sweep.train_run import measure_rate

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rate = measure_rate(design)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert rate is not None
    assert [f for f, _ in rate.points] == sorted({f for f, _ in rate.points})
    assert all(seconds > 0 for _, seconds in rate.points)
    assert 0 < rate.startup_s < 60


def test_wall_time_packs_trunks_and_their_branches_on_slots(design: Design) -> None:
    rate = Rate(points=((1.0, 0.01),))
    one, two = rate.total_seconds(design.units, 1), rate.total_seconds(design.units, 2)
    longest = max(rate.run_seconds(r) for r in design.runs)
    steps = [u.n_steps + sum(8 / (3 * r.config["batch_sequences"]) for r in u.runs) for u in design.units]
    each = zip(design.units, steps)  # steps of training, and those that the evaluations cost
    assert one == pytest.approx(sum(rate.seconds(n, u.runs[0].flops_per_step) for u, n in each))
    assert max(longest, one / 2) <= two <= one


def test_the_branches_of_one_trunk_are_decayed_side_by_side() -> None:
    """The trunk with its longest run is the longest way; the decays of the shorter ones fit beside it."""
    spec = tiny_spec(grid={"budgets": [4e7, 8e7, 1.6e8], "sizes_per_budget": 1, "optimum_exponent": 0.0})
    (unit,) = design_sweep(spec, vocab_size=32).units
    rate = Rate(points=((unit.runs[0].flops_per_step, 1.0),))
    evaluation = 8 / (3 * unit.runs[0].config["batch_sequences"])
    assert rate.total_seconds([unit], 1) == pytest.approx(unit.n_steps + 3 * evaluation)
    assert rate.total_seconds([unit], 2) == pytest.approx(unit.runs[-1].n_steps + evaluation)


def test_a_long_evaluation_is_in_the_time_and_found() -> None:
    """A forward pass costs a third of a training step on as many windows."""
    design = design_sweep(tiny_spec(evaluation={"windows": 60_000}), vocab_size=32)
    run, rate = design.runs[0], Rate(points=((1.0, 0.01),))
    as_steps = 20_000 / run.config["batch_sequences"]
    assert rate.run_seconds(run) == pytest.approx(rate.seconds(run.n_steps + as_steps, run.flops_per_step))
    assert "long-evaluation" in {f.code for f in check_design(design)}
    assert "long-evaluation" not in {f.code for f in check_design(design_sweep(tiny_spec(), vocab_size=32))}


def train_instantly(job: Job) -> dict[str, Any]:
    return {"status": "done", "loss": 1.0, "seconds_per_step": 10.0}


def test_progress_counts_finished_runs_and_the_steps_of_running_ones(tmp_path: Path, design: Design) -> None:
    store = Store(tmp_path)
    assert look(store, design).fraction == 0.0
    add_runs(store, design)
    unit = next(u for u in design.units if len(u.runs) > 1)
    lease = store.claim(unit.runs[0].run_id)
    assert lease is not None
    training = store.run_dir(unit.runs[0].run_id) / "training"
    training.mkdir()
    (training / "metrics.jsonl").write_text(json.dumps({"step": 5}) + "\n" + '{"step": 6, "lo')
    status = look(store, design)
    assert status.done_flops == pytest.approx(5 * unit.runs[0].flops_per_step)
    store.finish(lease, {"status": "done", "loss": 2.0})
    done = unit.runs[0].n_steps * unit.runs[0].flops_per_step
    assert look(store, design).done_flops == pytest.approx(done)
    lease = store.claim(unit.runs[1].run_id)
    assert lease is not None
    store.finish(lease, {"status": "done", "loss": 1.9})
    assert look(store, design).done_flops == pytest.approx(unit.work_flops)


def test_work_that_was_stopped_counts_as_far_as_its_checkpoint(tmp_path: Path, design: Design) -> None:
    store = Store(tmp_path)
    add_runs(store, design)
    unit = next(u for u in design.units if len(u.runs) > 1)
    lease = store.claim(unit.runs[1].run_id)
    assert lease is not None
    training = store.run_dir(lease.run_id) / "training"
    training.mkdir()
    (training / "metrics.jsonl").write_text(json.dumps({"step": 7}) + "\n")
    store.release(lease, "the deadline came")
    assert look(store, design).done_flops == pytest.approx(7 * unit.runs[0].flops_per_step)
    trunk_checkpoint(store.trunks.run_dir(unit.unit_id), 9).touch()
    assert look(store, design).done_flops == pytest.approx(9 * unit.runs[0].flops_per_step)


def test_a_branch_is_free_when_its_trunk_has_come_to_it_whoever_holds_the_trunk(
    tmp_path: Path, design: Design
) -> None:
    store = Store(tmp_path)
    add_runs(store, design)
    unit = next(u for u in design.units if len(u.runs) > 1)
    queue = [item for item in work_queue(design.units) if item.units == (unit,)]
    assert [item.index for item in queue] == [None, 1, 0]  # longest first

    def free() -> list[int | None]:
        return [item.index for item in free_items(store, queue, look(store, design))]

    assert free() == [None]
    trunk = store.trunks.claim(unit.unit_id)
    assert trunk is not None
    assert free() == []
    first = unit.runs[0]
    trunk_checkpoint(store.trunks.run_dir(unit.unit_id), first.n_steps - first.decay_steps).touch()
    assert free() == [0]
    assert (steps_left(store, first), steps_left(store, unit.runs[1])) == (
        first.decay_steps,
        unit.runs[1].n_steps - (first.n_steps - first.decay_steps),
    )
    store.trunks.release(trunk, "stopped")
    assert free() == [None, 0]
    assert store.claim(first.run_id) is not None
    assert free() == [None]


def test_a_run_that_cannot_end_before_the_deadline_is_not_started(tmp_path: Path, design: Design) -> None:
    store = Store(tmp_path)
    add_runs(store, design)
    first = design.units[0].runs[0]
    lease = store.claim(first.run_id)
    assert lease is not None
    store.finish(lease, train_instantly(None))  # type: ignore[arg-type]  ten seconds a step are known now
    late = Worker(store=store, design=design, train=train_instantly, owner="w", deadline=time.monotonic() + 5)
    assert late.work() == 0
    early = Worker(store=store, design=design, train=train_instantly, owner="w")
    assert early.work() == len(design.runs) - 1


def test_while_no_time_is_known_a_deadline_takes_the_shortest_first(tmp_path: Path) -> None:
    """A sweep of runs of seconds once began with its longest trunks and finished nothing before the deadline."""
    design = design_sweep(tiny_spec(grid={"budgets": [4e7, 8e7, 1.6e8]}), vocab_size=32)
    trained: list[PlannedRun] = []

    def train(job: Job) -> dict[str, Any]:
        trained.append(job.run)
        return {"status": "done", "loss": 1.0, "seconds_per_step": 1e-3}

    for deadline in (time.monotonic() + 1000, None):
        trained.clear()
        store = Store(tmp_path / str(deadline is None))
        add_runs(store, design)
        worker = Worker(store=store, design=design, train=train, owner="w", deadline=deadline)
        assert worker.work() == len(design.runs)
        first, work = trained[0], [r.n_steps * r.flops_per_step for r in design.runs]
        assert (first.n_steps * first.flops_per_step == max(work)) == (deadline is None)
        if deadline is not None:
            assert first.n_steps == min(r.n_steps for r in design.runs if r.n_params == first.n_params)
            assert trained[1].n_steps * trained[1].flops_per_step >= sorted(work)[-2]  # times are known now


def test_a_worker_short_of_time_reads_each_result_once_and_nothing_past_its_deadline(
    tmp_path: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once read all results again for every run that it thought of."""
    from scaling.sweep import timing

    store = Store(tmp_path)
    add_runs(store, design)
    first = store.claim(design.units[0].runs[0].run_id)
    assert first is not None
    store.finish(first, {"status": "done", "loss": 1.0, "seconds_per_step": 1e4})
    read: list[str] = []
    real = timing.read_json

    def count(path: Any) -> Any:
        read.append(str(path))
        return real(path)

    monkeypatch.setattr(timing, "read_json", count)
    for left_s, n_read in ((-1.0, 0), (5e3, 1)):
        at = time.monotonic() + left_s
        worker = Worker(store=store, design=design, train=train_instantly, owner="w", deadline=at)
        assert worker.work() == 0
        assert len(read) == n_read


def test_looking_at_a_large_store_takes_a_twentieth_of_the_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scaling.sweep.run.POLL_SHARE", 0.05)
    assert pause_s(0.001, None, 0.25) == 0.25
    assert pause_s(0.1, None, 0.25) == pytest.approx(1.9)
    assert pause_s(100.0, None, 0.25) == 10.0
    assert pause_s(0.1, 1.0, 0.25) == 1.0  # the deadline comes first


@pytest.mark.parametrize(
    "trouble", [OSError(28, "No space left on device"), ModuleNotFoundError("No module named 'torch'")]
)
def test_what_ails_the_machine_leaves_the_run_free_and_ends_the_worker(
    tmp_path: Path, design: Design, trouble: Exception
) -> None:
    store = Store(tmp_path)
    add_runs(store, design)

    def fail(job: Job) -> dict[str, Any]:
        raise trouble

    worker = Worker(store=store, design=design, train=fail, owner="w")
    with pytest.raises(type(trouble), match="No "):
        worker.work()
    states = {r.state for r in store.records()}
    assert states == {"pending", "preempted"}


def test_a_worker_whose_run_was_taken_over_leaves_it_alone(tmp_path: Path, design: Design) -> None:
    store = Store(tmp_path)
    add_runs(store, design)

    def lose(job: Job) -> dict[str, Any]:
        path = job.folder / "lease-2.json"
        path.write_text('{"owner": "another"}')
        return {"status": "preempted", "reason": "SIGTERM"}

    worker = Worker(store=store, design=design, train=lose, owner="w")
    worker.work()
    assert {r.owner for r in store.records() if r.state == "running"} == {"another"}


def test_the_start_of_a_run_is_what_its_result_leaves_beside_steps_and_evaluation(design: Design) -> None:
    run = design.runs[0]
    evaluation = 8 / (3 * run.config["batch_sequences"])  # windows, forward only, in steps
    result = {"seconds_per_step": 0.5, "step": 20, "first_step": 4, "worker_s": 9.0 + 0.5 * evaluation}
    assert RunTiming.of(run, result).startup_s == pytest.approx(9.0 - 16 * 0.5)
    for unsaid in ({"first_step": None}, {"n_packed": 2}):
        other = {k: v for k, v in {**result, **unsaid}.items() if v is not None}
        assert RunTiming.of(run, other).startup_s is None


def test_predicted_times_hold_the_start_of_a_run(tmp_path: Path, design: Design) -> None:
    """A worker does not begin a run that the deadline would cut in its start-up."""
    store = Store(tmp_path)
    add_runs(store, design)
    first, other = design.runs[:2]
    lease = store.claim(first.run_id)
    assert lease is not None
    took = {
        "seconds_per_step": 1e-3,
        "step": first.n_steps,
        "first_step": 0,
        "worker_s": 100 + 1e-3 * first.n_steps,
    }
    store.finish(lease, {"status": "done", "loss": 1.0, **took})
    rate = Rate.from_store(store, design)
    assert rate is not None
    assert rate.run_seconds(other) == pytest.approx(100, rel=0.1)
    late = Worker(
        store=store, design=design, train=train_instantly, owner="w", deadline=time.monotonic() + 50
    )
    assert late.work() == 0
