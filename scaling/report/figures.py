"""Which figure stands in which section of a report; where one cannot be drawn, a line that says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from scaling.blocks import Blocks, Figure, Text
from scaling.errors import ScalingError
from scaling.fitting.figures.approaches import envelope_figure, isoflop_figure
from scaling.fitting.figures.checks import comparison_figure, exponent_drift_figure, hold_out_figure
from scaling.fitting.figures.optimum import optimum_figure
from scaling.fitting.figures.surface import (
    coefficients_figure,
    influence_figure,
    power_law_figure,
    reads_one_quantity,
    residuals_figure,
    slices_figure,
    surface_figure,
)
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.result import ParametricFit
from scaling.planning.figures import law_spread_figure, off_optimum_figure
from scaling.reference.published import find_law
from scaling.render.terminal import printable
from scaling.report.answer import has_runaway_optimum, is_decided, optimum_is_a_model
from scaling.report.evidence import Evidence
from scaling.translation import tr

if TYPE_CHECKING:
    from scaling.laws.base import Law

# beside a law of their count: laws that readers know, few enough to be told apart
BESIDE = {"total": ("besiroglu", "hoffmann-approach-2"), "non_embedding": ("kaplan",)}
OF_SINGLE_RUNS = ("influence",)  # kinds that name runs
RUN_COLUMNS = ("run_", "curve_run")  # columns of a figure with a value a run
LONGEST_NAME = 32  # characters of a run's name beside an axis
MOST_MARKS = 3000  # of a picture of valleys: more only darken it, and a page of 16 MB opens nowhere
OF_VALLEYS = ("isoflop", "loss-slices")  # kinds whose marks are drawn budget by budget, none left out

Builder = Callable[[], Figure]
Placed = Iterator[tuple[str, Builder]]


def figures_of(e: Evidence, *, run_data: bool = True) -> dict[str, Blocks]:
    """The figures of each section, by its name, in the order to read them."""
    found: dict[str, Blocks] = {"data": e.pictures}
    for section, build in _placed(e):
        try:
            block: Figure | Text = build()
        except ScalingError as error:
            block = Text(tr("A figure is left out: {reason}", reason=str(error)), "faint")
        if isinstance(block, Figure) and block.kind in OF_SINGLE_RUNS and not run_data:
            continue
        shown = thinned(_with_plain_names(block)) if isinstance(block, Figure) else block
        found[section] = (*found.get(section, ()), shown)
    return found


def _with_plain_names(figure: Figure) -> Figure:
    """Names as one line that any picture can hold: no control characters, which SVG forbids, and not too long."""

    def plain(name: str) -> str:
        line = " ".join(printable(name).split())
        return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 3]}..."

    data: dict[str, Any] = {
        key: [plain(v) if isinstance(v, str) else v for v in values] for key, values in figure.data.items()
    }
    return figure._replace(data=data)


def thinned(figure: Figure) -> Figure:
    """A figure of valleys with at most `MOST_MARKS` runs, evenly along its rows; its caption says so."""
    columns = {name: values for name, values in figure.data.items() if name.startswith("run_")}
    n = max(map(len, columns.values()), default=0)
    if figure.kind not in OF_VALLEYS or n <= MOST_MARKS:
        return figure
    step = -(-n // MOST_MARKS)
    kept: dict[str, Any] = {name: list(values)[::step] for name, values in columns.items()}
    said = tr("Of {n:,} runs every {step}th is drawn.", n=n, step=step)
    return figure._replace(data={**figure.data, **kept}, caption=f"{figure.caption} {said}".strip())


def _placed(e: Evidence) -> Placed:
    beside, runaway = published_beside(e), has_runaway_optimum(e)
    target = e.target_flops
    if e.envelope is not None:
        yield "envelope", partial(envelope_figure, e.envelope, e.curves, target_flops=target, others=beside)
    if e.isoflop is not None:
        yield "valleys", partial(isoflop_figure, e.isoflop, target_flops=target, others=beside)
    answers = e.fit if e.fit is not None else e.law
    if answers is not None and optimum_is_a_model(e):
        yield "optimum", partial(optimum_figure, answers, target_flops=target, others=beside)
        loss = partial(optimum_figure, answers, quantities=("loss",), target_flops=target, runs=e.runs)
        yield "optimum", loss
    yield from _of_parametric(e, beside)
    if e.held_out is not None:
        exponent = e.fit.params_exponent if e.fit is not None and e.fit.method == "parametric" else None
        yield "hold-out", partial(hold_out_figure, e.held_out)
        if not runaway:
            yield "hold-out", partial(exponent_drift_figure, e.held_out, exponent)
    if e.compared is not None and e.law is not None and not runaway:
        yield "agreement", partial(comparison_figure, e.compared)
    if e.plan is not None and is_decided(e):
        yield "plan", partial(off_optimum_figure, e.plan)
        yield "plan", partial(law_spread_figure, e.plan)


def _of_parametric(e: Evidence, beside: Sequence[Law]) -> Placed:
    fit = e.parametric
    if fit is None or e.runs is None:
        return
    if isinstance(fit, LawFit) and reads_one_quantity(fit):
        yield "law", partial(power_law_figure, fit, e.runs)
    elif isinstance(fit, ParametricFit):
        yield "law", partial(slices_figure, fit)
        if not has_runaway_optimum(e):
            yield "surface", partial(surface_figure, fit, target_flops=e.target_flops)
        yield "coefficients", partial(coefficients_figure, fit, others=beside)
    yield "residuals", partial(residuals_figure, fit, e.runs)
    if isinstance(fit, ParametricFit):
        yield "residuals", partial(influence_figure, fit)


def published_beside(e: Evidence) -> tuple[Law, ...]:
    """The published laws to draw beside the answer: those that count parameters as it does."""
    count = e.law.provenance.params_convention if e.law is not None and e.law.provenance else "total"
    return tuple(find_law(name) for name in BESIDE.get(count, BESIDE["total"]))
