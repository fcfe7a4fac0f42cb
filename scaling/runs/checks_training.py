"""Checks of how the runs were trained and counted: conventions, FLOPs, decay, batch, warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.findings import Finding, note, warning
from scaling.runs.columns import column_option
from scaling.runs.names import scale_of
from scaling.runs.rows import (
    BATCHES,
    LEARNING_RATES,
    extent,
    extra_column,
    extra_numbers,
    leave_out,
    name_rows,
    plain,
    rows_where,
)
from scaling.runs.table import Runs
from scaling.translation import counted, tr
from scaling.units import format_params, format_percent, format_tokens

SAME_6ND = 0.01
# C / (6 N D) that a count can explain. Non-embedding N: 6 N_nonemb D is .17 of the exact count at d = 256, 4 layers,
# V = 50k. Total N: the embedding is no matmul (down to .3 for small models), attention adds up to about 2.5.
EXPLAINED = {"non_embedding": (0.95, 6.5), "total": (0.3, 2.6)}
ALL_EXPERTS = 0.3  # of 6 N D, below which N counts parameters that a token does not meet
RATIO_MOST = 1e5  # tokens per parameter; no study trains ten times past 1e4
CERTAIN = 100.0  # no count of parameters or FLOPs differs by that much from another; a unit does
N_LEAST, D_LEAST = 1e4, 1e5  # fewer parameters or tokens than the smallest study of language models used
N_MOST, D_MOST, C_MOST = 1e13, 1e15, 1e28  # more parameters, tokens or FLOPs than any run has had
RATIO_DOUBTFUL = 1e4  # tokens per parameter above those of any study
FAR_BEYOND = 10.0  # times a bound, where no doubt is left
ANY_COUNT = 10.0  # by which counts of FLOPs differ at most
EMBEDDING_HEAVY = 0.2
DECAYED_TO = 0.2  # Hoffmann et al. decay to a tenth; above a fifth of the peak the loss is visibly too high
COOLDOWN_LEAST = 0.1  # Haegele et al.: a cool-down of 10-20 % of the steps matches a cosine
# of a run's tokens; Porian et al. trace part of Kaplan's exponent to warm-ups longer than that
WARMUP_MOST = 0.2
WIDE_TOKENS = 10.0
FINISHED_WORDS = {"done", "completed", "complete", "finished", "success", "succeeded", "ok", "true", "1", ""}


def slips() -> tuple[tuple[float, str], ...]:
    """The usual slips, each by the ratio C / (6 N D) that it leaves."""
    return (
        (1 / 3, tr("forward pass only (2 N D)")),
        (2 / 3, tr("backward pass only (4 N D)")),
        (4 / 3, tr("activation recomputation counted (8 N D)")),
        (1 / 6, tr("N D without the 6")),
        (1 / 2, tr("multiply-adds counted as one")),
        (1 / 8.64e19, tr("petaflop/s-days, not FLOPs")),
        (1e-12, tr("TFLOPs, not FLOPs")),
        (1e-15, tr("PFLOPs, not FLOPs")),
        (1e-18, tr("EFLOPs, not FLOPs")),
        (1e-21, tr("ZFLOPs, not FLOPs")),
    )


def _may_be_experts() -> str:
    return tr(
        " Are these mixtures of experts, whose compute is 6 N D of the active parameters? Then give those: "
        "--column n_params_active=COLUMN --params-convention active (in Python columns=, params_convention=)."
    )


def check_training(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """`final`: one row a run; `reads`: of n_params, n_tokens, flops those that the law reads."""
    yield from _units(final, reads)
    yield from _conventions(final, reads)
    if "flops" in reads and not final.absent:
        yield from _flops(final, reads)
    yield from _unfinished(final)
    yield from _batch(final)
    yield from _warmup(final)


def _units(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """Counts written in millions or billions, or N and D exchanged: exponents survive that, every plan is nonsense."""
    both = {"n_params", "n_tokens"} <= reads
    # of one alone nothing is out of line
    ratio = float(np.median(final.n_tokens / final.n_params)) if both else 1.0
    least = {"n_params": N_LEAST, "n_tokens": D_LEAST}
    middles = {name: float(np.median(getattr(final, name))) for name in least if name in reads}
    low = {name: middle for name, middle in middles.items() if middle < least[name]}
    if low and _counted_in_ones(final):
        low = {}
    certain = len(low) == 2 or ratio > RATIO_MOST or ratio < 1 / CERTAIN
    for name, middle in low.items():
        header = final.read_from.get(name, name)
        derived = tr(" (from {header})", header=header) if header == final.read_from.get("flops") else ""
        unit = f"{header} (EFLOP), {header} (PF-days)" if derived else f"{header} (M), {header} (B)"
        yield Finding(
            code="unit-slip",
            short=tr(
                "half of the runs have {name} of {middle} or fewer: in millions or billions?",
                name=name,
                middle=plain(middle),
            ),
            severity="error" if certain else "warning",
            message=tr(
                "half of the runs have {name}{derived} of {middle} or fewer; if the table counts in {unit_meant}, say "
                "so in the header: {unit}.",
                name=name,
                derived=derived,
                middle=plain(middle),
                unit_meant=tr("a multiple of FLOPs") if derived else tr("millions or billions"),
                unit=unit,
            ),
        )
    high = () if low else tuple(_too_many(final, reads))
    yield from high
    if low or not both:
        return
    if ratio > RATIO_DOUBTFUL and not high:
        header = final.read_from.get("n_tokens", "n_tokens")
        unit = tr(
            "; if the cells of {header} are whole counts already, take the unit out of that header",
            header=header,
        )
        yield Finding(
            code="unit-slip",
            short=tr(
                "half of the runs have {ratio} tokens per parameter: n_params in another unit?",
                ratio=plain(ratio),
            ),
            severity="error" if ratio > RATIO_MOST else "warning",
            message=tr(
                "half of the runs have {ratio} tokens per parameter or more; if n_params counts in thousands, "
                "millions or billions, say so in the header: n_params (k), n_params (M), n_params (B){or_unit}.",
                ratio=plain(ratio),
                or_unit=unit if scale_of(header) > 1 else "",
            ),
        )
    yield from _exchange(final)


def _exchange(final: Runs) -> Iterator[Finding]:
    rows = rows_where(final, final.n_tokens < final.n_params)
    if len(rows) > 0.5 * len(final):
        # An image, a clip or a document is hundreds of tokens: fewer of them than parameters is usual.
        text = final.convention.data_unit == "tokens" and final.convention.loss_unit == "nats/token"
        rest = "" if text else tr(" If n_tokens counts images or other samples, that is usual.")
        exchange = _exchanged(final)
        rest = (
            tr(" If so, say {exchange} (in Python columns=).{rest}", exchange=exchange, rest=rest)
            if exchange
            else rest
        )
        yield Finding(
            code="swapped-columns",
            short=tr(
                "{n_rows} of {n_final} runs have fewer tokens than parameters: swapped?",
                n_rows=len(rows),
                n_final=len(final),
            ),
            severity="error" if text else "warning",
            message=tr(
                "{n_rows} of {n_final} runs have fewer {data_unit} than parameters ({middle} parameters on "
                "{middle_2} in the middle): are the columns swapped?{rest}",
                n_rows=len(rows),
                n_final=len(final),
                data_unit=final.convention.data_unit,
                middle=format_params(float(np.median(final.n_params))),
                middle_2=format_tokens(float(np.median(final.n_tokens))),
                rest=rest,
            ),
            rows=rows,
            remedies=(exchange,) if exchange else (),
        )


def _too_many(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """Counts above any run's: the unit of a header applied to cells that are whole counts already."""
    high: dict[str, tuple[str, float, float]] = {}  # the quantity, its middle, and that over the bound
    bounds = (("flops", C_MOST), ("n_params", N_MOST), ("n_tokens", D_MOST))
    for name, most in bounds:
        values = getattr(final, name)
        own = name != "flops" or name in final.read_from  # 6 N D repeats what N and D say
        if name in reads and own and (middle := float(np.median(values))) > most:
            high.setdefault(final.read_from.get(name, name), (name, middle, middle / most))
    certain = len(high) > 1 or any(beyond > FAR_BEYOND for *_, beyond in high.values())
    for header, (name, middle, _) in high.items():
        mend = tr(
            "does {header} count in {ones}? Mend the column",
            header=header,
            ones="FLOPs" if name == "flops" else tr("ones"),
        )
        if scale_of(header) > 1:
            mend = tr(
                "the cells of {header} seem to be whole counts already: take the unit out of that header",
                header=header,
            )
        yield Finding(
            code="unit-slip",
            short=tr("half of the runs have {name} above any run's: in another unit?", name=name),
            severity="error" if certain else "warning",
            message=tr(
                "half of the runs have {name} of {middle} or more, beyond any run; {mend}.",
                name=name,
                middle=plain(middle),
                mend=mend,
            ),
        )


