"""N, D and C of each run: read where the table has them, else from the other two by C = 6 N D, else from steps.

Kaplan et al. 2020 (arXiv:2001.08361), eq. 2.2: C = 6 N D. Any two give the third; D is also steps x batch x length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, UsageError
from scaling.runs.columns import (
    Match,
    Matches,
    column_option,
    column_values,
    missing_column,
    read_column,
    say_column,
    unread_near,
    varies,
)
from scaling.runs.names import CHANGES_MEANING, UNIT_ONLY, fold, fold_tail
from scaling.runs.raw_table import RawTable, Reading, read_numbers, read_texts, try_numbers
from scaling.runs.table import ONE_INPUT_LAWS, QUANTITIES
from scaling.runs.wide import option_for_runs

Array = NDArray[np.float64]

Advice = tuple[str, tuple[str, ...]]  # what would do, and the options that do it

# A batch in sequences beside one in tokens: no published batch had so many sequences (Llama 3's 16M tokens are 2,048
# of 8,192), and 32,768 tokens are a batch of the smallest models.
MOST_SEQUENCES = 32_768
# By which no way of counting training FLOPs differs from 6 N D; the FLOPs of one sample do, and rates.
ANY_COUNT = 100.0
COUNTS_APART = math.log(1.22)  # in ln C: nobody misses a nominal budget by a fifth

# A column of one of these words, not read, may be the tokens or the compute: then no law of one quantity is fitted.
MAY_BE_A_SIZE = {
    "tokens", "token", "toks", "samples", "examples", "images", "sequences", "epochs", "steps", "step",
    "iterations", "iters", "data", "flops", "flop", "gflops", "compute", "params", "parameters", "hours", "words",
    "documents", "bytes",
}  # fmt: skip
LEAST_SIZE = 1e5  # of parameters and tokens: smaller numbers count in millions or billions
SAME_CELL = 0.01  # relative: losses further apart at one size differ by something else than chance
_A_SIZE = re.compile(r"\s*\d[\d.,_]*\s*[MBGT]\s*", re.IGNORECASE)  # 19.5M
# pythia-70m
_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?[MB])(?![A-Za-z0-9])", re.IGNORECASE)
# words of a column whose numbers are no N, D or C
_NO_SIZE = {
    "batch", "vocab", "vocabulary", "context", "time", "duration", "wall", "memory", "mem", "warmup", "ram",
}  # fmt: skip
_STEPS = (
    "n_steps", "num_steps", "train_steps", "training_steps", "total_steps", "max_steps", "num_iterations",
    "num_updates",
)  # fmt: skip
_BATCH_TOKENS = (
    "batch_tokens", "tokens_per_batch", "tokens_per_step", "batch_size_tokens", "global_batch_tokens",
    "tokens_per_update", "tokens_per_iteration", "tokens_per_iter", "batch_size_in_tokens", "global_batch_size_tokens",
    "total_batch_size",
)  # fmt: skip
_BATCH = (
    "global_batch_size", "batch_size", "batch_seqs", "sequences_per_batch", "train_batch_size", "bsz", "batch",
    "global_bsz", "gbs", "n_sequences", "batch_size_sequences", "effective_batch_size",
)  # fmt: skip
_LENGTH = (
    "seq_len", "sequence_length", "seqlen", "seq_length", "context_length", "context_len", "ctx_len", "n_ctx",
    "block_size", "max_seq_len", "context", "context_size", "ctx", "max_sequence_length", "train_seq_len",
    "tokens_per_sequence",
)  # fmt: skip
_PARTS = (
    "gradient_accumulation_steps", "grad_accum", "grad_accum_steps", "gradient_accumulation", "accumulation_steps",
    "world_size", "n_gpus", "num_gpus", "n_devices", "num_devices", "data_parallel_size", "dp",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """N, D and C; a column is all NaN where the table does not have it and it does not follow."""

    n_params: Array
    n_tokens: Array
    flops: Array
    notes: tuple[str, ...] = ()
    unread: tuple[int, ...] = ()  # columns matched and then not taken
    data_unit: str = "tokens"
    # the column behind each, also of one that was derived
    read_from: Mapping[str, str] = field(default_factory=dict)

    def arrays(self) -> tuple[Array, Array, Array]:
        return self.flops, self.n_params, self.n_tokens


def read_sizes(table: RawTable, found: Matches, chosen: Match | None, reading: Reading) -> Sizes:
    """N, D and C of every row.

    Args:
        chosen: the column that is N; None where the table has none.
    Raises:
        DataError: a quantity that the law uses is neither there nor derived; the message says what would do.
    """
    notes: list[str] = []
    N = None if chosen is None else read_column(table, chosen)
    D, of_tokens = _tokens(table, found, reading, notes)
    C, source, unread = _flops(table, found, N, D, notes)
    with np.errstate(all="ignore"):  # Runs refuses what overflows and names its row
        if N is not None and D is not None and C is None:
            C = _six_or_budget(table, found, FLOPS_PER_PARAM_TOKEN * N * D, notes, reading)
        elif N is not None and D is None and C is not None:
            D = C / (FLOPS_PER_PARAM_TOKEN * N)
            notes.append(f"n_tokens = {source} / (6 n_params): {_lacks('n_tokens', table, found, reading)}")
        elif N is None and D is not None and C is not None:
            N = C / (FLOPS_PER_PARAM_TOKEN * D)
            notes.append(f"n_params = {source} / (6 n_tokens): {_lacks('n_params', table, found, reading)}")
    here = {name for name, v in zip(QUANTITIES, (N, D, C), strict=True) if v is not None}
    _require(here, table, found, reading, next((v for v in (N, D, C) if v is not None), None))
    absent = np.full(len(table), np.nan)
    return Sizes(
        n_params=absent if N is None else N,
        n_tokens=absent if D is None else D,
        flops=absent if C is None else C,
        notes=tuple(notes),
        unread=unread,
        data_unit=of_tokens,
        read_from=_read_from(table, found, chosen),
    )


def _read_from(table: RawTable, found: Matches, chosen: Match | None) -> dict[str, str]:
    """The column of each quantity; of one that was derived, the column whose unit it got."""
    C = found.get("flops") or found.get("budget")
    own = {"n_params": chosen, "n_tokens": found.get("n_tokens"), "flops": C}
    read = {name: match.header for name, match in own.items() if match is not None}
    if "flops" in read:  # N and D follow from C and the other
        read = {"n_params": read["flops"], "n_tokens": read["flops"], **read}
    elif "n_tokens" not in read and (steps := _steps(table, found)) is not None:
        read["n_tokens"] = table.headers[steps]
    return read


def _lacks(name: str, table: RawTable, found: Matches, reading: Reading) -> str:
    """Why a quantity was derived: the table does not have it, or has it under a name that is not understood."""
    near = [] if name in (reading.columns or {}) else unread_near(name, table, found)
    if near:
        return f"{near[0]} is not understood; if it is {name}, say {say_column(name, near[0])}"
    what = {"n_params": "parameters", "n_tokens": "tokens", "flops": "FLOPs"}[name]
    return f"the table has no {what}"


def _six_or_budget(table: RawTable, found: Matches, six: Array, notes: list[str], reading: Reading) -> Array:
    """C of a table without FLOPs: 6 N D, or its budgets where N is another count than the one they were made with."""
    if "budget" in found:
        budget = column_values(table, found["budget"])
        with np.errstate(all="ignore"):
            off = np.abs(np.log(six / budget))
        if np.isfinite(off).all() and COUNTS_APART < float(np.median(off)) < math.log(ANY_COUNT):
            times = float(np.median(six / budget))
            notes.append(f"flops = {found['budget'].header}: 6 n_params n_tokens is {times:.2g} times that")
            return budget
    notes.append(f"flops = 6 n_params n_tokens: {_lacks('flops', table, found, reading)}")
    return six


def _tokens(table: RawTable, found: Matches, reading: Reading, notes: list[str]) -> tuple[Array | None, str]:
    """D as the table has it, else from steps; and what it counts."""
    if "n_tokens" in found:
        if reading.tokens_per_step is not None:
            raise UsageError(
                f"{table.source} has tokens (column {found['n_tokens'].header}); leave --tokens-per-step (in Python "
                "tokens_per_step=) out."
            )
        return read_column(table, found["n_tokens"]), found["n_tokens"].data_unit or "tokens"
    steps = _steps(table, found)
    if reading.tokens_per_step is not None:
        if steps is None:
            raise missing_column("step", table, found)
        notes.append(f"n_tokens = {table.headers[steps]} times {reading.tokens_per_step:,.12g}, as asked")
        return _count(table, steps, "step") * reading.tokens_per_step, "tokens"
    if steps is None or ({"flops", "budget"} & set(found) and "n_params" in found):
        return None, "tokens"  # C and N give D
    return _tokens_of_steps(table, steps, notes), "tokens"


def _steps(table: RawTable, found: Matches) -> int | None:
    return found["step"].position if "step" in found else _first(table, _STEPS)


def _first(table: RawTable, names: tuple[str, ...]) -> int | None:
    """The column of one of these names, the surer name first, wherever in a path it stands."""
    folded = list(map(fold_tail, table.headers))
    return next((folded.index(n) for n in names if n in folded), None)


def _count(table: RawTable, position: int, name: str) -> Array:
    return read_numbers(table, position, name, optional=False)


def _tokens_of_steps(table: RawTable, steps: int, notes: list[str]) -> Array | None:
    """Steps x batch x length, what every trainer logs; None where the table does not say the batch in tokens."""
    of_tokens, of_rows, length = (_first(table, names) for names in (_BATCH_TOKENS, _BATCH, _LENGTH))
    headers = table.headers
    if of_tokens is not None:
        notes.append(f"n_tokens = {headers[steps]} x {headers[of_tokens]}: the table has no tokens")
        return _count(table, steps, "step") * _count(table, of_tokens, "batch")
    if of_rows is None or length is None:
        return None
    batch, name = _count(table, of_rows, "batch"), headers[of_rows]
    if float(np.median(batch)) > MOST_SEQUENCES:
        raise DataError(
            f"{table.source}: {name} is {np.median(batch):,.0f} in the middle: sequences, or tokens? Say how many "
            "tokens a step takes: --tokens-per-step NUMBER (in Python tokens_per_step=)."
        )
    parts = _first(table, _PARTS)
    if parts is not None and not fold(name).startswith(("global", "effective", "total")):
        raise DataError(
            f"{table.source}: is {name} the batch of one device, or of a whole step ({headers[parts]} is there "
            "too)? Say how many tokens a step takes: --tokens-per-step NUMBER (in Python tokens_per_step=)."
        )
    notes.append(f"n_tokens = {headers[steps]} x {name} x {headers[length]}: the table has no tokens")
    return _count(table, steps, "step") * batch * _count(table, length, "length")


def _flops(
    table: RawTable, found: Matches, N: Array | None, D: Array | None, notes: list[str]
) -> tuple[Array | None, str, tuple[int, ...]]:
    """C of each run, the name of its column, and columns that turned out not to hold it."""
    match = found.get("flops")
    unread: tuple[int, ...] = ()
    if match is not None:
        C = read_column(table, match)
        if N is None or D is None or match.as_told or match.rank < UNIT_ONLY:
            return C, "flops", ()
        ratio = float(np.median(C / (FLOPS_PER_PARAM_TOKEN * N * D)))
        if 1 / ANY_COUNT < ratio < ANY_COUNT:
            return C, "flops", ()
        unread = (match.position,)
        notes.append(
            f"{match.header} is not read as training FLOPs: it is {ratio:.2g} times 6 n_params n_tokens (of one "
            f"sample, or a rate?); --column flops={match.header} reads it so (in Python columns=)"
        )
    if "budget" in found and (N is None or D is None):
        return read_column(table, found["budget"]), "budget", unread
    return None, "", unread


def _require(here: set[str], table: RawTable, found: Matches, reading: Reading, size: Array | None) -> None:
    """Two of N, D and C, or at least what the law uses."""
    wanted = set(QUANTITIES) & set(reading.inputs) if reading.inputs is not None else set(QUANTITIES)
    if len(here) >= 2:
        return
    if here and reading.inputs is not None and wanted <= here:
        named = bool(reading.inputs)  # else the law of what is there is fitted, where that is all there is
        if not named and not reading.planned and size is not None:
            _refuse_more_than_one(next(iter(here)), size, table, found, reading)
        if named or not _other_size(table, found):
            return
    wanted = wanted or set(QUANTITIES)
    missing = next(q for q in QUANTITIES if q in wanted - here)
    raise missing_column(missing, table, found, *_what_would_do(here, missing, table, found, reading))


def _refuse_more_than_one(has: str, size: Array, table: RawTable, found: Matches, reading: Reading) -> None:
    """Refuse a table whose cells show that the loss follows another size too: sizes as text, or losses far apart."""
    missing = "n_tokens" if has == "n_params" else "n_params"
    law = _what_would_do({has}, missing, table, found, reading)
    for i, header in enumerate(table.headers):
        if kind := _sizes_as_text(table, found, i, size):
            if kind == "names":
                hint = f" The names in {header} hold sizes: write them into a column {missing} of their own.{law[0]}"
                raise missing_column(missing, table, found, hint, law[1])
            is_near = header in unread_near(missing, table, found)
            raise missing_column(missing, table, found, *_proposal(missing, header, law, is_near=is_near))
    loss = column_values(table, found["loss"]) if "loss" in found else np.full(len(table), np.nan)
    order = np.argsort(size, kind="stable")
    cells = [c for c in np.split(order, np.flatnonzero(np.diff(size[order])) + 1) if len(c) > 1]
    shown = np.log(loss) if "loss" in found and found["loss"].unit == "perplexity" else loss
    if not any(float(np.ptp(shown[c])) > SAME_CELL * abs(float(np.min(shown[c]))) for c in cells):
        return
    read = {m.position for m in found.values()}
    for i, header in enumerate(table.headers):
        if i not in read and not CHANGES_MEANING & set(fold(header).split("_")):
            values = try_numbers(table.values[i], "n_params")
            if 2 * len(np.unique(values)) <= len(values) and all(_falls(values[c], loss[c]) for c in cells):
                near, small = unread_near(missing, table, found), float(np.median(values)) < LEAST_SIZE
                advice = _proposal(missing, header, law, is_near=header in near, too_small=small)
                raise missing_column(missing, table, found, *advice)
    hint = f" Runs of one {has} differ by more than {SAME_CELL:.0%} in loss, so {has} alone does not set it:{law[0]}"
    best = " --best-of-cell (in Python best_of_cell=True) keeps the lowest loss of each."
    raise missing_column(missing, table, found, hint + best, ("--best-of-cell", *law[1]))


def _sizes_as_text(table: RawTable, found: Matches, position: int, size: Array) -> str:
    """Whether cells that are not read are sizes ("cells": 19.5M) or names with sizes ("names": pythia-70m)."""
    match = next((m for m in found.values() if m.position == position), None)
    if (match and match.name != "run_id") or isinstance(table.values[position], np.ndarray):
        return ""
    words = set(fold(table.headers[position]).split("_"))
    texts = read_texts(table.values[position])
    parts = [_SIZE_IN_NAME.search(text) for text in texts]
    plain = all(map(_A_SIZE.fullmatch, texts))
    if (_NO_SIZE | CHANGES_MEANING) & words or not (plain or all(parts)):
        return ""
    sizes = try_numbers(texts if plain else [p[1] for p in parts if p], "n_params")
    if len(np.unique(sizes)) < 3 or not np.isfinite(sizes).all():
        return ""
    with np.errstate(all="ignore"):
        same = float(np.median(np.abs(np.log(sizes / size)))) < COUNTS_APART  # the one that is read, rounded
    return "" if same else "cells" if plain else "names"


def _falls(values: Array, loss: Array) -> bool:
    """Whether the loss falls as these values rise, as it does with a size and not with a learning rate or a seed."""
    order = np.argsort(values)
    return bool(np.all(np.diff(values[order]) > 0) and np.all(np.diff(loss[order]) < 0))


def _proposal(missing: str, header: str, law: Advice, *, is_near: bool, too_small: bool = False) -> Advice:
    """Whether a column is the missing size, asked; cells too small for one need their unit said first."""
    if too_small:
        named = f"Then name that column {missing} with its unit, '{missing} (B)' for billions"
        return f" Is it {header}? {named}.{law[0]}", law[1]
    if is_near:
        return law
    say = f" Is it {header}? Then say {say_column(missing, header)}.{law[0]}"
    return say, (column_option(missing, header), *law[1])


def _other_size(table: RawTable, found: Matches) -> str:
    """A column that is not read and may hold tokens, compute or parameters under a name of its own; "" for none."""
    read = {m.position for m in found.values() if m.name != "step"}
    for i, header in enumerate(table.headers):
        words = set(fold(header).split("_"))
        if i not in read and MAY_BE_A_SIZE & words and not CHANGES_MEANING & words and varies(table, i):
            return header
    return ""


def _what_would_do(here: set[str], missing: str, table: RawTable, found: Matches, reading: Reading) -> Advice:
    """What else than the missing column would do, and the options that do it."""
    if not here:
        names = read_texts(table.values[found["run_id"].position]) if "run_id" in found else ()
        wide = option_for_runs(tuple(dict.fromkeys(names))) if names else ""
        if "{" not in wide:
            return "", ()
        return f" {wide} takes it from the names of the runs of a panel.", (wide,)
    has = next(iter(here))
    third = next(q for q in ("flops", "n_tokens", "n_params") if q not in (has, missing))
    text = f" {third} would do too: it follows by C = 6 N D." if missing != "flops" else ""
    if missing == "n_tokens" and _steps(table, found) is not None:
        text += " So would --tokens-per-step NUMBER (in Python tokens_per_step=): the table has steps."
    if reading.planned:  # to predict by a law that is there already
        return text, ()
    law = f"--method parametric --law {ONE_INPUT_LAWS[has]}"
    return f"{text} {law} (in Python inputs={(has,)}) fits the loss against {has} alone.", (law,)
