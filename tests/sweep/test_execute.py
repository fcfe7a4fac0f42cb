"""Running sweeps: the same result undisturbed, killed 50 times, two at once, extended, exported and taken back."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path

import pytest
from running import ForkExecutor, losses, n_calls, plan, run_forked, run_inline
from tiny_sweeps import tiny_spec

from scaling.sweep.design import Design, with_budgets
from scaling.sweep.progress import look
from scaling.sweep.recorded import export_results, import_results
from scaling.sweep.results import count_states, load_store_runs, write_index
from scaling.sweep.run import Report, Supervisor
from scaling.sweep.store import Store

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")


@pytest.mark.slow
def test_fifty_kills_change_no_loss_by_one_bit(tmp_path: Path) -> None:
    """One sweep, four workers, each of them killed after a random part of the work until fifty have been.

    No life is longer than a fiftieth of the calls that the undisturbed sweep takes: the fiftieth worker finds work to
    do on a machine of any speed.
    """
    design = plan(tiny_spec(grid={"budgets": [4e7, 8e7, 1.6e8, 3.2e8, 6.4e8], "sizes_per_budget": 4}))
    calm, store = Store(tmp_path / "calm"), Store(tmp_path / "killed")
    longest_life = n_calls(lambda: run_inline(calm, design)) // 50
    rng = random.Random(0)
    executor = ForkExecutor(
        store, design, life=lambda n_killed: rng.randint(1, longest_life) if n_killed < 50 else None
    )
    report = run_forked(store, design, executor=executor, deaths_of_one_run=10_000)
    assert executor.n_killed >= 50  # and up to three more, alive when the fiftieth died
    assert report.status.counts == {"done": len(design.runs)}
    assert losses(store, design) == losses(calm, design)
    assert sorted(store.run_ids()) == sorted(r.run_id for r in design.runs)


def test_a_sweep_says_when_all_it_lacks_is_held_by_somebody_else(tmp_path: Path) -> None:
    """After a full disk a dead worker's lease lingers: the command once waited without a word."""
    design, store = plan(tiny_spec()), Store(tmp_path, lease_timeout_s=0.5)
    run_inline(store, design)
    last = design.runs[0].run_id
    (store.run_dir(last) / "result.json").unlink()
    os.utime(store.run_dir(last) / "lease-1.json")  # as if its worker had died just now
    seen: list[bool] = []
    executor = ForkExecutor(store, design)
    supervisor = Supervisor(
        store=store, design=design, executor=executor, n_slots=1, poll_s=0.01,
        on_progress=lambda status, _: seen.append(status.is_waiting),
    )  # fmt: skip
    assert supervisor.run().status.counts == {"done": len(design.runs)}
    assert seen[0]
    assert not seen[-1]


