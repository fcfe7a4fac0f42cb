"""Pictures of results on the caller's axes, and the usual panels of a fit in a file.

Each `plot_x(result, ax=None)` draws one panel of a figure that `scaling.fitting.figures` or `scaling.planning.figures`
makes, and returns its axes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from scaling.arguments import require_kind, require_known, require_numbers
from scaling.blocks import Figure, Text
from scaling.errors import UsageError, shown
from scaling.fitting.comparison import LawComparison
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.extrapolation import Extrapolation
from scaling.fitting.figures import fit_figures
from scaling.fitting.figures.approaches import envelope_figure, isoflop_figure
from scaling.fitting.figures.checks import comparison_figure, exponent_drift_figure, hold_out_figure
from scaling.fitting.figures.optimum import laws_beside, optimum_figure
from scaling.fitting.figures.surface import (
    power_law_figure,
    residuals_figure,
    slices_figure,
    surface_figure,
)
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.summary import FitFace
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.result import ParametricFit
from scaling.planning.result import Plan
from scaling.plots import marks, optimum, style
from scaling.plots import surface as surfaces
from scaling.plots.figures import compose, draw_figure, draw_figures, panels_of
from scaling.reference.published import LawLike, resolve_law
from scaling.runs import Runs
from scaling.runs.table import require_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Quantity = Literal["n_params", "n_tokens", "tokens_per_param", "loss"]
USUAL = ("isoflop", "envelope", "power-law", "compute-optimal", "loss-surface", "loss-slices", "residuals")


def plot_isoflop(
    fit: IsoflopFit, *, x: Literal["n_params", "n_tokens"] = "n_params", ax: Axes | None = None
) -> Axes:
    """Loss against model size (or tokens), one valley a budget, with its minimum and the minimum's interval.

    Conclude: are the valleys well covered on both sides, and do their minima move to larger models as compute grows?
    Refused budgets are hollow and dotted, with a cross at the run that would bracket them.

    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_isoflop(scaling.fit_isoflop(scaling.example_runs()), x="n_tokens")
    """
    require_kind("fit", fit, IsoflopFit, "Make it by fit_isoflop(runs).")
    require_known("x", x, ("n_params", "n_tokens"))
    panel = panels_of(isoflop_figure(fit))[0]
    with style.axes_or_new(ax) as ax:
        optimum.draw_valleys(ax, panel.data, x=x)
        marks.claim(ax, panel.title)
        return ax


def plot_envelope(fit: EnvelopeFit, curves: Runs | None = None, *, ax: Axes | None = None) -> Axes:
    """The lower envelope of the training curves, coloured by the size that wins, and where the best size changes.

    `curves` are drawn thin behind it, thinned to 400 curves. Conclude: does every size win somewhere between two
    others, or do the curves end before they cross?

    Example:
        >>> import scaling
        >>> from scaling.reference.example import example_curves
        >>> curves = scaling.Runs.from_arrays(**example_curves())
        >>> axes = scaling.plots.plot_envelope(scaling.fit_envelope(curves), curves)
    """
    require_kind("fit", fit, EnvelopeFit, "Make it by fit_envelope(curves).")
    if curves is not None:
        require_runs(curves, "plot_envelope")
    return _first_panel(envelope_figure(fit, curves), ax)


def plot_frontier(
    fit: LawLike,
    *,
    quantity: Quantity = "n_params",
    to_flops: float | None = None,
    target_flops: float | None = None,
    others: Sequence[LawLike] = (),
    runs: Runs | None = None,
    ax: Axes | None = None,
) -> Axes:
    """N*(C), D*(C), D*/N* or L*(C): solid where there were runs, dashed beyond, with the stated band.

    Args:
        fit: any fit, whose minima are drawn too, or a law: its published name, its file, or itself.
        to_flops: right end; 100 times the largest fitted budget unless given.
        target_flops: the budget that is planned for, marked.
        others: laws drawn thin for comparison, named at their lines: ("hoffmann", "kaplan").
        runs: whose losses stand behind L*(C).
    Conclude: how far does the band widen at the budget you plan for?

    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_frontier("besiroglu", to_flops=1e26, others=["hoffmann", "kaplan"])
    """
    require_known("quantity", quantity, get_args(Quantity))
    require_numbers(or_none=True, to_flops=to_flops, target_flops=target_flops)
    require_kind("others", others, (list, tuple), 'Give laws: ("hoffmann", "kaplan").')
    if runs is not None:
        require_runs(runs, "plot_frontier")
    law, compared = resolve_law(fit), [resolve_law(other) for other in others]
    fit = fit if hasattr(fit, "law") else law
    figure = optimum_figure(fit, quantities=(quantity,), to_flops=to_flops, target_flops=target_flops,
                            others=compared, runs=runs)  # fmt: skip
    return draw_figure(figure, ax=ax)


def plot_parametric(fit: ParametricFit, *, target_flops: float | None = None, ax: Axes | None = None) -> Axes:
    """The fitted loss over compute and model size, with the runs and the compute-optimal frontier.

    Conclude: do the runs lie on both sides of the frontier, over enough compute? Solid frontier: where there were
    runs; dashed: beyond.

    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_parametric(scaling.fit_parametric(scaling.example_runs()))
    """
    require_kind("fit", fit, ParametricFit, "Make it by fit_parametric(runs).")
    require_numbers(or_none=True, target_flops=target_flops)
    return draw_figure(surface_figure(fit, target_flops=target_flops), ax=ax)


def plot_slices(fit: ParametricFit, *, ax: Axes | None = None) -> Axes:
    """Measured losses against model size, one colour a budget, over the fitted surface at that budget.

    Conclude: does the surface follow the runs at every budget, or drift away at the small or the large ones?

    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_slices(scaling.fit_parametric(scaling.example_runs()))
    """
    require_kind("fit", fit, ParametricFit, "Make it by fit_parametric(runs).")
    return draw_figure(slices_figure(fit), ax=ax)


def plot_power_law(fit: LawFit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Measured losses over the fitted line: solid where there were runs, dashed beyond, with the stated band.

    Conclude: does the line follow the runs at both ends, and how wide is the band where you extrapolate?

    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> axes = scaling.plots.plot_power_law(scaling.fit_law(runs, "flops_power_law"), runs)
    """
    require_kind("fit", fit, LawFit, "Make it by fit_law(runs, family).")
    require_runs(runs, "plot_power_law")
    return draw_figure(power_law_figure(fit, runs), ax=ax)


