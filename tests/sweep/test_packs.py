"""Packing: runs of one shape trained as one stacked model give the results of single runs, whatever dies on the way."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from running import ForkExecutor, run_inline
from tiny_sweeps import tiny_spec

from scaling.sweep.design import Design, design_sweep, with_budgets, write_plan
from scaling.sweep.executors import InlineExecutor, WorkerCommand
from scaling.sweep.progress import Status
from scaling.sweep.queue import pack_units
from scaling.sweep.run import Supervisor
from scaling.sweep.store import Store
from scaling.sweep.train_run import Job

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")

ROUNDING = 2e-4  # nats: float32 sums in another order over some hundred steps; seeds differ by 0.01 and more
BUDGETS = [4e7, 8e7]
MEASURED_ANEW = {"first_step", "worker_s", "wall_s", "seconds_per_step", "tokens_per_s", "mfu", "n_packed"}


@pytest.fixture(autouse=True)
def stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs are stacked as on a GPU; on a CPU their members would take turns, which is quicker there."""
    from scaling.sweep import train_run

    options = train_run._options
    monkeypatch.setattr(
        train_run, "_options", lambda *a, **k: dataclasses.replace(options(*a, **k), stack=True)
    )


def make_design(kind: str = "wsd") -> Design:
    """Two sizes a budget; the middle one with four seeds."""
    spec = tiny_spec(
        grid={"budgets": BUDGETS, "sizes_per_budget": 2},
        seeds={"replicates": 4, "replicate_budgets": BUDGETS},
        schedule={"kind": kind, "warmup_steps": 2},
    )
    return design_sweep(spec, vocab_size=32)


def run_packed(store: Store, design: Design, pack: int = 4) -> Status:
    plan = write_plan(store, design)
    command = WorkerCommand(store=store.root, plan=plan, lease_timeout_s=60, pack=pack)
    executor = InlineExecutor(command=command)
    return (
        Supervisor(store=store, design=design, executor=executor, n_slots=1, pack=pack, poll_s=0.01)
        .run()
        .status
    )


def results(store: Store, design: Design) -> dict[str, dict[str, Any]]:
    return {r.run_id: json.loads((store.run_dir(r.run_id) / "result.json").read_text()) for r in design.runs}


