"""Figures from results: each `plot_x(result, ax=None)` draws what the result holds and returns the axes.

Use which when: `plot_isoflop` for valleys, `plot_envelope` for training curves, `plot_parametric`, `plot_slices` and
`plot_residuals` for a fitted surface, `plot_power_law` for a law of one quantity, `plot_frontier` for N*(C) of the
others, `plot_extrapolation`, `plot_exponent_drift` and `plot_comparison` for how far to trust it. `draw_fit` puts the
usual ones of a fit in a file.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_MODULES = {
    "approaches": ("plot_envelope", "plot_isoflop"),
    "extrapolation": ("plot_comparison", "plot_exponent_drift", "plot_extrapolation"),
    "figures": ("draw_figure", "figure_svg", "plot_first_figure", "plot_plan"),
    "fitted_law": ("plot_parametric", "plot_power_law", "plot_residuals", "plot_slices"),
    "frontier": ("plot_frontier",),
    "panels": ("draw_fit", "fit_figure"),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
