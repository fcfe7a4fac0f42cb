"""Does the law fit, and is the noise what an interval assumes? Tests on the residuals of a fit.

Sources: lack of fit by added terms and pure error from replicates: Draper and Smith, Applied Regression Analysis,
ch. 2 and 24. Ours differs: psi(r) replaces the residual, so that outliers do not decide a robust fit's test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from scaling.findings import Finding
from scaling.fitting.fixed import condition_text
from scaling.fitting.surface.groups import Groups
from scaling.fitting.surface.problem import Array, blocks
from scaling.fitting.surface.sandwich import Linearisation
from scaling.runs import Runs
from scaling.translation import tr

MAD_TO_SIGMA = 1.4826  # of a Gaussian
LAW_REJECTED = 0.01  # p of the lack-of-fit test below which the law is called wrong for these runs
FEW_RUNS = 36  # below, a test that passes says little
NOISE_FREE = 1e-10  # robust scale of log loss below which residuals are rounding
FAR_OFF = 5.0  # robust standard deviations
COMPUTED = 1e-9  # of ln loss: what is left of losses in full precision after a search
MOST_DIGITS = 10  # more decimals than any table of measured losses prints
LOOKED_AT = 1000  # losses: enough to see with how many decimals a table prints them
# Seeds alone move the loss of a run by a few parts in a thousand. Losses printed so coarsely that rounding comes near
# that (two decimals) hide their noise; a fit that meets them to rounding does not show where they come from.
COARSEST = 2e-4  # of the loss
SAME_CELL = 1e-4  # ln N and ln D within this are one cell: printed digits, not another run


@dataclass(frozen=True, kw_only=True)
class FTest:
    """An F test; `p_value` is the chance of a larger F if the law and equal noise hold."""

    f: float
    dof_numerator: int
    dof_denominator: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PureError:
    """Noise between replicates: runs of the same n_params and n_tokens. In units of log loss."""

    standard_deviation: float
    dof: int
    n_cells: int
    test: FTest | None  # of the scatter of cells about the law, beyond that noise


@dataclass(frozen=True, kw_only=True)
class ResidualSummary:
    """Scatter of ln(loss) about the law: 0.01 is about 1 %."""

    robust_scale: float  # 1.4826 median |r| sqrt(n / (n - 5))
    standard_deviation: float  # root of sum r^2 / (n - 5)
    pure_error: PureError | None
    largest: float
    largest_row: int  # as Runs.row counts


def robust_scale(residual: Array, n_fitted: int) -> float:
    """1.4826 median |r| sqrt(n/(n-p)): a standard deviation that a few bad runs do not move."""
    n = len(residual)
    return MAD_TO_SIGMA * float(np.median(np.abs(residual))) * math.sqrt(n / max(n - n_fitted, 1))


def rounding_of(loss: Array) -> float:
    """Scatter of ln loss that comes of printing the losses: half their last decimal; 1e-9 for full precision.

    Zero where they are printed so coarsely that measured losses may be as close to a law.
    """
    some = loss[:LOOKED_AT]
    for decimals in range(MOST_DIGITS):
        scaled = some * 10.0**decimals
        if np.allclose(scaled, np.round(scaled), rtol=0, atol=1e-4):
            relative = float(0.5 * 10.0**-decimals / np.median(loss))
            return relative if relative <= COARSEST else 0.0
    return COMPUTED


def lies_on_law(loss: Array, robust_scale: float, largest: float) -> bool:
    """Whether rounding explains every residual: `robust_scale` and the `largest` are of ln loss."""
    level = rounding_of(loss)
    return robust_scale <= level and abs(largest) <= 4 * level


def noise_free_finding(robust_scale: float) -> Finding:
    """Note that the runs look computed, not trained."""
    return Finding(
        code="noise-free",
        short=tr("the losses lie on the law exactly: made from a formula?"),
        severity="note",
        message=tr(
            "the losses lie on the law to {most:.0e} of their size, as closely as they are printed: made "
            "from a formula? The intervals say nothing about real runs.",
            most=max(robust_scale, 1e-16),
        ),
    )


def lack_of_fit_test(fit: Linearisation) -> FTest | None:
    """Do terms of the next order (x^2, x y and y^2 in the centred logs of N and D) explain what the law leaves?"""
    n_terms = len(fit.data.missed_terms(slice(0, 1)))
    return _added_terms_test(fit, n_terms, fit.data.missed_terms)


def group_effects_test(fit: Linearisation, groups: Groups) -> FTest | None:
    """Do the runs of one budget share a residual? One dummy a group, less one."""
    G = groups.n_groups
    if G < 2:
        return None
    index = np.arange(1, G)[:, None]
    return _added_terms_test(fit, G - 1, lambda rows: (groups.labels[rows] == index).astype(np.float64))


def pure_error(
    ln_params: Array, ln_tokens: Array, ln_loss: Array, residual: Array, n_fitted: int
) -> PureError | None:
    """Pooled scatter of ln loss within cells of equal N and D; None without replicates.

    Rows that repeat another in N, D and loss are copies of one run, not replicates, and count once.
    """
    # both rounded coordinates in one integer: |ln N| < 100 gives 2e6 steps
    cell = np.round(ln_params / SAME_CELL).astype(np.int64)
    cell *= 4_000_000
    cell += np.round(ln_tokens / SAME_CELL).astype(np.int64)
    if np.all(np.diff(np.sort(cell)) > 0):
        return None
    order = np.lexsort((ln_loss, cell))
    same = (np.diff(cell[order]) == 0) & (np.diff(ln_loss[order]) == 0)
    kept = order[np.r_[True, ~same]]
    _, labels, sizes = np.unique(cell[kept], return_inverse=True, return_counts=True)
    n_cells = len(sizes)
    dof = len(kept) - n_cells
    if dof < 1:
        return None
    mean = np.bincount(labels, weights=ln_loss[kept]) / sizes
    within = float(((ln_loss[kept] - mean[labels]) ** 2).sum())
    total = float((residual[kept] ** 2).sum())
    between_dof = n_cells - n_fitted
    test = None
    if between_dof > 0 and within > 0:
        f = max(total - within, 0.0) / between_dof / (within / dof)
        test = FTest(
            f=f, dof_numerator=between_dof, dof_denominator=dof, p_value=float(fdtrc(between_dof, dof, f))
        )
    return PureError(
        standard_deviation=math.sqrt(within / dof), dof=dof, n_cells=int((sizes > 1).sum()), test=test
    )


def summarise_residuals(
    residual: Array, n_fitted: int, pure_error: PureError | None, runs: Runs
) -> ResidualSummary:
    """Of the log residuals of a fit of `n_fitted` coefficients."""
    worst = int(np.argmax(np.abs(residual)))
    return ResidualSummary(
        robust_scale=robust_scale(residual, n_fitted),
        standard_deviation=math.sqrt(float(residual @ residual) / max(len(residual) - n_fitted, 1)),
        pure_error=pure_error,
        largest=float(residual[worst]),
        largest_row=int(runs.row[worst]),
    )


def rejected(test: FTest | None) -> bool:
    """Whether a test calls the law wrong for these runs."""
    return test is not None and test.p_value < LAW_REJECTED


def statement(assumed: str, fixed: Mapping[str, float], lack_of_fit: FTest | None) -> str:
    """One sentence: what the intervals assume, given what was held, and whether these runs contradict it."""
    said = ", ".join(
        filter(
            None,
            (tr("statistical only, assuming the law and {assumed}", assumed=assumed), condition_text(fixed)),
        )
    )
    if rejected(lack_of_fit):
        return tr("{said}; these runs reject the law, so the truth may lie outside", said=said)
    return said


def lack_of_fit_message(test: FTest) -> str:
    return tr(
        "the law does not fit these runs (lack-of-fit test p = {p_value:.1g}): intervals are statistical "
        "only, assuming the law. See the hold-out error: --holdout-above rolling (in Python "
        "evaluate_extrapolation) and the spread between laws: --compare-laws (in Python compare_laws)",
        p_value=test.p_value,
    )


def lack_of_fit_short(test: FTest) -> str:
    return tr("the runs reject this form of law (p = {p_value:.1g}): --compare-laws", p_value=test.p_value)


def pure_error_message(residuals: ResidualSummary) -> str:
    """Where replicates scatter less than the runs do about the law; else nothing."""
    pure = residuals.pure_error
    if pure is None or not rejected(pure.test):
        return ""
    assert pure.test is not None
    return tr(
        "replicates scatter by {standard_deviation:.2g} %, runs about the law by {about_law:.2g} %, runs far off "
        "counted in (robust, without them: {robust:.2g} %): the law misses more than noise (F test p = {p:.1g})",
        standard_deviation=100 * pure.standard_deviation,
        about_law=100 * residuals.standard_deviation,
        robust=100 * residuals.robust_scale,
        p=pure.test.p_value,
    )


def pure_error_short(residuals: ResidualSummary) -> str:
    """For a first screen, on which the other scatter is the robust one."""
    pure = residuals.pure_error
    assert pure is not None
    assert pure.test is not None
    return tr(
        "with runs far off counted in, the law misses by {law:.2g} %, repeats by {repeats:.2g} % (p = {p:.1g})",
        law=100 * residuals.standard_deviation,
        repeats=100 * pure.standard_deviation,
        p=pure.test.p_value,
    )


def _added_terms_test(fit: Linearisation, n_terms: int, terms: Callable[[slice], Array]) -> FTest | None:
    """F test of `n_terms` columns added to the linearised law; None where no degree of freedom is left."""
    size = len(fit.theta) + n_terms
    gram, right = np.zeros((size, size)), np.zeros(size)
    held = [index for index, _ in fit.data.fixed]
    for rows in blocks(fit.data.n):
        J = fit.data.jacobian(fit.theta, rows)
        columns = np.vstack([np.where(fit.free[:, None], J, 0.0), terms(rows)])
        gram += columns @ columns.T
        right += columns @ fit.psi[rows]
    gram, right = np.delete(np.delete(gram, held, axis=0), held, axis=1), np.delete(right, held)
    return added_terms_f(
        gram, right, int(fit.free.sum()), fit.data.n_fitted, fit.data.n, float(fit.psi @ fit.psi)
    )


def added_terms_f(
    gram: Array, right: Array, n_free: int, n_fitted: int, n: int, total: float
) -> FTest | None:
    """F test of the columns behind the first `n_fitted`, from X'X, X'psi and psi'psi of all columns X (n rows)."""
    explained_law, _ = _explained(gram[:n_fitted, :n_fitted], right[:n_fitted])
    explained_all, rank = _explained(gram, right)
    added, left = rank - n_free, n - max(rank, n_fitted)
    rest = total - explained_all
    if added < 1 or left < 1 or rest <= 1e-12 * total:
        return None
    f = max(explained_all - explained_law, 0.0) / added / (rest / left)
    return FTest(f=f, dof_numerator=added, dof_denominator=left, p_value=float(fdtrc(added, left, f)))


def _explained(gram: Array, right: Array) -> tuple[float, int]:
    """Sum of squares explained by the columns, and their rank, after scaling each to unit length."""
    length = np.sqrt(np.diag(gram))
    scale = np.where(length > 0, 1 / np.where(length > 0, length, 1.0), 0.0)
    eigenvalues, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    kept = eigenvalues > 1e-10 * eigenvalues[-1]
    along = vectors[:, kept].T @ (right * scale)
    return float((along**2 / eigenvalues[kept]).sum()), int(kept.sum())
