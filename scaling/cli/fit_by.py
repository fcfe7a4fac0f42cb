"""`scaling fit --by COLUMN`: the same fit of each group of a table, in one table."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.estimate_text import interval_text, rounded
from scaling.cli.output import heading, json_safe, print_json, print_table, wrap
from scaling.errors import DataError, FitError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaling.cli.fit_request import Request
    from scaling.cli.tables import Table
    from scaling.findings import Finding
    from scaling.runs import Runs

MOST_GROUPS = 100  # a column with more different values tells runs apart, not groups of them
NOT_NAMED = "(none)"


@dataclass(frozen=True, kw_only=True)
class GroupFit:
    """The fit of one group, or why there is none."""

    name: str
    n_runs: int
    result: Any = None
    findings: tuple[Finding, ...] = ()
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.refused is not None:
            return {"n_runs": self.n_runs, "refused": self.refused}
        told = {"findings": [f.to_dict() for f in self.findings], "refused": None}
        return {**json_safe(self.result.to_dict()), **json_safe(told)}


def fit_by(
    table: Table,
    request: Request,
    column: str,
    fit: Callable[[Runs], Any],
    merged: Callable[[Any, tuple[Finding, ...]], list[Finding]],
) -> list[GroupFit]:
    """The fit of each group, in the order in which the groups appear.

    Raises:
        UnknownNameError: the table has no such column.
        UsageError: its values are too many to be groups.
        FitError: no group can be fitted; the first reason.
    """
    from scaling.runs import check_runs

    found = []
    for name, runs in _groups(table.runs, column):
        try:
            result = fit(runs)
        except (FitError, DataError) as error:
            found.append(GroupFit(name=name, n_runs=len(runs), refused=str(error)))
            continue
        findings = merged(result, check_runs(runs, request.inputs))
        found.append(GroupFit(name=name, n_runs=len(runs), result=result, findings=tuple(findings)))
    if all(group.refused for group in found):
        raise FitError(f"no group of {column} can be fitted; {found[0].name}: {found[0].refused}")
    return found


def _groups(runs: Runs, column: str) -> list[tuple[str, Runs]]:
    import numpy as np

    columns: dict[str, Any] = {**runs.extras, **runs.columns()}
    columns |= {} if runs.trunk_id is None else {"trunk_id": np.array(runs.trunk_id, dtype=object)}
    if column not in columns:
        raise UnknownNameError("column to group by", column, columns)
    names = [_name(cell) for cell in columns[column].tolist()]
    distinct = list(dict.fromkeys(names))
    if len(distinct) > MOST_GROUPS:
        raise UsageError(
            f"--by {column}: the column has {len(distinct)} different values. Name one whose values are groups of runs "
            "(a corpus, a tokenizer)."
        )
    cells = np.array(names, dtype=object)
    return [(name, runs.select(cells == name)) for name in distinct]


def _name(cell: Any) -> str:
    if cell is None or cell != cell or str(cell).strip() == "":
        return NOT_NAMED
    return f"{cell:.15g}" if isinstance(cell, float) else str(cell).strip()


def print_groups_json(groups: list[GroupFit], column: str) -> None:
    print_json({"kind": "fits", "by": column, "groups": {group.name: group.to_dict() for group in groups}})


def print_groups(groups: list[GroupFit], column: str, command: str) -> None:
    """One row a group, the groups without a fit below, and the command that shows one of them whole."""
    fitted = [group for group in groups if group.refused is None]
    names = list(
        dict.fromkeys(n for g in fitted for n in getattr(g.result, "estimates", {}) if n not in ("A", "B"))
    )
    has_exponent = any(hasattr(g.result, "params_exponent") for g in fitted)
    level = f"{100 * fitted[0].result.level:g} %"
    heading(f"{fitted[0].result.law.family.formula}, by {column}")
    exponent = ["a of N*", level] if has_exponent else []
    print_table(
        [column, "runs", *exponent, *names, "warnings"], [_row(g, names, has_exponent) for g in fitted]
    )
    for group in groups:
        if group.refused is not None:
            click.echo(wrap(f"{group.name}: not fitted. {group.refused}", "    ", "  ! "))
    first = next((g.name for g in fitted if g.name != NOT_NAMED), None)
    if first is not None:
        click.echo(f"\nnext  {command} --only {shlex.quote(f'{column}={first}')}")


def _row(group: GroupFit, names: list[str], has_exponent: bool) -> list[str]:
    result = group.result
    cells = [group.name, str(group.n_runs)]
    if has_exponent:
        a = result.params_exponent
        cells += [rounded(a), interval_text(a.interval, a.value)]
    held = getattr(result, "fixed", {})
    estimates = getattr(result, "estimates", {})
    cells += [f"{held[n]:g}" if n in held else rounded(estimates[n]) for n in names]
    return [*cells, str(sum(f.severity != "note" for f in group.findings))]
