"""Figures from results: each `plot_x(result, ax=None)` draws what the result holds and returns the axes.

Use which when: `plot_isoflop` for valleys, `plot_envelope` for training curves, `plot_parametric`, `plot_slices` and
`plot_residuals` for a fitted surface, `plot_power_law` for a law of one quantity, `plot_frontier` for N*(C) of the
others, `plot_extrapolation`, `plot_exponent_drift` and `plot_comparison` for how far to trust it. `draw_fit` puts the
usual ones of a fit in a file.
"""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
