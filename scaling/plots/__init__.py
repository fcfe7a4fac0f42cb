"""Figures from results: what a result shows is data (`blocks.Figure`), drawn here and nowhere else.

Use which when: `draw_fit` puts the usual panels of a fit in a file; `draw_figures` any figures, on one sheet or in a
folder, at the size of a column, a page or a slide; `figure_svg` one for a web page. `plot_x(result, ax=None)` draws one
panel on axes of yours: `plot_isoflop` valleys, `plot_envelope` training curves, `plot_parametric`, `plot_slices` and
`plot_residuals` a fitted surface, `plot_power_law` a law of one quantity, `plot_frontier` N*(C), D*(C) and L*(C),
`plot_extrapolation`, `plot_exponent_drift` and `plot_comparison` how far to trust it, `plot_plan` a plan.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_MODULES = {
    "figures": ("compose", "draw_figure", "draw_figures", "figure_svg", "plot_first_figure"),
    "results": (
        "draw_fit",
        "fit_figure",
        "plot_comparison",
        "plot_envelope",
        "plot_exponent_drift",
        "plot_extrapolation",
        "plot_frontier",
        "plot_isoflop",
        "plot_parametric",
        "plot_plan",
        "plot_power_law",
        "plot_residuals",
        "plot_slices",
    ),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
