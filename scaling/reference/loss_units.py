"""Does a table's loss have the size of a loss in nats per token? Compared with a published law at the same N and D.

Corpora and tokenizers differ by a fifth either way. A loss in bits per token is 1.44 times too high on every run, a
loss per byte three to seven times too low: both stand out where the rows of a table agree on the factor.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scaling.findings import Finding
from scaling.reference.published import find_law
from scaling.runs import Runs
from scaling.runs.rows import some_rows
from scaling.translation import tr

LAW = "besiroglu-printed"  # Chinchilla's runs; the coefficients as printed, which need no file of draws
BITS = 1 / math.log(2)  # per nat
BITS_WITHIN = 0.05  # of the factor 1.44: on C4, whose losses are high, tables lie at 1.2
AGREE_WITHIN = 0.08  # middle 90 % of the rows about their median: another law's shape, and noise
BYTES_PER_TOKEN = (3.0, 5.5)  # of English text under vocabularies of 16k to 256k
ABOVE_ANY_CORPUS = 1.6  # times Chinchilla's losses; C4 lies at 1.2, bits at 1.44
BELOW_LOGS, ABOVE_LOGS = 0.7, 1.35  # of the logarithm of a perplexity to Chinchilla's losses: another corpus
ENOUGH = 5  # runs


def check_loss_unit(runs: Runs) -> Finding | None:
    """A finding where every loss is off a published law by the factor of a unit; None for another unit than nats/token.

    Args:
        runs: one row a run.
    """
    compared = {"n_params", "n_tokens"}.isdisjoint(runs.absent)
    if runs.convention.loss_unit != "nats/token" or len(runs) < ENOUGH or runs.planned or not compared:
        return None
    rows = some_rows(len(runs))
    ratio = runs.loss[rows] / np.asarray(find_law(LAW).loss(runs.n_params[rows], runs.n_tokens[rows]))
    low, middle, high = np.percentile(ratio, [5, 50, 95])
    if abs(middle / BITS - 1) < BITS_WITHIN and max(high / middle, middle / low) < 1 + AGREE_WITHIN:
        reading = tr("as a loss in bits per token is (1.44 = 1 / ln 2)")
        return _finding(middle, reading, ["--loss-unit bits/token"])
    logs = np.log(np.maximum(runs.loss[rows], 1.0)) / (runs.loss[rows] / ratio)
    if middle > ABOVE_ANY_CORPUS and BELOW_LOGS <= np.median(logs) <= ABOVE_LOGS and _agree(logs):
        return Finding(
            code="loss-unit",
            short=tr("losses {middle:.2g} times Chinchilla's: perplexities? See --loss-unit", middle=middle),
            severity="error",
            message=tr(
                "the losses are about {middle:.2g} times those of Chinchilla's runs at equal n_params and "
                "n_tokens, and their logarithms {of_logs:.2f} times: perplexities? If so, say --loss-unit "
                "perplexity (in Python loss_unit=); if they are nats per token, say --loss-unit nats/token.",
                middle=middle,
                of_logs=np.median(logs),
            ),
            source="Besiroglu et al. 2024, arXiv:2404.10102",
            remedies=("--loss-unit perplexity", "--loss-unit nats/token"),
        )
    least, most = BYTES_PER_TOKEN
    if 1 / most <= middle <= BITS / least:
        bytes_a_token = {"nats/byte": 1 / middle, "bits/byte": BITS / middle}
        likely = {unit: n for unit, n in bytes_a_token.items() if least <= n <= most}
        if likely:
            said = ", ".join(
                tr("{n:.2g} bytes a token if in {unit}", n=n, unit=unit) for unit, n in likely.items()
            )
            ways = [f"--loss-unit {unit} --bytes-per-token NUMBER" for unit in likely]
            return _finding(middle, tr("as a loss per byte is ({said})", said=said), ways)
    return None


def _agree(values: NDArray[np.float64]) -> bool:
    """Whether the middle 90 % of the rows agree on one factor, as they do for another corpus, not for another unit."""
    low, middle, high = np.percentile(values, [5, 50, 95])
    return bool(max(high / middle, middle / low) < 1 + 2 * AGREE_WITHIN)


def _finding(middle: float, reading: str, ways: list[str]) -> Finding:
    ready = [way for way in ways if "NUMBER" not in way]
    return Finding(
        code="loss-unit",
        short=tr("losses {middle:.2f} times Chinchilla's: another unit? See --loss-unit", middle=middle),
        severity="warning",
        message=tr(
            "the losses are about {middle:.2f} times those of Chinchilla's runs at equal n_params and "
            "n_tokens, {reading}. If so, say {ways} (in Python loss_unit=); if they are nats per token, say "
            "--loss-unit nats/token. Exponents hold either way; E, A, B and every predicted loss do not.",
            middle=middle,
            reading=reading,
            ways=tr(" or ").join(ways),
        ),
        source="Besiroglu et al. 2024, arXiv:2404.10102",
        remedies=(*ready, "--loss-unit nats/token"),
    )
