"""Checks of the design: can these runs, wherever their losses lie, determine a law at all?

Warnings only: what one law cannot learn from a table another can (a power law needs one size, or one ratio D/N),
and each fit refuses for itself the design it cannot use.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from scaling.findings import Finding, warning
from scaling.runs.budgets import assign_budgets
from scaling.runs.names import GROUPS, fold
from scaling.runs.rows import MOST_NAMED, distinct, extra_column, group_of, name_rows, plain, rows_where
from scaling.runs.table import Runs
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params

LAW_COEFFICIENTS = 5  # E, A, B, alpha, beta
SIZES_LEAST, SIZES_ENOUGH = 3, 5  # two sizes give a slope and no curvature
BUDGETS_ENOUGH = 4  # a line through three points has one degree of freedom left
VALLEY_SIZES = 4  # a parabola and one to spare
ONE_RATIO = 0.1  # sd of ln(D/N): all runs within about 10 % of one ratio
MOST_LISTED = 6  # budgets in one message
LONGEST_STEP = 2.0  # to the run that would bracket a minimum
NARROW = 10.0  # budgets over less than a decade leave the exponents to the noise


def check_design(runs: Runs, final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """`runs` as read, `final` with one row a run; `reads`: of n_params, n_tokens, flops those that the law reads."""
    yield from _counts(runs, final, reads)
    if {"n_params", "n_tokens"} <= reads:
        yield from _ratio(runs)
        yield from _valleys(final)
    yield from _mixtures(final, reads)


def _counted() -> tuple[tuple[str, str, str, str], ...]:
    """What a law reads: how its values are counted, the finding where they are few, what spans a range."""
    return (
        ("n_params", "size", "few-sizes", tr("the parameters span")),
        ("n_tokens", "token count", "few-token-counts", tr("the tokens span")),
        ("flops", "budget", "few-budgets", tr("compute spans")),
    )


def _counts(runs: Runs, final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    both = {"n_params", "n_tokens"} <= reads
    if both and len(final) <= LAW_COEFFICIENTS:
        yield warning(
            code="few-runs",
            short=tr(
                "{runs} cannot determine {law_coefficients} coefficients; 30 or more do",
                runs=counted(len(final), "run"),
                law_coefficients=LAW_COEFFICIENTS,
            ),
            message=tr(
                "{runs} cannot determine the {law_coefficients} coefficients of a law of N and D; add runs (30 "
                "or more make an interval worth having).",
                runs=counted(len(final), "run"),
                law_coefficients=LAW_COEFFICIENTS,
            ),
        )
    for quantity, name, code, spans in _counted():
        if quantity not in reads:
            continue
        if (not both or quantity != "flops") and (n := distinct(getattr(runs, quantity))) < SIZES_ENOUGH:
            yield warning(
                code=code,
                short=tr(
                    "the runs have {count}; an exponent needs {sizes_least}, a check {sizes_enough}",
                    count=counted(n, name),
                    sizes_least=SIZES_LEAST,
                    sizes_enough=SIZES_ENOUGH,
                ),
                message=tr(
                    "the runs have {count}; {sizes_least} are the least for an exponent, {sizes_enough} or more for "
                    "a check of the form.",
                    count=counted(n, name),
                    sizes_least=SIZES_LEAST,
                    sizes_enough=SIZES_ENOUGH,
                ),
            )
        values = getattr(final, quantity)
        spread = float(values.max() / values.min())
        if (not both or quantity == "flops") and spread < NARROW and len(final) > 1:
            yield warning(
                code="narrow-range",
                short=tr(
                    "{spans} a factor of {spread} only: every plan goes far beyond",
                    spans=spans,
                    spread=plain(spread),
                ),
                message=tr(
                    "{spans} a factor of {spread} only; {use} from this table extrapolates far. Two decades "
                    "or more tie the exponents down.",
                    spans=spans,
                    spread=plain(spread),
                    use=tr("every plan") if both else tr("every prediction"),
                ),
            )


def _ratio(runs: Runs) -> Iterator[Finding]:
    """N and D that move together cannot be told apart: on one ratio D/N the law is a function of C alone."""
    if len(runs) < 3:
        return
    x, y = np.log(runs.n_params), np.log(runs.n_tokens)
    if float(np.std(y - x)) < ONE_RATIO:
        why = tr(
            "every run has about {middle} tokens per parameter; the effects of N and D cannot be "
            "separated. Add runs at a third and at three times that ratio.",
            middle=plain(np.exp(np.median(y - x))),
        )
        short = tr(
            "every run has about {middle} tokens per parameter: N and D go together",
            middle=plain(np.exp(np.median(y - x))),
        )
    elif x.std() > 0 and y.std() > 0 and (r := float(np.corrcoef(x, y)[0, 1])) > 0.98:
        why = tr(
            "ln N and ln D are correlated {r:.3f}: their effects are hardly separable. Add runs off the "
            "line, at other tokens per parameter.",
            r=r,
        )
        short = tr("ln N and ln D go together: their effects are hardly separable")
    else:
        return
    yield warning(code="single-ratio", short=short, message=why, source="(Mis)Fitting, arXiv:2502.18969")


def _valleys(final: Runs) -> Iterator[Finding]:
    """IsoFLOP groups: enough of them, enough sizes in each, and the lowest loss not at an end."""
    budgets = assign_budgets(final)
    group, names = group_of(final)
    key = np.where(budgets.labels >= 0, budgets.labels + len(budgets) * group, -1)
    ordered = np.argsort(key, kind="stable")[np.count_nonzero(key < 0) :]
    valleys = np.split(ordered, np.flatnonzero(np.diff(key[ordered])) + 1) if ordered.size else []
    full = [v for v in valleys if distinct(final.n_params[v]) >= VALLEY_SIZES]
    n_in_full = sum(len(v) for v in full)
    if len(budgets) == 1 and len(final) > 2:
        yield warning(
            code="one-budget",
            short=tr("all runs have one budget: growth with compute cannot be seen"),
            message=tr(
                "all runs have one budget, about {flops} FLOPs; how N* and D* grow with compute needs two, and "
                "four to show a line.",
                flops=format_flops(float(budgets.flops[0])),
            ),
        )
    if n_in_full < 0.5 * len(final):
        return  # not an IsoFLOP table
    n_budgets = len({int(budgets.labels[v[0]]) for v in full})
    if 1 < n_budgets < BUDGETS_ENOUGH:
        yield warning(
            code="few-budgets",
            short=tr(
                "only {n_budgets} budgets have {valley_sizes} sizes or more; {budgets_enough} show a line",
                n_budgets=n_budgets,
                valley_sizes=VALLEY_SIZES,
                budgets_enough=BUDGETS_ENOUGH,
            ),
            message=tr(
                "{n_budgets} budgets have {valley_sizes} sizes or more; a line over compute wants "
                "{budgets_enough} or more.",
                n_budgets=n_budgets,
                valley_sizes=VALLEY_SIZES,
                budgets_enough=BUDGETS_ENOUGH,
            ),
        )
    thin = [v for v in valleys if 2 <= distinct(final.n_params[v]) < VALLEY_SIZES]
    if thin:
        some = [format_flops(float(budgets.flops[budgets.labels[v[0]]])) for v in thin[:MOST_LISTED]]
        more = f" and {len(thin) - len(some)} more" if len(thin) > len(some) else ""
        listed = ", ".join(some) + more
        yield warning(
            code="few-sizes-in-budget",
            short=tr(
                "{budgets} with fewer than {valley_sizes} sizes: no valley to fit",
                budgets=counted(len(thin), "budget"),
                valley_sizes=VALLEY_SIZES,
            ),
            message=tr(
                "budgets {listed} have fewer than {valley_sizes} sizes; their valley cannot be fitted.",
                listed=listed,
                valley_sizes=VALLEY_SIZES,
            ),
            rows=tuple(r for v in thin for r in rows_where(final, v)),
        )
    edges = [(v, edge) for v in full if (edge := _edge(final, v))]
    for v, (side, proposed) in edges:
        where = f" ({names[group[v[0]]]})" if len(names) > 1 else ""
        best = v[np.argmin(final.loss[v])]
        yield warning(
            code="edge-minimum",
            short=tr(
                "{flops} FLOPs{where}: lowest loss at the {side} size; try {proposed}",
                flops=format_flops(float(budgets.flops[budgets.labels[v[0]]])),
                where=where,
                side=side,
                proposed=format_params(proposed),
            ),
            message=tr(
                "budget {flops}{where}: the lowest loss is at its {side} size ({n_params}), so the minimum is "
                "not bracketed; add a run near {proposed} parameters.",
                flops=format_flops(float(budgets.flops[budgets.labels[v[0]]])),
                where=where,
                side=side,
                n_params=format_params(float(final.n_params[best])),
                proposed=format_params(proposed),
            ),
            source="Hoffmann et al. 2022, arXiv:2203.15556, section 3.2",
            rows=rows_where(final, np.array([best])),
        )


def _edge(final: Runs, v: NDArray[np.int64]) -> tuple[str, float] | None:
    """Which end alone holds the lowest loss of a valley, and the size one step beyond; None when an inner size does."""
    n_params, loss = final.n_params[v], final.loss[v]
    sizes = np.unique(n_params)
    # digitised tables have ties: an inner size among them brackets
    lowest = np.unique(n_params[loss == loss.min()])
    if lowest.tolist() == [sizes[0]]:
        return tr("smallest"), float(sizes[0] / min(sizes[1] / sizes[0], LONGEST_STEP))
    if lowest.tolist() == [sizes[-1]]:
        return tr("largest"), float(sizes[-1] * min(sizes[-1] / sizes[-2], LONGEST_STEP))
    return None


def _only_each(header: str, names: Sequence[str]) -> tuple[str, ...]:
    """The options that fit each group of runs on its own."""
    return tuple(f"--only {shlex.quote(f'{header}={name}')}" for name in names[:MOST_NAMED])


def _mixtures(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """Several corpora, repeated data, several model families in one table."""
    _, names = group_of(final)
    if len(names) > 1:
        groups = (h for h in final.extras if fold(h) in GROUPS)
        header = next(h for h in groups if set(names) <= {*map(str, final.extras[h])})
        ways = _only_each(header, names)
        yield warning(
            code="mixed-corpora",
            short=tr(
                "the table mixes {n_names} data sets: fit each on its own (--by {header})",
                n_names=len(names),
                header=header,
            ),
            message=tr(
                "the table mixes {n_names} data sets or experiments ({names}); their losses do not lie on one "
                "surface: fit each on its own, {ways} (in Python only=).",
                n_names=len(names),
                names=", ".join(names[:5]),
                ways=ways[0],
            ),
            remedies=ways,
        )
    family = extra_column(final, "family", "model_family")
    if family is not None and family.dtype.kind == "O" and len(families := sorted(set(map(str, family)))) > 1:
        header = next(h for h in final.extras if final.extras[h] is family)
        ways = _only_each(header, families)
        more = " ..." if len(families) > MOST_NAMED else ""
        yield warning(
            code="mixed-families",
            short=tr(
                "the table mixes {n_families} model families: fit one alone (--by {header})",
                n_families=len(families),
                header=header,
            ),
            message=tr(
                "the table mixes {n_families} model families ({names}{more}); recipes and tokenizers differ, so "
                "the spread is no noise about one law. Fit one alone: {ways} (in Python only=).",
                n_families=len(families),
                names=", ".join(families[:MOST_NAMED]),
                more=more,
                ways=ways[0],
            ),
            remedies=ways,
        )
    if final.n_tokens_unique is None or "n_tokens" not in reads:
        return
    if rows := rows_where(final, final.n_tokens_unique < 0.99 * final.n_tokens):
        yield warning(
            code="repeated-data",
            short=tr("{n_rows} runs repeat their data: see --law data_constrained", n_rows=len(rows)),
            message=tr(
                "{n_rows} runs see their data more than once ({where}); a law of N and D takes repeated tokens "
                "for fresh ones. Fit the law that tells them apart, --method parametric --law data_constrained "
                "(in Python fit_law(runs, 'data_constrained')), or single-epoch runs only.",
                n_rows=len(rows),
                where=name_rows(rows),
            ),
            remedies=("--method parametric --law data_constrained",),
            source="Muennighoff et al. 2023, arXiv:2305.16264",
            rows=rows,
        )
