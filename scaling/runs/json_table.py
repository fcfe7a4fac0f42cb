"""JSON to a RawTable: one object a line, a list of records, columns by name, and the other ways pandas writes a frame.

A key inside a key becomes a header with a point, "arch.total_params". A list inside a cell stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scaling.errors import DataError
from scaling.runs.grid import empty_table, table_of_rows, with_notes
from scaling.runs.raw_table import RawTable

_BETWEEN = re.compile(r"[ \t\r\n,\x1e]*")  # documents; RFC 7464 sets records apart by \x1e
MAX_DEPTH = 8  # of keys inside keys; what lies deeper stays text
# how a text of JSON begins, and no table of cells does
OPENS = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\[{\]"\d-])')
_QUANTITY = re.compile(r"(?i)loss|param|token|flop|ppl|perplex|budget|step|compute|^[NDCL]$")


def read_json(text: str, source: str, part: str = "") -> RawTable:
    """A document, or several one after the other (one object a line, or laid out over lines).

    Args:
        text: all of it.
        source: for messages.
        part: the key that holds the table, where there are several ("runs", "results.runs").
    """
    values, lines, cut = _documents(text, source)
    if not values:
        raise DataError(f"{source} is empty; give a list of records, or one object a line.")
    notes = (f"line {cut} is cut off and was left out",) if cut else ()
    if len(values) == 1:
        return with_notes(table_of_value(values[0], source, part), notes)
    if all(isinstance(value, list) for value in values):
        return table_of_rows(values, lines, source)
    for value, line in zip(values, lines, strict=True):
        _require_record(value, source, line)
    return table_of_records(values, source, lines, "line", notes)


def _documents(text: str, source: str) -> tuple[list[Any], list[int], int]:
    """The values of a text, the line each begins in, and the line of a last one that is cut off (0: none)."""
    decoder, values, lines = json.JSONDecoder(), list[Any](), list[int]()
    at, line = 0, 1
    while (start := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]  # it matches nothing too
        line += text.count("\n", at, start)
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            if values and "\n" not in text[start:]:
                return values, lines, line
            at_end = not isinstance(error, json.JSONDecodeError) or not text[error.pos :].strip()
            # one that does not end: where it begins
            raise _no_object(source, line if at_end else getattr(error, "lineno", line), error) from error
        values.append(value)
        lines.append(line)
        line += text.count("\n", start, end)
        at = end
    return values, lines, 0


def read_json_lines(lines: Iterable[bytes], source: str, max_rows: int, too_long: DataError) -> RawTable:
    """One JSON object a line. A last line without its end was being written when it was copied: left out, noted."""
    records: list[dict[str, Any]] = []
    row: list[int] = []
    notes: tuple[str, ...] = ()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            if not line.endswith(b"\n") and records:
                notes = (f"line {number} is cut off and was left out",)
                break
            raise _no_object(source, number, error) from error
        _require_record(record, source, number)
        if len(records) >= max_rows:
            raise too_long
        records.append(record)
        row.append(number)
    return table_of_records(records, source, row, "line", notes)


def _no_object(source: str, line: int, error: Exception) -> DataError:
    return DataError(f"{source}, line {line}: not a JSON object ({error}); write one object a line.")


def _require_record(value: Any, source: str, line: int) -> None:
    if not isinstance(value, dict):
        what = f"{json.dumps(value)[:40]!r} is not a JSON object"
        raise DataError(f"{source}, line {line}: {what}; write one object a line.")


def table_of_value(value: Any, source: str, part: str = "") -> RawTable:
    """The table that one value holds, whatever its orientation."""
    notes: tuple[str, ...] = ()
    if part:
        value = _part(value, part, source)
    elif isinstance(value, dict) and "schema" in value and isinstance(value.get("data"), list):
        value = value["data"]  # orient="table"
    if isinstance(value, dict) and not _is_split(value) and not _is_columns(value):
        lists = dict(_lists_of_records(value))
        if len(lists) > 1:
            listed = ", ".join(f"{source}#{key}" for key in list(lists)[:6])
            raise DataError(f"{source} holds {len(lists)} lists of records; name one of them: {listed}.")
        if lists:
            (key, value), *_ = lists.items()
            notes = (f"read the list under {key!r}",)
    if isinstance(value, list):
        return with_notes(_table_of_list(value, source), notes)
    if not isinstance(value, dict):
        raise DataError(f"{source}: {json.dumps(value)[:40]} is no table; give a list of records.")
    if _is_split(value):
        return _table_of_list([value["columns"], *value["data"]], source)
    if _is_columns(value):
        return _table_of_columns(value, source)
    objects = bool(value) and all(isinstance(v, dict) for v in value.values())
    if objects and set.intersection(*map(set, value.values())):
        return _table_of_objects(value, source)
    return table_of_records([value], source, [1], "line")


def table_of_records(
    records: Sequence[Mapping[str, Any]],
    source: str,
    row: Sequence[int],
    row_word: str,
    notes: tuple[str, ...] = (),
) -> RawTable:
    """One mapping a run; keys inside keys joined by points."""
    flat = [_flat(record, source) for record in records]
    headers = tuple(dict.fromkeys(key for record in flat for key in record))
    if not flat or not headers:
        raise empty_table(source)
    lists = {key for record in flat for key, cell in record.items() if isinstance(cell, list)}
    if lists:
        flat = [{k: json.dumps(c) if isinstance(c, list) else c for k, c in r.items()} for r in flat]
        notes = (*notes, f"{', '.join(sorted(lists))}: a list in a cell is read as text")
    return RawTable(
        source=source,
        headers=tuple(map(str, headers)),
        values=tuple([record.get(h) for record in flat] for h in headers),
        row=np.array(row, dtype=np.int64),
        row_word=row_word,
        notes=notes,
    )


def _flat(record: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    if not any(isinstance(cell, Mapping) for cell in record.values()):
        return record
    flat: dict[str, Any] = {}
    for key, cell in _leaves(record, "", MAX_DEPTH):
        if key in flat:
            raise DataError(
                f"{source}: two values of a record are named {key!r}; rename or remove one of them."
            )
        flat[key] = cell
    return flat


def _leaves(record: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, cell in record.items():
        if isinstance(cell, Mapping) and depth:
            yield from _leaves(cell, f"{prefix}{key}.", depth - 1)
        else:
            yield f"{prefix}{key}", str(cell) if isinstance(cell, Mapping) else cell


def _part(value: Any, part: str, source: str) -> Any:
    keys = part.split(".")
    for i, key in enumerate(keys):
        if isinstance(value, dict) and ".".join(keys[i:]) in value:
            return value[".".join(keys[i:])]
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(list(value)[:8]) if isinstance(value, dict) else "no keys"
            raise DataError(f"{source}: there is no {part!r} in it; it holds {known}.")
        value = value[key]
    return value


def _is_split(value: Mapping[str, Any]) -> bool:
    """DataFrame.to_json(orient="split"), and W&B's table files."""
    columns, data = value.get("columns"), value.get("data")
    return isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data)


