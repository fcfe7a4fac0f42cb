"""A report as files: report.html, .pdf, .md and .json, and each figure as SVG with its data as CSV.

Every figure is drawn once; the page holds its SVG, the PDF and the Markdown name its file.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.blocks import Figure
from scaling.errors import UsageError
from scaling.files import write_text
from scaling.jsonable import jsonable
from scaling.laws.io import law_to_dict
from scaling.plots.figures import figure_svg
from scaling.render.html import on_any_ground, render_html
from scaling.render.markdown import render_markdown
from scaling.render.typst import NoTypstError, render_typst, write_pdf
from scaling.report.compose import Report
from scaling.report.figures import RUN_COLUMNS
from scaling.report.reproduction import epoch_seconds

FORMATS = ("html", "pdf", "md")
FOLDER = "figures"
POINTS_PER_INCH = 72.0
PLACE = 10.0  # points, from which on a number of a drawing is a place in it and no shape or width
_OURS = re.compile(r"figure-\d\d-[a-z0-9-]+\.(svg|csv)")
RUN_ROWS = ("influence", "excluded", "cut_offs", "far_off")  # keys of JSON whose values tell of single runs


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files of a report in the order they were written, and why a format that was asked for is not among them."""

    files: tuple[Path, ...]
    missing: Mapping[str, str]


def write_report(report: Report, folder: Path, formats: Sequence[str] = FORMATS) -> Written:
    """Write the report into a folder, which is made; files of an earlier report there are replaced.

    A PDF without the package typst is left out and told in `missing`; the other formats are written all the same.

    Raises:
        UsageError: a format that is none of FORMATS.
    """
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"a report is written as {', '.join(FORMATS)}; got {name!r}.")
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    svgs = {name: compact_svg(figure_svg(figure)) for name, figure in report.figures.items()}
    names = {id(figure): name for name, figure in report.figures.items()}
    _remove_older(report, folder)
    written = [*_write_figures(report, svgs, folder), *_write_runs(report, folder)]
    missing: dict[str, str] = {}

    def name_of(figure: Figure) -> str:
        return names[id(figure)]

    if "html" in formats:
        page = render_html(
            report.blocks,
            whole_page=True,
            title=report.title,
            language=report.language,
            pictures=lambda figure: on_any_ground(svgs[name_of(figure)]),
            **_computing(report),
        )
        written.append(_write(folder / "report.html", page))
    if "pdf" in formats:
        try:
            written.append(_write_pdf(report, folder, name_of, svgs))
        except NoTypstError as error:
            missing["pdf"] = str(error)
    if "md" in formats:
        text = render_markdown(report.blocks, figures=lambda figure: f"{FOLDER}/{name_of(figure)}.svg")
        written.append(_write(folder / "report.md", text))
    told = json.dumps(report_to_dict(report), indent=1, allow_nan=False) + "\n"
    written.append(_write(folder / "report.json", told))
    return Written(files=tuple(written), missing=missing)


def _computing(report: Report) -> dict[str, Any]:
    """The part of the page that computes, and what the page may do with it: run that script, ask for nothing."""
    if "explore" in report.left_out:
        return {}
    from scaling.page import content_policy
    from scaling.report.sections import page_of

    part = page_of(report.evidence, run_data=report.run_data)
    return {"parts": {"explore": part}, "policy": content_policy()}


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


