"""Scaling laws from training runs, with honest error bars, and compute plans from scaling laws.

The public names below load on first use, so that `import scaling` and `scaling plan` stay fast; torch is needed
only for `scaling.lm` and is never imported from here.
"""

import sys

from scaling.lazy import RENDERERS, MovedModules, lazy_call, lazy_names

__version__ = "0.1.0"

RENDERERS |= {
    "html": lazy_call("scaling.render.html", "render_html"),
    "markdown": lazy_call("scaling.render.markdown", "render_markdown"),
    "note": lazy_call("scaling.render.terminal", "note"),
    "text": lazy_call("scaling.render.terminal", "render_terminal"),
    "plot": lazy_call("scaling.plots.figures", "plot_first_figure"),
    "plot_comparison": lazy_call("scaling.plots.results", "plot_comparison"),
    "plot_extrapolation": lazy_call("scaling.plots.results", "plot_extrapolation"),
}

if MovedModules not in sys.meta_path:
    sys.meta_path.append(MovedModules)

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
