"""Checks that look at single rows: duplicates, replicates, outliers, checkpoints, impossible or suspicious losses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scaling.findings import Finding, error, note, warning
from scaling.runs.rows import (
    BATCHES,
    LEARNING_RATES,
    MOST_NAMED,
    cell_index,
    cell_names,
    extra_numbers,
    name_rows,
    plain,
    rows_where,
    seen_before,
    some_rows,
)
from scaling.runs.table import Runs
from scaling.translation import counted, tr
from scaling.units import format_params

Array = NDArray[np.float64]

# Of the 245 digitised Chinchilla runs this flags exactly the five that Besiroglu et al. drop (their |z| is 5.7 to
# 48, the next is 4.8); a Gaussian tail of 5 sd has one chance in 1.7 million a run.
OUTLIER_SD = 5.0
OUTLIER_LEAST = 0.01  # in ln loss: below one per cent no fit is moved by one run
OUTLIER_RUNS = 20  # the surface has six coefficients; with fewer runs its residuals say little
SIZES_MIXED = 0.01  # of the loss: seeds differ by .1 to .5 %
NATS_PER_TOKEN_LEAST = 1.3  # median; tables in bits or nats per byte lie at .6 to 1.1


def check_rows(runs: Runs, final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """`runs` as read, `final` with one row a run; `reads`: of n_params, n_tokens, flops those that the law reads."""
    yield from _repeated_rows(runs)
    yield from _checkpoints(runs)
    yield from _shared_trunks(final)
    replicates = list(_replicates(final))
    yield from replicates
    yield from _losses(final)
    if all(
        f.code != "hyperparameter-grid" for f in replicates
    ):  # there most runs are off the surface, by design
        yield from _outliers(final, reads)


def _repeated_rows(runs: Runs) -> Iterator[Finding]:
    if runs.is_curves:
        if rows := rows_where(runs, seen_before(runs.run_index, runs.position)):
            yield warning(
                code="repeated-checkpoints",
                short=tr(
                    "{rows} {repeat} a step of their run: leave one of each out",
                    rows=counted(len(rows), "row"),
                    repeat=repeats(rows),
                ),
                message=tr(
                    "{where} {repeat} a step of their run, as a resumed run logs it twice. Leave one of each "
                    "out{ways}.",
                    where=name_rows(rows),
                    repeat=repeats(rows),
                    ways="".join(f": {way}" for way in _by_line(rows)),
                ),
                rows=rows,
                remedies=_by_line(rows),
            )
        return
    corpus = () if runs.n_tokens_unique is None else (np.nan_to_num(runs.n_tokens_unique),)
    cell = cell_names(runs)
    copies = seen_before(*(getattr(runs, name) for name in cell), *corpus, runs.loss)
    if rows := rows_where(runs, copies):
        yield warning(
            code="duplicates",
            short=tr(
                "{rows} {repeat} an earlier row and would count twice",
                rows=counted(len(rows), "row"),
                repeat=repeats(rows),
            ),
            message=tr(
                "{where} {repeat} an earlier row (same {names}, loss), which counts twice. Leave the copies "
                "out{ways}.",
                where=name_rows(rows),
                repeat=repeats(rows),
                names=", ".join(cell),
                ways="".join(f": {way}" for way in _by_line(rows)),
            ),
            rows=rows,
            remedies=_by_line(rows),
        )
    if rows := rows_where(runs, seen_before(runs.run_index) & ~copies):
        yield warning(
            code="duplicate-run-id",
            short=tr("{rows} with the run_id of another run", rows=counted(len(rows), "row")),
            message=tr(
                "{where} {have} the run_id of another run; give each run its own, or the intervals treat them as "
                "one.",
                where=name_rows(rows),
                have=tr("has") if len(rows) == 1 else tr("have"),
            ),
            rows=rows,
        )


def repeats(rows: tuple[int, ...]) -> str:
    return tr("repeats") if len(rows) == 1 else tr("repeat")


def _by_line(rows: tuple[int, ...]) -> tuple[str, ...]:
    """--exclude line:3 ... where the rows are few; their runs have other rows, so not by name."""
    return (" ".join(f"--exclude line:{r}" for r in rows),) if len(rows) <= MOST_NAMED else ()


def _checkpoints(runs: Runs) -> Iterator[Finding]:
    if not runs.is_curves:
        return
    n_runs = int(runs.run_index.max()) + 1
    yield warning(
        code="checkpoints",
        short=tr(
            "{n_runs} rows are checkpoints of {runs}, not independent: --final",
            n_runs=len(runs),
            runs=counted(n_runs, "run"),
        ),
        message=tr(
            "{n_runs} rows are checkpoints of {runs} and not independent; fit the last row of each run: "
            "--final (in Python runs.final()).",
            n_runs=len(runs),
            runs=counted(n_runs, "run"),
        ),
        remedies=("--final",),
        source="Choshen et al. 2024, arXiv:2410.11840",
    )
    yield warning(
        code="unfinished-decay",
        short=tr("rows before the end of a run have too high a loss: --final"),
        message=tr(
            "rows before the last of a run were taken before its learning rate had decayed: their loss is "
            "too high for their tokens; use finished runs (--final), or an envelope of the curves (--method "
            "envelope)."
        ),
        source="Hoffmann et al. 2022, arXiv:2203.15556, appendix B; Haegele et al. 2024, arXiv:2405.18392",
    )


def _shared_trunks(final: Runs) -> Iterator[Finding]:
    if final.trunk_id is not None and (n_trunks := len(set(final.trunk_id))) < len(final):
        yield note(
            code="shared-trunk",
            short=tr(
                "{n_final} runs are branches of {trunks}: not independent",
                n_final=len(final),
                trunks=counted(n_trunks, "trunk"),
            ),
            message=tr(
                "{n_final} runs are branches of {trunks} and share most of their training; resample trunks, not "
                "runs.",
                n_final=len(final),
                trunks=counted(n_trunks, "trunk"),
            ),
            source="Haegele et al. 2024, arXiv:2405.18392",
        )


def _replicates(final: Runs) -> Iterator[Finding]:
    """Several runs of one (N, D): other seeds, or a grid of learning rates and batch sizes."""
    cells, same = cell_index(final), ", ".join(cell_names(final))
    if np.bincount(cells).max() < 2:
        return
    copies = seen_before(cells, final.loss)  # a row repeated is no second run
    final, cells = final.select(~copies), cells[~copies]
    if (counts := np.bincount(cells)).max() < 2:
        return
    rows = rows_where(final, counts[cells] > 1)
    n_cells = int(np.count_nonzero(counts > 1))
    lr = extra_numbers(final, *LEARNING_RATES)
    batch = extra_numbers(final, "batch_tokens", *BATCHES, "global_batch_size", "batch")
    if any(c is not None and _varies_within(c, cells) for c in (lr, batch)):
        yield warning(
            code="hyperparameter-grid",
            short=tr(
                "several learning rates or batch sizes in {cells}: --best-of-cell",
                cells=counted(n_cells, "cell"),
            ),
            message=tr(
                "{cells} (same {same}) with runs at several learning rates or batch sizes; a law{of_what} wants the "
                "tuned run of each cell: --best-of-cell (in Python best_of_cell=True) keeps the lowest loss of "
                "each.",
                cells=counted(n_cells, "cell"),
                same=same,
                of_what="" if final.absent else tr(" of N and D"),
            ),
            remedies=("--best-of-cell",),
            source="Porian et al. 2024, arXiv:2406.19146; Step Law, arXiv:2503.04715",
            rows=rows,
        )
        return
    logs = np.log(final.loss)
    means = np.bincount(cells, logs) / counts
    freedom = int(np.sum(counts - 1))
    spread = float(np.sqrt(np.sum((logs - means[cells]) ** 2) / freedom))
    if final.absent and spread > SIZES_MIXED:
        yield warning(
            code="replicated-cells",
            short=tr(
                "runs of one {same} differ by {spread:.2g} %: several sizes?", same=same, spread=100 * spread
            ),
            message=tr(
                "runs of one {same} differ by {spread:.2g} % of their loss, as models of several sizes do: "
                "--best-of-cell (in Python best_of_cell=True) keeps the lowest loss of each, or give the sizes.",
                same=same,
                spread=100 * spread,
            ),
            rows=rows,
            remedies=("--best-of-cell",),
        )
    elif spread > 0:
        yield note(
            code="replicated-cells",
            short=tr(
                "repeats of {cells} differ by {spread:.2g} % of the loss",
                cells=counted(n_cells, "cell"),
                spread=100 * spread,
            ),
            message=tr(
                "{replicated_cells} (same {same}): pure error {spread:.2g} % of the loss, {degrees} of freedom.",
                replicated_cells=counted(n_cells, "replicated cell"),
                same=same,
                spread=100 * spread,
                degrees=counted(freedom, "degree"),
            ),
            rows=rows,
        )


def _varies_within(values: NDArray[np.float64], cells: NDArray[np.int64]) -> bool:
    order = np.lexsort((values, cells))
    return bool(np.any((np.diff(cells[order]) == 0) & (np.diff(values[order]) > 0)))


def _losses(final: Runs) -> Iterator[Finding]:
    n, loss = len(final), final.loss
    if n > 1 and loss.max() == loss.min():
        yield error(
            code="equal-losses",
            short=tr("all {n} runs have one loss, {loss:g}: nothing can be fitted", n=n, loss=loss[0]),
            message=tr(
                "all {n} runs have one loss, {loss:g}; nothing can be fitted. If another column holds the loss, "
                "say --column loss=NAME (in Python columns=).",
                n=n,
                loss=loss[0],
            ),
        )
        return
    if final.convention.loss_unit == "nats/token" and np.median(loss) < NATS_PER_TOKEN_LEAST:
        yield warning(
            code="loss-unit",
            short=tr(
                "half of the losses are below {middle:.3g}: nats/token? See --loss-unit",
                middle=np.median(loss),
            ),
            message=tr(
                "half of the losses are below {middle:.3g}, low for nats/token; if they are per byte or "
                "normalised, say --loss-unit other (in Python loss_unit=): exponents hold, predicted losses do "
                "not compare.",
                middle=np.median(loss),
            ),
            remedies=("--loss-unit other",),
        )
    grows = "flops" if "flops" not in final.absent else cell_names(final)[0]
    if n >= 8 and _rank_correlation(getattr(final, grows), loss) > 0.3:
        what = {"flops": tr("compute"), "n_params": tr("parameters"), "n_tokens": tr("tokens")}[grows]
        yield warning(
            code="loss-rises",
            short=tr("the loss rises with {what}: is it a loss, of one corpus?", what=what),
            message=tr(
                "the loss rises with {what} over this table; is it a loss, and do all runs share data and "
                "tokenizer?",
                what=what,
            ),
        )


def _rank_correlation(x: Array, y: Array) -> float:
    rows = some_rows(len(x))
    first, second = (np.argsort(np.argsort(v[rows])).astype(np.float64) for v in (x, y))
    return float(np.corrcoef(first, second)[0, 1])


def _outliers(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    if len(final) < OUTLIER_RUNS or not reads:
        return
    both = {"n_params", "n_tokens"} <= reads
    read = ("n_params", "n_tokens") if both else tuple(reads)
    residual, scale = robust_residuals(final, read)
    rows = rows_where(final, np.abs(residual) > max(OUTLIER_SD * scale, OUTLIER_LEAST))
    if not rows or len(rows) > 0.2 * len(final):
        return  # a fifth of the table is no outlier: the surface does not fit
    worst = int(np.argmax(np.abs(residual)))
    whose = f" ({read[0]} {plain(getattr(final, read[0])[worst])})"
    if both:
        ratio = final.n_tokens / final.n_params
        whose = tr(
            " ({n_params}, {ratio} tokens per parameter, median {middle})",
            n_params=format_params(float(final.n_params[worst])),
            ratio=plain(ratio[worst], 2),
            middle=plain(np.median(ratio), 2),
        )
    yield warning(
        code="outliers",
        short=tr("{runs} far off the others: fit with and without", runs=counted(len(rows), "run")),
        message=tr(
            "{where}: more than {outlier_sd:g} robust sd from a smooth {form} through the others; the "
            "farthest, row {row}{whose}, by {residual:+.2g} % of its loss. Fit with and without them.",
            where=name_rows(rows),
            outlier_sd=OUTLIER_SD,
            form=tr("surface") if both else tr("curve"),
            row=final.row[worst],
            whose=whose,
            residual=100 * np.expm1(residual[worst]),
        ),
        source="Besiroglu et al. 2024, arXiv:2404.10102",
        rows=rows,
    )


def robust_residuals(runs: Runs, read: tuple[str, ...] = ("n_params", "n_tokens")) -> tuple[Array, float]:
    """Residuals of ln loss from a quadratic in (ln N, ln D), or the log of one of `read`, by Huber's method; their sd.

    No scaling law is assumed: a quadratic follows any smooth surface over a few decades well enough to see a run
    that is far off.
    """
    first, last = (np.log(getattr(runs, name)) for name in (read[0], read[-1]))
    x, y = first - first.mean(), last - last.mean()  # one quantity twice: lstsq shares its terms out
    x, y = x / max(x.std(), 1e-9), y / max(y.std(), 1e-9)
    target, rows = np.log(runs.loss), some_rows(len(runs))
    u, v = x[rows], y[rows]
    X = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    weight = np.ones(len(rows))
    for _ in range(50):
        root = np.sqrt(weight)
        beta = np.linalg.lstsq(X * root[:, None], target[rows] * root, rcond=1e-8)[0]
        residual = target[rows] - X @ beta
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
        new = np.minimum(1.0, 1.345 * scale / np.maximum(np.abs(residual), 1e-300))
        if np.max(np.abs(new - weight)) < 1e-4:
            break
        weight = new
    if len(rows) < len(runs):
        one, in_x, in_y, in_xx, in_xy, in_yy = beta  # by Horner's rule: six terms of a million rows are 48 MB
        residual = target - (one + x * (in_x + in_xx * x + in_xy * y) + y * (in_y + in_yy * y))
    return residual, scale
