"""Which column of a file holds which quantity: names, aliases, and units written in a header.

A header is matched by its exact name first, then by an alias, then by an alias with a unit: "params (M)",
"tokens [1e9]", "n_params_millions", "loss (bits/byte)". Two columns that could both be meant are an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaling.errors import DataError, UnitError, UsageError, near_names
from scaling.units import parse_flops, parse_params, parse_tokens

# Written as they compare: lower case, words joined by "_". Capital N, D, C, L, U match as capitals only.
ALIASES: dict[str, tuple[str, ...]] = {
    "n_params": (
        "params", "parameters", "n_parameters", "num_params", "num_parameters", "param_count", "parameter_count",
        "params_count", "model_size", "model_params", "total_params", "params_total", "n_params_total",
        "total_parameters", "N",
    ),
    "n_params_nonemb": (
        "params_nonemb", "nonemb_params", "non_embedding_params", "non_embedding_parameters", "params_non_embedding",
        "n_params_non_embedding", "n_params_nonembedding", "non_embedding_param_size", "n_non_embedding_params",
        "non_vocab_parameters", "non_vocab_params", "params_no_embedding",
    ),
    "n_tokens": (
        "tokens", "num_tokens", "token_count", "training_tokens", "train_tokens", "n_train_tokens", "total_tokens",
        "tokens_seen", "tokens_trained", "consumed_tokens", "data_size", "dataset_size", "dataset_tokens", "D",
    ),
    "n_tokens_unique": ("unique_tokens", "tokens_unique", "n_unique_tokens", "num_unique_tokens", "U"),
    "flops": (
        "flop", "training_flops", "training_flop", "train_flops", "total_flops", "compute", "training_compute",
        "compute_flops", "n_flops", "C",
    ),
    "loss": (
        "final_loss", "val_loss", "validation_loss", "valid_loss", "eval_loss", "test_loss", "train_loss",
        "training_loss", "lm_loss", "cross_entropy", "cross_entropy_loss", "ce_loss", "nll", "loss_validation", "L",
    ),
    "budget": (
        "budget_flops", "flops_budget", "flop_budget", "compute_budget", "isoflop_budget", "target_flops",
        "nominal_flops",
    ),
    "run_id": ("run", "run_name", "runid", "id", "experiment_id", "name"),
    "trunk_id": ("trunk", "parent_run", "parent_run_id"),
    "step": ("steps", "iteration", "iterations", "iter", "global_step", "train_step", "training_step"),
    "flops_source": ("flops_counting",),
    "params_convention": (),
    "flops_convention": (),
    "loss_unit": (),
}  # fmt: skip

# A name that says by itself that the loss is in another unit.
LOSS_IN_OTHER_UNITS = {
    "bits_per_byte": "bits/byte", "bpb": "bits/byte", "val_bpb": "bits/byte", "loss_bpb": "bits/byte",
    "bits_per_token": "bits/token", "bits_per_char": "bits/character", "bpc": "bits/character",
    "nats_per_byte": "nats/byte", "perplexity": "perplexity", "ppl": "perplexity", "val_ppl": "perplexity",
}  # fmt: skip
SAYS_TOTAL = {"n_params", "n_params_total", "total_params", "params_total", "total_parameters"}
NUMERIC = ("n_params", "n_params_nonemb", "n_tokens", "n_tokens_unique", "flops", "loss", "budget", "step")

OUR_HEADER = {"n_params_nonemb": "n_params_non_embedding"}  # as our own tables are written; not worth a word
_PARSERS = {"n_params": parse_params, "n_params_nonemb": parse_params, "n_tokens": parse_tokens}
_PARSERS |= {"n_tokens_unique": parse_tokens, "flops": parse_flops, "budget": parse_flops}
_BRACKETS = re.compile(r"^(.*?)\s*[(\[]\s*(?:in\s+)?([^()\[\]]*?)\s*[)\]]\s*$")


@dataclass(frozen=True, kw_only=True)
class Match:
    """One column of the file read as one of our quantities."""

    name: str  # ours
    header: str  # as the file writes it
    position: int
    scale: float = 1.0  # from a unit in the header
    unit: str = ""  # of the loss, where the header says it


def match_columns(
    headers: Sequence[str], given: Mapping[str, str] | None, where: str
) -> tuple[dict[str, Match], tuple[str, ...]]:
    """Our name → the column of the file, and the notes that tell it back.

    Args:
        headers: the file's column names, in order.
        given: our name → header, which settles what a name cannot.
        where: file (and line) for messages.
    Raises:
        DataError: duplicate headers, or two columns for one quantity.
        UsageError: `given` names an unknown quantity or a column that is not there.
    """
    _refuse_duplicates(headers, where)
    found = _given_matches(headers, given or {}, where)
    taken = {m.position for m in found.values()}
    candidates: dict[str, list[Match]] = {}
    for position, header in enumerate(headers):
        if position not in taken and (match := _match_one(header, position)) and match.name not in found:
            candidates.setdefault(match.name, []).append(match)
    for name, matches in candidates.items():
        exact = [m for m in matches if m.header == name]
        # names and steps may stay open, the first will do: they do not enter a fit as numbers
        if not exact and len(matches) > 1 and name not in ("run_id", "trunk_id", "step"):
            raise DataError(_ambiguous(name, matches, where))
        found[name] = (exact or matches)[0]
    return found, tuple(
        _told_back(m) for m in found.values() if m.header not in (m.name, OUR_HEADER.get(m.name))
    )


def missing_column(name: str, headers: Sequence[str], where: str) -> DataError:
    """The error for a required column that is not there, with the columns that look like it."""
    near = near_names(name, [h for h in headers if len(h.strip()) > 1])
    names = ", ".join(ALIASES[name][:4])
    guess = (
        f" Nearest: {', '.join(near)}; pass columns={{{name!r}: {near[0]!r}}} if that is it." if near else ""
    )
    return DataError(
        f"{where}: no column for {name} (also read: {names}); the columns are "
        f"{', '.join(headers[:20])}{' ...' if len(headers) > 20 else ''}.{guess or ' Add it or rename one.'}"
    )


def fold(header: str) -> str:
    """'Model Size' → 'model_size'; a single capital letter stays a capital."""
    body = header.strip()
    if len(body) == 1:
        return body
    return re.sub(r"[^0-9a-z]+", "_", body.lower()).strip("_")


_BY_FOLDED = {fold(alias): name for name, aliases in ALIASES.items() for alias in (name, *aliases)}


def _match_one(header: str, position: int) -> Match | None:
    folded = fold(header)
    if folded in _BY_FOLDED:
        return Match(name=_BY_FOLDED[folded], header=header, position=position)
    if folded in LOSS_IN_OTHER_UNITS:
        return Match(name="loss", header=header, position=position, unit=LOSS_IN_OTHER_UNITS[folded])
    brackets = _BRACKETS.match(header.strip())
    if brackets and (name := _BY_FOLDED.get(fold(brackets[1]))):
        return _with_unit(name, header, position, brackets[2])
    base, _, suffix = folded.rpartition("_")
    name = _BY_FOLDED.get(base)
    if name in _PARSERS and (scale := _scale_of(name, suffix)) is not None:
        return Match(name=name, header=header, position=position, scale=scale)
    return None


def _with_unit(name: str, header: str, position: int, unit: str) -> Match | None:
    if name == "loss":
        return Match(name=name, header=header, position=position, unit=unit)
    scale = _scale_of(name, unit)
    return None if scale is None else Match(name=name, header=header, position=position, scale=scale)


def _scale_of(name: str, unit: str) -> float | None:
    """The factor a unit stands for: 'M' → 1e6, '1e9' → 1e9, 'ZFLOPs' → 1e21; None when it is no such unit."""
    for text in (f"1 {unit}", f"1 {unit.removesuffix('s')}", unit):  # B, billions, 1e9
        try:
            return _PARSERS[name](text)
        except (UnitError, KeyError):
            continue
    return None


def _given_matches(headers: Sequence[str], given: Mapping[str, str], where: str) -> dict[str, Match]:
    found = {}
    for name, header in given.items():
        if name not in ALIASES:
            near = near_names(name, ALIASES) or list(ALIASES)
            raise UsageError(f"there is no quantity {name!r} to read a column as; known: {', '.join(near)}.")
        if header not in headers:
            near = near_names(header, headers) or list(headers)[:12]
            raise UsageError(
                f"{where}: no column {header!r} to read {name} from; the file has {', '.join(near)}."
            )
        position = list(headers).index(header)
        as_named = _match_one(header, position)
        same = as_named is not None and as_named.name == name
        found[name] = as_named if same and as_named else Match(name=name, header=header, position=position)
    return found


def _refuse_duplicates(headers: Sequence[str], where: str) -> None:
    seen: set[str] = set()
    for header in headers:
        if header.strip() and header.strip() in seen:
            raise DataError(
                f"{where}: two columns are named {header.strip()!r}; rename or remove one of them."
            )
        seen.add(header.strip())


def _ambiguous(name: str, matches: list[Match], where: str) -> str:
    listed = " and ".join(repr(m.header) for m in matches)
    return (
        f"{where}: columns {listed} can each be read as {name}; say which: --column {name}={matches[0].header} (in "
        f"Python columns={{{name!r}: {matches[0].header!r}}}), or rename one to {name}."
    )


def _told_back(match: Match) -> str:
    scale = f" (times {match.scale:g})" if match.scale != 1 else ""
    return f"read {match.header} as {match.name}{scale}"
