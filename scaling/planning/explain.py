"""Each formula of a plan with its numbers put in, in the order in which the plan prints its sections."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from scaling.blocks import Blocks, Equation, Text
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.planning.cost import SECONDS_PER_HOUR
from scaling.planning.memory import STATE_BYTES
from scaling.planning.result import Plan
from scaling.planning.shape import GATED_RATIO, WARM_UP_MOST, aspect_ratio
from scaling.translation import tr
from scaling.units import format_bytes, format_flops, format_params, format_tokens


class Step(NamedTuple):
    """One line of the derivation."""

    title: str
    formula: str
    numbers: str


def derivation(plan: Plan) -> Blocks:
    """The derivation as blocks: each formula, and under it the numbers put in."""
    steps = ((Equation(f"{s.title}: {s.formula}"), Text(s.numbers, indent=6)) for s in explain_plan(plan))
    return tuple(block for step in steps for block in step)


def explain_plan(plan: Plan) -> tuple[Step, ...]:
    """The derivation of a plan."""
    parts = (_budget, _allocation, _interval, _alternatives, _shape, _schedule, _memory, _cost)
    return tuple(step for part in parts for step in part(plan))


def _budget(plan: Plan) -> Iterator[Step]:
    n, d, flops = plan.point.n_params, plan.point.n_tokens, format_flops(plan.point.flops)
    if plan.compute is not None and plan.compute.how != "given":
        yield Step(tr("budget"), tr("C = count x peak x MFU x goodput x time"), plan.compute.how)
    yield Step(tr("compute"), "C = 6 N D", f"6 x {n:.4g} x {d:.4g} = {flops} FLOPs")
    if plan.inference is not None:
        served, whole = plan.inference.inference_tokens, format_flops(plan.inference.lifetime_flops)
        numbers = f"{flops} + 2 x {n:.4g} x {served:.4g} = {whole} FLOPs"
        yield Step(tr("lifetime"), "C_life = 6 N D + 2 N D_inf", numbers)


def _allocation(plan: Plan) -> Iterator[Step]:
    law, n, d, r = plan.law, plan.point.n_params, plan.point.n_tokens, plan.repetition
    values = (f"{name} = {value:.6g}" for name, value in law.coefficients.items() if value is not None)
    yield Step(tr("law"), law.family.formula, ", ".join(values))
    if isinstance(law, ChinchillaLaw):
        yield from _chinchilla(law, plan)
    if r is not None and r.epochs > 1:
        epochs, unique, worth = map(format_tokens, (r.epochs, r.unique_tokens, r.effective_tokens))
        numbers = tr(
            "{epochs} epochs of {unique} are worth {worth} fresh tokens",
            epochs=epochs,
            unique=unique,
            worth=worth,
        )
        yield Step(tr("repetition"), "D' = U (1 + R* (1 - e^(-(D/U - 1)/R*)))", numbers)
    yield Step(tr("ratio"), "D / N", f"{d:.4g} / {n:.4g} = {plan.tokens_per_param:.4g}")


def _chinchilla(law: ChinchillaLaw, plan: Plan) -> Iterator[Step]:
    """The closed form of the optimum, where it is the answer; the loss by its terms, where tokens are fresh."""
    n, d, flops, a = plan.point.n_params, plan.point.n_tokens, plan.point.flops, law.params_exponent
    both = law.alpha + law.beta
    G = (law.alpha * law.A / (law.beta * law.B)) ** (1 / both)
    if plan.is_optimum and plan.inference is None and plan.repetition is None:
        numbers = f"{law.beta:.5g} / ({law.alpha:.5g} + {law.beta:.5g}) = {a:.4f}"
        yield Step(tr("exponent"), "a = beta / (alpha + beta)", numbers)
        terms = f"{law.alpha:.5g} x {law.A:.5g} / ({law.beta:.5g} x {law.B:.5g})"
        numbers = f"({terms})^(1 / {both:.5g}) = {G:.4g}"
        yield Step(tr("balance"), "G = (alpha A / (beta B))^(1 / (alpha + beta))", numbers)
        numbers = f"{G:.4g} x ({flops:.4g} / 6)^{a:.4f} = {format_params(n, 4)}"
        yield Step(tr("optimum"), "N* = G (C/6)^a", numbers)
    if plan.repetition is None or plan.repetition.epochs <= 1:
        terms = f"{law.E:.4f} + {law.A * n**-law.alpha:.4f} ({tr('finite model')}) + "
        terms += f"{law.B * d**-law.beta:.4f} ({tr('finite data')})"
        numbers = f"{terms} = {plan.point.loss or 0.0:.4f}"
        yield Step(tr("loss"), "L = E + A / N^alpha + B / D^beta", numbers)


def _interval(plan: Plan) -> Iterator[Step]:
    """How the ends were found: read off the law's band, or percentiles of the answers of its draws."""
    ends, uncertainty = plan.intervals, plan.law.uncertainty
    if ends.level is None or uncertainty is None:
        return
    if ends.method != uncertainty.method or ends.n_params is None or ends.n_tokens is None:
        yield _interval_from_draws(plan)
        return
    (n_low, n_high), flops = ends.n_params, plan.point.flops
    if n_low <= 0 or math.isinf(n_high):
        yield Step(tr("interval"), tr("N* read off the law's band at C"), tr("an end is unbounded"))
        return
    d_low, d_high = (
        f"{flops:.4g} / (6 x {n:.4g}) = {format_tokens(d)}" for n, d in zip((n_high, n_low), ends.n_tokens)
    )
    numbers = tr(
        "N* {ends} at {budget} FLOPs ({i.method}), so D = {d_low} to {d_high}",
        ends=_ends(ends.n_params, format_params),
        budget=format_flops(flops),
        i=ends,
        d_low=d_low,
        d_high=d_high,
    )
    formula = tr("N* read off the law's band at C; D = C / (6 N) at its ends, D/N = C / (6 N^2)")
    yield Step(tr("interval"), formula, numbers)


