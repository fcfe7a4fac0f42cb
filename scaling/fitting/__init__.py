"""Runs → law with uncertainty.

envelope/    Approach 1: the lower envelope of training curves
isoflop/     Approach 2: one valley a budget, then lines through the minima
parametric/  Approach 3: the surface E + A/N^alpha + B/D^beta, certified, with intervals that cover
generic/     any other law family over any inputs, with classical intervals
beside them  a line in log-log; laws compared; hold-out extrapolation; predicted losses

Use which when: curves → envelope; a few sizes at each of several budgets → isoflop and parametric, and compare; runs
anywhere else in (N, D) → parametric; repeated data or further inputs → generic.
"""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
