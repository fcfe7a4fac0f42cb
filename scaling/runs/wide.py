"""Wide tables, one run a cell, to one run a row: what the column names are is said by the user.

budget                the names are budgets, the cells losses, the first column keeps its name
n_params/budget       the first column holds parameters
budget=val_bpb        the cells are val_bpb
run                   W&B's export of a panel, "RUN - METRIC": its columns become run_id and METRIC
{n_params}_{width} - loss   a pattern of the names, a part in braces becomes a column
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling.errors import UnitError, UsageError
from scaling.runs.names import meaning_of, parse_quantity
from scaling.runs.raw_table import RawTable, is_empty, read_texts, text_of
from scaling.units import parse_params

# Names of the quantities as tables write them in a corner, folded.
_SAME = dict.fromkeys(("params", "parameters", "size", "model_size", "N"), "n_params")
_SAME |= dict.fromkeys(("tokens", "data", "D"), "n_tokens")
_SAME |= {"compute": "flops", "C": "flops", "budgets": "budget"}
RUN_NAMES = ("run", "run_id", "runs")
_CORNER = re.compile(r"\s*(?:\\|/|\||,|→|->|↓|\bby\b|\bvs\.?\b)\s*")
_OF_A_RUN = re.compile(r"^(?P<run>.*\S) - (?P<metric>\S+)$")  # W&B: "70M_1024 - test/lm_loss"
_SIZE_FIRST = re.compile(r"^\d[\d.]*[kKMBG](?:$|([_ -])\S)")  # 70M_1024, 1.3B-lr3e-4, 70M
_RANGE = re.compile(r"__(MIN|MAX)$")  # of the runs or steps W&B has put together
_UNIT = re.compile(r"\s*[(\[]\s*([^()\[\]]*)\s*[)\]]\s*$")
# what a name may be a value of, and the least of it: "seed 2" is none
_LEAST = {"budget": 1e10, "flops": 1e10, "n_params": 1e3, "n_params_nonemb": 1e3, "n_tokens": 1e3}
LARGEST_WIDTH = 1e5  # of a model: larger numbers down a table are parameters
_WORDS = re.compile(r"^\D*?(?=[\d.])")


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """A column that is melted: what its name says, and which quantity its cells are."""

    position: int
    says: Mapping[str, str]
    metric: str


def melt(table: RawTable, spec: str) -> RawTable:
    """One row for each filled cell; the columns that are not melted are repeated.

    Args:
        table: as read.
        spec: [DOWN/]ACROSS[=CELLS] or a pattern, see above.
    Raises:
        UsageError: the words of `spec`, or no column name that it fits.
    """
    spec = spec.strip()
    if not spec or spec.startswith("=") or spec.partition("=")[0].endswith("/"):
        ways = looks_wide(table) or "--wide budget, --wide n_tokens, --wide run"
        raise UsageError(f"--wide (in Python wide=) says what the column names are: {ways}.")
    if "{" in spec:
        cells, down = _by_pattern(table, spec), ""
    else:
        body, _, metric = spec.partition("=")
        down, _, across = body.rpartition("/")
        across, metric = across.strip(), metric.strip() or "loss"
        cells = _of_runs(table) if across in RUN_NAMES else _by_value(table, across, metric)
        _refuse_bare_numbers(table, cells, across, down, metric)
        if not cells:
            raise _no_columns(table, across)
    return _long(table, cells, down.strip())


def looks_wide(table: RawTable) -> str:
    """The option for a table whose names are values or runs, "--wide budget"; "" for any other."""
    headers = table.headers
    runs = [match["run"] for h in headers if (match := _OF_A_RUN.match(h)) and not _RANGE.search(h)]
    if len(runs) > 1 and (any(map(_RANGE.search, headers)) or 2 * len(runs) > len(headers)):
        return option_for_runs(runs)
    across = across_names(headers)
    down = across not in ("", "n_params") and meaning_of(_corner(headers[0])) is None
    said = [_value_in(text_of(cell), "n_params") for cell in table.values[0]] if down else []
    sizes = bool(said) and all(text and parse_params(text) > LARGEST_WIDTH for text in said)
    return f"--wide n_params/{across}" if sizes else f"--wide {across}" if across else ""


def across_names(headers: Sequence[str]) -> str:
    """The quantity whose values most of the names behind the first are: "budget"; "" where they are none."""
    for across in ("budget", "n_tokens", "n_params"):
        sizes_down = re.search(r"(?i)param|size|model|dim|width|^N$", headers[0])
        if across == "n_tokens" and not sizes_down:
            continue
        n_values = sum(bool(_value_in(h, across)) for h in headers[1:])
        if n_values > 1 and 2 * n_values >= len(headers) - 1:
            return across
    return ""


def option_for_runs(names: Sequence[str]) -> str:
    """For runs of these names: their sizes where they begin with one (70M_1024), else --wide run."""
    parts = [_SIZE_FIRST.match(name) for name in names]
    signs = {part and (part[1] or "") for part in parts}
    if len(signs) != 1 or (sign := signs.pop()) is None:
        return "--wide run"
    return f"--wide '{{n_params}}{sign}{{rest}}'" if sign else "--wide '{n_params}'"


def _by_value(table: RawTable, across: str, metric: str) -> list[_Cell]:
    """The columns whose names are values of `across`: "1e18", "3 EFLOPs", "loss @ 10B"."""
    corner = table.headers[0] if _corner(table.headers[0]) != table.headers[0] else ""
    across, unit = _UNIT.sub("", across), _unit_of(across) or _unit_of(corner)
    across = _SAME.get(across, across)
    says = {i: _value_in(h, across, unit) for i, h in enumerate(table.headers)}
    if across not in _LEAST and not any(says.values()):
        says = {i: h for i, h in enumerate(table.headers) if i}  # names: of corpora, optimizers
    return [_Cell(position=i, says={across: text}, metric=metric) for i, text in says.items() if text]


def _refuse_bare_numbers(table: RawTable, cells: list[_Cell], across: str, down: str, metric: str) -> None:
    """Refuse to take some of the columns named by numbers and not the smaller ones: all of them count in millions."""
    name = _SAME.get(across, across)
    word = {"n_params": "params (M)", "n_tokens": "tokens (B)"}.get(name)
    taken = {c.position for c in cells}
    bare = [i for i, h in enumerate(table.headers) if re.fullmatch(r"\d+(\.\d+)?", h.strip())]
    left = [table.headers[i] for i in bare if i not in taken]
    if word is None or len(left) + len(taken) < 2 or not left or not taken <= set(bare):
        return
    spec = f"{down}/{word}" if down else word
    option = f"--wide '{spec}{'' if metric == 'loss' else f'={metric}'}'"
    raise UsageError(
        f"{table.source}: columns {', '.join(left[:8])} are too small for {name}; if they count in millions or "
        f"billions, say so: {option}.",
        remedies=(option,),
    )


def _value_in(header: str, across: str, unit: str = "") -> str:
    """The part of a name that is a value: all of it, or what follows its words or stands before a bracket."""
    body = header.strip()
    after = _WORDS.sub("", body, count=1) if across in _LEAST else body
    for text in (body, after, re.sub(r"\s*[(\[].*$", "", after), re.split(r"[\s_)\]]", after)[0]):
        said = f"{text} {unit}".strip()
        with suppress(UnitError):
            if parse_quantity(said, across) >= _LEAST.get(across, 0):
                return said
    return ""


def _of_runs(table: RawTable) -> list[_Cell]:
    """The columns of W&B's export: the mean of each run; its range and its own counters are left out."""
    cells = []
    for i, header in enumerate(table.headers):
        match = _OF_A_RUN.match(header)
        if match and not _RANGE.search(header) and not match["metric"].startswith("_"):
            run = re.sub(r"^(?:Name|Group|name): ", "", match["run"])
            cells.append(_Cell(position=i, says={"run_id": run}, metric=match["metric"]))
    return cells


