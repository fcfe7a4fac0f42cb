"""Law + budget → plan. Plain Python floats: nothing here imports NumPy, so that `scaling plan` answers in about 0.1 s.

Rows of a result are NamedTuples, not frozen dataclasses as elsewhere: making twenty of the latter costs 15 ms of every
call. What the user gives (Budget, Constraints, Cluster) is checked, and so a dataclass.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_MODULES = {
    "cost": ("Budget", "Constraints", "Cluster", "make_cluster"),
    "result": ("Plan", "plan_to_dict"),
    "plan": ("plan_training",),
    "explain": ("explain_plan",),
    "shape": ("choose_architecture", "choose_schedule"),
    "allocation": ("allocate_compute",),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = list(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
