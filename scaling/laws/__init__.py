"""Functional forms: each family is one file with its formula, derivative, allocation and inverse.

Use which when: `chinchilla` for L(N, D) of fresh tokens; `data_constrained` when tokens repeat; `over_training` when
the same ratio D/N is best at every budget; `kaplan` to compare with the older literature; `frontier` for an optimum
N*(C) without L(N, D); the one-input power laws where only one quantity limits. Families load on first use.
"""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