def _interval_from_draws(plan: Plan) -> Step:
    ends, level = plan.intervals, plan.intervals.level or 0.0
    quantities = (
        ("N", ends.n_params, format_params),
        ("D", ends.n_tokens, format_tokens),
        ("D/N", ends.tokens_per_param, lambda ratio: f"{ratio:,.3g}"),
        (tr("loss"), ends.loss, lambda loss: f"{loss:.4f}"),
        ("C", ends.flops, format_flops),
    )
    shown = ", ".join(f"{name} {_ends(pair, formatter)}" for name, pair, formatter in quantities if pair)
    low, high = 100 * (1 - level) / 2, 100 * (1 + level) / 2
    draws = ends.method.removeprefix("percentiles of ")
    numbers = tr("{low:g} % and {high:g} % of {draws}: {ends}", low=low, high=high, draws=draws, ends=shown)
    formula = tr("the same problem solved for each draw of the coefficients; percentiles of the answers")
    return Step(tr("interval"), formula, numbers)


def _ends(pair: tuple[float, float], formatter: Callable[[float], str]) -> str:
    return tr("{low} to {high}", low=formatter(pair[0]), high=formatter(pair[1]))


def _alternatives(plan: Plan) -> Iterator[Step]:
    smaller = next((a for a in plan.alternatives if a.ratio == 0.5 and a.n_tokens is not None), None)
    if smaller is None or smaller.extra_compute is None or smaller.break_even_tokens is None:
        return
    best, n, d = plan.optimum, smaller.n_params, smaller.n_tokens or 0.0
    reached = tr(
        "N = {n} reaches {loss:.4f} with {d} tokens", n=format_params(n), loss=best.loss, d=format_tokens(d)
    )
    numbers = tr("{reached}: {extra:+.1f} % compute", reached=reached, extra=100 * smaller.extra_compute)
    yield Step(tr("equal loss"), tr("D(N) from L(N, D) = L*"), numbers)
    trained = f"6 x ({n:.3g} x {d:.3g} - {best.n_params:.3g} x {best.n_tokens:.3g})"
    served = f"2 x ({best.n_params:.3g} - {n:.3g}) x {format_tokens(smaller.break_even_tokens)}"
    yield Step(tr("break-even"), "6 (N'D' - N D) = 2 (N - N') D_inf", f"{trained} = {served}")


def _shape(plan: Plan) -> Iterator[Step]:
    """The exact count of the shape, and its exact FLOPs a token."""
    if plan.shape is None or plan.exact_flops is None:
        return
    a, d = plan.shape.architecture, plan.shape.architecture.d_model
    d_kv, L, f, T = a.n_kv_heads * a.d_head, a.n_layers, a.d_ff, a.context_length
    aspect = tr("d / L near 32 (N / 3e7)^(1/4), at most 128; f near 8/3 d; heads of 64 or 128")
    rule = tr("(rule: {rule:.3g})", rule=aspect_ratio(plan.shape.n_params_wanted))
    numbers = f"{d:,} / {L} = {d / L:.3g} {rule}; {f:,} / {d:,} = {f / d:.3g} "
    yield Step(tr("aspect"), aspect, numbers + tr("(rule: {rule:.3g})", rule=GATED_RATIO))
    weights = f"{L} x (2 x {d:,} x ({d:,} + {d_kv:,}) + 3 x {d:,} x {f:,}"
    vocabulary = f"{'' if a.tie_embeddings else '2 x '}{a.vocab_size:,} x {d:,}"
    numbers = f"{weights} + 2 x {d:,}) + {d:,} + {vocabulary} = {plan.shape.n_params_total:,}"
    yield Step(tr("shape"), tr("N = L (2 d (d + d_kv) + 3 d f + 2 d) + d + V d (x 2 untied)"), numbers)
    per_token = f"6 x ({weights}) + {a.vocab_size:,} x {d:,}) + 6 x {L} x {d:,} x {T + 1:,}"
    numbers = f"{plan.point.n_tokens:.6g} x ({per_token}) = {plan.exact_flops:.4g}"
    yield Step(tr("exact FLOPs"), "C = D (6 (L (2 d (d + d_kv) + 3 d f) + V d) + 6 L d (T + 1))", numbers)


