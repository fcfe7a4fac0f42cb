"""`scaling sweep run` and `resume`: train what the spec asks for and the store lacks."""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import note
from scaling.cli.sweep_hints import command_line, typed, typed_again
from scaling.cli.sweep_options import RunOptions, run_options
from scaling.cli.sweep_progress import (
    EXIT_INTERRUPTED,
    ProgressLine,
    interrupted_by_sigterm,
)
from scaling.cli.sweep_store import design_of, finished_runs, store_of

if TYPE_CHECKING:
    from scaling.sweep.progress import Status

EXIT_ALL_DIVERGED = 3
EXIT_SOME_FAILED = 4


@click.command(epilog="Try: scaling sweep run sweep.toml")
@run_options
def run(spec: Path, store: Path | None, options: RunOptions) -> int:
    """Train everything the spec asks for and the store lacks. Run it again to go on after any interruption."""
    return check_and_train(spec, store, options)


@click.command(epilog="Try: scaling sweep resume sweep.toml")
@run_options
def resume(spec: Path, store: Path | None, options: RunOptions) -> int:
    """Go on with a sweep: another name for `run`, which never repeats what is done."""
    return check_and_train(spec, store, options)


def check_and_train(spec: Path, store: Path | None, options: RunOptions) -> int:
    """Check, train, report; the exit code."""
    from scaling.sweep.checks import check_design

    kept = store_of(spec, store, options.lease_timeout_s)
    planned = design_of(spec, kept)
    report = train(planned, kept, options, findings=check_design(planned))
    return EXIT_INTERRUPTED if report is None else _conclude(report, planned, kept)


def train(planned: Any, kept: Any, options: RunOptions, *, findings: Any = ()) -> Any:
    """The report of a sweep that has run here; None when it was interrupted, which is said."""
    from scaling.sweep.run import nothing_to_do, run_sweep

    if (report := nothing_to_do(kept, planned)) is not None:
        return report
    _tell_missing_tools(options.logs or planned.spec.log)
    if not options.quiet:
        _tell_findings(findings)
    line = ProgressLine(enabled=not options.quiet)
    try:
        with closing(line), interrupted_by_sigterm():
            return run_sweep(
                planned,
                store=kept,
                executor=options.executor,
                n_slots=options.slots,
                gpus_per_slot=options.gpus_per_slot,
                pack=options.pack,
                deadline_s=options.deadline_s,
                partition=options.partition,
                log=options.logs,
                on_progress=line.show,
            )
    except KeyboardInterrupt:
        click.echo(
            f"interrupted; every run has kept its last checkpoint. Go on with:  {typed_again()}", err=True
        )
        return None


def _tell_missing_tools(tools: tuple[str, ...]) -> None:
    for tool in tools:
        if find_spec(tool) is None:
            extra = "logs" if tool == "tensorboard" else tool
            note(
                f"{tool} is not installed here: runs go on without it. pip install 'isoflop[{extra}]' brings it."
            )


def _tell_findings(findings: Any) -> None:
    """Errors in full; warnings counted, with the command that shows them."""
    for finding in findings:
        if finding.severity == "error":
            note(f"{finding.code}: {finding.message}")
    n = sum(finding.severity == "warning" for finding in findings)
    if n:
        doubt = "1 doubt" if n == 1 else f"{n} doubts"
        spec = click.get_current_context().params["spec"]
        click.echo(f"{doubt} about this design; read with:  {command_line('design', spec)}", err=True)


def _conclude(report: Any, planned: Any, kept: Any) -> int:
    from scaling.cli.sweep_text import print_report

    status = report.status
    print_report(report, _write_table(planned, kept) if status.counts.get("done") else None)
    if report.interrupted:
        click.echo(f"out of time; go on with:  {typed_again()}", err=True)
        return EXIT_INTERRUPTED
    if status.n_failed:
        failed = "1 run" if status.n_failed == 1 else f"{status.n_failed} runs"
        click.echo(f"{failed} failed; see why:  {typed('status')}", err=True)
        return EXIT_SOME_FAILED
    return EXIT_ALL_DIVERGED if all_diverged(status) else 0


def all_diverged(status: Status) -> bool:
    """Whether training never held, which is said with what to change."""
    if status.counts.get("diverged", 0) < len(status.states):
        return False
    click.echo("all runs diverged: lower recipe.learning_rate in the spec, then run it again.", err=True)
    return True


def _write_table(planned: Any, kept: Any) -> Path | None:
    """STORE/runs.csv anew, with the runs of all sweeps of the store; None where there is nothing to write or to."""
    from scaling.sweep.results import write_index

    finished_runs(planned, kept)  # says what is left out
    if not kept.is_writable():
        note(f"{kept.root} cannot be written: its table of runs stays as it is.")
        return None
    return write_index(kept)["csv"]
