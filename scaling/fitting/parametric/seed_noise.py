"""How far two runs of one model may lie apart by their seeds alone: what a gap of losses must exceed to count."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaling.fitting.distributions import t_quantile
from scaling.fitting.parametric.result import ParametricFit


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """How far the losses of one model with two seeds lie apart.

    standard_deviation: of ln loss, of one run.
    """

    standard_deviation: float
    dof: int
    source: str
    level: float

    def gap(self, loss: float) -> float:
        """Nats/token that two seeds differ by at most, with the probability `level`."""
        t = t_quantile((1 + self.level) / 2, self.dof)
        return loss * math.expm1(t * math.sqrt(2) * self.standard_deviation)


def seed_noise(surface: ParametricFit) -> SeedNoise:
    """From cells repeated with another seed; without any, from all that the law leaves over, which is more."""
    residuals, pure = surface.residuals, surface.residuals.pure_error
    if pure is not None:
        return SeedNoise(
            standard_deviation=pure.standard_deviation,
            dof=pure.dof,
            source="repeated cells",
            level=surface.level,
        )
    return SeedNoise(
        standard_deviation=residuals.standard_deviation,
        dof=max(1, surface.n_runs - len(surface.estimates)),
        source="residuals of the law",
        level=surface.level,
    )