def test_a_design_without_trunks_gives_the_same_losses_as_with_them(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """Each branch trained from scratch, its trunk deleted, equals the branch that started from the trunk."""
    design, expected = undisturbed
    longest = max(design.runs, key=lambda r: r.n_steps)
    alone = plan(with_budgets(design.spec, [longest.budget]))
    store = Store(tmp_path)
    run_inline(store, alone)
    assert losses(store, alone) == {r.run_id: expected[r.run_id] for r in alone.runs}


def test_two_sweeps_on_one_store_do_nothing_twice(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    reports: list[Report] = []
    threads = [
        threading.Thread(target=lambda: reports.append(run_forked(store, design, n_slots=2)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.status.counts for r in reports] == [{"done": len(design.runs)}] * 2
    assert losses(store, design) == expected
    assert all(store.record(r.run_id).attempts == 1 for r in design.runs)


def test_adding_a_budget_reuses_every_finished_run(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    smaller = plan(with_budgets(design.spec, design.spec.grid.budgets[:2]))
    run_inline(store, smaller)
    before = {r.run_id: (store.run_dir(r.run_id) / "result.json").stat().st_mtime_ns for r in smaller.runs}
    run_inline(store, design)
    assert losses(store, design) == expected
    after = {i: (store.run_dir(i) / "result.json").stat().st_mtime_ns for i in before}
    assert after == before


def test_a_spec_edited_mid_way_leaves_the_sweep_under_way_alone_and_shares_its_runs(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """While the small sweep runs, a budget is added and the larger one started beside it on the same store."""
    design, expected = undisturbed
    store = Store(tmp_path)
    smaller = plan(with_budgets(design.spec, design.spec.grid.budgets[:2]))
    larger: list[Report] = []
    edited = threading.Thread(target=lambda: larger.append(run_forked(store, design, n_slots=2)))

    def edit(executor: ForkExecutor) -> None:
        if not edited.ident and look(store, smaller).counts.get("running"):
            edited.start()

    first = run_forked(store, smaller, n_slots=2, on_progress=edit)
    edited.join()
    assert first.status.counts == {"done": len(smaller.runs)}
    assert larger[0].status.counts == {"done": len(design.runs)}
    assert losses(store, design) == expected
    assert all(store.record(r.run_id).attempts == 1 for r in smaller.runs)


def test_results_can_be_exported_and_taken_back(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path / "store")
    run_inline(store, design)
    table, n = load_store_runs(store, run_ids=list(expected)), len(design.runs)
    recorded = export_results(store, table, expected, tmp_path / "recorded", name="tiny")
    assert (recorded.n_results, recorded.n_proof) == (n, 0)
    again = Store(tmp_path / "again")
    again.root.mkdir()
    assert import_results(again, tmp_path / "recorded").n_results == n
    assert losses(again, design) == expected
    first, second = load_store_runs(store), load_store_runs(again)
    assert first.run_id == second.run_id
    assert (first.loss == second.loss).all()
    assert first.convention.flops == "6ND"
    assert len(set(first.trunk_id or ())) < len(first)
    assert (tmp_path / "recorded" / "runs.csv").read_text().startswith("run_id,n_params")
    # a result that was moved away is not done, whatever the index says
    write_index(again)
    first_id = design.runs[0].run_id
    (again.run_dir(first_id) / "result.json").unlink()
    assert count_states(again)["done"] == n - 1


def test_a_sweep_is_followed_live_where_its_spec_says_so(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """What TensorBoard has recorded is the table of the sweep, and no run is another for it."""
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    from dataclasses import replace

    from scaling.sweep.importers import from_tensorboard

    design, expected = undisturbed
    store = Store(tmp_path)
    run_inline(store, replace(design, spec=replace(design.spec, log=("tensorboard",))))
    assert losses(store, design) == expected
    logged = from_tensorboard(
        tmp_path / "tensorboard", loss_tag="eval/loss", n_params="n_params", params_convention="total",
        n_tokens="n_tokens", n_steps="n_steps",
    )  # fmt: skip
    table = load_store_runs(store)
    assert dict(zip(logged.run_id, logged.loss)) == pytest.approx(expected, rel=1e-6)  # float32
    assert dict(zip(logged.run_id, logged.n_tokens)) == dict(zip(table.run_id, table.n_tokens))
    assert dict(zip(logged.run_id, logged.n_params)) == dict(zip(table.run_id, table.n_params))


def test_the_branches_of_a_trunk_are_decayed_by_others_while_it_goes_on(tmp_path: Path) -> None:
    grid = {
        "budgets": [2e8, 4e8, 1.6e9],
        "sizes_per_budget": 1,
        "optimum_flops": 2e8,
        "optimum_exponent": 0.0,
    }
    design = plan(tiny_spec(grid=grid))
    (unit,) = design.units
    alone, shared = Store(tmp_path / "alone"), Store(tmp_path / "shared")
    run_inline(alone, design)
    run_forked(shared, design, n_slots=2)
    assert losses(shared, design) == losses(alone, design)
    leases = [shared.run_dir(run.run_id) / "lease-1.json" for run in unit.runs]
    owners = [json.loads(lease.read_text())["owner"] for lease in leases]
    assert owners[2] not in owners[:2]
    first, _, longest = ((shared.run_dir(run.run_id) / "result.json").stat().st_mtime for run in unit.runs)
    assert first < longest
    assert all(shared.record(run.run_id).attempts == 1 for run in unit.runs)
