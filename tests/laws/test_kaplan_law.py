"""Kaplan's law against arithmetic of sixty digits."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from scaling.laws.kaplan import kaplan_gradient


def exact_by_alpha_D(N: float, D: float, alpha_N: float, alpha_D: float, N_c: float, D_c: float) -> float:
    """L (ln s - x ln x / s) with s = x + D_c / D and x = (N_c / N)^(alpha_N / alpha_D), in sixty digits."""
    with localcontext() as context:
        context.prec = 60
        n, d, a, b, n_c, d_c = map(Decimal, (N, D, alpha_N, alpha_D, N_c, D_c))
        ln_x = (n_c / n).ln() * a / b
        x = ln_x.exp()
        s = x + d_c / d
        return float((b * s.ln()).exp() * (s.ln() - x * ln_x / s))


@pytest.mark.parametrize("size", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("tokens", [1e8, 1e12, 1e16])
@pytest.mark.parametrize("N_c", [1e10, 6.4e13, 1e18])
def test_gradient_keeps_its_digits_where_one_term_dwarfs_the_other(
    size: float, tokens: float, N_c: float
) -> None:
    """As ln(x + y) - x ln x / (x + y) it had no digit left at x = 1e9 y; the powers cost a few units of rounding."""
    point = (size, tokens, 0.3, 0.1, N_c, 1.8e13)
    assert kaplan_gradient(*point)[1] == pytest.approx(exact_by_alpha_D(*point), rel=1e-13)
