"""Approach 2 on branches of shared trunks: an interval that knows of them."""

from __future__ import annotations

import numpy as np

from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.laws import ChinchillaLaw
from scaling.runs import Runs

LAW = ChinchillaLaw(
    E=1.7, A=400.0, B=400.0 * 20**0.35, alpha=0.35, beta=0.35
)  # 20 tokens per parameter, N* as C^0.5
SIZES = 1e8 * 2.0 ** np.arange(12)
BUDGETS = 6 * 20 * SIZES[3:9] ** 2  # optimum at 20 tokens per parameter


def branches(seed: int, *, shared: float) -> Runs:
    """Seven sizes around the optimum of each budget; runs of one size are one trunk, with an error of its own."""
    rng = np.random.default_rng(seed)
    by_size = rng.normal(0, shared, len(SIZES))
    rows = [(C, i) for k, C in enumerate(BUDGETS) for i in range(k, k + 7)]
    budgets, at = np.array([C for C, _ in rows]), np.array([i for _, i in rows])
    n_params, n_tokens = SIZES[at], budgets / (6 * SIZES[at])
    noise = by_size[at] + rng.normal(0, 0.0003, len(rows))
    return Runs(
        n_params=n_params,
        n_tokens=n_tokens,
        flops=budgets,
        loss=np.asarray(LAW.loss(n_params, n_tokens)) * np.exp(noise),
        run_id=tuple(str(k) for k in range(len(rows))),
        trunk_id=tuple(f"trunk {i}" for i in at),
    )


def test_errors_that_a_trunk_shares_are_covered_by_leaving_trunks_out() -> None:
    fits = [fit_isoflop(branches(seed, shared=0.003), surface=LAW) for seed in range(80)]
    by_line = np.mean(
        [f.params_exponent.interval.low <= 0.5 <= f.params_exponent.interval.high for f in fits]
    )
    by_trunk = np.mean([f.by_trunk.interval.low <= 0.5 <= f.by_trunk.interval.high for f in fits])
    assert by_trunk >= 0.9
    assert by_line < by_trunk - 0.05


def test_runs_that_stand_alone_have_no_such_interval() -> None:
    runs = branches(0, shared=0.0)
    alone = Runs(
        n_params=runs.n_params, n_tokens=runs.n_tokens, flops=runs.flops, loss=runs.loss, run_id=runs.run_id
    )
    fit = fit_isoflop(alone, surface=LAW)
    assert fit.by_trunk is None
    assert not [f for f in fit.findings if f.code == "by-trunk"]
