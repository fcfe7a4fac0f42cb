"""The report as blocks: the answer, then every section in its place, figures and tables numbered in the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from scaling.blocks import Block, Blocks, Figure, Heading, Section, Table, Text
from scaling.errors import ScalingError
from scaling.report import sections
from scaling.report.answer import answer_blocks
from scaling.report.checklist import reproduction_blocks
from scaling.report.evidence import Evidence
from scaling.report.figures import figures_of
from scaling.report.reproduction import Reproduction
from scaling.report.told import captioned
from scaling.translation import counted, tr

RUN_DATA = ("runs",)  # sections that are nothing but rows of single runs


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report to be written: its blocks, the figures among them by name, and why a section has nothing to tell."""

    title: str
    language: str
    blocks: Blocks
    figures: Mapping[str, Figure]  # by the stem of its file
    left_out: Mapping[str, str]  # section → reason
    evidence: Evidence
    reproduction: Reproduction
    run_data: bool  # also of single runs


def compose_report(e: Evidence, made: Reproduction, *, language: str = "en", run_data: bool = True) -> Report:
    """Put the evidence into blocks, in the language of the catalogue in use (`scaling.translation.translated`).

    Args:
        language: of that catalogue, for the page's own mark.
        run_data: also rows of single runs; without them no table, figure or file tells of one run.
    """
    drawn = figures_of(e, run_data=run_data)
    left_out: dict[str, str] = {}
    body: list[Block] = []
    for name, title, section in _sections(made):
        try:
            if not run_data and name in RUN_DATA:
                raise sections.LeftOut(tr("the report was asked to leave out data of single runs."))
            told = captioned(section(e))
        except sections.LeftOut as reason:
            left_out[name] = str(reason)
            told = (Text(tr("Left out: {reason}", reason=str(reason)), "faint"),)
        except ScalingError as error:
            left_out[name] = str(error)
            told = (Text(tr("Left out: {reason}", reason=str(error)), "faint"),)
        body.append(Section(name, title, partial(tuple, (*drawn.get(name, ()), *told))))
    numbered = _numbered((Heading(e.title, 1), *_byline(e), *answer_blocks(e), *body))
    return Report(
        title=e.title,
        language=language,
        blocks=numbered,
        figures=_by_name(numbered),
        left_out=left_out,
        evidence=e,
        reproduction=made,
        run_data=run_data,
    )


def _sections(made: Reproduction) -> Iterator[tuple[str, str, Callable[[Evidence], Blocks]]]:
    """Name, title and content of each section, in the order of the report."""
    yield "data", tr("The runs"), sections.data
    yield "doubts", tr("What to doubt"), sections.doubts
    yield "envelope", tr("Approach 1: the envelope of training curves"), sections.of_approach("envelope")
    yield "valleys", tr("Approach 2: valleys of equal compute"), sections.of_approach("isoflop")
    yield "law", tr("Approach 3: the fitted law"), sections.parametric
    yield "optimum", tr("Compute-optimal sizes and tokens"), sections.optimum
    yield "surface", tr("The loss over sizes and tokens"), sections.surface
    yield "residuals", tr("Residuals and influence"), sections.residuals
    yield "hold-out", tr("Hold-out: predicted against seen"), sections.held_out
    yield "coefficients", tr("The coefficients together"), sections.coefficients
    yield "agreement", tr("Do the approaches agree?"), sections.agreement
    yield "plan", tr("The plan for the target"), sections.plan
    yield "explore", tr("Explore"), sections.explore
    yield "next", tr("What to run next"), sections.next_runs
    yield "runs", tr("Every run"), sections.run_table
    yield "reproduction", tr("How to make this report again"), lambda e: reproduction_blocks(e, made)


def _byline(e: Evidence) -> Blocks:
    if e.runs is None:
        name = e.law.provenance.name if e.law is not None and e.law.provenance is not None else ""
        return (Text(tr("By the law {name}.", name=name), "faint"),) if name else ()
    return (
        Text(
            tr("By {runs} of {source}.", runs=counted(len(e.runs), "run"), source=e.runs.source),
            "faint",
        ),
    )


def _numbered(blocks: Blocks) -> Blocks:
    """Figures and tables with captions carry their number, the same in every format."""
    counts = {Figure: 0, Table: 0}

    def number(block: Block) -> Block:
        if isinstance(block, Section):
            inside = tuple(number(b) for b in block.blocks())
            return block._replace(blocks=partial(tuple, inside))
        if isinstance(block, Figure):
            counts[Figure] += 1
            said = tr("Figure {n}. {caption}", n=counts[Figure], caption=block.caption or block.alt)
            return block._replace(caption=said)
        if isinstance(block, Table) and block.caption:
            counts[Table] += 1
            return block._replace(caption=tr("Table {n}. {caption}", n=counts[Table], caption=block.caption))
        return block

    return tuple(number(block) for block in blocks)


def _by_name(blocks: Blocks) -> dict[str, Figure]:
    """Each figure by the stem of its file: its place and what it draws."""
    found = [
        b for s in blocks for b in (s.blocks() if isinstance(s, Section) else (s,)) if isinstance(b, Figure)
    ]
    return {f"figure-{i:02d}-{figure.kind}": figure for i, figure in enumerate(found, 1)}
