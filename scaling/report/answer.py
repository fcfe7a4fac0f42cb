"""The answer of a report: what to train, how sure that is, why believe it. It stands first, in a box of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from scaling.blocks import Blocks, Callout, Fields, Heading, Table, Text
from scaling.errors import ScalingError
from scaling.findings import gravest_first
from scaling.fitting.digits import digits_of, ends, interval_text, rounded, span
from scaling.fitting.results import Estimate, Interval
from scaling.laws.base import Law
from scaling.planning.uncertainty import Ends
from scaling.report.evidence import Evidence
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

MOST_DOUBTS = 3
UNDECIDED = 100.0  # high over low of N*: models of such sizes have little in common
NEAR, FAR = 10.0, 100.0  # times the largest run; Hoffmann et al. 2022 planned 44 times beyond theirs
ONE_SIDED = 0.8  # of the mean error: nearly all runs were missed on one side
REJECTED = 0.01  # p of a lack-of-fit test

Formatter = Callable[[float, int], str]
Known = dict[str, Estimate]


def answer_blocks(e: Evidence) -> Blocks:
    """What to train, how sure, why believe it; or why there is no answer."""
    known = optimum_at(e, e.target_flops) if optimum_is_a_model(e) else {}
    if e.plan is None or not known:
        table = (_table(known, e),) if known else ()
        return (*_no_answer(e), *table, *_grounds(e), *_doubts(e))
    n, d = (_value(known[name], form) for name, form in _COUNTS.items())
    flops = format_flops(e.target_flops or math.nan)
    said = tr("Train {n} parameters on {d} tokens with {flops} FLOPs.", n=n, d=d, flops=flops)
    if not _decided(known["n_params"]):
        said = tr("These runs do not decide the size for {flops} FLOPs: the fit says {n} parameters on {d} tokens, and "
                  "its interval leaves nearly every size open.", flops=flops, n=n, d=d)  # fmt: skip
    return (Text(said, "strong"), _table(known, e), *_grounds(e), *_doubts(e))


def is_decided(e: Evidence) -> bool:
    """Whether the runs decide N* at the target to better than two powers of ten; a plan of other runs plans nothing."""
    known = optimum_at(e, e.target_flops) if optimum_is_a_model(e) else {}
    return bool(known) and _decided(known["n_params"])


def _decided(n_params: Estimate) -> bool:
    """Whether the interval of N*, where there is one, says more than two powers of ten."""
    within = n_params.interval
    return within is None or (within.bounded and within.low > 0 and within.high / within.low <= UNDECIDED)


def optimum_at(e: Evidence, flops: float | None) -> Known:
    """n_params, n_tokens and loss at a budget, with intervals where the law has them; empty without an optimum."""
    if flops is None:
        return {}
    if e.plan is not None and flops == e.target_flops:
        at, of = e.plan.point, e.plan.intervals
        told = {
            "n_params": (at.n_params, of.n_params),
            "n_tokens": (at.n_tokens, of.n_tokens),
            "loss": (at.loss, of.loss),
        }
        level = of.level or math.nan
        return {
            name: _estimate(value, pair, level, of.method)
            for name, (value, pair) in told.items()
            if value is not None
        }
    if e.fit is not None and e.fit.has_optimum:
        return estimates_of(e.fit.estimate, e.fit.law, flops)
    return {} if e.law is None else estimates_of(None, e.law, flops)


def optimum_is_a_model(e: Evidence) -> bool:
    """Whether the law's optimum at the target has a parameter and a token at least: a runaway fit asks for 1e-39."""
    if e.law is None or e.target_flops is None:
        return False
    known = estimates_of(None, e.law, e.target_flops)
    return bool(known) and min(known["n_params"].value, known["n_tokens"].value) >= 1


def has_runaway_optimum(e: Evidence) -> bool:
    """Whether the law has an optimum at the target, and it is no model: 1e82 parameters on 1e-62 tokens."""
    known = (
        e.law is not None and e.target_flops is not None and bool(estimates_of(None, e.law, e.target_flops))
    )
    return known and not optimum_is_a_model(e)


def estimates_of(ask: Callable[..., Estimate] | None, law: Law, flops: float) -> Known:
    """What a fit says of a budget; the bare value where it has no interval, nothing where the law has no optimum."""
    try:
        bare = law.allocate(flops)
    except (ScalingError, TypeError, KeyError):  # no interior optimum; inputs beside N and D
        return {}
    values = {"n_params": bare.n_params, "n_tokens": bare.n_tokens, "loss": bare.loss}
    known: Known = {}
    for name, value in values.items():
        if value is None:
            continue
        try:
            known[name] = ask(name, flops=flops) if ask is not None else Estimate(value=value)
        except ScalingError:  # a fit of noise-free runs has no intervals
            known[name] = Estimate(value=value)
    return known


