"""Law + budget → plan. Plain Python floats: nothing here imports NumPy, so that `scaling plan` answers in about 0.1 s.

Rows of a result are NamedTuples, not frozen dataclasses as elsewhere: making twenty of the latter costs 15 ms of every
call. What the user gives (Budget, Constraints, Cluster) is checked, and so a dataclass.
"""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
