"""Law + budget → plan. Plain Python floats: nothing here imports NumPy, so that `scaling plan` answers in about 0.1 s.

Rows of a result are NamedTuples, not frozen dataclasses as elsewhere: making twenty of the latter costs 15 ms of every
call. What the user gives (Budget, Constraints, Cluster) is checked, and so a dataclass.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_PUBLIC = {
    "Budget": "cost",
    "Constraints": "cost",
    "Cluster": "cost",
    "make_cluster": "cost",
    "Plan": "result",
    "plan_training": "plan",
    "plan_to_dict": "result",
    "explain_plan": "explain",
    "choose_architecture": "shape",
    "choose_schedule": "shape",
    "allocate_compute": "allocation",
}

__all__ = list(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
