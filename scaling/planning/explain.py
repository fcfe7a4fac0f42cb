"""Each formula of a plan with its numbers put in, in the order in which the plan prints its sections."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from scaling.blocks import Blocks, Equation, Heading, Text
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.planning.cost import SECONDS_PER_HOUR
from scaling.planning.memory import STATE_BYTES
from scaling.planning.result import Plan
from scaling.planning.schedule import WARM_UP_MOST
from scaling.planning.shape import GATED_RATIO, aspect_ratio
from scaling.translation import tr
from scaling.units import format_bytes, format_flops, format_params, format_tokens


class Step(NamedTuple):
    """One line of the derivation."""

    title: str
    formula: str
    numbers: str


def derivation(plan: Plan) -> Blocks:
    """The derivation as blocks: each formula, and under it the numbers put in."""
    steps = explain_plan(plan)
    told = ((Equation(f"{s.title}: {s.formula}"), Text(s.numbers, indent=6)) for s in steps)
    return (Heading(tr("How it was computed")), *(block for pair in told for block in pair))


def explain_plan(plan: Plan) -> tuple[Step, ...]:
    """The derivation of a plan."""
    return (
        *_budget(plan),
        *_allocation(plan),
        *_interval(plan),
        *_alternatives(plan),
        *_shape(plan),
        *_schedule(plan),
        *_memory(plan),
        *_cost(plan),
    )


def _budget(plan: Plan) -> list[Step]:
    point = plan.point
    steps = []
    if plan.compute is not None and plan.compute.how != "given":
        steps.append(Step(tr("budget"), tr("C = count x peak x MFU x goodput x time"), plan.compute.how))
    numbers = f"6 x {point.n_params:.4g} x {point.n_tokens:.4g} = {format_flops(point.flops)} FLOPs"
    steps.append(Step(tr("compute"), "C = 6 N D", numbers))
    if plan.inference is not None:
        served = plan.inference.inference_tokens
        steps.append(
            Step(
                tr("lifetime"),
                "C_life = 6 N D + 2 N D_inf",
                f"{format_flops(point.flops)} + 2 x {point.n_params:.4g} x {served:.4g} = "
                f"{format_flops(plan.inference.lifetime_flops)} FLOPs",
            )
        )
    return steps


def _allocation(plan: Plan) -> list[Step]:
    law, point = plan.law, plan.point
    values = ", ".join(
        f"{name} = {value:.6g}" for name, value in law.coefficients.items() if value is not None
    )
    steps = [Step(tr("law"), law.family.formula, values)]
    if isinstance(law, ChinchillaLaw):
        steps += _chinchilla(law, plan)
    if plan.repetition is not None and plan.repetition.epochs > 1:
        r = plan.repetition
        steps.append(
            Step(
                tr("repetition"),
                "D' = U (1 + R* (1 - e^(-(D/U - 1)/R*)))",
                tr(
                    "{epochs} epochs of {unique} are worth {worth} fresh tokens",
                    epochs=format_tokens(r.epochs),
                    unique=format_tokens(r.unique_tokens),
                    worth=format_tokens(r.effective_tokens),
                ),
            )
        )
    steps.append(
        Step(
            tr("ratio"), "D / N", f"{point.n_tokens:.4g} / {point.n_params:.4g} = {plan.tokens_per_param:.4g}"
        )
    )
    return steps


def _chinchilla(law: ChinchillaLaw, plan: Plan) -> list[Step]:
    point, a = plan.point, law.params_exponent
    ratio = law.alpha * law.A / (law.beta * law.B)
    G = ratio ** (1 / (law.alpha + law.beta))
    steps = []
    if plan.is_optimum and plan.inference is None and plan.repetition is None:
        steps.append(
            Step(
                tr("exponent"),
                "a = beta / (alpha + beta)",
                f"{law.beta:.5g} / ({law.alpha:.5g} + {law.beta:.5g}) = {a:.4f}",
            )
        )
        steps.append(
            Step(
                tr("balance"),
                "G = (alpha A / (beta B))^(1 / (alpha + beta))",
                f"({law.alpha:.5g} x {law.A:.5g} / ({law.beta:.5g} x {law.B:.5g}))^(1 / "
                f"{law.alpha + law.beta:.5g}) = {G:.4g}",
            )
        )
        steps.append(
            Step(
                tr("optimum"),
                "N* = G (C/6)^a",
                f"{G:.4g} x ({point.flops:.4g} / 6)^{a:.4f} = {format_params(point.n_params, 4)}",
            )
        )
    if plan.repetition is None or plan.repetition.epochs <= 1:
        by_size, by_data = law.A * point.n_params**-law.alpha, law.B * point.n_tokens**-law.beta
        steps.append(
            Step(
                tr("loss"),
                "L = E + A / N^alpha + B / D^beta",
                tr(
                    "{floor:.4f} + {by_size:.4f} (finite model) + {by_data:.4f} (finite data) = {loss:.4f}",
                    floor=law.E,
                    by_size=by_size,
                    by_data=by_data,
                    loss=point.loss or 0.0,
                ),
            )
        )
    return steps


def _interval(plan: Plan) -> list[Step]:
    """How the ends were found: read off the law's band, or percentiles of the answers of its draws."""
    ends, uncertainty = plan.intervals, plan.law.uncertainty
    if ends.level is None or uncertainty is None:
        return []
    if ends.method != uncertainty.method:  # percentiles of draws
        low, high = (100 * (1 - ends.level) / 2, 100 * (1 + ends.level) / 2)
        shown = [
            f"{name} {_ends(pair, formatter)}"
            for name, pair, formatter in (
                ("N", ends.n_params, format_params),
                ("D", ends.n_tokens, format_tokens),
                ("D/N", ends.tokens_per_param, _plain),
                ("loss", ends.loss, _loss),
                ("C", ends.flops, format_flops),
            )
            if pair is not None
        ]
        return [
            Step(
                tr("interval"),
                tr("the same problem solved for each draw of the coefficients; percentiles of the answers"),
                tr(
                    "{low:g} % and {high:g} % of {draws}: {ends}",
                    low=low,
                    high=high,
                    draws=ends.method.removeprefix("percentiles of "),
                    ends=", ".join(shown),
                ),
            )
        ]
    assert ends.n_params is not None
    assert ends.n_tokens is not None
    (n_low, n_high), flops = ends.n_params, plan.point.flops
    if n_low <= 0 or math.isinf(n_high):
        return [Step(tr("interval"), tr("N* read off the law's band at C"), tr("an end is unbounded"))]
    d_low, d_high = (format_tokens(end) for end in ends.n_tokens)
    return [
        Step(
            tr("interval"),
            tr("N* read off the law's band at C; D = C / (6 N) at its ends, D/N = C / (6 N^2)"),
            tr(
                "N* {ends} at {flops} FLOPs ({method}), so D = {c:.4g} / (6 x {n_high:.4g}) = {d_low} to {c:.4g} / "
                "(6 x {n_low:.4g}) = {d_high}",
                ends=_ends(ends.n_params, format_params),
                flops=format_flops(flops),
                method=ends.method,
                c=flops,
                n_high=n_high,
                d_low=d_low,
                n_low=n_low,
                d_high=d_high,
            ),
        )
    ]