def _exchanged(final: Runs) -> str:
    """The options that read N and D from each other's columns; "" where one has a unit in its name, or is derived."""
    headers = [final.read_from.get(name, "") for name in ("n_params", "n_tokens")]
    scales = [scale_of(h) for h in headers]
    if not all(headers) or headers[0] == headers[1] or scales != [1.0, 1.0] or "step" in headers[1]:
        return ""
    return f"{column_option('n_params', headers[1])} {column_option('n_tokens', headers[0])}"


def _counted_in_ones(final: Runs) -> bool:
    """Whether other columns show N and D to be plain counts, however small the models: D is steps times the batch, and
    6 N D meets the nominal budget.
    """
    steps, batch = extra_numbers(final, "n_steps"), extra_numbers(final, "batch_tokens")
    if steps is None or batch is None or final.budget is None or final.absent:
        return False
    off = np.abs(np.log(FLOPS_PER_PARAM_TOKEN * final.n_params * final.n_tokens / final.budget))
    return np.allclose(steps * batch, final.n_tokens, rtol=0.01) and bool(np.all(off < math.log(ANY_COUNT)))


def _conventions(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    convention = final.convention
    counts = (("n_params", convention.params), ("flops", convention.flops))
    if mixed := [n for n, v in counts if v == "mixed" and n in reads]:
        yield warning(
            code="mixed-conventions",
            short=tr(
                "rows count {names} in different ways: one law mixes them", names=tr(" and ").join(mixed)
            ),
            message=tr(
                "rows count {names} in different ways; one law through them mixes the counts. Bring all rows to "
                "one convention.",
                names=tr(" and ").join(mixed),
            ),
            source="Porian et al. 2024, arXiv:2406.19146; Pearce and Song 2024, arXiv:2406.12907",
        )
    if "n_params" not in reads:
        return
    if convention.params == "unknown":
        yield warning(
            code="unknown-convention",
            short=tr("say what N counts, it moves the exponent: --params-convention"),
            message=tr(
                "the table does not say whether n_params counts embeddings; by the count one set of runs gives "
                "an N exponent of .37, .54 or .70. Say which: --params-convention total or non_embedding (in "
                "Python params_convention=)."
            ),
            remedies=("--params-convention total", "--params-convention non_embedding"),
            source="Porian et al. 2024, arXiv:2406.19146; Pearce and Song 2024, arXiv:2406.12907",
        )
    nonemb = extra_numbers(final, "n_params_nonemb")
    if convention.params != "total" or nonemb is None:
        return
    if rows := rows_where(final, 1 - nonemb / final.n_params > EMBEDDING_HEAVY):
        yield note(
            code="embedding-heavy",
            short=tr(
                "embeddings are over {embedding_heavy:g} % of N in {rows}",
                embedding_heavy=100 * EMBEDDING_HEAVY,
                rows=counted(len(rows), "row"),
            ),
            message=tr(
                "embeddings are over {embedding_heavy:g} % of n_params in {where}; the exponents depend on the "
                "count there. Fit the other too: --params-convention non_embedding (in Python "
                "params_convention=).",
                embedding_heavy=100 * EMBEDDING_HEAVY,
                where=name_rows(rows),
            ),
            source="Pearce and Song 2024, arXiv:2406.12907",
            rows=rows,
        )


def _flops(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """C against 6 N D, with the room its convention leaves."""
    with np.errstate(all="ignore"):
        ratio = final.flops / (FLOPS_PER_PARAM_TOKEN * final.n_params * final.n_tokens)
    claimed = final.convention.flops == "6ND"
    low, high = EXPLAINED.get(final.convention.params, (0.15, 6.5))
    if claimed:
        low, high = 1 - SAME_6ND, 1 + SAME_6ND
    off = (ratio < low) | (ratio > high)
    mixture = 1 / CERTAIN < float(np.median(ratio)) < ALL_EXPERTS  # below the first, a unit
    if mixture := mixture and final.convention.params in ("total", "unknown"):
        off |= ratio < ALL_EXPERTS
    if rows := rows_where(final, off):
        middle = float(np.median(ratio[off]))
        as_budget = final.budget is not None and np.array_equal(final.flops, final.budget)
        column = "budget" if as_budget else "flops"
        slip = next((f" ({why}?)" for factor, why in slips() if abs(middle / factor - 1) < 0.03), "")
        least = ALL_EXPERTS if mixture else low
        rule = tr(
            "what {params} parameters explain ({least:g} to {high:g} times)",
            params=final.convention.params,
            least=least,
            high=high,
        )
        certain = max(middle, 1 / middle) > CERTAIN and 2 * len(rows) > len(final)
        yield Finding(
            code="flops-disagree",
            short=tr(
                "FLOPs of {rows} are {middle} times 6 N D{slip}",
                rows=counted(len(rows), "row"),
                middle=plain(middle),
                slip=slip,
            ),
            severity="error" if certain else "warning",
            message=tr(
                "FLOPs of {where} are {middle} times 6 n_params n_tokens{slip}, beyond {rule}; check the unit "
                "and what was counted, or leave the column out: --column {column}= (in Python "
                "columns={{{column!r}: None}}).{experts}",
                where=name_rows(rows),
                middle=plain(middle),
                slip=slip,
                rule="6ND" if claimed else rule,
                column=column,
                experts=_may_be_experts() if mixture else "",
            ),
            remedies=(f"--column {column}=",),
            source="Porian et al. 2024, arXiv:2406.19146",
            rows=rows,
        )
    elif "n_params" in reads and not claimed and (ratio.max() > 1 + SAME_6ND or ratio.min() < 1 - SAME_6ND):
        yield note(
            code="own-flops",
            short=tr("the table counts {ratio} times 6 N D; budgets here are 6 N D", ratio=extent(ratio)),
            message=tr(
                "FLOPs are the table's own count, {ratio} times 6 n_params n_tokens; the budgets of a law fitted "
                "to N and D are 6ND.",
                ratio=extent(ratio),
            ),
            source="Porian et al. 2024, arXiv:2406.19146",
        )


def _unfinished(final: Runs) -> Iterator[Finding]:
    reasons: list[tuple[str, NDArray[np.bool_]]] = []
    status = extra_column(final, "status", "state", "finished", "completed", "done")
    if status is not None:
        words = np.array([str(s).strip().lower() for s in status.tolist()])
        if not np.all(words == "nan"):
            reasons.append((tr("are marked as not finished"), ~np.isin(words, list(FINISHED_WORDS))))
    planned = extra_numbers(final, "max_steps", "total_steps", "planned_steps", "n_steps")
    if planned is not None and final.step is not None:
        reasons.append((tr("stopped before the last step planned"), final.step < 0.99 * planned))
    peak = extra_numbers(final, *LEARNING_RATES)
    last = extra_numbers(final, "final_lr", "lr_final", "end_lr", "last_lr", "lr_end")
    if peak is not None and last is not None:
        reasons.append(
            (
                tr("ended above {decayed_to:g} of the peak learning rate", decayed_to=DECAYED_TO),
                last > DECAYED_TO * peak,
            )
        )
    for why, rows_mask in reasons:
        if rows := rows_where(final, rows_mask):
            options, verb = leave_out(final, rows_mask), why
            rest = tr("their loss is too high for their tokens. Leave them out")
            if len(rows) == 1:
                verb = why.replace(tr("are marked"), tr("is marked"))
                rest = tr("its loss is too high for its tokens. Leave it out")
            yield warning(
                code="unfinished-decay",
                short=tr("{runs} {verb}: loss too high", runs=counted(len(rows), "run"), verb=verb),
                message=tr(
                    "{rows} {verb}: {rest}{remedy}.",
                    rows=name_rows(rows),
                    verb=verb,
                    rest=rest,
                    remedy=tr(": {options} (in Python exclude=)", options=options) if options else "",
                ),
                remedies=(options,) if options else (),
                source="Hoffmann et al. 2022, arXiv:2203.15556, appendix B; Haegele et al. 2024, arXiv:2405.18392",
                rows=rows,
            )
    share = _share(final, "cooldown", "decay")
    if share is not None and (rows := rows_where(final, (share > 0) & (share < COOLDOWN_LEAST))):
        yield warning(
            code="short-cooldown",
            short=tr(
                "{runs} with too short a cool-down (under {cooldown_least:g} %)",
                runs=counted(len(rows), "run"),
                cooldown_least=100 * COOLDOWN_LEAST,
            ),
            message=tr(
                "{where} {cool} down over less than {cooldown_least:g} % of the steps, too short to match a full "
                "decay.",
                where=name_rows(rows),
                cool=tr("cools") if len(rows) == 1 else tr("cool"),
                cooldown_least=100 * COOLDOWN_LEAST,
            ),
            source="Haegele et al. 2024, arXiv:2405.18392",
            rows=rows,
        )


def _share(final: Runs, *words: str) -> NDArray[np.float64] | None:
    """A phase as a fraction of the run, from `warmup_fraction`, `warmup_tokens` or `warmup_steps`."""
    total = extra_numbers(final, "max_steps", "total_steps", "n_steps", "planned_steps")
    total = final.step if total is None else total
    batch = extra_numbers(final, "batch_tokens", "tokens_per_batch")
    for word in words:
        fraction = extra_numbers(final, f"{word}_fraction", f"{word}_ratio", f"{word}_frac")
        tokens = extra_numbers(final, f"{word}_tokens")
        steps = extra_numbers(final, f"{word}_steps")
        if fraction is not None:
            return fraction
        if tokens is not None:
            return tokens / final.n_tokens
        if steps is not None and total is not None:
            return np.asarray(steps / np.where(total > 0, total, np.nan))
        if steps is not None and batch is not None:
            return steps * batch / final.n_tokens
    return None


def _batch(final: Runs) -> Iterator[Finding]:
    batch = extra_numbers(final, "batch_tokens", "tokens_per_batch", *BATCHES)
    if batch is None or len(final) < 3 or not np.all(batch > 0) or "n_tokens" in final.absent:
        return
    spread = float(final.n_tokens.max() / final.n_tokens.min())
    if batch.max() <= 1.01 * batch.min() and spread >= WIDE_TOKENS:
        yield warning(
            code="constant-batch",
            short=tr(
                "one batch size over a factor of {spread} in tokens bends the exponents", spread=plain(spread)
            ),
            message=tr(
                "one batch size ({batch}) over a factor of {spread} in tokens is off-optimal at both ends (the "
                "best batch grows about as D^.4 to D^.6), which bends the exponents.",
                batch=plain(batch[0]),
                spread=plain(spread),
            ),
            source="Step Law, arXiv:2503.04715; Porian et al. 2024, arXiv:2406.19146",
        )


def _warmup(final: Runs) -> Iterator[Finding]:
    share = _share(final, "warmup", "warm_up")
    if share is not None and (rows := rows_where(final, share > WARMUP_MOST)):
        yield warning(
            code="long-warmup",
            short=tr(
                "{runs} with up to {share} of warm-up",
                runs=counted(len(rows), "run"),
                share=format_percent(float(np.nanmax(share))),
            ),
            message=tr(
                "{where} {spend} up to {share} of the tokens on warm-up, which raises the loss of the short runs "
                "and with it the N exponent.",
                where=name_rows(rows),
                spend=tr("spends") if len(rows) == 1 else tr("spend"),
                share=format_percent(float(np.nanmax(share))),
            ),
            source="Porian et al. 2024, arXiv:2406.19146",
            rows=rows,
        )