def _estimate(value: float, pair: Ends | None, level: float, method: str) -> Estimate:
    if pair is None:
        return Estimate(value=value)
    return Estimate(value=value, interval=Interval(low=pair[0], high=pair[1], level=level, method=method))


_COUNTS: dict[str, Formatter] = {"n_params": format_params, "n_tokens": format_tokens}


def _value(estimate: Estimate, form: Formatter) -> str:
    """A count with the digits that its interval leaves."""
    return form(estimate.value, digits_of(estimate))


def cells(name: str, estimate: Estimate) -> tuple[str, str]:
    """Value and interval of n_params, n_tokens or loss."""
    if name not in _COUNTS:
        return rounded(estimate), interval_text(estimate.interval, estimate.value)
    form, digits = _COUNTS[name], digits_of(estimate)
    return _value(estimate, form), span(estimate.interval, lambda v: form(v, digits))


def quantity_names() -> dict[str, str]:
    return {"n_params": tr("parameters N*"), "n_tokens": tr("tokens D*"), "loss": tr("loss")}


def _table(known: Known, e: Evidence) -> Table:
    levels = [k.interval.level for k in known.values() if k.interval]
    interval = tr("{level:g} % interval", level=100 * levels[0]) if levels else tr("interval")
    rows = [(said, *cells(name, known[name])) for name, said in quantity_names().items() if name in known]
    ratio = known["n_tokens"].value / known["n_params"].value
    rows.insert(2, (tr("tokens per parameter"), ratio_text(ratio), _ratio_ends(known)))
    return Table(("", tr("answer"), interval), rows)


def _ratio_ends(known: Known) -> str:
    """D/N falls as N grows at a given budget, so its ends are those of D over those of N the other way round."""
    n, d = known["n_params"].interval, known["n_tokens"].interval
    if n is None or d is None:
        return tr("none")
    low = d.low / n.high if math.isfinite(n.high) else 0.0
    high = d.high / n.low if n.low > 0 and math.isfinite(d.high) else math.inf
    return span(Interval(low=low, high=high, level=n.level, method=n.method), ratio_text)


def ratio_text(value: float) -> str:
    """Tokens per parameter with two digits: 0.036, 6.1, 340."""
    return format_tokens(float(value), 2)


def _no_answer(e: Evidence) -> Blocks:
    reason = e.missing.get("fit") or e.missing.get("plan") or ""
    if e.law is None:
        said = tr("No law could be fitted to these runs, so there is no answer yet.")
    elif e.target_flops is None:
        said = tr("No target was given, and the law does not say at which compute it was fitted.")
    else:
        said = tr("There is no plan for {flops} FLOPs.", flops=format_flops(e.target_flops))
    return (Text(said, "strong"), *((Text(reason),) if reason else ()))


# --- how sure, and why believe it ---


def _grounds(e: Evidence) -> Blocks:
    sure, why = list(_how_sure(e)), list(_why_believe(e))
    return (
        *((Heading(tr("How sure")), Fields(sure)) if sure else ()),
        *((Heading(tr("Why believe it")), Fields(why)) if why else ()),
    )


def _how_sure(e: Evidence) -> Iterator[tuple[str, str]]:
    yield from _too_narrow(e)
    if e.largest_flops and e.target_flops:
        yield tr("extrapolation"), _distance(e.target_flops / e.largest_flops)
    at_target = {
        method: estimates_of(None, fit.law, e.target_flops)
        for method, fit in e.approaches.items()
        if e.target_flops is not None and fit is not e.fit
    }
    said = [
        tr("{n} by {approach}", n=format_params(known["n_params"].value), approach=approach_name(method))
        for method, known in at_target.items()
        if known
    ]
    if said:
        yield tr("other approaches"), tr("N* is {values}", values=", ".join(said))
    compared = e.compared if e.law is not None else None  # where no law answers, others beside it would
    if compared is not None and any(r.n_params is not None for r in compared.rows):
        low, high = compared.spread("n_params")
        n_forms = counted(sum(r.n_params is not None for r in compared.rows), "fit")
        yield (
            tr("other laws"),
            tr(
                "N* from {low} to {high} over {fits} of other forms and objectives",
                low=format_params(low),
                high=format_params(high),
                fits=n_forms,
            ),
        )