def _schedule(plan: Plan) -> Iterator[Step]:
    s, n, d = plan.schedule, plan.schedule.n_params_without_vocabulary, plan.point.n_tokens
    rate, batch = s.advice[0].learning_rate or 0.0, s.advice[0].batch_tokens or 0.0
    formula = tr("B = 0.58 D^0.571 tokens (Step Law); in sequences 2^k or 3 2^k, at most D / 100")
    sequences = tr("{s.batch_sequences} sequences of {s.context_length}", s=s)
    yield Step(tr("batch"), formula, f"0.58 x {d:.4g}^0.571 = {format_tokens(batch)}, {sequences}")
    formula = tr("lr = 1.79 N^-0.713 D^0.307 (Step Law, N without the vocabulary)")
    rounded = tr("rounded to {s.learning_rate:g}", s=s)
    numbers = f"1.79 x {n:.4g}^-0.713 x {d:.4g}^0.307 = {rate:.4g}, {rounded}"
    yield Step(tr("learning rate"), formula, numbers)
    yield Step(tr("steps"), "D / B", f"{d:.4g} / {s.batch_tokens:,} = {s.n_steps:,}")
    least = f"min({plan.point.n_params:.4g}, {WARM_UP_MOST * d:.4g})"
    numbers = f"{least} / {s.batch_tokens:,} = {s.warm_up_steps:,}"
    yield Step(tr("warm-up"), tr("min(N, D / 10) / B steps"), numbers)


def _memory(plan: Plan) -> Iterator[Step]:
    """The lines of the row to take (the last one where none fits)."""
    if plan.memory is None or plan.shape is None:
        return
    row = next((row for row in plan.memory.rows if row.fits), plan.memory.rows[-1])
    m, n, replicas = row.memory, plan.shape.n_params_total, row.n_devices // row.tensor_parallel
    split = {"ddp": 0, "zero1": 1, "zero2": 2, "fsdp": 3}[row.strategy]  # how many of the three are split
    states = (
        (tr("weights"), 2, m.weights_bytes, split >= 3),
        (tr("gradients"), 2, m.gradients_bytes, split >= 2),
        (tr("optimizer"), STATE_BYTES - 4, m.optimizer_bytes, split >= 1),
    )
    parts = [
        f"{name} {size} x {n:.4g} / {row.tensor_parallel * (replicas if shared else 1):,} = {format_bytes(n_bytes)}"
        for name, size, n_bytes, shared in states
    ]
    others = (
        (tr("activations of one sequence"), m.activations_bytes),
        (tr("logits"), m.logits_bytes),
        (tr("buffers"), m.communication_bytes),
        (tr("framework"), m.framework_bytes),
        (tr("sum"), m.total_bytes),
    )
    parts += [f"{name} {format_bytes(n_bytes)}" for name, n_bytes in others if n_bytes]
    where = tr("bytes on each of {row.n_devices:,}, {row.label}", row=row)
    formula = f"{where}: " + tr("2 N + 2 N + 12 N (bf16, AdamW) over those that share")
    yield Step(tr("memory"), formula, "; ".join(parts))


def _cost(plan: Plan) -> Iterator[Step]:
    cost, hours = plan.cost, plan.cost.accelerator_hours[1]
    rate = f"{cost.peak_flops_per_s:.4g} x {cost.mfu[1]:.3g} x {cost.goodput:g} x 3600"
    numbers = f"{plan.point.flops:.4g} / ({rate}) = " + tr("{hours:,.4g} accelerator-hours", hours=hours)
    numbers += f"; / {cost.n_accelerators} = {cost.seconds[1] / SECONDS_PER_HOUR:,.4g} h"
    yield Step(tr("time"), tr("hours = C / (peak x MFU x goodput x 3600)"), numbers)
    if cost.usd is not None and cost.price_usd_per_hour is not None:
        low, high = cost.price_usd_per_hour
        prices, sums = f"${low:.2f} to ${high:.2f}", f"${cost.usd[0]:,.4g} to ${cost.usd[1]:,.4g}"
        yield Step(tr("money"), tr("hours x price"), f"{hours:,.4g} x {prices} = {sums}")
    if cost.energy_kwh is not None and plan.cluster.tdp_w is not None:
        numbers = f"{hours:,.4g} x {plan.cluster.tdp_w:g} W / 1000 = {cost.energy_kwh[1]:,.4g} kWh"
        yield Step(tr("energy"), tr("hours x board power / 1000"), numbers)
