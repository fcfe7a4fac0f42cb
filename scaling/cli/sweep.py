"""`scaling sweep`: design, run, watch and export many training runs."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.cli.sweep_fit import fit
from scaling.cli.sweep_import import import_
from scaling.cli.sweep_options import (
    SPEC,
    STORE,
    command_line,
    design_of,
    finished_runs,
    measured_rate,
    next_command,
    next_step,
    on_sweep,
    store_of,
)
from scaling.cli.sweep_run import TimeLeft, resume, run, verify
from scaling.errors import UsageError
from scaling.render.terminal import say, show_json, warn
from scaling.translation import tr

if TYPE_CHECKING:
    from scaling.sweep.store import Store

WATCH_S = 2.0
HEADINGS = {
    "Before": ("init", "design"),
    "Training": ("run", "resume", "retry", "show", "status"),
    "What came of it": ("fit", "verify", "index", "export", "restore"),
    "From other tools": ("import",),
}


@click.group(cls=Group, headings=HEADINGS)
def sweep() -> None:
    """Train many small models, losing nothing, and get a table of runs to fit."""


@sweep.command(epilog="Try: scaling sweep init my-sweep/sweep.toml")
@click.argument("path", metavar="FILE.toml", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(path: Path, force: bool) -> None:
    """Write a spec to edit: the five-minute sweep on a synthetic language, every key explained."""
    from scaling.sweep.spec import template

    path = path if path.suffix == ".toml" else path / "sweep.toml"
    if path.exists() and not force:
        raise UsageError(f"{path} exists; give --force to overwrite it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().parent.name).strip("-._")
    path.write_text(template(name or "sweep"))
    say(f"wrote {path}. Next:  {command_line('design', path)}")


@sweep.command(epilog="Try: scaling sweep design sweep.toml")
@SPEC
@click.option("--slots", metavar="N", type=click.IntRange(1), help="Runs at once  [default: the CPU cores].")
@click.option("--measure/--no-measure", default=True, help="Time a few steps here, for the hours.")
@output_options("runs", "cost", "doubts")
def design(spec: Path, slots: int | None, measure: bool, output: Output) -> None:
    """Show the grid, its cost in FLOPs and hours on this machine, and what is wrong with it. Trains nothing."""
    from scaling.sweep.checks import DesignReview, check_design
    from scaling.sweep.timing import usable_cores
    from scaling.sweep.train_run import check_corpus

    planned = design_of(spec)
    check_corpus(planned)
    review = DesignReview(
        design=planned,
        findings=check_design(planned),
        rate=measured_rate(planned) if measure else None,
        n_slots=slots or usable_cores(),
    )
    run_it = next_step(tr("next"), "run")
    give(output, lambda: (*review.summary(), run_it), review.to_dict, review.to_frame)


@sweep.command("show", epilog="Try: scaling sweep show sweep.toml")
@on_sweep
@output_options()
def show_runs(spec: Path, store: Store, output: Output) -> None:
    """List every run of the spec with its state and loss."""
    from scaling.sweep.progress import list_runs

    runs = list_runs(store, design_of(spec, store))
    give(output, runs.summary, runs.to_dict, runs.to_frame)


@sweep.command(epilog="Try: scaling sweep status sweep.toml")
@on_sweep
@click.option("--watch", is_flag=True, help="Refresh until everything is finished, with the time left.")
@picture_options("each planned run by what became of it")
@output_options("failures")
def status(
    spec: Path, store: Store, watch: bool, picture: Path | None, size: str, force: bool, output: Output
) -> None:
    """Count runs by state; say why runs failed and how the work goes on. --watch --json prints a line at each look.

    Given a store instead of a spec, it counts all runs there, whoever asked for them: quick at any size, from the
    index where there is one.
    """
    from scaling.sweep.figures import progress_figure
    from scaling.sweep.progress import look
    from scaling.sweep.results import indexed_states
    from scaling.sweep.store import StoreError

    refuse_picture(picture, force)
    if (spec / "runs").is_dir():
        if picture:
            raise UsageError(
                f"a store says nothing of what is planned; draw a sweep: --plot {picture} with its .toml."
            )
        _count_store(spec, output.as_json)
        return
    planned = design_of(spec, store)
    if not store.root.is_dir():
        raise StoreError(f"there is no store at {store.root}; start with:  {next_command('run')}")
    time_left, started, shown = TimeLeft(), time.monotonic(), None
    while True:
        state = look(store, planned, indexed_states(store))
        state = replace(state, seconds_left=time_left.seconds(state.fraction, time.monotonic() - started))
        steps = [next_step(tr("try them again:"), "retry")] if state.n_failed else []
        if state.n_open and "running" not in state.counts:
            steps.append(next_step(tr("nothing runs; go on with:"), "run"))
        told = state.counts, state.fraction, state.seconds_left, state.reasons
        if watch and output.as_json:
            show_json(state.to_dict(), one_line=True)
        elif told != shown:
            blocks = *state.summary(), *steps
            give(output, partial(tuple, blocks), state.to_dict, state.to_frame)
        if picture and told != shown:  # with --watch drawn anew at each change, told once
            write_picture((progress_figure(state, planned),), picture, size, silent=shown is not None)
        shown = told
        if not watch or not state.n_open:
            return
        time.sleep(WATCH_S)


def _count_store(folder: Path, as_json: bool) -> None:
    from scaling.sweep.results import count_states
    from scaling.sweep.store import Store

    counts = count_states(Store(folder))
    n = sum(counts.values())
    if as_json:
        show_json({"kind": "store_status", "n_runs": n, "states": counts})
        return
    listed = ", ".join(f"{n:,} {state}" for state, n in sorted(counts.items())) or tr("none")
    say(tr("{n:,} runs in {folder}: {listed}", n=n, folder=folder, listed=listed))


@sweep.command(epilog="Try: scaling sweep retry sweep.toml")
@on_sweep
def retry(spec: Path, store: Store) -> None:
    """Free the runs that failed or ran out of memory, so that the next `run` tries them again."""
    planned = design_of(spec, store)
    broken = [i for r in planned.runs if (i := store.inspect(r.run_id)).is_broken]
    for record in broken:
        warn(f"{record.run_id} cannot be freed: {(record.failure or {})['reason']}")
    freed = store.free_failed(run.run_id for run in planned.runs)
    if freed:
        say(f"{len(freed)} runs are free again. Go on with:  {next_command('run')}")
    elif not broken:
        say(f"no run has failed in {store.root}; nothing to free.")


@sweep.command(epilog="Try: scaling sweep index store")
@click.argument("store", metavar="STORE", type=click.Path(path_type=Path))
def index(store: Path) -> None:
    """Write STORE/runs.csv and runs.parquet from the runs of a store (or of the store in a sweep's folder)."""
    from scaling.sweep.results import write_index
    from scaling.sweep.store import Store, StoreError

    place = store if (store / "runs").is_dir() else store / "store"
    if not (place / "runs").is_dir():
        raise StoreError(
            f"there is no store at {store}; `scaling sweep run SPEC` makes one, beside the spec."
        )
    for path in write_index(Store(place)).values():
        say(str(path))


@sweep.command(epilog="Try: scaling sweep export sweep.toml -o recorded")
@on_sweep
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write into.",
)
def export(spec: Path, store: Store, output: Path) -> None:
    """Write what one commits or sends: results/<run>.json and runs.csv, without checkpoints."""
    from scaling.sweep.recorded import PROOF_FOLDER, export_results

    planned = design_of(spec, store)
    known = {r.run_id for r in planned.runs}
    done = export_results(store, finished_runs(planned, store), known, output, name=planned.spec.name)
    proof = f", {done.n_proof} of its proof in results/{PROOF_FOLDER}" if done.n_proof else ""
    again = shlex.join(["scaling", "fit", str(done.table), "--method", "isoflop"])
    say(f"wrote {done.n_results} results{proof} and {done.table}. Fit them:  {again}")
    if others := [p for p in (output / "results").glob("*.json") if p.stem not in known]:
        say(
            f"warning: {len(others)} more files in {output / 'results'} belong to no run of this spec (an older one?), "
            f"{others[0].name} for one; `{command_line('restore', output)}` would bring them back.",
            error=True,
        )


@sweep.command(epilog="Try: scaling sweep restore sweeps/quickstart")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@STORE
def restore(folder: Path, store: Path | None) -> None:
    """Put exported results (FOLDER/results) back into a store, to extend a recorded sweep."""
    from scaling.sweep.recorded import import_results
    from scaling.sweep.store import StoreError

    if not (folder / "results").is_dir():
        raise StoreError(f"there is no folder {folder / 'results'}; `scaling sweep export` writes one.")
    target = store_of(folder, store)
    done = import_results(target, folder)
    proof = f" and {done.n_proof} of its proof" if done.n_proof else ""
    say(f"put {done.n_results} results{proof} into {target.root}")


for command in (run, resume, fit, verify, import_):
    sweep.add_command(command)
