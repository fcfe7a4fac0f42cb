"""Plan with fewer unique tokens than the optimum wants: repeated tokens are worth less, by Muennighoff's law.

The decay of a token's worth (R_D* = 15.4 repetitions) and of an excess parameter's (R_N* = 5.3) come from Muennighoff
et al. 2023; level and exponents stay those of the law in use, since the authors say that their own level is off.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from scaling.errors import LawError, PlanError
from scaling.laws.base import Allocation, Law
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.laws.data_constrained import DataConstrainedLaw
from scaling.reference.published import find_law
from scaling.units import format_params, format_tokens

# "up to 4 epochs ... negligible changes to loss compared to having unique data" (Muennighoff et al., abstract)
CHEAP_EPOCHS = 4.0


class Repetition(NamedTuple):
    """How often the unique tokens are seen, and what the repeats are worth."""

    unique_tokens: float
    epochs: float
    effective_tokens: float  # fresh tokens that would teach as much
    source: str


def needs_repetition(point: Allocation, unique_tokens: float | None) -> bool:
    """Whether the plan sees some token twice."""
    return unique_tokens is not None and point.n_tokens > unique_tokens * (1 + 1e-9)


def with_decays(law: Law) -> Law:
    """The law with repeated tokens priced in; its band, which holds for fresh tokens only, is dropped.

    Raises:
        PlanError: the law has no form in which the worth of a repeated token is known.
    """
    if isinstance(law, DataConstrainedLaw):
        return law
    if not isinstance(law, ChinchillaLaw):
        raise PlanError(
            f"the law {law.family.name} does not say what a repeated token is worth. Plan with a law "
            "E + A/N^alpha + B/D^beta (besiroglu, hoffmann, your own parametric fit), or with more unique tokens."
        )
    decays = find_law("muennighoff").coefficients
    r_d, r_n = decays["R_D"], decays["R_N"]
    uncertainty = law.uncertainty
    if uncertainty is not None:
        draws = tuple((*draw, r_d, r_n) for draw in uncertainty.draws)
        uncertainty = uncertainty._replace(band=None, draws=draws)
    return DataConstrainedLaw(
        **law.coefficients, R_D=r_d, R_N=r_n, provenance=law.provenance, uncertainty=uncertainty
    )


def describe_repetition(law: Law, point: Allocation, unique_tokens: float) -> Repetition:
    """Epochs and the fresh tokens they are worth: D' = U (1 + R* (1 - e^(-(epochs - 1)/R*)))."""
    epochs = point.n_tokens / unique_tokens
    effective = point.n_tokens
    if isinstance(law, DataConstrainedLaw) and epochs > 1:
        effective = unique_tokens * (1 + law.R_D * (1 - math.exp(-(epochs - 1) / law.R_D)))
    return Repetition(
        unique_tokens=unique_tokens,
        epochs=epochs,
        effective_tokens=effective,
        source="Muennighoff et al. 2023, arXiv:2305.16264: decays R_D* and R_N*; level and exponents of the law in use",
    )


def tokens_for_loss(law: Law, n_params: float, loss: float, inputs: dict[str, Any]) -> float:
    """law.tokens_for_loss, in closed form where tokens are repeated (the law itself bisects, too slow for draws).

    With D > U the loss is L(N, U) - B/U^beta + B/D'^beta, so D' and then D follow.
    Raises:
        LawError: no number of epochs reaches the loss.
    """
    unique = inputs.get("n_tokens_unique")
    if unique is None or not isinstance(law, DataConstrainedLaw):
        return law.tokens_for_loss(n_params, loss, **inputs)
    first_epoch = float(law.loss(n_params, unique, n_tokens_unique=unique))
    if loss >= first_epoch:
        return law.tokens_for_loss(n_params, loss, **inputs)
    by_data = loss - first_epoch + law.B * unique**-law.beta
    worth = (law.B / by_data) ** (1 / law.beta) / unique - 1 if by_data > 0 else math.inf
    if worth >= law.R_D:
        raise LawError(
            f"no number of epochs of {format_tokens(unique)} tokens brings {format_params(n_params)} parameters to a "
            f"loss of {loss:.4g}."
        )
    return float(unique * (1 - law.R_D * math.log1p(-worth / law.R_D)))
