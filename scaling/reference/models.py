"""Published models: sizes, tokens, compute and shape as their papers give them, each row with its status."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from scaling.errors import UnknownNameError
from scaling.reference.tables import aliases_of, find_row, from_row, read_table

TABLE = "published_models.csv"


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One trained model. None means not published; `flops` is the published training compute, not 6ND.

    Args:
        flops_counts: where it is known why `flops` is not 6ND, what it counts.
        disputed_tokens: other counts of the training tokens, each with who says so.
    """

    id: str
    name: str
    family: str
    organisation: str
    year: int
    kind: str  # decoder | decoder-moe | encoder | encoder-decoder
    n_params: float
    n_params_active: float | None  # per token, mixture of experts only
    n_params_non_embedding: float | None
    n_tokens: float | None
    n_tokens_unique: float | None
    flops: float | None
    flops_counts: str
    disputed_tokens: tuple[tuple[float, str], ...]
    n_layers: int | None
    d_model: int | None
    n_heads: int | None
    n_kv_heads: int | None
    d_ff: int | None
    vocab_size: int | None
    context_length: int | None
    status: str  # verified | partly | unverified
    source: str
    note: str


@cache
def published_models() -> tuple[PublishedModel, ...]:
    """Every model of the table, in its order."""
    return tuple(_model(row) for row in read_table(TABLE))


@cache
def find_model(name: str) -> PublishedModel:
    """The model of this id, name or alias ("GPT-3" is the one with 175B parameters).

    Raises:
        UnknownNameError: listing near names.
    """
    if row := find_row(TABLE, name, "id", "name"):
        return _model(row)
    known = [row["name"] for row in read_table(TABLE)]
    hint = "Any other model: `scaling audit --params 7B --tokens 2T`."
    raise UnknownNameError("model", name, known, aliases=aliases_of(TABLE, "name"), hint=hint)


def _model(row: dict[str, str]) -> PublishedModel:
    # 7.68e11=who says so|2.81e12=who says that
    parts = (part.partition("=") for part in row["disputed_tokens"].split("|") if part)
    disputed = tuple((float(tokens), why) for tokens, _, why in parts)
    return from_row(PublishedModel, row, disputed_tokens=disputed)