def _ends(pair: tuple[float, float], formatter: Callable[[float], str]) -> str:
    return tr("{low} to {high}", low=formatter(pair[0]), high=formatter(pair[1]))


def _plain(value: float) -> str:
    return f"{value:,.3g}"


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _shape(plan: Plan) -> list[Step]:
    """The exact count of the shape, and its exact FLOPs a token."""
    if plan.shape is None or plan.exact_flops is None:
        return []
    a, d = plan.shape.architecture, plan.shape.architecture.d_model
    d_kv, n_layers, f, T = a.n_kv_heads * a.d_head, a.n_layers, a.d_ff, a.context_length
    vocabulary = f"{'' if a.tie_embeddings else '2 x '}{a.vocab_size:,} x {d:,}"
    weights = f"{n_layers} x (2 x {d:,} x ({d:,} + {d_kv:,}) + 3 x {d:,} x {f:,}"
    return [
        Step(
            tr("aspect"),
            tr("d / L near 32 (N / 3e7)^(1/4), at most 128; f near 8/3 d; heads of 64 or 128"),
            tr(
                "{d:,} / {n_layers} = {aspect:.3g} (rule: {target:.3g}); {f:,} / {d:,} = {ratio:.3g} (rule: "
                "{gated:.3g})",
                d=d,
                n_layers=n_layers,
                aspect=d / n_layers,
                target=aspect_ratio(plan.shape.n_params_wanted),
                f=f,
                ratio=f / d,
                gated=GATED_RATIO,
            ),
        ),
        Step(
            tr("shape"),
            tr("N = L (2 d (d + d_kv) + 3 d f + 2 d) + d + V d (x 2 untied)"),
            f"{weights} + 2 x {d:,}) + {d:,} + {vocabulary} = {plan.shape.n_params_total:,}",
        ),
        Step(
            tr("exact FLOPs"),
            "C = D (6 (L (2 d (d + d_kv) + 3 d f) + V d) + 6 L d (T + 1))",
            f"{plan.point.n_tokens:.6g} x (6 x ({weights}) + {a.vocab_size:,} x {d:,}) + "
            f"6 x {n_layers} x {d:,} x {T + 1:,}) = {plan.exact_flops:.4g}",
        ),
    ]