def _by_pattern(table: RawTable, pattern: str) -> list[_Cell]:
    names = re.findall(r"\{([^{}]+)\}", pattern)
    parts = re.split(r"\{[^{}]+\}", pattern)
    if len(set(names)) < len(names) or not all(parts[1:-1]):
        advice = "name each part once, and set parts apart: '{n_params}_{width}'."
        raise UsageError(f"--wide {pattern!r}: {advice}")
    expression = re.compile("(.+?)".join(map(re.escape, parts)) + r"(?: - (?P<metric>\S+))?$")
    cells = []
    for i, header in enumerate(table.headers):
        match = expression.match(header.strip())
        if match and not _RANGE.search(header) and not (match["metric"] or "").startswith("_"):
            says = dict(zip(names, match.groups(), strict=False))
            metric = match["metric"] or (parts[-1].rpartition(" - ")[2] if " - " in parts[-1] else "loss")
            panel = _OF_A_RUN.match(header.strip())
            run = {"run_id": panel["run"]} if panel and "run_id" not in says else {}
            cells.append(_Cell(position=i, says={**run, **says}, metric=metric))
    if not cells:
        shown = ", ".join(table.headers[:8])
        raise UsageError(f"{table.source}: no column name is like {pattern!r}; they are {shown}.")
    return cells