def assert_equal_up_to_rounding(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Every field of every result; the clocks, and where the last worker took over, left out."""
    assert found.keys() == expected.keys()
    for run_id, result in found.items():
        alone = expected[run_id]
        assert set(result) - {"n_packed"} == set(alone)
        for name in set(alone) - MEASURED_ANEW:
            if isinstance(alone[name], float):
                assert result[name] == pytest.approx(alone[name], abs=ROUNDING), f"{run_id} {name}"
            else:
                assert result[name] == alone[name], f"{run_id} {name}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Design, dict[str, dict[str, Any]]]:
    """Every run on its own."""
    design, store = make_design(), Store(tmp_path_factory.mktemp("alone"))
    run_inline(store, design)
    return design, results(store, design)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_pack_holds_units_that_differ_in_seeds_only_and_none_is_lost(size: int) -> None:
    design = make_design()
    packs = pack_units(design.units, size)
    assert sorted(u.unit_id for pack in packs for u in pack) == sorted(u.unit_id for u in design.units)
    for pack in packs:
        assert len(pack) <= size
        assert len({json.dumps(dict(r.config["architecture"])) for u in pack for r in u.runs}) == 1
        assert len({tuple(r.n_steps for r in u.runs) for u in pack}) == 1
    works = [pack[0].work_flops for pack in packs]
    assert works == sorted(works, reverse=True)
    assert max(map(len, packs)) == min(size, 4)


def test_units_of_a_shape_that_cannot_be_stacked_stay_alone() -> None:
    spec = tiny_spec(
        seeds={"replicates": 3, "replicate_budgets": BUDGETS},
        shape={"d_head": 4, "n_layers": 1, "architecture": {"positions": "relative_bias"}},
    )
    design = design_sweep(spec, vocab_size=32)
    assert {len(p) for p in pack_units(design.units, 8)} == {1}


def test_packed_runs_give_the_result_files_of_single_runs(
    tmp_path: Path, alone: tuple[Design, dict[str, dict[str, Any]]]
) -> None:
    design, expected = alone
    store = Store(tmp_path)
    status = run_packed(store, design)
    assert status.counts == {"done": len(design.runs)}
    found = results(store, design)
    # of one size all four seeds; of the other seeds 1 to 3, since seed 0 has a run at the other budget too
    assert Counter(r.get("n_packed") for r in found.values()) == {4: 4, 3: 3, None: 3}
    assert_equal_up_to_rounding(found, expected)
    assert all(store.record(r.run_id).attempts == 1 for r in design.runs)


def test_packed_runs_that_are_not_stacked_equal_single_runs_bit_for_bit(
    tmp_path: Path, alone: tuple[Design, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import train_run

    options = train_run._options
    monkeypatch.setattr(
        train_run, "_options", lambda *a, **k: dataclasses.replace(options(*a, **k), stack=False)
    )
    design, expected = alone
    store = Store(tmp_path)
    run_packed(store, design)
    found = results(store, design)
    assert Counter(r.get("n_packed") for r in found.values()) == {4: 4, 3: 3, None: 3}
    assert {i: r["loss"] for i, r in found.items()} == {i: r["loss"] for i, r in expected.items()}


def test_runs_without_trunks_are_packed_too(tmp_path: Path) -> None:
    design = make_design("cosine")
    run_inline(Store(tmp_path / "alone"), design)
    run_packed(Store(tmp_path / "packed"), design)
    found = results(Store(tmp_path / "packed"), design)
    assert any(r.get("n_packed") == 4 for r in found.values())
    assert_equal_up_to_rounding(found, results(Store(tmp_path / "alone"), design))


@pytest.mark.slow
def test_kills_cost_a_packed_sweep_nothing(
    tmp_path: Path, alone: tuple[Design, dict[str, dict[str, Any]]]
) -> None:
    design, expected = alone
    rng = random.Random(1)
    n_kills = n_sweeps = 0
    while n_kills < 15:
        store, next_kill = Store(tmp_path / str(n_sweeps)), [time.monotonic()]
        executor = ForkExecutor(store, design, pack=3)

        def kill(
            status: Status,
            elapsed_s: float,
            executor: ForkExecutor = executor,
            next_kill: list[float] = next_kill,
        ) -> None:
            nonlocal n_kills
            alive = [p for p in executor.processes.values() if p.is_alive()]
            if n_kills < 15 and alive and time.monotonic() > next_kill[0]:
                rng.choice(alive).kill()
                n_kills += 1
                next_kill[0] = time.monotonic() + rng.uniform(0.1, 0.8)

        supervisor = Supervisor(
            store=store, design=design, executor=executor, n_slots=2, pack=3, poll_s=0.01, on_progress=kill,
            deaths_of_one_run=10_000,
        )  # fmt: skip
        assert supervisor.run().status.counts == {"done": len(design.runs)}
        assert_equal_up_to_rounding(results(store, design), expected)
        n_sweeps += 1


def test_a_run_that_fails_takes_none_of_its_pack_with_it(
    tmp_path: Path, alone: tuple[Design, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import worker

    design, expected = alone
    pack = max(pack_units(design.units, 4), key=len)
    bad = pack[0].runs[0].run_id
    train, train_pack = worker.train_job, worker.train_pack

    def fail(job: Job) -> dict[str, Any]:
        if job.run.run_id == bad:
            raise ValueError("planted")
        return train(job)

    def fail_together(jobs: Sequence[Job]) -> list[dict[str, Any]]:
        if any(job.run.run_id == bad for job in jobs):
            raise ValueError("planted")
        return train_pack(jobs)

    monkeypatch.setattr(worker, "train_job", fail)
    monkeypatch.setattr(worker, "train_pack", fail_together)
    store = Store(tmp_path)
    status = run_packed(store, design)
    assert status.counts == {"done": len(design.runs) - 1, "failed": 1}
    assert (store.record(bad).failure or {})["reason"] == "ValueError: planted"
    monkeypatch.undo()
    store.free_failed([bad])
    run_packed(store, design)
    assert_equal_up_to_rounding(results(store, design), expected)


def test_a_pack_that_does_not_fit_is_trained_one_by_one(
    tmp_path: Path, alone: tuple[Design, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import worker

    design, expected = alone
    monkeypatch.setattr(
        worker, "train_pack", lambda jobs: [{"status": "oom", "reason": "small"} for _ in jobs]
    )
    store = Store(tmp_path)
    assert run_packed(store, design).counts == {"done": len(design.runs)}
    assert results(store, design) != {}
    assert_equal_up_to_rounding(results(store, design), expected)


def test_runs_at_different_steps_are_packed_with_those_at_their_own(
    tmp_path: Path, alone: tuple[Design, dict[str, dict[str, Any]]]
) -> None:
    """One budget was trained before, so that some trunks are further on than others when the pack is made."""
    design, expected = alone
    store = Store(tmp_path)
    run_packed(store, design_sweep(with_budgets(design.spec, BUDGETS[:1]), vocab_size=32))
    victim = max(pack_units(design.units, 4), key=len)[0]
    for path in store.trunks.run_dir(victim.unit_id).glob("step-*"):
        path.unlink()
    run_packed(store, design)
    assert_equal_up_to_rounding(results(store, design), expected)
