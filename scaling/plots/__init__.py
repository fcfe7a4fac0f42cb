"""Figures from results: each `plot_x(result, ax=None)` draws what the result holds and returns the axes.

Use which when: `plot_isoflop` for valleys, `plot_envelope` for training curves, `plot_parametric`, `plot_slices` and
`plot_residuals` for a fitted surface, `plot_power_law` for a law of one quantity, `plot_frontier` for N*(C) of the
others, `plot_extrapolation`, `plot_exponent_drift` and `plot_comparison` for how far to trust it. `draw_fit` puts the
usual ones of a fit in a file.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_PUBLIC = {
    "draw_figure": "scaling.plots.figures",
    "draw_fit": "scaling.plots.panels",
    "figure_svg": "scaling.plots.figures",
    "fit_figure": "scaling.plots.panels",
    "plot_comparison": "scaling.plots.extrapolation",
    "plot_envelope": "scaling.plots.approaches",
    "plot_exponent_drift": "scaling.plots.extrapolation",
    "plot_extrapolation": "scaling.plots.extrapolation",
    "plot_first_figure": "scaling.plots.figures",
    "plot_frontier": "scaling.plots.frontier",
    "plot_isoflop": "scaling.plots.approaches",
    "plot_parametric": "scaling.plots.fitted_law",
    "plot_plan": "scaling.plots.figures",
    "plot_power_law": "scaling.plots.fitted_law",
    "plot_residuals": "scaling.plots.fitted_law",
    "plot_slices": "scaling.plots.fitted_law",
}

__all__ = sorted(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