def _too_narrow(e: Evidence) -> Iterator[tuple[str, str]]:
    """What the interval above leaves out, as the doubts below say in full."""
    known = {finding.code for finding in e.findings}
    by_trunk = getattr(e.fit, "by_trunk", None)
    said = []
    if by_trunk is not None and "by-trunk" in known:
        ends_ = by_trunk.interval
        said.append(tr("runs share their starts; without one start at a time N* grows as C^{low:.2f} to {high:.2f}",
                       low=ends_.low, high=ends_.high))  # fmt: skip
    if "valley-bias" in known:
        said.append(tr("the shape of the valleys shifts N* by more than a quarter of its half-width"))
    if "lack-of-fit" in known:
        said.append(tr("it assumes a form of law that these runs reject"))
    if said:
        yield tr("interval"), tr("too narrow: {reasons}", reasons="; ".join(said))


def _distance(factor: float) -> str:
    times = (
        format_flops(factor, 2) if factor >= 1e5 else f"{factor:,.0f}" if factor >= 99.5 else f"{factor:.2g}"
    )
    if factor <= 1:
        return tr(
            "none: the target lies within the compute of the runs ({times} of the largest)", times=times
        )
    if factor <= NEAR:
        return tr("near: {times} times the compute of the largest run", times=times)
    if factor <= FAR:
        return tr(
            "far: {times} times the compute of the largest run; the interval assumes that the law still holds there",
            times=times,
        )
    return tr(
        "very far: {times} times the compute of the largest run; do not trust the interval without runs in between",
        times=times,
    )


def approach_name(method: str) -> str:
    return {
        "envelope": tr("Approach 1 (envelope)"),
        "isoflop": tr("Approach 2 (valleys)"),
        "parametric": tr("Approach 3 (law)"),
        "law": tr("Approach 3 (law)"),
    }[method]


def _why_believe(e: Evidence) -> Iterator[tuple[str, str]]:
    if e.runs is not None:
        flops = e.runs.flops
        over = (
            tr(
                ", {low} to {high} FLOPs",
                low=format_flops(float(flops.min())),
                high=format_flops(float(flops.max())),
            )
            if "flops" not in e.runs.absent
            else ""
        )
        yield tr("runs"), counted(len(e.runs), "run") + over
    if e.fit is not None and e.fit.params_exponent is not None:
        a = e.fit.params_exponent
        yield tr("law"), tr("N* grows as C^{exponent}", exponent=rounded(a) + ends(a))
    yield from _prediction(e)
    test = getattr(e.fit, "lack_of_fit", None)
    if test is not None:
        p = f"{test.p_value:.1g}"
        if test.p_value >= REJECTED:  # else it is a doubt, and stands there
            yield tr("form of the law"), tr("the runs do not reject it (p = {p})", p=p)


def _prediction(e: Evidence) -> Iterator[tuple[str, str]]:
    """Of the dearest cut-off: how well runs that the fit had not seen were predicted."""
    usable = e.held_out.usable if e.held_out is not None else ()
    if not usable:
        return
    last = usable[-1]
    said = tr(
        "fitted to {n} of them, the {rest} are predicted within {error} on average",
        n=last.n_fitted,
        rest=counted(last.n_held_out, "dearer run"),
        error=format_percent(last.mean_absolute_error or 0.0),
    )
    if last.mean_error is not None and abs(last.mean_error) > ONE_SIDED * (last.mean_absolute_error or 0.0):
        said += tr(", too high") if last.mean_error > 0 else tr(", too low")
    if last.inside_fraction is not None and e.held_out is not None:
        said += tr(
            "; {share} of these lie in their {level:g} % interval",
            share=format_percent(last.inside_fraction),
            level=100 * e.held_out.level,
        )
    yield tr("hold-out"), said


def _doubts(e: Evidence) -> Blocks:
    """The gravest findings in short; the section of doubts has all of them whole."""
    grave = [f for f in gravest_first(e.findings) if f.severity != "note"]
    if not grave:
        return ()
    shown, more = grave[:MOST_DOUBTS], len(e.findings) - min(len(grave), MOST_DOUBTS)
    rest = (Text(tr("and {n} more under the doubts below", n=more), "faint"),) if more else ()
    return (
        Heading(tr("What to doubt")),
        *(Callout(_for_a_reader(f.in_short), f.severity) for f in shown),
        *rest,
    )


# the last clause, where it names an option of the command that a reader of a page cannot give
_OPTION = re.compile(r"(?:[:;]| \(|(?<=\?)) ?[^:;?(]*(?<![\w-])--[a-z].*$")


def _for_a_reader(short: str) -> str:
    """What to doubt, without the option that would mend it; the section of doubts has that in its message."""
    return _OPTION.sub("", short)
