"""The unit of a logged loss: as told, else as its name says, and converted to nats per token."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from scaling.errors import UsageError

LOSS_UNITS = ("nats/token", "bits/token", "bits/byte", "nats/byte", "perplexity", "other")
MOST_BYTES_PER_TOKEN = 50.0  # no tokenizer comes near it
_SAID_BY_NAME = {
    "bits/byte": ("bpb", "bits_per_byte"),
    "bits/token": ("bits_per_token",),
    "nats/byte": ("nats_per_byte",),
    "perplexity": ("ppl", "perplexity"),
    "bits/character": ("bpc", "bits_per_char", "bits_per_character"),
}


def unit_of(name: str) -> str | None:
    """The unit that the name of a metric says by itself: "val/bpb" is in bits per byte."""
    folded = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    for unit, words in _SAID_BY_NAME.items():
        if any(re.search(rf"(^|_){word}(_|$)", folded) for word in words):
            return unit
    return None


def to_nats(
    name: str, unit: str | None, bytes_per_token: float | None
) -> tuple[str, Callable[[float], float]]:
    """The unit in which the loss `name` is kept, and the conversion to it.

    Raises:
        UsageError: a unit that needs bytes_per_token without it, or that cannot be converted.
    """
    if bytes_per_token is not None and not 0 < bytes_per_token <= MOST_BYTES_PER_TOKEN:
        raise UsageError(
            "bytes_per_token (--bytes-per-token) is how much text a token stands for, 3 to 6 for most tokenizers; got "
            f"{bytes_per_token:g}."
        )
    if unit is not None and unit not in LOSS_UNITS:
        raise UsageError(f"loss_unit (--loss-unit) is one of {', '.join(LOSS_UNITS)}; got {unit!r}.")
    unit = unit or unit_of(name) or "nats/token"
    if unit == "bits/character":
        raise UsageError(
            f"{name} is in bits per character, which no count of bytes converts; take a loss per token or byte with "
            "--loss, or keep it as it is with --loss-unit other (exponents only)."
        )
    if unit.endswith("/byte") and bytes_per_token is None:
        raise UsageError(
            f"{name} is in {unit.replace('/', ' per ')}: give bytes_per_token (--bytes-per-token) of its validation "
            "text, or say another --loss-unit."
        )
    if not unit.endswith("/byte") and bytes_per_token is not None:
        raise UsageError(
            f"{name} is read in {unit}, where bytes_per_token (--bytes-per-token) says nothing; leave it out or say "
            "--loss-unit bits/byte."
        )
    if unit == "perplexity":
        return "nats/token", lambda value: math.log(value) if value > 0 else math.nan
    factor = (math.log(2) if unit.startswith("bits") else 1.0) * (bytes_per_token or 1.0)
    return ("other" if unit == "other" else "nats/token"), lambda value: value * factor