def compact_svg(svg: str) -> str:
    """A drawing to a tenth of a point, without what only a reader of its source needs: half the bytes."""
    bare = re.sub(r"\s*<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    bare = re.sub(r"font-family: ('DejaVu Sans')[^;\"]*sans-serif", r"font-family: \1, sans-serif", bare)
    upright = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", bare)
    # in tags alone: what the picture says keeps its digits
    shorter = re.sub(r"<[^>]+>", lambda tag: re.sub(r"\d+\.\d+", _shorter, tag[0]), upright)
    return re.sub(r"\n\s*", "\n", shorter)


def _shorter(number: re.Match[str]) -> str:
    """A place to a tenth of a point; a small number, as of a mark's shape or a width, to a hundredth."""
    value = float(number[0])
    return f"{value:.{1 if value >= PLACE else 2}f}".rstrip("0").rstrip(".")


def _remove_older(report: Report, folder: Path) -> None:
    """The files of an earlier report, which may have told more: names of runs, paths, other figures.

    Its runs.csv too, unless this report was made of that very file.
    """
    for path in (folder / FOLDER).iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink()
    if not (folder / "report.json").is_file():
        return
    for name in ("report.html", "report.pdf", "report.md", "report.json", "runs.csv"):
        path, runs = folder / name, report.evidence.runs
        made_of = name == "runs.csv" and runs is not None and Path(runs.source).resolve() == path.resolve()
        if not made_of:
            path.unlink(missing_ok=True)


def _write_runs(report: Report, folder: Path) -> Iterable[Path]:
    """The runs as they were read, all of them; not in a report without data of single runs."""
    runs = report.evidence.runs
    if runs is not None and report.run_data:
        yield Path(runs.save(folder / "runs.csv", overwrite=True))


def _write_figures(report: Report, svgs: Mapping[str, str], folder: Path) -> Iterable[Path]:
    for name, figure in report.figures.items():
        yield _write(folder / FOLDER / f"{name}.svg", svgs[name] + "\n")
        yield _write(folder / FOLDER / f"{name}.csv", figure_csv(figure, run_data=report.run_data))


def figure_csv(figure: Figure, *, run_data: bool = True) -> str:
    """The arrays of a figure as columns, each as long as it is; what is infinite or undefined is inf or nan.

    Args:
        run_data: also the columns with a value a run.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    kept = {k: v for k, v in figure.data.items() if run_data or not k.startswith(RUN_COLUMNS)}
    columns = {name: list(values) for name, values in kept.items()}
    writer.writerow(columns)
    for i in range(max(map(len, columns.values()), default=0)):
        writer.writerow([values[i] if i < len(values) else "" for values in columns.values()])
    return file.getvalue()


def _write_pdf(
    report: Report, folder: Path, name_of: Callable[[Figure], str], svgs: Mapping[str, str]
) -> Path:
    import matplotlib

    def placed(figure: Figure) -> tuple[str, float]:
        name = name_of(figure)
        return f"{FOLDER}/{name}.svg", _width(svgs[name])

    document = render_typst(report.blocks, title=report.title, language=report.language, figures=placed)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    path = folder / "report.pdf"
    write_pdf(document, path, root=folder, fonts=fonts, seconds=epoch_seconds())
    return path


def _width(svg: str) -> float:
    """Of a drawing, in points."""
    found = re.search(r'\bwidth="([\d.]+)pt"', svg)
    return float(found[1]) if found else POINTS_PER_INCH * 5


def report_to_dict(report: Report) -> dict[str, Any]:
    """report.json: everything that the report tells, unrounded."""
    e = report.evidence
    told = {
        "schema_version": 1,
        "kind": "report",
        "title": report.title,
        "language": report.language,
        "target_flops": e.target_flops,
        "law": None if e.law is None else law_to_dict(e.law),
        "fit": None if e.fit is None else e.fit.to_dict(),
        "approaches": {method: fit.to_dict() for method, fit in e.approaches.items()},
        "extrapolation": e.held_out,
        "comparison": e.compared,
        "plan": None if e.plan is None else e.plan.to_dict(),
        "findings": e.findings,
        "excluded": e.left_out,
        "left_out": report.left_out,
        "figures": [
            {"name": name, "kind": f.kind, "alt": f.alt, "caption": f.caption}
            for name, f in report.figures.items()
        ],
        "reproduction": report.reproduction,
    }
    plain: dict[str, Any] = jsonable(told)
    return plain if report.run_data else _without_runs(plain)


def _without_runs(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_runs(v) for k, v in value.items() if k not in RUN_ROWS}
    return [_without_runs(v) for v in value] if isinstance(value, list) else value
