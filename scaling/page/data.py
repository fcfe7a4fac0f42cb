"""What the page computes with: laws with their intervals, accelerators, and the rules of the planner, as plain values.

Each is read where the planner reads it, so that the page cannot say otherwise. Laws that split no budget are left out,
and so are forms that `planner.js` does not have. What the page leaves to `scaling plan`: unique tokens that repeat, a
shape with its memory (so the number of accelerators is that of the time alone), a target loss, time or money as budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling.errors import LawError, UsageError
from scaling.jsonable import jsonable
from scaling.laws.base import Law, OptimumBand, Uncertainty
from scaling.planning import utilisation
from scaling.planning.allocation import origin_of
from scaling.planning.alternatives import VALLEY
from scaling.planning.checks import ENDLESS_SECONDS, LEAST_PARAMS, LEAST_TOKENS
from scaling.planning.cost import DEFAULT_GOODPUT, JOULES_PER_KWH, TARGET_SECONDS, make_cluster
from scaling.planning.shape import DEFAULT_CONTEXT, DEFAULT_VOCAB, TIE_ABOVE
from scaling.planning.spread import SUBSETS, paper_of
from scaling.planning.uncertainty import N_DRAWS, thinned_rows
from scaling.reference.hardware import Accelerator, accelerators
from scaling.reference.published import published_laws

# the forms of planner.js, by family
FORMS = {
    "chinchilla": "chinchilla",
    "data_constrained": "data_constrained",
    "kaplan": "kaplan",
    "kaplan_floor": "kaplan",
    "over_training": "over_training",
    "frontier": "frontier",
}
# the largest single cluster known: xAI's Colossus, 200,000 accelerators (its operator, 2025)
MOST_ACCELERATORS = 200_000
NOT_COMPUTED = ("unique tokens", "shape and memory", "a target loss", "time or money as the budget")


def page_data(own: Law | None = None) -> dict[str, Any]:
    """The laws (`own` first), accelerators and rules.

    Raises:
        UsageError: a law of a form that the page cannot compute.
    """
    laws = [_law(law, published=True) for law in published_laws() if _is_planned(law)]
    if own is not None:
        if not _is_planned(own):
            raise UsageError(
                f"a page explores laws that split a budget ({', '.join(FORMS)}); this one is {own.family.name}."
            )
        mine = _law(own, published=False)
        laws = [mine, *(law for law in laws if law["name"] != mine["name"])]
    return {
        "laws": laws,
        "accelerators": [_accelerator(a) for a in accelerators() if a.peak_flops_per_s is not None],
        "rules": {
            "goodput": DEFAULT_GOODPUT,
            "targetSeconds": TARGET_SECONDS,
            "contextLength": DEFAULT_CONTEXT,
            "utilisation": {
                "level": utilisation.LEVEL,
                "small": utilisation.SMALL,
                "starved": utilisation.STARVED,
                "many": utilisation.MANY,
                "smallParams": utilisation.SMALL_PARAMS,
                "middleDevices": utilisation.MIDDLE_DEVICES,
                "mostDevices": utilisation.MOST_DEVICES,
                "widthOverDepth": utilisation.WIDTH_OVER_DEPTH,
                "spread": utilisation.SPREAD,
                "largest": utilisation.LARGEST,
            },
            "endlessSeconds": ENDLESS_SECONDS,
            "joulesPerKwh": JOULES_PER_KWH,
            "vocabSize": DEFAULT_VOCAB,
            "tieAbove": TIE_ABOVE,
            "valley": list(VALLEY),
            "mostAccelerators": MOST_ACCELERATORS,
            "leastModel": [LEAST_PARAMS, LEAST_TOKENS],
        },
        "notComputed": list(NOT_COMPUTED),
    }


def _is_planned(law: Law) -> bool:
    if law.family.name not in FORMS:
        return False
    try:
        law.allocate(1e20)
    except LawError:
        return False
    return True


def _law(law: Law, *, published: bool) -> dict[str, Any]:
    origin = origin_of(law)
    ends = origin.fitted_range.get("flops")
    return {
        "name": origin.name,
        "published": published,
        "form": FORMS[law.family.name],
        "formula": law.family.formula,
        "coefficients": dict(law.coefficients),
        "coefficientNames": list(law.family.names),
        "convention": origin.params_convention,
        "lossUnit": origin.loss_unit,
        "corpus": origin.corpus,
        "source": origin.source,
        "paper": paper_of(law),
        "subset": origin.name.startswith(SUBSETS),
        "smallestFlops": None if ends is None else jsonable(ends[0]),
        "largestFlops": None if ends is None else jsonable(ends[1]),
        "uncertainty": None if law.uncertainty is None else _uncertainty(law, law.uncertainty),
    }


def _uncertainty(law: Law, known: Uncertainty) -> dict[str, Any] | None:
    if known.band is None and not known.draws:
        return None
    return {
        "level": known.level,
        "method": known.method,
        "statement": known.statement,
        "drawsMethod": known.draws_method or known.method,
        "draws": [list(row) for row in thinned_rows(law, N_DRAWS)],
        "band": None if known.band is None or not known.band.log10_flops else _band(known.band),
    }


def _band(band: OptimumBand) -> Mapping[str, Any]:
    """Ends over log10 C; null is unbounded."""
    return {
        "log10Flops": list(band.log10_flops),
        "nParamsLow": jsonable(band.n_params_low),
        "nParamsHigh": jsonable(band.n_params_high),
        "lossLow": jsonable(band.loss_low),
        "lossHigh": jsonable(band.loss_high),
    }


def _accelerator(a: Accelerator) -> dict[str, Any]:
    """With the utilisation of a usual run, which the page shows before it knows the run."""
    cluster = make_cluster(a)
    low, high = cluster.price_usd_per_hour_low, cluster.price_usd_per_hour_high
    return {
        "name": a.name,
        "peakFlopsPerS": cluster.peak_flops_per_s,
        "starved": cluster.starved,
        "mfu": [cluster.mfu_low, cluster.mfu_mid, cluster.mfu_high],
        "mfuSource": cluster.mfu_source,
        "priceUsdPerHour": None if low is None or high is None else [low, high],
        "priceDate": cluster.price_date,
        "tdpW": cluster.tdp_w,
    }
