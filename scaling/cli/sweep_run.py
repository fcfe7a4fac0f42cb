"""`scaling sweep run`, `resume` and `verify`: train what a spec asks for or its law plans, and the store lacks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from scaling.blocks import Blocks, Code
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.progress import waiting_for
from scaling.cli.sweep_options import (
    FEWER_RUNS,
    HEADINGS,
    RunOptions,
    command_line,
    design_of,
    finished_runs,
    measured_rate,
    next_command,
    next_step,
    run_options,
    same_command,
)
from scaling.errors import Exit, of_option
from scaling.installing import extra_command
from scaling.progress import Line, Lines, can_draw
from scaling.render.terminal import note, say, show
from scaling.translation import tr, tr_n
from scaling.units import format_duration, format_percent

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.sweep.design import Design
    from scaling.sweep.progress import Status
    from scaling.sweep.run import Report
    from scaling.sweep.store import Store

PROOF = ("--budget", "--without", "--min-runs-per-budget", "--dry-run", "--measure")
BAR_WIDTH = 20
MOST_WORKERS = 16  # that get a line of their own on a terminal
QUIET_FRACTION = 0.1  # a log file gets a line a tenth
LEAST_DONE = 0.01  # of all FLOPs, before the time left is told


@click.command(cls=Command, headings=HEADINGS, epilog="Try: scaling sweep run sweep.toml")
@run_options
def run(spec: Path, store: Store, options: RunOptions) -> Exit:
    """Train everything the spec asks for and the store lacks. Run it again to go on after any interruption."""
    from scaling.sweep.checks import check_design

    design = design_of(spec, store)
    report = train(design, store, options, findings=check_design(design))
    if report is None:
        return Exit.INTERRUPTED
    has_table = bool(report.status.counts.get("done"))
    show(*report.summary(), *(_table_and_fit(design, store) if has_table else ()))
    if report.status.n_failed and not report.interrupted:
        failed = tr_n("{n} run", "{n} runs", report.status.n_failed)
        say(f"{failed} failed; see why:  {next_command('status')}", error=True)
    return _end(report)


resume = Command(
    "resume", headings=HEADINGS, params=run.params, callback=run.callback,
    epilog="Try: scaling sweep resume sweep.toml",
    help="Go on with a sweep: another name for `run`, which never repeats what is done.",
)  # fmt: skip


@click.command(
    cls=Command,
    headings={"Proof": PROOF, **HEADINGS},
    epilog="Try: scaling sweep verify sweep.toml --budget 1e12 --dry-run",
)
@run_options
@click.option("--budget", metavar="FLOPS", help="Of the proof  [default: 10 times the largest of the sweep].")
@click.option(
    "--without",
    type=click.Choice(["20-tokens", "kaplan"]),
    multiple=True,
    help="A rule of thumb not to train.",
)
@FEWER_RUNS
@click.option("--dry-run", is_flag=True, help="Only say what would be trained, and what that costs here.")
@click.option("--measure/--no-measure", default=True, help="In a dry run: time a few steps, for the hours.")
@output_options("advice", "doubts", "losses")
def verify(
    spec: Path,
    store: Store,
    options: RunOptions,
    budget: str | None,
    without: tuple[str, ...],
    min_runs_per_budget: int | None,
    dry_run: bool,
    measure: bool,
    output: Output,
) -> Exit:
    """Prove the law: train what it plans at a larger budget, beside 20 tokens per parameter and Kaplan's advice."""
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.surface.fit import fit_parametric
    from scaling.sweep.recorded import record_proof
    from scaling.sweep.results import unfinished_finding
    from scaling.sweep.timing import usable_cores
    from scaling.sweep.verification import verify_proof
    from scaling.sweep.verify import EXTRAPOLATION, KAPLAN, TWENTY, ProofPlan, plan_proof
    from scaling.units import parse_flops

    design = design_of(spec, store)
    runs = finished_runs(design, store)
    with waiting_for(tr("fitting {n} runs", n=len(runs))):
        law = fit_isoflop(runs, min_runs_per_budget=min_runs_per_budget)
        surface = fit_parametric(runs)
    flops = (
        EXTRAPOLATION * design.spec.grid.budgets[-1]
        if budget is None
        else of_option("--budget", parse_flops, budget)
    )
    names = {"20-tokens": TWENTY, "kaplan": KAPLAN}
    proof = plan_proof(design, law, flops, without=[names[w] for w in without])
    unfinished = unfinished_finding(design, store)
    doubts = (*law.findings, *surface.findings, *((unfinished,) if unfinished else ()))
    if dry_run:
        rate = measured_rate(proof.design) if measure else None
        plan = ProofPlan(proof=proof, law_findings=doubts, rate=rate, n_slots=options.slots or usable_cores())
        give(output, plan.summary, plan.to_dict, plan.to_frame)
        return Exit.DONE
    if store.is_writable():
        record_proof(store, proof)  # marked, so that no fit of the sweep takes them
    report = train(proof.design, store, options)
    if report is None:
        return Exit.INTERRUPTED
    proved = verify_proof(proof, store, runs=runs, valleys=law, surface=surface, law_findings=doubts)
    if output.as_json or proved.rows:
        give(output, proved.summary, proved.to_dict, proved.to_frame)
    for run_id, why in report.status.reasons.items():
        say(f"{run_id} {report.status.states[run_id]}: {why}", error=True)
    return _end(report)