def plot_residuals(
    fit: ParametricFit | LawFit, runs: Runs | None = None, *, quantity: str = "", ax: Axes | None = None
) -> Axes:
    """Measured over fitted loss, per cent, against compute, or the quantity named, or the law's only one.

    `runs` are other runs than the fitted ones (a hold-out); a LawFit carries none and needs them. Conclude: a trend
    means the law's form is wrong here, and its intervals too narrow. The band holds 95 % of the runs if the noise is
    Gaussian with the fit's robust scale.

    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_residuals(scaling.fit_parametric(scaling.example_runs()))
    """
    kinds = (ParametricFit, LawFit)
    require_kind("fit", fit, kinds, "Make it by fit_parametric(runs) or fit_law(runs, family).")
    if runs is not None:
        require_runs(runs, "plot_residuals")
    panel = panels_of(residuals_figure(fit, runs))[0]
    known = [name for name in ("flops", "n_params", "n_tokens") if f"run_{name}" in panel.data]
    if quantity and quantity not in known:
        raise UsageError(f"residuals stand against {', '.join(known)}; got {quantity!r}.")
    with style.axes_or_new(ax) as ax:
        surfaces.draw_residuals(ax, panel.data, quantity=quantity or known[0])
        marks.claim(ax, panel.title)
        return ax


def plot_extrapolation(result: Extrapolation, *, ax: Axes | None = None) -> Axes:
    """Error on the held-out runs against the cut-off: mean and largest, with the share inside their interval.

    Conclude: how far off are predictions for runs dearer than any fitted one, and do stated intervals admit it?

    Example:
        >>> import scaling
        >>> held_out = scaling.evaluate_extrapolation(scaling.example_runs(), intervals=False)
        >>> axes = scaling.plots.plot_extrapolation(held_out)
    """
    from scaling.plots.checks import draw_errors

    require_kind("result", result, Extrapolation, "Make it by evaluate_extrapolation(runs).")
    figure = hold_out_figure(result)
    panel = panels_of(figure)[0]
    with style.axes_or_new(ax) as ax:
        draw_errors(ax, panel.data)
        marks.claim(ax, figure.titles[-1])
        return ax


