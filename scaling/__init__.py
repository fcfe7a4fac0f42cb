"""Scaling laws from training runs, with honest error bars, and compute plans from scaling laws.

The public names below load on first use, so that `import scaling` and `scaling plan` stay fast; torch is needed
only for `scaling.lm` and is never imported from here.
"""

from __future__ import annotations

import sys

from scaling.lazy import RENDERERS, MovedModules, lazy_call, lazy_names

__version__ = "0.1.0"

_PUBLIC: dict[str, str] = {  # name → module that defines it
    "ScalingError": "scaling.errors",
    # runs
    "Runs": "scaling.runs",
    "load_runs": "scaling.runs",
    "check_runs": "scaling.runs",
    # laws
    "ChinchillaLaw": "scaling.laws.chinchilla",
    "FrontierLaw": "scaling.laws.frontier",
    "load_law": "scaling.laws.io",
    "write_law": "scaling.laws.io",
    "find_law": "scaling.reference",
    "find_accelerator": "scaling.reference",
    # fitting
    "fit_parametric": "scaling.fitting.parametric.fit",
    "fit_isoflop": "scaling.fitting.isoflop.fit",
    "fit_envelope": "scaling.fitting.envelope.fit",
    "fit_power_law": "scaling.fitting.power_law",
    "fit_law": "scaling.fitting.generic.fit",
    "bootstrap": "scaling.fitting.parametric.bootstrap",
    "predict_runs": "scaling.fitting.prediction",
    "evaluate_extrapolation": "scaling.fitting.extrapolation",
    "compare_laws": "scaling.fitting.comparison",
    "diagnose_fit": "scaling.fitting.diagnose",
    # accounting
    "Architecture": "scaling.architecture",
    "find_preset": "scaling.architecture",
    "count_params": "scaling.accounting",
    "count_flops": "scaling.accounting",
    "flops_per_token": "scaling.accounting",
    "estimate_memory": "scaling.accounting",
    # sweeps
    "load_sweep": "scaling.sweep.spec",
    "plan_sweep": "scaling.sweep.run",
    "run_sweep": "scaling.sweep.run",
    "load_store_runs": "scaling.sweep.results",
    # planning
    "allocate_compute": "scaling.planning.allocation",
    "plan_training": "scaling.planning.plan",
    "choose_architecture": "scaling.planning.shape",
    "audit_model": "scaling.planning.audit",
    # summaries as text
    "render_terminal": "scaling.render.terminal",
    "render_markdown": "scaling.render.markdown",
    "render_html": "scaling.render.html",
}

RENDERERS |= {
    "html": lazy_call("scaling.render.html", "render_html"),
    "markdown": lazy_call("scaling.render.markdown", "render_markdown"),
    "note": lazy_call("scaling.render.terminal", "note"),
    "plot": lazy_call("scaling.plots.figures", "plot_first_figure"),
}

if MovedModules not in sys.meta_path:
    sys.meta_path.append(MovedModules)

__all__ = ["__version__", *_PUBLIC]

__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
