"""The same fit of each group of a table (a corpus, a tokenizer), side by side."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.blocks import Blocks, Section, Table, Text, next_step
from scaling.errors import DataError, FitError, UnknownNameError, UsageError
from scaling.findings import Finding
from scaling.fitting.digits import interval_text, rounded
from scaling.fitting.results import Fit
from scaling.fitting.sections import percent, refusals
from scaling.jsonable import jsonable
from scaling.progress import tracked
from scaling.runs import Runs
from scaling.translation import counted, tr

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_GROUPS = 100  # a column with more different values tells runs apart, not groups of them
NOT_NAMED = "(none)"
SHOWN_GROUPS = 9  # on a first screen, of 20 lines
LONGEST_GROUP = 18  # characters of a name: what 72 columns have room for
MOST_COEFFICIENTS = {True: 1, False: 4}  # columns there, beside an exponent and without


@dataclass(frozen=True, kw_only=True)
class Group:
    """The fit of one group, or why there is none."""

    name: str
    n_runs: int
    fit: Fit | None = None
    findings: Sequence[Finding] = ()
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.fit is None:
            return {"n_runs": self.n_runs, "refused": self.refused}
        return {**self.fit.to_dict(), "findings": jsonable(self.findings), "refused": None}


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The fits of the groups of a column; at least one group has one."""

    column: str
    groups: Sequence[Group]

    @property
    def fitted(self) -> list[tuple[Group, Fit]]:
        return [(group, group.fit) for group in self.groups if group.fit is not None]

    def to_dict(self) -> dict[str, Any]:
        groups = {group.name: group.to_dict() for group in self.groups}
        return {"kind": "fits", "by": self.column, "groups": groups}

    def to_frame(self) -> DataFrame:
        """A row a group: its runs, then value, low and high of each coefficient and exponent; NaN without a fit."""
        import pandas as pd

        rows = {}
        for group in self.groups:
            cells: dict[str, Any] = {"n_runs": group.n_runs}
            if group.fit is not None:
                for name, row in group.fit.to_frame().iterrows():
                    cells |= {str(name): row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
            rows[group.name] = {**cells, "refused": group.refused}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(self.column).reset_index()

    def summary(self, command: str) -> Blocks:
        """The claim over the groups, one row a group, and the command that shows one of them whole."""
        n_refused = len(self.groups) - len(self.fitted)
        named = next((group.name for group, _ in self.fitted if group.name != NOT_NAMED), None)
        shown = f"{command} --only {shlex.quote(f'{self.column}={named}')}"
        said = tr("{groups} not fitted: --show groups tells why", groups=counted(n_refused, "group"))
        more = len(self.fitted) - SHOWN_GROUPS
        every = tr("and {n} more: --show groups", n=more)
        refused = [(g.name, f"not fitted. {g.refused}") for g in self.groups if g.refused is not None]
        return (
            Text(self._claim(), "strong"),
            Text(self.fitted[0][1].law.family.formula),
            Text(""),
            _groups_table(self.column, self.fitted[:SHOWN_GROUPS], briefly=True),
            *((Text(every, "faint", indent=2),) if more > 0 else ()),
            *((Text(said, indent=2),) if n_refused else ()),
            Section(
                "groups",
                tr("Every group"),
                lambda: (_groups_table(self.column, self.fitted), *refusals(refused)),
            ),
            *(next_step(shown) if named is not None else ()),
        )

    def _claim(self) -> str:
        exponents = {g.name: a.value for g, fit in self.fitted if (a := fit.params_exponent) is not None}
        n = counted(len(self.fitted), "group")
        if not exponents:
            return tr("{n} of {column} fitted, each on its own.", n=n, column=self.column)
        low, high = (end(exponents, key=lambda name: exponents[name]) for end in (min, max))
        if low == high:
            told = tr("N* grows as C^{a:.3f} ({name})", a=exponents[low], name=_cut(low))
        else:
            told = tr(
                "N* grows as C^{a:.3f} ({low}) to C^{b:.3f} ({high})",
                a=exponents[low],
                low=_cut(low),
                b=exponents[high],
                high=_cut(high),
            )
        return tr("{told}, over {n} of {column}.", told=told, n=n, column=_cut(self.column))


def fit_by(
    runs: Runs,
    column: str,
    fit: Callable[[Runs], Fit],
    findings: Callable[[Fit, Runs], Sequence[Finding]] = lambda fit, runs: fit.findings,
) -> Groups:
    """
    The same fit of each group of runs that share a value of `column`: an extra column, one of the standard names, or
    trunk_id. `findings` says what to doubt in one group's fit. A group that cannot be fitted carries the reason.

    Raises UnknownNameError for a column that is not there, UsageError for one that tells runs apart (over 100 values),
    FitError where no group can be fitted.
    """
    groups = [
        _group(name, part, fit, findings) for name, part in tracked([*_parts(runs, column)], tr("groups"))
    ]
    if all(group.refused for group in groups):
        raise FitError(f"no group of {column} can be fitted; {groups[0].name}: {groups[0].refused}")
    return Groups(column=column, groups=groups)


def _group(
    name: str, runs: Runs, fit: Callable[[Runs], Fit], findings: Callable[[Fit, Runs], Sequence[Finding]]
) -> Group:
    try:
        fitted = fit(runs)
    except (FitError, DataError) as error:
        return Group(name=name, n_runs=len(runs), refused=str(error))
    return Group(name=name, n_runs=len(runs), fit=fitted, findings=findings(fitted, runs))


def _parts(runs: Runs, column: str) -> Iterator[tuple[str, Runs]]:
    """Name and runs of each group, in the order in which they appear."""
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
    return ((name, runs.select(cells == name)) for name in distinct)


def _name(cell: Any) -> str:
    if cell is None or cell != cell or str(cell).strip() == "":
        return NOT_NAMED
    return f"{cell:.15g}" if isinstance(cell, float) else str(cell).strip()


def _groups_table(column: str, fitted: Sequence[tuple[Group, Fit]], *, briefly: bool = False) -> Table:
    """One row a group; `briefly`: no more columns than a narrow screen has room for."""
    first = fitted[0][1]
    of_coefficients = first.method in ("parametric", "law")
    names = [n for n in first.law.family.names if of_coefficients and n not in ("A", "B")]
    names = names[: MOST_COEFFICIENTS[first.method != "law"]] if briefly else names
    rows = []
    for group, fit in fitted:
        cells = [_cut(group.name) if briefly else group.name, str(group.n_runs)]
        if fit.method != "law" and (a := fit.params_exponent):
            cells += [rounded(a), interval_text(a.interval, a.value)]
        cells += [f"{fit.fixed[n]:g}" if n in fit.fixed else rounded(fit.estimates[n]) for n in names]
        rows.append([*cells, str(sum(f.severity != "note" for f in group.findings))])
    exponent = [] if first.method == "law" else [tr("a of N*"), percent(first)]
    return Table([_cut(column) if briefly else column, tr("runs"), *exponent, *names, tr("warnings")], rows)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_GROUP else name[: LONGEST_GROUP - 1] + "…"
