"""Which figure stands in which section of a report, and which of them show single runs."""

from __future__ import annotations

from scaling.blocks import Figure
from scaling.errors import ScalingError
from scaling.fitting.summary import compute_optimal_figure
from scaling.report.evidence import Evidence
from scaling.report.told import drawn


def figures_of(e: Evidence, *, run_data: bool = True) -> dict[str, tuple[Figure, ...]]:
    """The figures of each section, by its name."""
    found: dict[str, tuple[Figure, ...]] = {}
    if e.fit is not None:
        try:
            optimum = compute_optimal_figure(e.fit)
        except ScalingError:  # a law without an optimum at some budget
            optimum = None
        found["optimum"] = (optimum,) if optimum is not None else ()
    if e.plan is not None:
        found["plan"] = drawn(e.plan.summary())
    return found
