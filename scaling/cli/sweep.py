"""`scaling sweep`: design, run, watch and export many training runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from scaling.cli.output import print_json, warn
from scaling.cli.sweep_fit import fit
from scaling.cli.sweep_hints import command_line, typed
from scaling.cli.sweep_import import import_
from scaling.cli.sweep_options import SPEC, STORE
from scaling.cli.sweep_run import resume, run
from scaling.cli.sweep_store import design_of, finished_runs, measured_rate, store_of
from scaling.cli.sweep_verify import verify
from scaling.errors import MissingFileError, UsageError

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
WATCH_S = 2.0


@click.group()
def sweep() -> None:
    """Train many small models, losing nothing, and get a table of runs to fit."""


@sweep.command(epilog="Try: scaling sweep init my-sweep/sweep.toml")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(path: Path, force: bool) -> None:
    """Write a spec to edit: the five-minute sweep on a synthetic language, every key explained."""
    from scaling.sweep.template import TEMPLATE

    path = path if path.suffix == ".toml" else path / "sweep.toml"
    if path.exists() and not force:
        raise UsageError(f"{path} exists; give --force to overwrite it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().parent.name).strip("-._")
    path.write_text(TEMPLATE.format(name=name or "sweep"))
    click.echo(f"wrote {path}. Next:  {command_line('design', path)}")


@sweep.command(epilog="Try: scaling sweep design sweep.toml")
@SPEC
@click.option("--slots", type=click.IntRange(1), help="Runs at once  [default: the CPU cores].")
@click.option("--measure/--no-measure", default=True, help="Time a few steps here, for the hours.")
@JSON
def design(spec: Path, slots: int | None, measure: bool, as_json: bool) -> None:
    """Show the grid, its cost in FLOPs and hours on this machine, and what is wrong with it. Trains nothing."""
    from scaling.cli.sweep_text import design_to_dict, print_design
    from scaling.sweep.checks import check_design
    from scaling.sweep.timing import usable_cores
    from scaling.sweep.worker import check_corpus

    planned = design_of(spec)
    n_slots = slots or usable_cores()
    check_corpus(planned)
    rate = measured_rate(planned) if measure else None
    findings = check_design(planned)
    if as_json:
        print_json(design_to_dict(planned, findings, rate, n_slots))
    else:
        print_design(planned, findings, rate, n_slots)


@sweep.command(epilog="Try: scaling sweep show sweep.toml")
@SPEC
@STORE
@JSON
def show(spec: Path, store: Path | None, as_json: bool) -> None:
    """List every run of the spec with its state and loss."""
    from scaling.cli.sweep_text import print_runs, runs_to_list
    from scaling.sweep.progress import look

    kept = store_of(spec, store)
    planned = design_of(spec, kept)
    rows = runs_to_list(planned, kept, look(kept, planned))
    if as_json:
        print_json({"kind": "sweep_runs", "name": planned.spec.name, "store": str(kept.root), "runs": rows})
    else:
        print_runs(rows)


@sweep.command(epilog="Try: scaling sweep status sweep.toml")
@SPEC
@STORE
@click.option("--watch", is_flag=True, help="Refresh until everything is finished, with the time left.")
@JSON
def status(spec: Path, store: Path | None, watch: bool, as_json: bool) -> None:
    """Count runs by state; say why runs failed and how the work goes on. --watch --json prints a line at each look.

    Given a store instead of a spec, it counts all runs there, whoever asked for them: quick at any size, from the
    index where there is one.
    """
    import time

    if (spec / "runs").is_dir():
        _count_store(spec, as_json)
        return
    from scaling.cli.sweep_progress import TimeLeft
    from scaling.cli.sweep_text import status_lines, status_to_dict
    from scaling.sweep.progress import look
    from scaling.sweep.results import indexed_states

    kept = store_of(spec, store)
    planned = design_of(spec, kept)
    if not kept.root.is_dir():
        raise MissingFileError(f"there is no store at {kept.root}; start with:  {typed('run')}")
    time_left, started, shown = TimeLeft(), time.monotonic(), None
    while True:
        found = look(kept, planned, indexed_states(kept))
        seconds = time_left.seconds(found.fraction, time.monotonic() - started)
        if as_json:
            print_json(status_to_dict(found, kept, planned, seconds), one_line=watch)
        elif (lines := status_lines(found, kept, planned, seconds)) != shown:
            for line in lines:
                click.echo(line)
            shown = lines
        if not watch or not found.n_open:
            return
        time.sleep(WATCH_S)


def _count_store(folder: Path, as_json: bool) -> None:
    from scaling.sweep.results import count_states
    from scaling.sweep.store import Store

    counts = count_states(Store(folder))
    if as_json:
        print_json({"kind": "store_status", "n_runs": sum(counts.values()), "states": counts})
        return
    listed = ", ".join(f"{n:,} {state}" for state, n in sorted(counts.items()))
    click.echo(f"{sum(counts.values()):,} runs in {folder}: {listed or 'none'}")


@sweep.command(epilog="Try: scaling sweep retry sweep.toml")
@SPEC
@STORE
def retry(spec: Path, store: Path | None) -> None:
    """Free the runs that failed or ran out of memory, so that the next `run` tries them again."""
    kept = store_of(spec, store)
    planned = design_of(spec, kept)
    broken = [i for r in planned.runs if (i := kept.inspect(r.run_id)).is_broken]
    for record in broken:
        warn(f"{record.run_id} cannot be freed: {(record.failure or {})['reason']}")
    freed = kept.free_failed(run.run_id for run in planned.runs)
    if freed:
        click.echo(f"{len(freed)} runs are free again. Go on with:  {typed('run')}")
    elif not broken:
        click.echo(f"no run has failed in {kept.root}; nothing to free.")


@sweep.command(epilog="Try: scaling sweep index store")
@click.argument("store", type=click.Path(path_type=Path))
def index(store: Path) -> None:
    """Write STORE/runs.csv and runs.parquet from the runs of a store (or of the store in a sweep's folder)."""
    from scaling.sweep.results import write_index
    from scaling.sweep.store import Store

    place = store if (store / "runs").is_dir() else store / "store"
    if not (place / "runs").is_dir():
        raise MissingFileError(
            f"there is no store at {store}; `scaling sweep run SPEC` makes one, beside the spec."
        )
    for path in write_index(Store(place)).values():
        click.echo(str(path))


@sweep.command(epilog="Try: scaling sweep export sweep.toml -o recorded")
@SPEC
@STORE
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
def export(spec: Path, store: Path | None, output: Path) -> None:
    """Write what one commits or sends: results/<run>.json and runs.csv, without checkpoints."""
    from scaling.sweep.recorded import PROOF_FOLDER, export_results

    kept = store_of(spec, store)
    planned = design_of(spec, kept)
    known = {r.run_id for r in planned.runs}
    done = export_results(kept, finished_runs(planned, kept), known, output, name=planned.spec.name)
    proof = f", {done.n_proof} of its proof in results/{PROOF_FOLDER}" if done.n_proof else ""
    again = shlex.join(["scaling", "fit", str(done.table), "--method", "isoflop"])
    click.echo(f"wrote {done.n_results} results{proof} and {done.table}. Fit them:  {again}")
    if others := [p for p in (output / "results").glob("*.json") if p.stem not in known]:
        click.echo(
            f"warning: {len(others)} more files in {output / 'results'} belong to no run of this spec (an older one?), "
            f"{others[0].name} for one; `{command_line('restore', output)}` would bring them back.",
            err=True,
        )


@sweep.command(epilog="Try: scaling sweep restore sweeps/quickstart")
@click.argument("folder", type=click.Path(path_type=Path))
@STORE
def restore(folder: Path, store: Path | None) -> None:
    """Put exported results (FOLDER/results) back into a store, to extend a recorded sweep."""
    from scaling.sweep.recorded import import_results

    if not (folder / "results").is_dir():
        raise MissingFileError(f"there is no folder {folder / 'results'}; `scaling sweep export` writes one.")
    kept = store_of(folder, store)
    done = import_results(kept, folder)
    proof = f" and {done.n_proof} of its proof" if done.n_proof else ""
    click.echo(f"put {done.n_results} results{proof} into {kept.root}")


for command in (run, resume, fit, verify, import_):
    sweep.add_command(command)
