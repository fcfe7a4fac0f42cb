"""A finding: one thing that a fit, a plan or a sweep, or its reader, should know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from scaling.jsonable import fields_of

Severity = Literal["error", "warning", "note"]
LEAST_SHORT, LONGEST_SHORT = (
    40,
    130,
)  # characters: two lines of the narrowest screen, 72 columns, less its mark
_CLAUSE_END = re.compile(r"[.;:](?= )| \(")
_ORDER: dict[str, int] = {"error": 0, "warning": 1, "note": 2}
_OTHER_FIT = ("--law ", "--method ", "--only ", "--best-of-cell", "--final")  # another law, or other rows


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong or worth knowing; `error` = no number built on it can mean anything, `note` = for information.

    Example:
        >>> import scaling
        >>> runs = scaling.load_runs({"params": ["1B"] * 3, "tokens": ["2B", "4B", "8B"], "loss": [3.1, 3.0, 2.9]})
        >>> [finding.code for finding in scaling.check_runs(runs)][:2]
        ['few-runs', 'few-sizes']
    """

    code: str  # stable, for programs: "edge-minimum"
    severity: Severity
    message: str
    source: str = ""  # the paper that shows it matters
    rows: tuple[int, ...] = ()  # of a table of runs, as Runs.row counts them
    remedies: tuple[str, ...] = ()  # options of the command line, each of which would mend it
    short: str = ""  # the message in at most LONGEST_SHORT characters, for a first screen

    @property
    def in_short(self) -> str:
        """What it says in a line or two: `short`, else the message up to where its first sentence or clause ends."""
        if self.short or len(self.message) <= LONGEST_SHORT:
            return self.short or self.message
        ends = [
            m.start() for m in _CLAUSE_END.finditer(self.message) if LEAST_SHORT <= m.start() <= LONGEST_SHORT
        ]
        end = max(ends, default=self.message.rfind(" ", 0, LONGEST_SHORT))
        return f"{self.message[:end]} ..."

    @property
    def other_fit(self) -> str:
        """The remedy that fits another law or other rows: what it overturns is the answer itself; "" where none."""
        return next((way for way in self.remedies if way.startswith(_OTHER_FIT)), "")

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("short",))


error, warning, note = (partial(Finding, severity=severity) for severity in get_args(Severity))


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, notes; of one severity those that another law or other rows mend, then as they came."""
    return sorted(findings, key=lambda f: (_ORDER[f.severity], not f.other_fit))
