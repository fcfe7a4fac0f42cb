"""`scaling sweep run` and `resume`: train what the spec asks for and the store lacks."""

from __future__ import annotations

import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from scaling.cli.output import note
from scaling.cli.sweep_progress import (
    EXECUTORS,
    EXIT_INTERRUPTED,
    ProgressLine,
    executor_of,
    interrupted_by_sigterm,
    require_torch,
    typed_again,
)
from scaling.errors import UsageError

EXIT_SOME_FAILED = 4
LEAST_LEASE_TIMEOUT_S = 4.0


def run_options(command: Any) -> Any:
    """The arguments of `run`, which `resume` shares."""
    options = [
        click.argument("spec", type=click.Path(path_type=Path)),
        click.option(
            "--store",
            type=click.Path(path_type=Path),
            help="Folder of the runs  [default: store, beside the spec].",
        ),
        click.option("--executor", type=click.Choice(EXECUTORS), default="local", show_default=True),
        click.option(
            "--slots",
            type=click.IntRange(1),
            help="Workers at once  [default: the CPU cores, or 4 a GPU; 4 for slurm; what a Ray cluster holds].",
        ),
        click.option(
            "--gpus-per-slot",
            type=click.FloatRange(0),
            help="0.25: four workers share a GPU; 0: none  [default: 0.25 local, 1 ray, 0 slurm].",
        ),
        click.option(
            "--pack",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Runs of one shape and length that a worker trains as one stacked model, to fill a GPU.",
        ),
        click.option("--deadline", metavar="TIME", help="Start nothing that cannot end by then: 25min, 2h."),
        click.option("--partition", help="Slurm partition."),
        click.option(
            "--lease-timeout", default="60s", show_default=True, help="Silence after which a worker is dead."
        ),
        click.option(
            "--log",
            "logs",
            multiple=True,
            type=click.Choice(["tensorboard", "wandb", "mlflow"]),
            help="Follow the runs live there too, in the store; may be repeated  [default: log of the spec].",
        ),
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog="Try: scaling sweep run sweep.toml")
@run_options
def run(spec: Path, store: Path | None, **options: Any) -> int:
    """Train everything the spec asks for and the store lacks. Run it again to go on after any interruption."""
    return run_sweep(spec, store, **options)


@click.command(epilog="Try: scaling sweep resume sweep.toml")
@run_options
def resume(spec: Path, store: Path | None, **options: Any) -> int:
    """Go on with a sweep: another name for `run`, which never repeats what is done."""
    return run_sweep(spec, store, **options)


def run_sweep(
    spec: Path,
    store: Path | None,
    *,
    executor: str,
    slots: int | None,
    gpus_per_slot: float | None,
    pack: int,
    deadline: str | None,
    partition: str | None,
    lease_timeout: str,
    logs: tuple[str, ...],
    quiet: bool,
) -> int:
    """Check, run, report."""
    from scaling.cli.sweep import design_of, store_of
    from scaling.sweep.checks import check_design
    from scaling.sweep.execute import Supervisor
    from scaling.sweep.store import Store
    from scaling.units import parse_duration

    require_torch(executor)
    deadline_s = None if deadline is None else parse_duration(deadline)
    lease_timeout_s = parse_duration(lease_timeout)
    if lease_timeout_s < LEAST_LEASE_TIMEOUT_S:
        raise UsageError(
            f"--lease-timeout must be at least {LEAST_LEASE_TIMEOUT_S:g} s, got {lease_timeout}: workers say that they "
            "are alive four times in it."
        )
    planned = design_of(spec)
    if logs:
        planned = replace(planned, spec=replace(planned.spec, log=logs))
    for tool in planned.spec.log:
        if find_spec(tool) is None:
            extra = "logs" if tool == "tensorboard" else tool
            note(
                f"{tool} is not installed here: runs go on without it. pip install 'isoflop[{extra}]' brings it."
            )
    for finding in check_design(planned):
        if finding.severity != "note" and not quiet:
            note(f"{finding.code}: {finding.message}")
    kept = Store(store_of(spec, store).root, lease_timeout_s=lease_timeout_s)
    line = ProgressLine(enabled=not quiet, design=planned)
    chosen = executor_of(executor, kept, planned, partition=partition, gpus_per_slot=gpus_per_slot, pack=pack)
    supervisor = Supervisor(
        store=kept,
        design=planned,
        executor=chosen,
        n_slots=slots or chosen.default_slots(),
        deadline_s=deadline_s,
        on_progress=line.show,
        pack=pack,
    )
    again = typed_again()
    try:
        with interrupted_by_sigterm():
            report = supervisor.run()
    except KeyboardInterrupt:
        line.close()
        click.echo(f"interrupted; every run has kept its last checkpoint. Go on with:  {again}", err=True)
        return EXIT_INTERRUPTED
    line.close()
    return _conclude(report, kept, planned, spec, again)


def _conclude(report: Any, kept: Any, planned: Any, spec: Path, again: str) -> int:
    from scaling.cli.sweep_text import print_report
    from scaling.sweep.results import load_store_runs

    status = report.status
    table = kept.root / "runs.csv"
    if status.counts.get("done"):
        load_store_runs(kept, run_ids=[r.run_id for r in planned.runs]).save(table, overwrite=True)
    print_report(report, table, spec)
    if report.interrupted:
        click.echo(f"out of time; go on with:  {again}", err=True)
        return EXIT_INTERRUPTED
    if status.n_failed:
        see = shlex.join(["scaling", "sweep", "status", str(spec), "--store", str(kept.root)])
        click.echo(f"{status.n_failed} runs failed; see why:  {see}", err=True)
        return EXIT_SOME_FAILED
    return 0
