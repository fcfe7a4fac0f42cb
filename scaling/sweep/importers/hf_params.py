"""N of a run of transformers' Trainer: as told, counted from its config.json, or from what the Trainer counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.accounting import count_params
from scaling.architecture.huggingface import read_huggingface
from scaling.errors import DataError, UsageError

FLOPS_PER_PARAM_TOKEN = 6.0  # what the Trainer counts: 6 x tokens x parameters outside nn.Embedding
SAME_COUNT = (
    1e-4  # relative; processes of one job exchange their counts as 32-bit floats, and padding is per cents
)
ROUNDING = 2.0**-53  # of one addition of doubles, relative


@dataclass(frozen=True, kw_only=True)
class Count:
    """N, what it counts, and what is to be said of it."""

    n_params: float
    convention: str
    notes: tuple[str, ...] = ()


def count_of(state: Path, *, flops: float, n_tokens: float, n_steps: int, asked: str | None) -> Count:
    """N of the model beside a trainer_state.json.

    Args:
        flops, n_tokens: what the Trainer counted in n_steps, both up to the end; 0 where it did not.
        asked: which count; None takes non_embedding where it can be known.
    Raises:
        DataError: neither config.json nor counts say it.
    """
    logged = flops / (FLOPS_PER_PARAM_TOKEN * n_tokens) if flops > 0 and n_tokens > 0 else None
    config = _config(state)
    if config is None:
        return _uncertain(state, logged, n_steps, asked, "no config.json beside it")
    place, values = config
    try:
        model = read_huggingface(values, source=str(place))
    except (UsageError, DataError) as error:
        return _uncertain(state, logged, n_steps, asked, str(error))
    counts, notes = count_params(model.architecture), model.notes
    if counts.idle and asked is None:
        raise DataError(
            f"{place} describes a mixture of experts of {counts.total} parameters, {counts.active} of them active: say "
            "which is N: params_convention (--params-convention) total or active."
        )
    expected = counts.non_embedding + counts.vocabulary_head
    if logged is not None and abs(logged / expected - 1) > SAME_COUNT:
        notes = (
            *notes,
            f"total_flos / (6 num_input_tokens_seen) is {logged:.10g}, and the model of config.json has "
            f"{expected:.10g} parameters outside lookup tables: padding is counted in one of the two; N is the model's",
        )
    count = {"total": counts.total, "active": counts.active}.get(asked or "", counts.non_embedding)
    return Count(n_params=float(count), convention=asked or "non_embedding", notes=notes)


def _config(state: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The config.json beside the state, or in a checkpoint below its folder or beside it."""
    beside = [state.parent, *sorted(state.parent.glob("checkpoint-*"))]
    if state.parent.name.startswith("checkpoint-"):
        beside += [state.parent.parent, *sorted(state.parent.parent.glob("checkpoint-*"))]
    for path in (folder / "config.json" for folder in beside):
        if path.is_file():
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(f"{path} is no configuration ({error}).") from error
            if not isinstance(values, dict):
                raise DataError(f"{path} is no configuration (it holds no object).")
            return path, values
    return None


def _uncertain(state: Path, logged: float | None, n_steps: int, asked: str | None, why: str) -> Count:
    """N by the Trainer's two counts alone, which do not say whether a vocabulary head is in it."""
    if logged is None:
        raise DataError(
            f"{state} has no total_flos and num_input_tokens_seen to count N by ({why}); give n_params (--params) and "
            "params_convention (--params-convention), or put the model's config.json beside it."
        )
    # Both counts are sums of whole numbers, rounded at most once a step; a fraction shows that one of them leaves out
    # what the other counts (padding, for one). Where rounding could hide it, nothing is shown.
    rounding = max(1e-6, logged * n_steps * ROUNDING)
    if rounding > 0.25 or abs(logged - round(logged)) > rounding:
        raise DataError(
            f"{state}: total_flos / (6 num_input_tokens_seen) is {logged:.12g}, no whole number of parameters: the two "
            f"do not count the same tokens ({why}); give n_params (--params) and params_convention "
            "(--params-convention), or put the model's config.json beside it."
        )
    if asked in ("total", "active"):
        raise DataError(
            f"{state}: total_flos leaves out lookup tables, so the log does not say N of {asked} parameters ({why}); "
            "give n_params (--params), or put the model's config.json beside it."
        )
    if asked is not None:
        return Count(n_params=round(logged), convention=asked)
    note = (
        f"N is total_flos / (6 tokens), without lookup tables; whether an untied vocabulary head is in it is not known "
        f"({why}): where the head is tied, say --params-convention non_embedding"
    )
    return Count(n_params=round(logged), convention="unknown", notes=(note,))
