"""Can these runs determine E, A, B, alpha and beta at all? Refused before fitting, with what to add."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from scaling.errors import FitError
from scaling.fitting.parametric.surface import N_COEFFICIENTS, Array
from scaling.runs import Runs
from scaling.runs.rows import plain
from scaling.translation import counted
from scaling.units import format_flops, format_params, format_tokens

MIN_LEVELS = 3  # two sizes fix the ratio A/N1^alpha : A/N2^alpha, not both A and alpha
SAME_LEVEL = 0.02  # sizes or token counts within 2 % are one level
ONE_LINE = 1.25  # a table whose D/N (or N D) stays within this factor is one line in (ln N, ln D)


def require_identifiable(runs: Runs, fixed: Collection[str] = ()) -> None:
    """Raise FitError where the five coefficients cannot follow from these runs, naming what to add.

    A coefficient in `fixed` is held and need not follow.
    Source: for one ratio D/N or one budget the two power laws are functions of one variable and trade off freely
    (Hoffmann et al. 2022 vary both); two sizes leave alpha open.
    """
    where = runs.source
    runs.require(("n_params", "n_tokens"), "the chinchilla law")
    runs.require_losses()
    n_fitted = N_COEFFICIENTS - len(fixed)
    if len(runs) <= n_fitted:
        raise FitError(
            f"{where} has {counted(len(runs), 'run')} and the law has {n_fitted} coefficients; a fit needs at "
            f"least {n_fitted + 1}, an interval worth having 20 or more. Add runs at other n_params and n_tokens."
        )
    ln_loss = np.log(runs.loss)
    if float(np.ptp(ln_loss)) < 1e-9:
        raise FitError(
            f"{where}: all {len(runs)} losses equal {runs.loss[0]:g}; there is nothing to fit. Check the loss column."
        )
    of_params, of_tokens = (len({*term} & {*fixed}) for term in (("A", "alpha"), ("B", "beta")))
    _require_levels(runs.n_params, where, "n_params", format_params, MIN_LEVELS - of_params)
    _require_levels(runs.n_tokens, where, "n_tokens", format_tokens, MIN_LEVELS - of_tokens)
    if (
        max(of_params, of_tokens) < 2
    ):  # else one term is known whole, and the other is a function of one quantity
        _require_two_directions(runs)


def _require_levels(values: Array, where: str, column: str, formatter: object, least: int) -> None:
    levels = count_levels(values)
    if levels >= least:
        return
    assert callable(formatter)
    spread = (
        f"{formatter(values.min())} to {formatter(values.max())}" if levels > 1 else formatter(values.max())
    )
    exponent = "alpha" if column == "n_params" else "beta"
    raise FitError(
        f"{where} has {levels} distinct {column} ({spread}); {exponent} needs at least {least}. Add runs at "
        f"another {column}, best a factor of 3 or more beyond these."
    )


def count_levels(values: Array) -> int:
    """Number of values more than 2 % apart, counted up to three."""
    ordered = np.sort(np.log(values))
    levels, last = 1, ordered[0]
    while levels < MIN_LEVELS:
        nearby = int(np.searchsorted(ordered, last + SAME_LEVEL, side="right"))
        if nearby >= len(ordered):
            break
        levels, last = levels + 1, ordered[nearby]
    return levels


def _require_two_directions(runs: Runs) -> None:
    ln_params, ln_tokens = np.log(runs.n_params), np.log(runs.n_tokens)
    ratio, product = ln_tokens - ln_params, ln_tokens + ln_params
    if float(np.ptp(ratio)) < math.log(ONE_LINE):
        middle = math.exp(float(np.median(ratio)))
        fewer, more = plain(middle / 4, 2), plain(middle * 4, 2)
        raise FitError(
            f"{runs.source}: every run has about {plain(middle)} tokens per parameter, so N and D cannot be told "
            f"apart. Add runs at {fewer} and {more} tokens per parameter, or fit a power law in compute: --law "
            "flops_power_law (in Python fit_law(runs, 'flops_power_law')).",
            remedies=("--law flops_power_law",),
        )
    if float(np.ptp(product)) < math.log(ONE_LINE):
        budget = float(np.median(runs.flops))
        raise FitError(
            f"{runs.source}: every run has the budget {format_flops(budget)} FLOPs; how loss falls with compute "
            f"cannot be seen. Add runs at {format_flops(budget / 10)} or {format_flops(budget * 10)} FLOPs."
        )
    centred = np.stack([ln_params - ln_params.mean(), ln_tokens - ln_tokens.mean()])
    smallest = math.sqrt(max(float(np.linalg.eigvalsh(centred @ centred.T / len(runs))[0]), 0.0))
    if smallest < math.log(ONE_LINE) / 10:
        raise FitError(
            f"{runs.source}: n_params and n_tokens lie on one line in log-log (spread {smallest:.2g} across it), so "
            "alpha and beta cannot be told apart. Add runs with more or fewer tokens at the same sizes."
        )
