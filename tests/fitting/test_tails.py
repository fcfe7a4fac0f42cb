"""Quantiles of Student's t and tails of F where fits use them: against printed tables, scipy.stats and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.fitting.power_law import half_width_factor
from scaling.fitting.surface.diagnostics import added_terms_f


@pytest.mark.parametrize(
    ("level", "dof", "printed"),
    [(0.95, 1, 12.7062), (0.95, 4, 2.7764), (0.95, 30, 2.0423), (0.99, 4, 4.6041), (0.95, math.inf, 1.9600)],
)
def test_half_width_factor_is_as_printed_in_tables(level, dof, printed):
    assert half_width_factor(level, dof) == pytest.approx(printed, abs=5e-5)


@pytest.mark.parametrize("dof", [0.8, 2.5, 15, 235, 1e4])
def test_half_width_factor_is_the_quantile_of_scipy_stats(dof):
    from scipy import stats

    assert half_width_factor(0.9, dof) == pytest.approx(stats.t.isf(0.05, dof), rel=1e-12)


def test_half_width_factor_without_degrees_of_freedom_is_infinite():
    assert half_width_factor(0.95, 0) == math.inf


def test_added_terms_test_is_the_f_test_of_statsmodels():
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(4)
    X = rng.standard_normal((40, 5))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + 0.3 * X[:, 3] + rng.standard_normal(40)
    found = added_terms_f(X.T @ X, X.T @ y, 3, 3, 40, float(y @ y))
    f, p, added = OLS(y, X).fit().compare_f_test(OLS(y, X[:, :3]).fit())
    assert found is not None
    assert (found.f, found.p_value) == pytest.approx((f, p), rel=1e-10)
    assert (found.dof_numerator, found.dof_denominator) == (added, 35)


def test_added_terms_far_in_the_tail_keep_their_digits():
    from scipy import stats

    X = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 3)))[0]
    y = 40 * X[:, 2] + np.random.default_rng(1).standard_normal(60)
    found = added_terms_f(X.T @ X, X.T @ y, 2, 2, 60, float(y @ y))
    assert found is not None
    assert found.p_value < 1e-30
    assert found.p_value == pytest.approx(stats.f.sf(found.f, 1, 57), rel=1e-10)
