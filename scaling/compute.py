"""Compute by the field's rule: C = 6 N D to train, 2 N to serve a token.

Source: Kaplan et al. 2020, arXiv:2001.08361, sec. 2.1: 2 FLOPs per weight and token forward (a multiply and an add),
4 backward; attention over the context is not in it. `scaling.accounting` counts exactly.
"""

from __future__ import annotations

FLOPS_PER_PARAM_TOKEN = 6.0
FLOPS_PER_PARAM_SERVED = 2.0
