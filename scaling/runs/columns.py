"""Which column of a table holds which quantity: by name, by unit, and where two could be meant by their cells.

Of several columns for one quantity the surest name is read (our own before an alias before the tail of a path); text
beside numbers drops out, the same numbers twice are one; what is then still open is an error that asks.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling.errors import MOST_LISTED, DataError, UsageError, near_names
from scaling.runs.names import (
    ALIAS,
    OWN_NAME,
    OWN_NAMES,
    PARSERS,
    PATH_TAIL,
    Meaning,
    fold,
    last_words,
    meaning_of,
    misspelt,
)
from scaling.runs.raw_table import LARGEST, ColumnNames, RawTable, read_numbers, scaled, try_numbers
from scaling.runs.wide import looks_wide

Array = NDArray[np.float64]

NUMERIC = frozenset(LARGEST) - {"step"}  # steps, as names, may stay open: they do not enter a fit as numbers
OUR_HEADER = {"n_params_nonemb": "n_params_non_embedding"}  # as our own tables are written; not worth a word
SAME_VALUES = 0.01  # relative: two columns of one quantity, one of them rounded
SAME_LOSS = 0.02  # of a loss and its perplexity, each printed with three digits
LEAST_MODEL = 1e3  # parameters
SHOWN = 4  # columns that a message names
SAMPLE = 200  # rows that tell text from numbers and one quantity from another


@dataclass(frozen=True, kw_only=True)
class Match(Meaning):
    """One column of the file read as one of our quantities."""

    header: str  # as the file writes it
    position: int
    as_told: bool = False  # the caller has named this column
    data_unit: str = ""  # of a count that is no count of tokens: samples, images


Matches = Mapping[str, Match]
"""Our name of a quantity → the column read as it."""


def match_columns(table: RawTable, given: ColumnNames | None) -> tuple[Matches, tuple[str, ...]]:
    """Our name → the column of the table, and the notes that tell it back.

    Args:
        table: as read.
        given: our name → header, which settles what a name cannot; None reads no column as it.
    Raises:
        DataError: duplicate headers, or two columns for one quantity.
        UsageError: `given` names an unknown quantity or a column that is not there.
    """
    _refuse_duplicates(table)
    given = given or {}
    found: dict[str, Match] = {
        name: _given_match(table, name, header) for name, header in given.items() if header
    }
    taken = {m.position for m in found.values()}
    candidates: dict[str, list[Match]] = {}
    for position, header in enumerate(table.headers):
        meaning = None if position in taken else meaning_of(header)
        if meaning and fold(header) == "active" and not _counts_params(table, position):
            continue  # whether a run, an expert or a layer is
        if meaning and meaning.name and meaning.name not in given:
            match = Match(**vars(meaning), header=header, position=position)
            candidates.setdefault(meaning.name, []).append(match)
    notes: list[str] = []
    for name, matches in candidates.items():
        found[name] = _choose_column(table, name, matches, notes)
    told = [_told_back(m) for m in found.values() if m.header not in (m.name, OUR_HEADER.get(m.name))]
    return found, (*told, *notes)


def missing_column(
    name: str, table: RawTable, found: Matches, hint: str = "", remedies: Iterable[str] = ()
) -> DataError:
    """The error for a required column that is not there, with the columns that may be it by their meaning."""
    near = unread_near(name, table, found)
    headers = table.headers
    options = [column_option(name, header) for header in near[:2]]
    guess = f" Is it {near[0]}? Then say {say_column(name, near[0])}." if near else ""
    if name == "loss" and not near and (wide := looks_wide(table)):
        what = shlex.split(wide)[1]
        options = [wide]
        guess = f" Is it a wide table, one run a cell? Then say {wide} (in Python wide={what!r})."
    advice = hint or ("" if options else f" Name the column that holds it: {say_column(name, 'NAME')}.")
    return DataError(
        f"{table.source}: no column for {name}; the columns are "
        f"{', '.join(headers[:MOST_LISTED])}{' ...' if len(headers) > MOST_LISTED else ''}.{guess}{advice}",
        remedies=(*options, *remedies),
    )


def unread_near(name: str, table: RawTable, found: Matches) -> list[str]:
    """Columns of numbers that nothing is read from and that may hold `name` by their meaning."""
    read = {m.position for m in found.values()}
    unread = [h for i, h in enumerate(table.headers) if i not in read and not _is_text(table, i)]
    return near_columns(name, unread)


def near_columns(name: str, headers: Iterable[str]) -> list[str]:
    """The headers that may hold `name`, by what their words mean: a rate of tokens is no number of tokens."""
    return [h for h in headers if (m := meaning_of(h) or last_words(h) or misspelt(h)) and m.name == name]


def column_option(name: str, header: str) -> str:
    return f"--column {shlex.quote(f'{name}={header}')}"


def say_column(name: str, header: str) -> str:
    """How to say on the command line, and in Python, that `header` holds `name`."""
    return f"{column_option(name, header)} (in Python columns={{{name!r}: {header!r}}})"


def column_values(table: RawTable, match: Match, n: int | None = None) -> Array:
    """The cells of a column as numbers in our unit, NaN where one is none; the first `n` rows."""
    values = try_numbers(table.values[match.position][:n], match.name)
    values = match.log_base**values if match.log_base else values
    return scaled(values, match.scale)


def read_column(table: RawTable, match: Match, *, optional: bool = False) -> Array:
    """The cells of a column as checked numbers in our unit; NaN only for an empty cell of an optional one."""
    scale, log_base = match.scale, match.log_base
    return read_numbers(table, match.position, match.name, scale=scale, log_base=log_base, optional=optional)


def _choose_column(table: RawTable, name: str, matches: list[Match], notes: list[str]) -> Match:
    """The one column of several that is meant; where none holds numbers its first cell is refused with its line."""
    numeric = [m for m in matches if name in NUMERIC and not _is_text(table, m.position)]
    if not numeric:
        return min(matches, key=lambda m: m.rank)
    surest = [m for m in numeric if m.rank == min(m.rank for m in numeric)]
    first, others = surest[0], surest[1:]
    if not others:
        if name != "loss" and first.rank == OWN_NAME:  # of losses, which have splits, nothing is told
            notes.extend(
                f"{m.header} differs from {first.header}, which is read as {name}; for the other say "
                f"{say_column(name, m.header)}"
                for m in numeric
                if m.rank == ALIAS and not _same_quantity(table, first, m)
            )
        return first
    nats = [m for m in surest if name == "loss" and m.unit in ("", "nats/token")]
    if len(nats) == 1:
        first, others = nats[0], [m for m in surest if m is not nats[0]]
    if all(_same_quantity(table, first, other) for other in others):
        also = " and ".join(m.header for m in others)
        notes.append(f"{also} says the same as {first.header}: not read")
        return first
    raise _ambiguous(table, name, surest)


def _same_quantity(table: RawTable, first: Match, other: Match) -> bool:
    """Whether two columns hold one quantity: equal numbers; a loss and its perplexity; a loss and its bits per byte."""
    x, y = column_values(table, first, SAMPLE), column_values(table, other, SAMPLE)
    both = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    if not both.any():
        return False
    if other.unit == "perplexity" and first.unit != "perplexity":
        return bool(np.all(np.abs(np.log(y[both]) - x[both]) < SAME_LOSS))
    ratio = y[both] / x[both]
    if first.unit == other.unit:
        return bool(np.all(np.abs(ratio - 1) < SAME_VALUES))
    return bool(len(ratio) > 2 and ratio.max() < (1 + SAME_LOSS) * ratio.min())


def _counts_params(table: RawTable, position: int) -> bool:
    """Whether a column of a bare name holds numbers as large as models are."""
    values = _first_numbers(table, position)
    return bool(len(values) and np.median(values) > LEAST_MODEL)


def varies(table: RawTable, position: int) -> bool:
    """Whether a column holds numbers of more than one value."""
    values = _first_numbers(table, position)
    return bool(len(values) and values.max() > values.min())


def _is_text(table: RawTable, position: int) -> bool:
    """Whether a column holds words: of its first filled cells none is a number."""
    return not isinstance(table.values[position], np.ndarray) and not len(_first_numbers(table, position))


def _first_numbers(table: RawTable, position: int) -> Array:
    values = try_numbers(table.values[position][:SAMPLE], "n_params")
    return values[np.isfinite(values)]


def _given_match(table: RawTable, name: str, header: str) -> Match:
    if name not in OWN_NAMES:
        meant = meaning_of(name)
        near = [meant.name] if meant and meant.name else near_names(name, OWN_NAMES)
        listed = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(OWN_NAMES)}."
        raise UsageError(f"there is no quantity {name!r} to read a column as; {listed}")
    if header not in table.headers:
        near = near_columns(name, table.headers)
        listed = ", ".join(near or [h for h in table.headers if h][:MOST_LISTED])
        raise UsageError(
            f"{table.source}: no column {header!r} to read {name} from; the file has {listed}.",
            remedies=[column_option(name, h) for h in near[:2]],
        )
    position = table.headers.index(header)
    meaning = meaning_of(header)
    of_its_kind = name in PARSERS and meaning and PARSERS.get(meaning.name) is PARSERS[name]
    if meaning and (meaning.name == name or of_its_kind):  # then the header's unit holds
        said, data_unit = {**vars(meaning), "name": name}, ""
    else:
        said = {"name": name, "rank": PATH_TAIL}
        data_unit = "samples" if name == "n_tokens" and meaning is None and last_words(header) is None else ""
    return Match(**said, header=header, position=position, as_told=True, data_unit=data_unit)


def _refuse_duplicates(table: RawTable) -> None:
    headers = [header.strip() for header in table.headers if header.strip()]
    if len(set(headers)) < len(headers):
        twice = next(h for i, h in enumerate(headers) if h in headers[:i])
        raise DataError(f"{table.source}: two columns are named {twice!r}; rename or remove one of them.")


def _ambiguous(table: RawTable, name: str, matches: Sequence[Match]) -> DataError:
    listed = " and ".join(repr(m.header) for m in matches[:SHOWN])
    listed += f" and {len(matches) - SHOWN} more" if len(matches) > SHOWN else ""
    wide = looks_wide(table)
    say = f"{wide} (in Python wide=) reads one run a column" if wide else say_column(name, matches[0].header)
    options = (wide,) if wide else tuple(column_option(name, m.header) for m in matches[:SHOWN])
    return DataError(
        f"{table.source}: columns {listed} can each be read as {name}; say which: {say}.", remedies=options
    )


def _told_back(match: Match) -> str:
    scale = f" (times {match.scale:g})" if match.scale != 1 else ""
    scale = f" (as {match.log_base:.3g} to the power of its cells)" if match.log_base else scale
    return f"read {match.header} as {match.name}{scale}"
