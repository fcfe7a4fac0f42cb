"""Whether commas in the cells of a table are decimal signs or separate thousands, decided once for the whole table.

A table is written under one locale, so that one cell which can be read in one way only (0,534; 12,5; 1,234,567)
decides for those that could be either (3,408). Where none does, a loss that cannot be does (3408 nats), then what
stands between the cells and how whole numbers are written; where these disagree or are silent, the caller is asked.
Columns that contradict each other are read each by its own sign if no cell is left that could be either.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, UnitError, UsageError
from scaling.runs.names import meaning_of, means, scale_of
from scaling.runs.raw_table import EMPTY, ColumnNames, RawTable
from scaling.runs.read import MAX_ROWS, read_table
from scaling.units import parse_number, without_thousands

Array = NDArray[np.float64]
DECIMALS = {"comma": ",", "point": "."}
# per token: a uniform guess among 5e8 tokens; a comma read as thousands makes any loss 1000 or more
MOST_NATS = 20.0
# of finished runs in the middle of a table: a model of single words' frequencies has about that
MOST_PERPLEXITY = 1000.0
MOST = {"n_params": 1e13, "n_tokens": 1e15}  # of a run: thousandfold mistakes are above
MILLION = 1e6
SAMPLED = 200  # cells, spread over a column, that tell numbers from names
CHUNK = 1 << 14  # cells looked through at once for a sign

_NUMBER = r"([+-]?)((?:\d|[.,](?=\d))(?:[\d_]|[.,'](?=\d)| (?=\d{3}(?!\d)))*\.?)"
_POWER = r"([eE][+-]?\d+|\s*[x×*·]\s*10\s*(?:\^|\*\*)\s*\{?[+-]?\d+\}?)?"
_UNIT = r"(\s*(?:%|[^\W\d_][^\d,;:$€£¥]*)?)"  # words: what holds digits is a name, a date or a path
_AMOUNT = re.compile(_NUMBER + _POWER + _UNIT)
_SIGN = re.compile(r",|'|\.\d{3}\.\d|\d \d{3}")
# the full-width forms of ASCII, other minus signs and apostrophes, and what has no width
_PLAIN: dict[int, int | str | None] = {c: chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}
_PLAIN |= str.maketrans("−﹣’‘ʼ′", "--" + "'" * 4, "\u200b\ufeff")
_SUPERSCRIPT = re.compile(r"10([⁺⁻]?[⁰¹²³⁴-⁹]+)")
_LOWERED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")

# Stems without accents, in the languages of tables with decimal commas; they weigh evidence, they choose no column.
_LOSS = re.compile(
    r"loss|perdida|perte|verlust|verlies|perda|perdita|forlust|strata|ztrata|veszteseg|havio|kayip|потер|损|損"
    r"|entrop|nll|nats|bits|bp[bc]|^l$"
)
_PERPLEXITY = re.compile(r"ppl|perpl|перпл")
_QUANTITY = re.compile(
    r"param|size|token|jeton|flop|compute|budget|step|iter|schritt|^pas|etape|^[ndcu]$|парам|токен|参数|パラ|トークン"
)
_STEPS = {"schritt", "schritte", "pas", "paso", "pasos", "passo", "passi", "etape", "etapes"}


@dataclass(frozen=True, kw_only=True)
class _Column:
    """What the cells of one column of numbers say about the signs in them; rows are positions in the table."""

    position: int
    is_quantity: bool  # by its name: the columns whose word weighs more
    decimal_point: int | None = None  # the first row that is a number only if the point is the decimal sign
    decimal_comma: int | None = None
    either: int | None = None  # the first row with a comma that makes two numbers
    differs: bool = False  # some cell makes another number under the other sign, and no cell tells
    doubtful: bool = False  # nothing but a point elsewhere speaks for thousands, and they would be too many
    weak: frozenset[str] = frozenset()  # decimal signs that the way of writing suggests

    def says(self) -> str:
        """The decimal sign this column proves: one of '.', ',', or '' for none or both."""
        proved = (self.decimal_point is not None, self.decimal_comma is not None)
        return {(True, False): ".", (False, True): ","}.get(proved, "")


def resolve_commas(
    table: RawTable, *, decimal: str | None = None, columns: ColumnNames | None = None
) -> RawTable:
    """The table with its numbers written with a decimal point and without thousands, and a note where that told.

    Args:
        decimal: the decimal sign, "comma" or "point", which settles cells that could be either; None finds it out.
        columns: our name → column of the file, as the caller gave it to load_runs.
    Raises:
        DataError: commas could be either and nothing tells, or columns contradict each other.
        UsageError: `decimal` is another word.
    """
    if decimal is not None and decimal not in DECIMALS:
        raise UsageError(f"decimal is one of {', '.join(DECIMALS)}; got {decimal!r}.")
    given = dict(columns or {})
    names = {given.pop("run_id", None), given.pop("trunk_id", None)}
    is_name = [header in names or means(header, "run_id", "trunk_id") for header in table.headers]
    numbers = [i for i, named in enumerate(is_name) if not named and _holds_amounts(table, i, given)]
    if not any(_has_signs(table.values[i]) for i in numbers):
        return table
    looked = [_look(table, i, given) for i in numbers]
    sign = DECIMALS[decimal] if decimal else _decide(table, looked)
    if sign == "," and _rereads(table):
        return resolve_commas(_as_text(table), decimal=decimal, columns=columns)
    return _rewritten(table, looked, sign)


# --- cells ---


def _plain(text: str) -> str:
    """Digits, minus signs, apostrophes and spaces of other scripts as ASCII; a power as ^n."""
    body = text.strip()
    if body.isascii():
        return body
    body = _SUPERSCRIPT.sub(lambda m: f"10^{m[1].translate(_LOWERED)}", body).translate(_PLAIN)
    digits = (str(unicodedata.decimal(c)) if c.isdecimal() else " " if c.isspace() else c for c in body)
    return "".join(digits).strip()


def _amount(text: str) -> tuple[str | None, str | None, str] | None:
    """The number by a decimal point, by a decimal comma, and the unit behind it; None where it is no number."""
    match = _AMOUNT.fullmatch(_plain(text))
    if match is None:
        return None
    sign, digits, power, unit = match[1], match[2], match[3] or "", match[4]
    by_point, by_comma = without_thousands(digits, "."), without_thousands(digits, ",")
    if by_point is None and by_comma is None:
        return None
    if power and by_point and by_comma and by_point != by_comma:  # no thousands stand before an exponent:
        by_point, by_comma = (None, by_comma) if "," in digits else (by_point, None)  # 1,500E+09 is 1.5e9
    return (
        None if by_point is None else f"{sign}{by_point}{power}",
        None if by_comma is None else f"{sign}{by_comma}{power}",
        unit,
    )


def _texts(cells: Any) -> Iterator[tuple[int, str]]:
    """Rows and cells that are text and not empty."""
    for i, cell in enumerate(cells):
        if isinstance(cell, str) and cell.strip().lower() not in EMPTY:
            yield i, cell


def _value(number: str) -> float:
    try:
        return float(number)
    except ValueError:  # 1.5 x 10^9: for the size of a loss, the mantissa will do
        return float(re.split(r"\s*[x×*·]", number)[0])


# --- columns ---


def _folded(header: str) -> str:
    """Lower case without accents: 'Pérdida' → 'perdida'."""
    parts = unicodedata.normalize("NFKD", header.strip().casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


def _limit(header: str, given: ColumnNames) -> float | None:
    """What no finished run is above, where the column holds a loss by its name, as given, or in a wide table."""
    folded = _folded(header)
    if _PERPLEXITY.search(folded):
        return MOST_PERPLEXITY
    is_loss = header == given.get("loss") or _LOSS.search(folded) or _AMOUNT.fullmatch(_plain(header))
    return MOST_NATS if is_loss else None


def _is_quantity(header: str, given: ColumnNames) -> bool:
    named = header in given.values() or _QUANTITY.search(_folded(header))
    return bool(named) or _limit(header, given) is not None


def _holds_amounts(table: RawTable, position: int, given: ColumnNames) -> bool:
    """Whether a column is one of numbers: by the name, else when half of its cells can be read as such."""
    cells = table.values[position]
    if isinstance(cells, np.ndarray):
        return bool(table.separator)  # elsewhere a number was never written with a sign
    if _is_quantity(table.headers[position], given):
        return True
    sample = [cells[i] for i in range(0, len(cells), max(1, len(cells) // SAMPLED))]
    texts = [text for _, text in _texts(sample)]
    return 2 * sum(_amount(text) is not None for text in texts) >= max(1, len(texts))


def _has_signs(cells: Any) -> bool:
    """Whether any cell is written with something to settle; a million plain cells take a twentieth of a second."""
    if isinstance(cells, np.ndarray):
        return False
    for start in range(0, len(cells), CHUNK):
        joined = "\n".join([c for c in cells[start : start + CHUNK] if isinstance(c, str)])
        if not joined.isascii() or _SIGN.search(joined):
            return True
    return False


def _look(table: RawTable, position: int, given: ColumnNames) -> _Column:
    header, cells = table.headers[position], table.values[position]
    limit, known = _limit(header, given), _is_quantity(header, given)
    if isinstance(cells, np.ndarray):
        return _look_at_floats(cells, position, known, limit)
    first: dict[str, int] = {}
    weak: set[str] = set()
    plain_sizes: set[bool] = set()  # whether whole numbers without a sign have more than three digits
    by_point, by_comma = array("d"), array("d")
    for i, text in _texts(cells):
        if (amount := _amount(text)) is None:
            continue
        point, comma, _ = amount
        if point is None or comma is None:
            first.setdefault("," if point is None else ".", i)
        elif point != comma:
            first.setdefault("either" if "," in text or "，" in text else "point either", i)
        elif point.isdecimal():
            plain_sizes.add(len(point) > 3)
        by_point.append(_value(point if point is not None else str(comma)))
        by_comma.append(_value(comma if comma is not None else str(point)))
    if "either" in first and plain_sizes:
        weak.add("," if True in plain_sizes else ".")  # 1500 beside 1,250; or 500 and 750 beside 1,250
    if {"either", "point either"} & set(first):
        for sign in _possible(np.frombuffer(by_point), np.frombuffer(by_comma), limit, header):
            first.setdefault(sign, first.get("either", first.get("point either", 0)))
    proved, either = ("." in first) != ("," in first), first.get("either")
    may_be_many = not proved and either is not None
    return _Column(
        position=position,
        is_quantity=known,
        decimal_point=first.get("."),
        decimal_comma=first.get(","),
        either=either,
        differs=not proved and bool({"either", "point either"} & set(first)),
        doubtful=may_be_many and _too_many(header, cells[first["either"]], by_point, given, weak),
        weak=frozenset(weak),
    )


def _too_many(header: str, cell: str, by_point: Sequence[float], given: ColumnNames, weak: set[str]) -> bool:
    """Whether thousands in a column, such as `cell`, are more than runs have, or are thousands of millions.

    Whole numbers below 1000 beside them (500 and 1,500) speak for thousands.
    """
    meaning = meaning_of(header)
    scale = scale_of(header)
    unit = (_amount(cell) or ("", "", ""))[2].split()
    with suppress(UnitError):  # words of another kind: 9,548 tokens
        scale *= parse_number(f"1{unit[0]}") if unit else 1.0
    name = next((ours for ours, theirs in given.items() if theirs == header), meaning.name if meaning else "")
    return (scale >= MILLION and "." not in weak) or max(by_point) * scale > MOST.get(name, math.inf)


def _possible(by_point: Array, by_comma: Array, limit: float | None, header: str) -> str:
    """The decimal sign under which a column of losses or of steps is possible, where it is so under one only."""
    if limit is not None:
        fits = (float(np.median(by_point)) <= limit, float(np.median(by_comma)) <= limit)
    elif means(header, "step") or _folded(header).replace(" ", "_") in _STEPS:
        fits = (bool(np.all(by_point % 1 == 0)), bool(np.all(by_comma % 1 == 0)))
    else:
        return ""
    return {(True, False): ".", (False, True): ","}.get(fits, "")


def _look_at_floats(cells: NDArray[Any], position: int, known: bool, limit: float | None) -> _Column:
    """A column that the reader of large files has taken for numbers with points: 3.408, or 30.000 for 30000."""
    thousandths = cells * 1000
    broken = np.isfinite(cells) & (cells % 1 != 0)
    finer = np.abs(thousandths - np.rint(thousandths)) > 1e-6 * np.abs(cells)
    sure = broken & (finer | (np.abs(cells) < 1))
    if not sure.any() and limit is not None and broken.any() and np.nanmedian(cells) <= limit:
        sure = broken  # read as thousands these losses would be 1000 or more
    return _Column(
        position=position,
        is_quantity=known,
        decimal_point=int(np.argmax(sure)) if sure.any() else None,
        differs=not sure.any(),
    )


# --- the table ---


def _rereads(table: RawTable) -> bool:
    """Whether the reader of large files has turned text into numbers: 30.000 into 30, where it may be 30000."""
    converted = (isinstance(v, np.ndarray) or any(isinstance(c, float) for c in v) for v in table.values)
    return bool(table.separator) and any(converted)


def _as_text(table: RawTable) -> RawTable:
    """The same rows with every cell as it is written."""
    path = Path(table.source)
    if not path.is_file():
        why = "has decimal commas and is too large to be read twice from a pipe"
        raise DataError(f"{table.source} {why}; write it to a file.")
    whole = read_table(path, max_rows=MAX_ROWS, text_headers=table.headers)
    return whole.select(np.searchsorted(whole.row, table.row))


def _decide(table: RawTable, columns: Sequence[_Column]) -> str:
    """The decimal sign of the table: '.' or ','."""
    quantities = [c for c in columns if c.is_quantity]
    for heard in (quantities, columns):
        point = next((c for c in heard if c.decimal_point is not None), None)
        comma = next((c for c in heard if c.decimal_comma is not None), None)
        if point and comma:
            if heard is columns and not any(c.either is not None for c in quantities):
                return "."  # columns that nothing reads: they stay as they stand
            if _rereads(table) or not any(c.differs for c in columns):
                return ","  # each column tells its own sign, once it is read as text
            raise _contradiction(table, point, comma)
        open_cells = [c for c in quantities if c.doubtful and _by_separator(table.separator) == ","]
        if point and open_cells:
            raise _question(table, open_cells[0], point)
        if point or comma:
            return "." if point else ","
    doubtful = [c for c in quantities or columns if c.either is not None]
    if not doubtful:
        return "."
    suggested = set().union(*(c.weak for c in doubtful))
    votes = suggested | {_by_separator(table.separator)}
    if len(votes) == 1 and (suggested or table.separator == ","):
        return votes.pop()
    raise _question(table, doubtful[0])


def _by_separator(separator: str) -> str:
    """Where commas stand between cells, decimals stand behind a point; another separator hints at a decimal comma."""
    return "." if separator == "," else ","


def _cell(table: RawTable, column: _Column, row: int) -> str:
    return f"{table.place(row, table.headers[column.position])}: {str(table.values[column.position][row])!r}"


def _contradiction(table: RawTable, point: _Column, comma: _Column) -> DataError:
    assert point.decimal_point is not None  # they were chosen by these
    assert comma.decimal_comma is not None
    told = _cell(table, point, point.decimal_point).removeprefix(f"{table.source}, ")
    return DataError(
        f"{_cell(table, comma, comma.decimal_comma)} has {_proof(table, comma, comma.decimal_comma)}, and "
        f"{told} {_proof(table, point, point.decimal_point)}; write one sign "
        "throughout, or say how cells that could be either (3,408) are meant: --decimal comma or --decimal point (in "
        "Python decimal='comma')."
    )


def _proof(table: RawTable, column: _Column, row: int) -> str:
    """What in a cell proves its decimal sign: this sign, or the other one, repeated between thousands."""
    text = str(table.values[column.position][row])
    if row == column.decimal_comma:
        return "a decimal comma" if "," in _plain(text) else "points between thousands"
    return "a decimal point" if "." in _plain(text) else "commas between thousands"


def _question(table: RawTable, column: _Column, beside: _Column | None = None) -> DataError:
    assert column.either is not None  # it was chosen by this
    text = table.values[column.position][column.either]
    point, comma, unit = _amount(text) or ("", "", "")
    tells = "nothing in the table tells"
    if beside is not None and beside.decimal_point is not None:
        told = _cell(table, beside, beside.decimal_point).removeprefix(f"{table.source}, ")
        tells = f"the point of {told} does not settle it"
    return DataError(
        f"{_cell(table, column, column.either)} could be {comma}{unit} (a decimal comma) or {point}{unit} (thousands), "
        f"and {tells}; say which: --decimal comma or --decimal point (in Python decimal='comma').",
        remedies=("--decimal comma", "--decimal point"),
    )


def _rewritten(table: RawTable, columns: Sequence[_Column], sign: str) -> RawTable:
    values = list(table.values)
    examples: dict[str, str] = {}
    for column in columns:
        cells = values[column.position]
        if isinstance(cells, np.ndarray):
            continue
        own = column.says()
        if own not in ("", sign) and not column.is_quantity:
            continue  # text of its own kind, such as 12,24 for two layers
        values[column.position] = _rewritten_cells(cells, own or sign, examples)
    note = "; ".join(examples.values())
    return replace(table, values=tuple(values), notes=(*table.notes, note) if note else table.notes)


def _rewritten_cells(cells: Sequence[Any], sign: str, examples: dict[str, str]) -> list[Any]:
    """The cells with a decimal point and without thousands; `examples` gains the first example of each kind."""
    rewritten = list(cells)
    for i, text in _texts(cells):
        if (amount := _amount(text)) is None:
            continue
        point, comma, unit = amount
        chosen, other = (point, comma) if sign == "." else (comma, point)
        number = chosen if chosen is not None else str(other)
        rewritten[i] = f"{number}{unit}"
        if point != comma:
            plain = _plain(text).removesuffix(unit)
            if "," in plain:
                kind = "commas separate thousands" if number == point else "commas are decimal signs"
                examples.setdefault(kind, f"{kind}: {plain} is {number}")
            elif number == comma:
                examples.setdefault("points", f"points separate thousands: {plain} is {number}")
    return rewritten
