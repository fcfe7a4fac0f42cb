"""check_runs: what a table can and cannot support, before anything is fitted to it.

rows      duplicates, repeated or dependent checkpoints, replicates, outliers, losses in another unit
design    too few runs, sizes or budgets; one ratio D/N; a minimum at an edge; mixed corpora; repeated data
claims    budgets against 6ND, two ways of counting FLOPs, sizes that contradict N, a loss no vocabulary can have
training  mixed or unknown conventions; FLOPs against 6ND; unfinished decay; constant batch; long warm-up
"""

from __future__ import annotations

from scaling.runs.checks_claims import check_claims
from scaling.runs.checks_design import check_design
from scaling.runs.checks_rows import check_rows
from scaling.runs.checks_training import check_training
from scaling.runs.findings import Finding
from scaling.runs.table import Runs, require_runs

_ORDER = {"error": 0, "warning": 1, "note": 2}


def check_runs(runs: Runs) -> tuple[Finding, ...]:
    """Named findings, gravest first; an empty tuple when there is nothing to say. Nothing is changed or dropped.

    Curves (several rows a run) are checked row by row for repeats, and by their last row for the rest.
    """
    require_runs(runs, "check_runs")
    final = runs.final() if runs.is_curves else runs
    if runs.planned and not runs.measured.all():  # planned runs: no losses to check, and no design to fit
        return tuple(check_training(final))
    found = [
        *check_rows(runs, final),
        *check_design(runs, final),
        *check_training(final),
        *check_claims(final),
    ]
    return tuple(sorted(found, key=lambda f: _ORDER[f.severity]))