def _memory(plan: Plan) -> list[Step]:
    """The lines of the row to take (the last one where none fits)."""
    if plan.memory is None or plan.shape is None:
        return []
    row = next((row for row in plan.memory.rows if row.fits), plan.memory.rows[-1])
    m, n, replicas = row.memory, plan.shape.n_params_total, row.n_devices // row.tensor_parallel
    split = {"ddp": 0, "zero1": 1, "zero2": 2, "fsdp": 3}[row.strategy]  # how many of the three are split
    states = (
        (tr("optimizer"), STATE_BYTES - 4, m.optimizer_bytes, split >= 1),
        (tr("gradients"), 2, m.gradients_bytes, split >= 2),
        (tr("weights"), 2, m.weights_bytes, split >= 3),
    )
    parts = [
        f"{name} {size} x {n:.4g} / {row.tensor_parallel * (replicas if shared else 1):,} = {format_bytes(n_bytes)}"
        for name, size, n_bytes, shared in reversed(states)
    ]
    parts += [
        f"{name} {format_bytes(n_bytes)}"
        for name, n_bytes in (
            (tr("activations of one sequence"), m.activations_bytes),
            (tr("logits"), m.logits_bytes),
            (tr("buffers"), m.communication_bytes),
            (tr("framework"), m.framework_bytes),
        )
        if n_bytes
    ]
    return [
        Step(
            tr("memory"),
            tr(
                "bytes on each of {n:,}, {label}: 2 N + 2 N + 12 N (bf16, AdamW) over those that share",
                n=row.n_devices,
                label=row.label,
            ),
            tr("{parts}; sum {total}", parts="; ".join(parts), total=format_bytes(m.total_bytes)),
        )
    ]


def _alternatives(plan: Plan) -> list[Step]:
    smaller = next((a for a in plan.alternatives if a.ratio == 0.5 and a.n_tokens is not None), None)
    if smaller is None or smaller.extra_compute is None or smaller.break_even_tokens is None:
        return []
    best = plan.optimum
    return [
        Step(
            tr("equal loss"),
            tr("D(N) from L(N, D) = L*"),
            tr(
                "N = {n} reaches {loss:.4f} with {d} tokens: {extra:+.1f} % compute",
                n=format_params(smaller.n_params),
                loss=best.loss or 0.0,
                d=format_tokens(smaller.n_tokens or 0.0),
                extra=100 * smaller.extra_compute,
            ),
        ),
        Step(
            tr("break-even"),
            "6 (N'D' - N D) = 2 (N - N') D_inf",
            f"6 x ({smaller.n_params:.3g} x {smaller.n_tokens or 0.0:.3g} - {best.n_params:.3g} x {best.n_tokens:.3g}) "
            f"= 2 x ({best.n_params:.3g} - {smaller.n_params:.3g}) x {format_tokens(smaller.break_even_tokens)}",
        ),
    ]


def _schedule(plan: Plan) -> list[Step]:
    s, step_law, d = plan.schedule, plan.schedule.advice[0], plan.point.n_tokens
    return [
        Step(
            tr("batch"),
            tr("B = 0.58 D^0.571 tokens (Step Law); in sequences 2^k or 3 2^k, at most D / 100"),
            tr(
                "0.58 x {d:.4g}^0.571 = {batch}, {n} sequences of {context}",
                d=d,
                batch=format_tokens(step_law.batch_tokens or 0.0),
                n=s.batch_sequences,
                context=s.context_length,
            ),
        ),
        Step(
            tr("learning rate"),
            tr("lr = 1.79 N^-0.713 D^0.307 (Step Law, N without the vocabulary)"),
            tr(
                "1.79 x {n:.4g}^-0.713 x {d:.4g}^0.307 = {rate:.4g}, rounded to {rounded:g}",
                n=s.n_params_without_vocabulary,
                d=d,
                rate=step_law.learning_rate or 0.0,
                rounded=s.learning_rate,
            ),
        ),
        Step(tr("steps"), "D / B", f"{d:.4g} / {s.batch_tokens:,} = {s.n_steps:,}"),
        Step(
            tr("warm-up"),
            tr("min(N, D / 10) / B steps"),
            f"min({plan.point.n_params:.4g}, {WARM_UP_MOST * d:.4g}) / {s.batch_tokens:,} = {s.warm_up_steps:,}",
        ),
    ]


def _cost(plan: Plan) -> list[Step]:
    cost = plan.cost
    steps = [
        Step(
            tr("time"),
            tr("hours = C / (peak x MFU x goodput x 3600)"),
            tr(
                "{flops:.4g} / ({peak:.4g} x {mfu:g} x {goodput:g} x 3600) = {hours:,.4g} accelerator-hours; / {n} = "
                "{each:,.4g} h",
                flops=plan.point.flops,
                peak=cost.peak_flops_per_s,
                mfu=cost.mfu[1],
                goodput=cost.goodput,
                hours=cost.accelerator_hours[1],
                n=cost.n_accelerators,
                each=cost.seconds[1] / SECONDS_PER_HOUR,
            ),
        )
    ]
    if cost.usd is not None and cost.price_usd_per_hour is not None:
        low, high = cost.price_usd_per_hour
        steps.append(
            Step(
                tr("money"),
                tr("hours x price"),
                f"{cost.accelerator_hours[1]:,.4g} x ${low:.2f} to ${high:.2f} = "
                f"${cost.usd[0]:,.4g} to ${cost.usd[1]:,.4g}",
            )
        )
    if cost.energy_kwh is not None and plan.cluster.tdp_w is not None:
        steps.append(
            Step(
                tr("energy"),
                tr("hours x board power / 1000"),
                f"{cost.accelerator_hours[1]:,.4g} x {plan.cluster.tdp_w:g} W / 1000 = {cost.energy_kwh[1]:,.4g} kWh",
            )
        )
    return steps