def plot_exponent_drift(result: Extrapolation, *, ax: Axes | None = None) -> Axes:
    """The exponent a of N* ~ C^a against the cut-off, and that of all runs.

    Conclude: an exponent that still drifts as dearer runs are let in will drift beyond them too.

    Example:
        >>> import scaling
        >>> held_out = scaling.evaluate_extrapolation(scaling.example_runs(), intervals=False)
        >>> axes = scaling.plots.plot_exponent_drift(held_out)
    """
    require_kind("result", result, Extrapolation, "Make it by evaluate_extrapolation(runs).")
    return draw_figure(exponent_drift_figure(result), ax=ax)


def plot_comparison(result: LawComparison, *, ax: Axes | None = None) -> Axes:
    """N* at the target budget under each law and objective, best predictor on top, with its hold-out error.

    Conclude: the width of the cloud is the doubt that no interval of a single fit shows.

    Example:
        >>> import scaling
        >>> compared = scaling.compare_laws(scaling.example_runs(), ["chinchilla"], objectives=["huber"])
        >>> axes = scaling.plots.plot_comparison(compared)
    """
    require_kind("result", result, LawComparison, "Make it by compare_laws(runs).")
    return draw_figure(comparison_figure(result), ax=ax)


def plot_plan(plan: Plan, *, ax: Axes | None = None) -> Axes:
    """Extra compute at equal loss, and waste at equal compute, against N.

    Draws the rows of `plan.alternatives`; make the plan with `ratios=CURVE` for a smooth line. Shaded: the interval of
    N*; ticks at the foot: N* of the other published laws at the same compute.

    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_plan(scaling.plan_training(1e21, ratios=(0.25, 0.5, 1.0, 2.0)))
    """
    from scaling.planning.figures import off_optimum_figure

    require_kind("plan", plan, Plan, "Make it by plan_training(flops).")
    return draw_figure(off_optimum_figure(plan), ax=ax)


def _first_panel(figure: Figure, ax: Axes | None) -> Axes:
    panel = panels_of(figure)[0]
    with style.axes_or_new(ax) as ax:
        panel.draw(ax, panel.data)
        marks.claim(ax, panel.title)
        return ax


def usual_figures(fit: Any, runs: Runs, *, also: Collection[str] = (), **beside: Any) -> list[Figure]:
    """What `scaling fit --plot` draws: the figures that show the answer, and those of the checks asked for.

    Args:
        also: further kinds, "influence" or "coefficients".
        beside: as `fit_figures` takes it: target_flops, others, held_out, compared.

    Raises:
        UsageError: none of them can be drawn.
    """
    require_runs(runs, "a picture of a fit")
    if not isinstance(fit, FitFace):
        how = "make it by fit_isoflop, fit_envelope, fit_parametric or fit_law"
        raise UsageError(f"a picture is of a fit, got {shown(fit)}; {how}.")
    wanted = {*USUAL, *also, *(("hold-out", "exponent-drift") if beside.get("held_out") else ())}
    wanted |= {"comparison"} if beside.get("compared") else set()
    blocks = fit_figures(fit, runs, **{"others": laws_beside(fit), **beside})
    found = [block for block in blocks if isinstance(block, Figure) and block.kind in wanted]
    if not found:
        raise UsageError(" ".join(block.text for block in blocks if isinstance(block, Text)))
    return found


def fit_figure(fit: Any, runs: Runs, *, size: str = "page") -> Drawing:
    """Valleys, N* and D* (Approach 2), curves, N* and D* (1), map, slices, lines and residuals (3) on one sheet.

    Of a law of one quantity: the line over its runs, and residuals; of any other family the line of N* and residuals.

    `fit` is an IsoflopFit, EnvelopeFit, ParametricFit or LawFit of `runs`.

    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> len(scaling.plots.fit_figure(scaling.fit_parametric(runs), runs).axes) >= 4
        True
    """
    return compose(usual_figures(fit, runs), size=size)


def draw_fit(fit: Any, runs: Runs, path: str | Path, *, size: str = "page") -> None:
    """Write `fit_figure` to a file; its suffix (png, pdf, svg) is the format.

    Raises:
        UsageError: a suffix that is no picture format.
        StorageError: a file that cannot be written.

    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> scaling.plots.draw_fit(scaling.fit_isoflop(runs), runs, "fit.png")
    """
    from scaling.plots.figures import check_picture

    check_picture(path)
    draw_figures(usual_figures(fit, runs), path, size=size)
