"""check_runs: what a table can and cannot support, before anything is fitted to it.

rows      duplicates, repeated or dependent checkpoints, replicates, outliers, losses in another unit
design    too few runs, sizes or budgets; one ratio D/N; a minimum at an edge; mixed corpora; repeated data
claims    budgets against 6ND, two ways of counting FLOPs, sizes that contradict N, a loss no vocabulary can have
training  mixed or unknown conventions; FLOPs against 6ND; unfinished decay; constant batch; long warm-up
"""

from __future__ import annotations

from collections.abc import Collection

from scaling.arguments import require_lists_of_texts
from scaling.findings import Finding, gravest_first
from scaling.runs.checks_claims import check_claims
from scaling.runs.checks_design import check_design
from scaling.runs.checks_rows import check_rows
from scaling.runs.checks_training import check_training
from scaling.runs.table import QUANTITIES, Runs, require_runs


def check_runs(runs: Runs, inputs: Collection[str] | None = None) -> tuple[Finding, ...]:
    """Named findings, gravest first; an empty tuple when there is nothing to say. Nothing is changed or dropped.

    Curves (several rows a run) are checked row by row for repeats, and by their last row for the rest.

    Args:
        inputs: what the law to be fitted reads, of n_params, n_tokens and flops: nothing is said of the others. Unless
            given, all that the table holds.
    Example:
        >>> import scaling
        >>> runs = scaling.load_runs({"params": ["1B"] * 3, "tokens": ["2B", "4B", "8B"], "loss": [3.1, 3.0, 2.9]})
        >>> scaling.check_runs(runs)[0].severity
        'warning'
    """
    require_runs(runs, "check_runs")
    require_lists_of_texts(or_none=True, inputs=inputs)
    reads = quantities_read(runs, inputs)
    final = runs.final() if runs.is_curves else runs
    if runs.planned and not runs.measured.all():  # planned runs: no losses to check, and no design to fit
        return tuple(check_training(final, reads))
    found = [
        *check_rows(runs, final, reads),
        *check_design(runs, final, reads),
        *check_training(final, reads),
        *check_claims(final, reads),
    ]
    return tuple(gravest_first(found))


def quantities_read(runs: Runs, inputs: Collection[str] | None) -> frozenset[str]:
    """Of n_params, n_tokens and flops those that are there and that a law of these inputs reads.

    Two of them stand for all three (C = 6 N D); None stands for all.
    """
    named = set(QUANTITIES if inputs is None else inputs) & set(QUANTITIES)
    return frozenset(QUANTITIES if len(named) > 1 else named) - runs.absent