def _is_columns(value: Mapping[str, Any]) -> bool:
    """Columns by name: at least two lists of cells, of one length."""
    lists = [v for v in value.values() if isinstance(v, list) and not any(isinstance(c, dict) for c in v)]
    return len(lists) > 1 and len({len(v) for v in lists}) == 1 and len(lists[0]) > 0


def _lists_of_records(
    value: Mapping[str, Any], prefix: str = "", depth: int = 3
) -> Iterator[tuple[str, list[Any]]]:
    for key, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(record, dict) for record in inner):
            yield f"{prefix}{key}", inner
        elif isinstance(inner, dict) and depth:
            yield from _lists_of_records(inner, f"{prefix}{key}.", depth - 1)


def _table_of_list(value: list[Any], source: str) -> RawTable:
    numbers = list(range(1, len(value) + 1))
    if value and all(isinstance(record, dict) for record in value):
        return table_of_records(value, source, numbers, "row")
    if value and all(isinstance(record, list) for record in value):
        return table_of_rows(value, [n - 1 for n in numbers], source, row_word="row")
    if not value:
        raise DataError(f"{source} is an empty list; give one record a run.")
    what = f"{json.dumps(value)[:40]!r} is not a JSON object or a list of them"
    raise DataError(f"{source}: {what}; give one a run.")


def _table_of_columns(value: Mapping[str, Any], source: str) -> RawTable:
    length = max(len(v) for v in value.values() if isinstance(v, list))
    columns = {k: v for k, v in value.items() if isinstance(v, list) and len(v) == length}
    other = [k for k in value if k not in columns]
    records = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    notes = (f"{', '.join(other)}: no column, left out",) if other else ()
    return table_of_records(records, source, range(1, length + 1), "row", notes)


def _table_of_objects(value: Mapping[str, Mapping[str, Any]], source: str) -> RawTable:
    """Columns of cells by row, or rows of cells by column: the labels of rows count 0, 1, 2..., or name no quantity."""
    inner = list(dict.fromkeys(key for cells in value.values() for key in cells))
    outer = list(value)
    n_inner, n_outer = (sum(bool(_QUANTITY.search(str(name))) for name in names) for names in (inner, outer))
    by_column = _are_counts(inner) or (not _are_counts(outer) and n_outer > n_inner)
    labels, names = (inner, outer) if by_column else (outer, inner)
    records = [
        {name: value[name].get(label) if by_column else value[label].get(name) for name in names}
        for label in labels
    ]
    if not _are_counts(labels) and "run_id" not in names:
        records = [{"run_id": label, **record} for label, record in zip(labels, records, strict=True)]
    return table_of_records(records, source, range(1, len(labels) + 1), "row")


def _are_counts(labels: list[Any]) -> bool:
    return all(str(label).isdigit() for label in labels)