def _long(table: RawTable, cells: list[_Cell], down: str) -> RawTable:
    melted = {c.position for c in cells}
    left = [i for i, h in enumerate(table.headers) if i not in melted and not _RANGE.search(h)]
    left = [i for i in left if not ((m := _OF_A_RUN.match(table.headers[i])) and m["metric"].startswith("_"))]
    if down and 0 in melted:
        raise UsageError(f"--wide {down}/...: the first column is melted itself, so it cannot be {down}.")
    kept = [(down or _corner(table.headers[i]) if i == 0 else table.headers[i], i) for i in left]
    _refuse_same_names([name for name, _ in kept], cells, table.source)
    index, says, values = _runs_of_cells(table, cells)
    repeated = table.select(np.array(index, dtype=np.int64))
    columns: dict[str, Any] = {name: repeated.values[i] for name, i in kept}
    for name in says[0] if says else ():
        columns[name] = [s[name] for s in says]
    for metric in dict.fromkeys(c.metric for c in cells):
        columns[metric] = [v.get(metric) for v in values]
    if "run_id" not in columns and not (set(columns) & {"step", "Step"}):
        columns["run_id"] = _names(kept, columns, says)
    note = f"{len(cells)} columns of {len(table)} {table.row_word}s were read as {len(index)} rows of "
    notes = (*table.notes, note + ", ".join(columns))
    return replace(repeated, headers=tuple(columns), values=tuple(columns.values()), notes=notes)


def _refuse_same_names(kept: list[str], cells: list[_Cell], source: str) -> None:
    names = [*kept, *cells[0].says, *dict.fromkeys(c.metric for c in cells)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UsageError(
            f"{source}: --wide would make two columns named {twice!r}; if each row is a run already, leave --wide "
            "out, else name the first column, the others' names and their cells apart, as in n_params/budget=loss."
        )


def _runs_of_cells(
    table: RawTable, cells: list[_Cell]
) -> tuple[list[int], list[Mapping[str, str]], list[dict[str, Any]]]:
    """Row, what the name says, and the cells by metric, of each run that was made (an empty cell was not)."""
    groups: dict[tuple[str, ...], list[_Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell.says.values()), []).append(cell)
    index, says, values = [], [], []
    for i in range(len(table)):
        for group in groups.values():
            found = {c.metric: table.values[c.position][i] for c in group}
            if any(not is_empty(v) for v in found.values()):
                index.append(i)
                says.append(group[0].says)
                values.append(found)
    if not index:
        names = ", ".join(table.headers[c.position] for c in cells[:8])
        raise UsageError(f"{table.source}: every cell below {names} is empty, so no run is found in them.")
    return index, says, values


def _names(
    kept: list[tuple[str, int]], columns: Mapping[str, Any], says: Sequence[Mapping[str, str]]
) -> list[str]:
    """A name for each run: its row and column; a second run of one name is told apart by its place."""
    first = read_texts(columns[kept[0][0]]) if kept else [""] * len(says)
    names = [" ".join(filter(None, (f, *s.values()))) for f, s in zip(first, says, strict=True)]
    seen: Counter[str] = Counter()
    for i, name in enumerate(names):
        seen[name] += 1
        names[i] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return names


def _corner(header: str) -> str:
    """Of 'dim \\ budget (EFLOPs)' the name of what stands below: 'dim'."""
    parts = [p for p in _CORNER.split(_UNIT.sub("", header)) if p]
    return parts[0] if len(parts) == 2 else header


def _unit_of(name: str) -> str:
    unit = _UNIT.search(name)
    return unit[1] if unit else ""


def _no_columns(table: RawTable, across: str) -> UsageError:
    shown = ", ".join(table.headers[:8])
    if across in RUN_NAMES:
        return UsageError(
            f"{table.source}: --wide run reads columns named 'RUN - METRIC'; these are {shown}. If each row is a run, "
            "leave --wide out."
        )
    return UsageError(
        f"{table.source}: no column name is a value of {across}; they are {shown}. If each row is a run, leave "
        "--wide out; else say what they are: budget, flops, n_params, n_tokens, run, or a pattern such as "
        "'{n_params}_{width}'."
    )
