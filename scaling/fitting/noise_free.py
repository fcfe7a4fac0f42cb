"""Do the losses lie on the law as closely as they are printed? Then a formula made them, and they show no noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling.findings import Finding

Array = NDArray[np.float64]

COMPUTED = 1e-9  # of ln loss: what is left of losses in full precision after a search
MOST_DIGITS = 10  # more decimals than any table of measured losses prints
LOOKED_AT = 1000  # losses: enough to see with how many decimals a table prints them
# Seeds alone move the loss of a run by a few parts in a thousand. Losses printed so coarsely that rounding comes near
# that (two decimals) hide their noise; a fit that meets them to rounding does not show where they come from.
COARSEST = 2e-4  # of the loss


def rounding_of(loss: Array) -> float:
    """Scatter of ln loss that comes of printing the losses: half their last decimal; 1e-9 for full precision.

    Zero where they are printed so coarsely that measured losses may be as close to a law.
    """
    some = loss[:LOOKED_AT]
    for decimals in range(MOST_DIGITS):
        scaled = some * 10.0**decimals
        if np.allclose(scaled, np.round(scaled), rtol=0, atol=1e-4):
            relative = float(0.5 * 10.0**-decimals / np.median(loss))
            return relative if relative <= COARSEST else 0.0
    return COMPUTED


def lies_on_law(loss: Array, robust_scale: float, largest: float) -> bool:
    """Whether rounding explains every residual: `robust_scale` and the `largest` are of ln loss."""
    level = rounding_of(loss)
    return robust_scale <= level and abs(largest) <= 4 * level


def noise_free_finding(robust_scale: float) -> Finding:
    """Note that the runs look computed, not trained."""
    return Finding(
        code="noise-free",
        severity="note",
        message=f"the losses lie on the law to {max(robust_scale, 1e-16):.0e} of their size, as closely as they are "
        "printed: made from a formula? The intervals say nothing about real runs.",
    )
