"""`scaling report`: runs, a sweep or a fit in; what to train, how sure and why, as HTML, PDF and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Fields, Text
from scaling.cli.completers import complete_family
from scaling.cli.fit_options import METHODS, OF_A_LOSS, FitOptions
from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.cli.report_source import Source, read_source
from scaling.cli.tables import HEADINGS, TableOptions, table_options
from scaling.errors import DataError, FitError, UsageError
from scaling.render.terminal import note, show
from scaling.translation import tr, translated
from scaling.units import parse_flops

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.fitting.results import Fit
    from scaling.report import Evidence, Report, Reproduction, Written
    from scaling.runs import Runs

RESAMPLES = 1000
MOST_RESAMPLED = 5_000  # runs; with more a thousand refits take minutes
FORMATS = "html,pdf,md"
FILES = ("report.html", "report.pdf", "report.md", "report.json")

_DECLARATIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--target", metavar="FLOPS", help="Compute to plan for  [default: 10 times the largest run]."),
    click.option("-o", "--output", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False),
                 default=Path("report"), show_default=True, help="Folder to write to."),
    click.option("--format", "formats", default=FORMATS, show_default=True, metavar="FORMAT,...",
                 help="Of html, pdf and md; report.json is always written."),
    click.option("--lang", "language", type=click.Choice(["en", "es"]), default="en", show_default=True,
                 help="Language of the report."),
    click.option("--title", metavar="TITLE", help="Title of the report."),
    click.option("--method", type=click.Choice(METHODS),
                 help="What answers: Approach 3, 2 or 1  [default: parametric; of a sweep isoflop]."),
    click.option("--law", metavar="FAMILY", shell_complete=complete_family,
                 help=f"Form of a parametric fit: {', '.join(OF_A_LOSS)}."),
    click.option("--bootstrap", "n_resamples", type=click.IntRange(100, 100_000), metavar="N",
                 help=f"Resamples of the runs  [default: {RESAMPLES:,}]."),
    click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Of resamples and random starts."),
    click.option("--anonymous", is_flag=True, help="Leave out paths, host and git remote."),
    click.option("--no-run-data", "no_run_data", is_flag=True,
                 help="Leave out tables, figures and files of single runs."),
    click.option("--force", is_flag=True, help="Replace a report in the folder."),
)  # fmt: skip


HEADINGS_OF_REPORTS = {
    "The report": ("--target", "--format", "--lang", "--title", "--anonymous", "--no-run-data"),
    "The fit": ("--method", "--law", "--bootstrap", "--seed"),
    **HEADINGS,
}


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What the report is to be."""

    target: str | None
    output: Path
    formats: str
    language: str
    title: str | None
    method: str | None
    law: str | None
    n_resamples: int | None
    seed: int
    anonymous: bool
    no_run_data: bool
    force: bool

    def __post_init__(self) -> None:
        _ = self.target_flops, self.wanted  # refused before anything is read
        there = [name for name in FILES if (self.output / name).exists()]
        if there and not self.force:
            raise UsageError(
                f"{self.output / there[0]} exists; pass --force to replace the report, or another -o."
            )

    @property
    def target_flops(self) -> float | None:
        return None if self.target is None else parse_flops(self.target)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The formats asked for."""
        named = tuple(dict.fromkeys(name.strip() for name in self.formats.split(",") if name.strip()))
        if bad := [name for name in named if name not in FORMATS.split(",")]:
            raise UsageError(f"--format takes {FORMATS}, or some of them with commas; got {bad[0]!r}.")
        return named

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the law asked for reads of a run; () where none was asked for, and one quantity will do."""
        named = self.method is not None or self.law is not None
        return FitOptions(method=self.method or "parametric", law=self.law).inputs if named else ()

    def fit_options(self, source: Source) -> FitOptions:
        """The fit that answers: of a sweep by its valleys, as `scaling sweep fit`."""
        method = self.method or ("isoflop" if source.kind == "sweep" and self.law is None else "parametric")
        n_runs = 0 if source.table is None else len(source.table.runs)
        resamples = self.n_resamples
        if method == "parametric" and self.law in (None, "chinchilla") and n_runs <= MOST_RESAMPLED:
            resamples = resamples or RESAMPLES
        seed = self.seed if method == "parametric" else None
        return FitOptions(method=method, law=self.law, n_resamples=resamples, seed=seed)


