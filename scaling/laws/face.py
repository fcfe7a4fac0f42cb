"""How a law shows itself: its formula with numbers, where it is from, and what it answers for usual budgets."""

from __future__ import annotations

import math
from typing import Any

from scaling.blocks import Blocks, Equation, Fields, Figure, Record, Shown, Table, Text
from scaling.errors import LawError
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_tokens

BUDGETS = (1e19, 1e20, 1e21, 1e22, 1e23, 1e24)  # FLOPs
N_DRAWN = 31  # budgets of a figure, over a range of thousand times where none is known
UNKNOWN_RANGE = (1e18, 1e21)


class LawFace(Shown):
    """What a law says; `Law` says what it is. `self` is a Law, which stands above this file."""

    def brief(self: Any) -> Blocks:
        values = ", ".join(f"{name} = {v:.6g}" for name, v in self.coefficients.items() if v is not None)
        origin = self.provenance
        source = (Text(f"{origin.name}: {origin.source}"),) if origin else ()
        return (Text(self.family.formula), Text(values), *source)

    def summary(self: Any) -> Blocks:
        """The formula, its numbers and source, what they count, the best split of usual budgets."""
        points = [(best, *self._ends(best.flops)) for best in map(self._best, BUDGETS) if best]
        rows = [
            (
                format_flops(best.flops),
                format_params(best.n_params),
                ""
                if low is None
                else tr("{low} to {high}", low=format_params(low), high=format_params(high)),
                format_tokens(best.n_tokens),
                "" if best.loss is None else f"{best.loss:.3f}",
            )
            for best, low, high in points
        ]
        level = f"{100 * self.uncertainty.level:g} %" if self.uncertainty else ""
        table = Table((tr("FLOPs"), "N*", level, "D*", tr("loss")), rows)
        figure = self._figure()
        _, *known = self.brief()
        formula = Equation(self.family.formula)
        return (
            formula,
            *known,
            *self._counted(),
            *((table,) if rows else ()),
            *((figure,) if figure else ()),
        )

    def records(self: Any) -> list[Record]:
        """A row a coefficient: name, family, coefficient, value."""
        law = {"law": self.provenance.name if self.provenance else "", "family": self.family.name}
        return [{**law, "coefficient": name, "value": value} for name, value in self.coefficients.items()]

    def _counted(self: Any) -> Blocks:
        p = self.provenance
        if p is None:
            return ()
        told = {
            tr("N counts"): p.params_convention,
            "C": p.flops_text.removeprefix("C = "),
            tr("loss"): p.loss_unit,
        }
        told |= {tr("corpus"): p.corpus, tr("status"): p.status, tr("note"): p.note}
        return (Fields([(name, text) for name, text in told.items() if text]),)

    def _best(self: Any, flops: float) -> Any:
        """The optimum, or None for a law without one."""
        try:
            return self.allocate(flops)
        except LawError:
            return None

    def _ends(self: Any, flops: float) -> tuple[float | None, float | None]:
        """The interval of N* that the law states at this budget, interpolated in logarithms between its own."""
        band = self.uncertainty.band if self.uncertainty else None
        x = math.log10(flops)
        if band is None or not band.log10_flops[0] <= x <= band.log10_flops[-1]:
            return None, None
        right = max(1, next(i for i, known in enumerate(band.log10_flops) if known >= x))
        left, (a, b) = right - 1, band.log10_flops[right - 1 : right + 1]
        share = (x - a) / (b - a)

        def at(ends: tuple[float, ...]) -> float:
            if not (ends[left] > 0 and math.isfinite(ends[right])):
                return ends[right]
            return math.exp((1 - share) * math.log(ends[left]) + share * math.log(ends[right]))

        return at(band.n_params_low), at(band.n_params_high)

    def _figure(self: Any) -> Figure | None:
        """N* over budgets; None for a law without a compute-optimal split."""
        low, high = (self.provenance and self.provenance.fitted_range.get("flops")) or UNKNOWN_RANGE
        steps = [low * (1000 * high / low) ** (i / (N_DRAWN - 1)) for i in range(N_DRAWN)]
        best = [point for point in map(self._best, steps) if point]
        if len(best) < len(steps):
            return None
        data: dict[str, list[float]] = {"flops": steps, "n_params": [p.n_params for p in best]}
        data["fitted_flops"] = [low, high]
        ends = [self._ends(flops) for flops in steps]
        if self.uncertainty and all(e[0] is not None for e in ends):
            data |= {"n_params_low": [e[0] for e in ends], "n_params_high": [e[1] for e in ends]}
            data["level"] = [self.uncertainty.level]
        alt = tr(
            "Compute-optimal parameters N* over training FLOPs from {low} to {high}.",
            low=format_flops(steps[0]),
            high=format_flops(steps[-1]),
        )
        return Figure("compute-optimal", data, alt, tr("The compute-optimal model size."))
