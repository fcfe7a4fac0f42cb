"""Tables of training runs: read, check, save; every number with its counting convention.

Use which when: `load_runs` for a file or a DataFrame; `Runs.from_arrays` for numbers you already hold;
`check_runs` before a fit; `cluster_budgets` to find the IsoFLOP groups of a table.
"""

from __future__ import annotations

from scaling.findings import Finding
from scaling.runs.budgets import BudgetClusters, assign_budgets, cluster_budgets
from scaling.runs.checks import check_runs
from scaling.runs.load import load_runs
from scaling.runs.table import READERS, Convention, Runs

READERS["frame"] = load_runs  # for Runs.from_frame

__all__ = [
    "BudgetClusters",
    "Convention",
    "Finding",
    "Runs",
    "assign_budgets",
    "check_runs",
    "cluster_budgets",
    "load_runs",
]
