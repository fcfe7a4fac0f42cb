"""What shared trunks save: one grid under WSD and under a cosine of every run's own length, both trained and fitted.

    python benchmarks/wsd_cost.py                            # the quick start: some 15 minutes of one core
    python benchmarks/wsd_cost.py path/to/sweep.toml --store out/wsd-cost --slots 2

The cosine twin is the same spec with kind = "cosine": the same sizes, budgets, recipe and seeds. FLOPs are those
executed. Stop and go on at will: finished runs are kept in the store.
"""

from __future__ import annotations

import argparse
import resource
from dataclasses import replace
from pathlib import Path

from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.surface.fit import fit_parametric
from scaling.sweep.design import Design, design_sweep, write_plan
from scaling.sweep.executors import LocalExecutor, WorkerCommand
from scaling.sweep.results import load_store_runs
from scaling.sweep.run import Supervisor
from scaling.sweep.spec import SweepSpec, load_sweep
from scaling.sweep.store import Store
from scaling.sweep.train_run import describe_corpus

QUICKSTART = Path(__file__).resolve().parents[1] / "sweeps" / "quickstart"


def twins(spec: SweepSpec) -> dict[str, Design]:
    vocab_size, unique = describe_corpus(spec.corpus.name)
    return {
        kind: design_sweep(
            replace(spec, schedule=replace(spec.schedule, kind=kind)),
            vocab_size=vocab_size,
            n_tokens_unique=unique,
        )
        for kind in ("wsd", "cosine")
    }


def train(design: Design, store: Store, n_slots: int) -> float:
    """CPU seconds of all workers, start-up included (of what the store lacked)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = WorkerCommand(store=store.root, plan=write_plan(store, design), lease_timeout_s=60)
    executor = LocalExecutor(command=command)
    Supervisor(store=store, design=design, executor=executor, n_slots=n_slots).run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row(kind: str, design: Design, store: Store, cpu_s: float) -> str:
    """One line of the table: cost, the exponent by both approaches, the loss of the best run at the largest budget."""
    runs = load_store_runs(store, run_ids=[r.run_id for r in design.runs])
    exponents = [fit_isoflop(runs).params_exponent, fit_parametric(runs).params_exponent]
    cells = []
    for e in exponents:
        interval = "" if e.interval is None else f" ({e.interval.low:.2f} to {e.interval.high:.2f})"
        cells.append(f"{e.value:.3f}{interval}")
    assert runs.budget is not None
    best = runs.loss[runs.budget == runs.budget.max()].min()
    return f"| {kind} | {len(design.runs)} | {design.work_flops:.3g} | {cpu_s:.0f} | {' | '.join(cells)} | {best:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path, nargs="?", default=QUICKSTART)
    parser.add_argument("--store", type=Path, default=Path("out/wsd-cost"))
    parser.add_argument("--slots", type=int, default=2)
    a = parser.parse_args()
    designs = twins(load_sweep(a.spec))
    rows = []
    for kind, design in designs.items():
        store = Store(a.store.resolve() / kind)
        rows.append(row(kind, design, store, train(design, store, a.slots)))
    print(
        "| schedule | runs | FLOPs executed | CPU s | a, Approach 2 (95 %) | a, Approach 3 (95 %) | best loss |"
    )
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"WSD over cosine: {designs['wsd'].work_flops / designs['cosine'].work_flops:.3f} of the FLOPs")


if __name__ == "__main__":
    main()