def _report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command its options, which `ReportOptions` takes by their names."""
    for declare in reversed(_DECLARATIONS):
        command = declare(command)
    return command


@click.command(
    cls=Command,
    headings=HEADINGS_OF_REPORTS,
    epilog="Example: scaling report runs.csv --target 1e22 -o report",
)
@table_options
@_report_options
def report(options: TableOptions, **given: Any) -> None:
    """Write a report of RUNS: a table, a sweep's folder, or a fit.json.

    It says first what to train for the target, how sure that is and why to believe it; then every fit, check and plan
    that the runs allow, and the reason for each that they do not.
    """
    from scaling.report import compose_report, load_catalogue, write_report

    asked = ReportOptions(**given)
    with translated(load_catalogue(asked.language)):
        with waiting_for(tr("reading {table}", table=options.table)):
            source = read_source(options, asked.inputs)
        source = _anonymous(source) if asked.anonymous else source
        source = _without_names(source) if asked.no_run_data else source
        with waiting_for(tr("fitting and planning")):
            evidence = _evidence(source, asked)
        composed = compose_report(
            evidence,
            _reproduction(source, asked, options),
            language=asked.language,
            run_data=not asked.no_run_data,
        )
        with waiting_for(tr("writing {folder}", folder=asked.output)):
            written = write_report(composed, asked.output, asked.wanted)
        _say(composed, written, asked.output)


def _evidence(source: Source, asked: ReportOptions) -> Evidence:
    """The fit that answers, with its findings, and everything else that its runs allow."""
    from scaling.report import gather_evidence

    fit, findings, refused = _fit(source, asked)
    runs = source.table.runs if source.table is not None else None
    return gather_evidence(
        runs,
        title=asked.title or "",
        target_flops=asked.target_flops,
        fit=fit,
        law=source.law,
        findings=findings,
        curves=source.curves,
        left_out=source.table.left_out if source.table is not None else (),
        told=source.told,
        pictures=source.pictures,
        no_fit=refused,
        vocab_size=source.vocab_size,
        seed=asked.seed,
    )


def _fit(source: Source, asked: ReportOptions) -> tuple[Fit | None, tuple[Finding, ...], str]:
    """The fit, what is to be doubted, and why there is no fit where there is none."""
    from scaling.cli.fit import fit_of_one_quantity, fit_table

    if source.table is None:
        return None, source.findings, ""
    chosen, table = asked.fit_options(source), source.table
    if asked.method is None and asked.law is None and table.runs.absent:
        chosen, table = fit_of_one_quantity(replace(chosen, n_resamples=None), table)
    try:
        found = fit_table(table, chosen)
    except (FitError, DataError) as error:
        return None, tuple(table.findings), str(error)
    return found.fit, tuple(found.findings), ""


def _reproduction(source: Source, asked: ReportOptions, options: TableOptions) -> Reproduction:
    from scaling.cli.sweep_options import same_command
    from scaling.report import describe_reproduction

    command = same_command()
    if asked.anonymous:
        for path in (options.table, asked.output):
            command = command.replace(str(path), path.name)
    return describe_reproduction(
        command,
        source.files,
        folder=source.folder,
        seed=asked.seed,
        n_resamples=asked.fit_options(source).n_resamples,
        spec=source.spec,
        anonymous=asked.anonymous,
    )


def _anonymous(source: Source) -> Source:
    """The source without the folders in its names, before anything is told of it."""
    if source.table is not None:
        runs = source.table.runs
        source = replace(
            source, table=replace(source.table, runs=replace(runs, source=Path(runs.source).name))
        )
    if source.curves is not None:
        source = replace(source, curves=replace(source.curves, source=Path(source.curves.source).name))
    if source.law is not None and (origin := source.law.provenance) is not None:
        name = Path(origin.name).name
        bare = origin._replace(name=name, source=origin.source.replace(origin.name, name))
        source = replace(source, law=replace(source.law, provenance=bare))
    return source


def _without_names(source: Source) -> Source:
    """The source with its runs named by their rows: findings still say where to look, and no name leaves the table."""
    if source.table is None:
        return source
    table = source.table
    names = {name: f"run-left-out-{i}" for i, name in enumerate(dict.fromkeys(table.left_out), 1)}
    told = tuple(
        replace(f, message=_renamed(f.message, names), short=_renamed(f.short, names)) for f in table.findings
    )
    runs = replace(_by_row(table.runs), notes=tuple(_renamed(note, names) for note in table.runs.notes))
    named = replace(table, runs=runs, left_out=list(names.values()), findings=told)
    return replace(source, table=named, curves=None if source.curves is None else _by_row(source.curves))


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with these names in the place of those, the longest first: one may begin another."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return text


def _by_row(runs: Runs) -> Runs:
    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        new: dict[str, str] = {}
        return tuple(
            new.setdefault(name, f"run-{row}") for name, row in zip(names, runs.row.tolist(), strict=True)
        )

    trunks = None if runs.trunk_id is None else renamed(runs.trunk_id)
    return replace(runs, run_id=renamed(runs.run_id), trunk_id=trunks)


def _say(report: Report, written: Written, folder: Path) -> None:
    """The answer and the files, and what is missing of what was asked for."""
    from scaling.blocks import Callout, Section

    lead = [b for b in report.blocks if not isinstance(b, Section)]
    show(*lead[:4], *(b for b in lead if isinstance(b, Callout)))
    names = [path.name for path in written.files if path.parent == folder]
    rows = [(tr("wrote"), tr("{files} in {folder}", files=", ".join(names), folder=folder))]
    if report.figures:
        rows.append(
            (
                tr("figures"),
                tr("{n}, as SVG and CSV in {folder}", n=len(report.figures), folder=folder / "figures"),
            )
        )
    if report.left_out:
        rows.append((tr("left out"), ", ".join(report.left_out)))
    show(Text(""), Fields(rows))
    for name, reason in written.missing.items():
        note(tr("no {format}: {reason}", format=name, reason=reason))