def train(
    design: Design, store: Store, options: RunOptions, *, findings: Sequence[Finding] = ()
) -> Report | None:
    """The report of a sweep that has run here; None when it was interrupted, which is said."""
    from scaling.sweep.run import nothing_to_do, run_sweep

    if (report := nothing_to_do(store, design)) is not None:
        return report
    _tell_missing_tools(options.logs or design.spec.log)
    if not options.quiet:
        _tell_findings(findings)
    line = ProgressLine(enabled=not options.quiet)
    try:
        with closing(line), interrupted_by_sigterm():
            return run_sweep(
                design,
                store=store,
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
        say(f"interrupted; every run has kept its last checkpoint. Go on with:  {same_command()}", error=True)
        return None


def _tell_missing_tools(tools: tuple[str, ...]) -> None:
    for tool in tools:
        if find_spec(tool) is None:
            cure = extra_command("logs" if tool == "tensorboard" else tool)
            note(f"{tool} is not installed here: runs go on without it. This brings it: {cure}")


def _tell_findings(findings: Sequence[Finding]) -> None:
    """Errors in full; warnings counted, with the command that shows them."""
    for finding in findings:
        if finding.severity == "error":
            note(f"{finding.code}: {finding.message}")
    n = sum(finding.severity == "warning" for finding in findings)
    if n:
        design = command_line("design", click.get_current_context().params["spec"])
        doubts = tr_n("{n} doubt", "{n} doubts", n)
        say(f"{doubts} about this design; read with:  {design}", error=True)


def _table_and_fit(design: Design, store: Store) -> Blocks:
    """STORE/runs.csv anew, with the runs of all sweeps of the store, unless it cannot be written; and what is next."""
    from scaling.sweep.results import write_index

    finished_runs(design, store)  # says what is left out
    fit = next_step(tr("fit it:"), "fit")
    if not store.is_writable():
        note(f"{store.root} cannot be written: its table of runs stays as it is.")
        return (fit,)
    return (Code(str(write_index(store)["csv"]), label=tr("table of runs:"), indent=1), fit)


def _end(report: Report) -> Exit:
    """The exit code of a sweep that was run; on stderr, what goes on or what to change."""
    status = report.status
    if report.interrupted:
        say(f"out of time; go on with:  {same_command()}", error=True)
        return Exit.INTERRUPTED
    if status.n_failed:
        return Exit.PARTLY
    if status.counts.get("diverged", 0) < len(status.states):
        return Exit.DONE
    say("all runs diverged: lower recipe.learning_rate in the spec, then run it again.", error=True)
    return Exit.CONTENT


# --- the live line, and how it is interrupted ---


@dataclass
class TimeLeft:
    """Seconds left, from the FLOPs done since the first look; None until there is something to go by."""

    _start_fraction: float | None = None

    def seconds(self, fraction: float, elapsed_s: float) -> float | None:
        if self._start_fraction is None:
            self._start_fraction = fraction
        done = fraction - self._start_fraction
        return elapsed_s * (1 - fraction) / done if done > LEAST_DONE else None


@dataclass
class ProgressLine:
    """A line on stderr with the time left from the FLOPs done so far; on a terminal a line a running run as well."""

    enabled: bool
    time_left: TimeLeft = field(default_factory=TimeLeft)
    _of_runs: dict[str, tuple[TimeLeft, float]] = field(default_factory=dict)  # and when each was first seen
    _lines: Lines | None = field(default_factory=lambda: Lines(transient=False) if can_draw() else None)
    _shown: float = -1.0
    _told_waiting: bool = False

    def show(self, status: Status, elapsed_s: float) -> None:
        if not self.enabled:
            return
        seconds = self.time_left.seconds(status.fraction, elapsed_s)
        news = status.is_waiting and not self._told_waiting
        self._told_waiting = status.is_waiting
        if self._lines is None and not news and status.fraction - self._shown < QUIET_FRACTION:
            return
        self._shown = status.fraction
        left = _left(seconds)
        if status.is_waiting:
            left = "waiting for a worker that is not of this command, or for its lease to run out"
        failed = f"  {status.n_failed} failed" if status.n_failed else ""
        counts = f"{status.n_finished}/{len(status.states)} runs  {status.counts.get('running', 0)} running{failed}"
        percent = format_percent(status.fraction)
        if self._lines is not None:
            runs = [self._line_of(run_id, share, elapsed_s) for run_id, share in status.under_way.items()]
            whole = Line(counts, status.fraction, f"{percent}  {left}")
            self._lines.show([whole, *runs[:MOST_WORKERS]])
            return
        bar = "#" * round(status.fraction * BAR_WIDTH)
        print(f"[{bar:<{BAR_WIDTH}}] {percent}  {counts}  {left}".rstrip(), file=sys.stderr, flush=True)

    def _line_of(self, run_id: str, share: float, elapsed_s: float) -> Line:
        """What one worker trains, and when it will be done with it."""
        time_left, since = self._of_runs.setdefault(run_id, (TimeLeft(), elapsed_s))
        left = _left(time_left.seconds(share, elapsed_s - since))
        return Line(f"  {run_id}", share, f"{format_percent(share)}  {left}".rstrip())

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{format_duration(seconds, 2)} left"


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """`kill`, a closing terminal and a batch system end a sweep as Ctrl-C does: workers checkpoint and stop."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {n: h for n, h in before.items() if h != signal.SIG_IGN}  # nohup: the user wants it to go on
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
