"""Doubts about a plan: refusal of nonsense, warnings outside the law's range, and whether the tokens exist."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from scaling.errors import PlanError
from scaling.findings import Finding
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import CHEAP_EPOCHS, has_surface, needs_repetition, origin_of
from scaling.planning.cost import Cost
from scaling.planning.memory import MemoryPlan
from scaling.planning.shape import DEFAULT_VOCAB, Schedule, Shape
from scaling.translation import tr
from scaling.units import format_duration, format_flops, format_params, format_percent, format_tokens

LEAST_PARAMS = 1e4  # below this no shape is a language model
LEAST_TOKENS = 1000
LARGEST_RUN = 5e26  # FLOPs of the largest training runs known in 2025 (Epoch AI's database)
# five times what Epoch AI (2024, Can AI scaling continue through 2030?) thinks possible by 2030
MOST_FLOPS = 1e30
LARGEST_CLUSTER = 200_000  # accelerators of the largest cluster known in 2025 (Colossus: Epoch AI's database)
MOST_TOKENS_PER_PARAM = 1e4  # of any run behind a published law (Sardana et al. 2024, arXiv:2401.00448)
YEAR = 365.25 * 86400
# "The longest training run" (Sevilla et al. 2022, Epoch AI): what takes longer is overtaken by a run that starts later
LONGEST_SECONDS = 15 / 12 * YEAR
ENDLESS_SECONDS = 100 * YEAR
RANDOM_LOSS = math.log(DEFAULT_VOCAB)  # 10.37: guessing among the tokens of the law's own vocabulary

# Text that exists, in tokens. A plan beyond a line cannot be fed from what the line holds.

TENSOR_PARALLEL_MOST = 8  # accelerators of one host, which can share one sequence
RANGES = {"flops": ("C", format_flops), "n_params": ("N", format_params), "n_tokens": ("D", format_tokens)}


def corpora() -> tuple[tuple[float, str], ...]:
    """Tokens that exist, fewest first, each with the name of their source."""
    return (
        (15e12, tr("FineWeb (Penedo et al. 2024, arXiv:2406.17557), the largest common open corpus")),
        (240e12, tr("DCLM-Pool (Li et al. 2024, arXiv:2406.11794), the largest open pool before filtering")),
        (510e12, tr("the indexed web (Villalobos et al. 2024, arXiv:2211.04325)")),
        (3100e12, tr("the whole web (Villalobos et al. 2024, arXiv:2211.04325)")),
    )


def refuse_nonsense(
    point: Allocation, unique_tokens: float | None = None, inference_tokens: float = 0.0
) -> None:
    """Raise PlanError for a plan no one can mean: too small to be a model, too large to be computed.

    Args:
        unique_tokens: where the plan repeats them: then they, and not the budget, are too few.
        inference_tokens: to be served: then they, and not the budget, may leave too little.
    """
    if point.flops > MOST_FLOPS:
        raise PlanError(
            f"{format_flops(point.flops)} FLOPs is beyond any plan: the largest training runs known are about 5e26. "
            "Check the exponent of the budget, or ask for a higher loss."
        )
    if point.n_params < LEAST_PARAMS or point.n_tokens < LEAST_TOKENS:
        size = f"{_counted(point.n_params, 'parameter')} on {_counted(point.n_tokens, 'token')}"
        if inference_tokens:
            raise PlanError(
                f"serving {format_tokens(inference_tokens)} tokens leaves a model of {size}, which is not a language "
                "model. Give fewer --inference-tokens or a larger budget."
            )
        raise PlanError(
            f"{format_flops(point.flops)} FLOPs mean {size}, which is not a language model. Check the exponent; "
            "small experiments start near 1e14 FLOPs."
        )
    if point.loss is not None and point.loss > RANDOM_LOSS:
        if unique_tokens is not None:
            raise too_few_tokens(point, unique_tokens)
        rest = f" besides serving {format_tokens(inference_tokens)}" if inference_tokens else ""
        size = f"{format_params(point.n_params)} parameters on {format_tokens(point.n_tokens)} tokens"
        raise PlanError(
            f"{size}{rest}: the law predicts a loss of {point.loss:.1f}, worse than guessing among "
            f"{DEFAULT_VOCAB:,} tokens ({RANDOM_LOSS:.1f}). It says nothing about so small a budget; "
            "small experiments start near 1e15 FLOPs."
        )


def refuse_beyond_the_web(point: Allocation) -> None:
    """Raise PlanError where no text that exists is enough and the user named none."""
    tokens, name = corpora()[-1]
    if point.n_tokens > tokens:
        times = format_count(point.n_tokens / tokens)
        raise PlanError(
            f"{format_params(point.n_params)} parameters on {format_tokens(point.n_tokens)} tokens: no such data "
            f"exist, it is {times} times {name}, {format_tokens(tokens)}. Allow a larger model, ask for a higher loss "
            "or give a smaller budget; --unique-tokens prices repeats."
        )


def refuse_endless(cost: Cost, flops: float, enough: int) -> None:
    """Raise PlanError for a run that outlives its hardware; `enough` accelerators would finish within 30 days."""
    seconds = cost.seconds[1]
    if seconds > ENDLESS_SECONDS:
        raise PlanError(
            f"{format_flops(flops)} FLOPs take {format_duration(seconds, 2)} on {cost.n_accelerators:,} x "
            f"{cost.accelerator}. Give more of them ({enough:,} finish within 30 days), leave the number out to have "
            "it chosen, or give a smaller budget."
        )


def too_few_tokens(point: Allocation, unique_tokens: float) -> PlanError:
    """The refusal of a plan that would see the unique tokens so often that the law says nothing about it."""
    loss = "" if point.loss is None else f" and still predict a loss of {point.loss:.3g}"
    are = f"{_counted(unique_tokens, 'unique token')} {'is' if unique_tokens == 1 else 'are'}"
    return PlanError(
        f"{are} too few for {format_flops(point.flops)} FLOPs: the plan would repeat them for "
        f"{format_count(point.n_tokens / unique_tokens)} epochs{loss}. Give more --unique-tokens, or a smaller budget."
    )


def format_count(value: float) -> str:
    """How many times: 1.5, 57, 520, 3.3M."""
    return format_tokens(value, 2)


def _counted(value: float, noun: str) -> str:
    text = format_tokens(value)
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"


def _doubt(code: str, message: str, short: str = "") -> Finding:
    return Finding(code=code, severity="warning", message=message, short=short)


def size_findings(point: Allocation, cost: Cost) -> Iterator[Finding]:
    """Where the run is larger, longer or further over-trained than any that is known."""
    ratio, seconds, count = point.n_tokens / point.n_params, cost.seconds[1], cost.n_accelerators
    if point.flops > LARGEST_RUN * (1 + 1e-9):
        times = tr(
            "{flops} FLOPs are {largest_run} times the largest",
            flops=format_flops(point.flops),
            largest_run=format_count(point.flops / LARGEST_RUN),
        )
        known = tr(
            "training runs known (about {largest_run}, Epoch AI 2025).", largest_run=format_flops(LARGEST_RUN)
        )
        short = tr(
            "{largest_run} times the compute of the largest run known",
            largest_run=format_count(point.flops / LARGEST_RUN),
        )
        yield _doubt("larger-than-any-run", tr("size: {times} {known}", times=times, known=known), short)
    if count > LARGEST_CLUSTER:
        times = tr(
            "{count:,} accelerators are {largest_cluster} times the largest cluster known",
            count=count,
            largest_cluster=format_count(count / LARGEST_CLUSTER),
        )
        short = tr(
            "{largest_cluster} times the accelerators of the largest cluster known",
            largest_cluster=format_count(count / LARGEST_CLUSTER),
        )
        said = tr(
            "size: {times} (about {largest_cluster:,}, Epoch AI 2025).",
            times=times,
            largest_cluster=LARGEST_CLUSTER,
        )
        yield _doubt("larger-than-any-cluster", said, short)
    if seconds > LONGEST_SECONDS:
        why = tr("a run of over 15 months is overtaken by one that starts later on better hardware")
        said = tr(
            "time: {seconds}; {why} (Sevilla et al. 2022, Epoch AI).",
            seconds=format_duration(seconds, 2),
            why=why,
        )
        short = tr(
            "takes {seconds}: a run that starts later would overtake it", seconds=format_duration(seconds, 2)
        )
        yield _doubt("overtaken-by-later-runs", said, short)
    if ratio > MOST_TOKENS_PER_PARAM:
        end = tr(
            "{most_tokens_per_param:,.0f} (Sardana et al. 2024)", most_tokens_per_param=MOST_TOKENS_PER_PARAM
        )
        said = tr(
            "{ratio:,.0f} tokens per parameter; the runs behind the published laws end at {end}.",
            ratio=ratio,
            end=end,
        )
        short = tr(
            "{ratio} tokens per parameter: more than in any run behind a law", ratio=format_count(ratio)
        )
        yield _doubt("over-training", tr("over-training: {said}", said=said), short)


def law_findings(law: Law, point: Allocation, *, has_interval: bool) -> Iterator[Finding]:
    """C, N or D outside the range of the runs behind the law; losses in another unit; FLOPs counted otherwise."""
    origin, outside, shorter = origin_of(law), [], []
    for name, (low, high) in origin.fitted_range.items():
        value = getattr(point, name, None)
        if value is None or low <= value <= high:
            continue
        factor, end, side = (
            (value / high, high, tr("beyond")) if value > high else (low / value, low, tr("below"))
        )
        symbol, formatter = RANGES[name]
        times = tr(
            "{factor} times {side} the law's runs (they end at {end})",
            factor=format_count(factor),
            side=side,
            end=formatter(end),
        )
        outside.append(
            tr("{symbol} = {value} is {times}", symbol=symbol, value=formatter(value), times=times)
        )
        shorter.append((f"{words_of(name)} {format_count(factor)}", side))
    if outside:
        assumed = tr("The intervals assume") if has_interval else tr("The plan assumes")
        said = tr(
            "extrapolation: {names}. {assumed} that the law holds there.",
            names="; ".join(outside),
            assumed=assumed,
        )
        yield _doubt("extrapolation", said, _outside_in_short(shorter))
    if origin.loss_unit == "in doubt":
        yield _doubt(
            "loss-unit-in-doubt",
            tr(
                "loss: the runs behind the law look like another unit than nats/token. Fit again with --loss-unit; "
                "until "
                "then N, D and C hold and no loss does."
            ),
            tr("the law's losses look like another unit: trust sizes, not losses"),
        )
    if origin.converts_flops:
        own = [format_flops(ratio * point.flops) for ratio in origin.flops_over_6nd]
        theirs = own[0] if own[0] == own[1] else tr("{low} to {high}", low=own[0], high=own[1])
        yield _doubt(
            "flops-counted-otherwise",
            tr(
                "FLOPs: this plan counts C = 6ND, its law's runs {flops_ratio_text} times that: the plan's "
                "{flops} FLOPs are {theirs} as they count.",
                flops_ratio_text=origin.flops_ratio_text,
                flops=format_flops(point.flops),
                theirs=theirs,
            ),
            tr("these FLOPs are 6ND; the law's own runs count {theirs}", theirs=theirs),
        )


def extrapolation(models: Sequence[tuple[str, float]], law: Law) -> tuple[Finding, ...]:
    """Models (name and FLOPs) outside the compute of the runs behind the law."""
    low, high = origin_of(law).fitted_range.get("flops", (0.0, 0.0))
    outside = [(name, flops) for name, flops in models if not low <= flops <= high]
    if not high or not outside:
        return ()
    which = ", ".join(name for name, _ in outside) + (tr(" lies") if len(outside) == 1 else tr(" lie"))
    if len(outside) == len(models):
        which = tr("every model lies") if len(models) > 1 else tr("it lies")
    most = format_count(max(max(flops / high, low / flops) for _, flops in outside))
    runs = tr(
        "the runs behind the law ({low} to {high} FLOPs)", low=format_flops(low), high=format_flops(high)
    )
    said = tr(
        "{which} outside {runs}, by up to {most} times: the law is extrapolated.",
        which=which,
        runs=runs,
        most=most,
    )
    lie = (
        tr("it lies")
        if len(models) == 1
        else tr("{n_outside} of {n_models} models lie", n_outside=len(outside), n_models=len(models))
    )
    return (
        _doubt(
            "extrapolation",
            said,
            tr("{lie} outside the law's runs, by up to {most} times", lie=lie, most=most),
        ),
    )


def words_of(quantity: str) -> str:
    """What a first screen calls C, N and D."""
    return {"flops": tr("compute"), "n_params": tr("parameters"), "n_tokens": tr("tokens")}[quantity]


def _outside_in_short(outside: list[tuple[str, str]]) -> str:
    """'compute 44, parameters 4.5 times beyond the runs behind the law'."""
    sides = dict.fromkeys(side for _, side in outside)
    parts = [
        tr("{names} times {side}", names=", ".join(told for told, s in outside if s == side), side=side)
        for side in sides
    ]
    return tr("{names} the runs behind the law", names=", ".join(parts))


def data_sentence(n_tokens: float) -> str:
    """How the tokens compare with text that exists."""
    tokens, name = next((corpus for corpus in corpora() if n_tokens <= corpus[0]), corpora()[-1])
    share = n_tokens / tokens
    part = (
        tr("{share} of", share=format_percent(share))
        if share <= 1
        else tr("{share} times", share=format_count(share))
    )
    return tr(
        "{n_tokens} tokens are {part} {name}, {tokens}",
        n_tokens=format_tokens(n_tokens),
        part=part,
        name=name,
        tokens=format_tokens(tokens),
    )


def data_findings(law: Law, point: Allocation, unique_tokens: float | None) -> Iterator[Finding]:
    """Tokens seen so often that it costs loss, or more of them than any open corpus holds where the user named none."""
    if unique_tokens is None:
        if point.n_tokens > corpora()[0][0]:
            advice = tr("Name what you have with --unique-tokens to plan with repetition.")
            times = format_count(point.n_tokens / corpora()[0][0])
            short = tr("{times} times the tokens of the largest common open corpus", times=times)
            said = tr("data: {n_tokens}. {advice}", n_tokens=data_sentence(point.n_tokens), advice=advice)
            yield _doubt("more-than-any-open-corpus", said, short)
        return
    epochs = point.n_tokens / unique_tokens
    if needs_repetition(point, unique_tokens) and not has_surface(law):
        yield _doubt(
            "repetition-not-priced",
            tr(
                "data: this plan sees each token {epochs} times, and the law {name} does not say what that "
                "costs; plan with --law besiroglu to price it.",
                epochs=format_count(epochs),
                name=law.family.name,
            ),
            tr("{epochs} epochs, and this law does not know what repeats cost", epochs=format_count(epochs)),
        )
    elif epochs > CHEAP_EPOCHS and has_surface(law):
        less = tr("a repeated token is worth visibly less than a fresh one")
        times = format_tokens(epochs)
        short = tr(
            "{times} epochs: beyond {cheap_epochs:g}, repeats are worth visibly less",
            times=times,
            cheap_epochs=CHEAP_EPOCHS,
        )
        yield _doubt(
            "many-epochs",
            tr(
                "data: {times} epochs; beyond {cheap_epochs:g} {less}.",
                times=times,
                cheap_epochs=CHEAP_EPOCHS,
                less=less,
            ),
            short,
        )


def shape_findings(shape: Shape, *, without_vocabulary: bool) -> Iterator[Finding]:
    """What the shape had to assume; of a law that counts parameters without the vocabulary, the parameters in all."""
    if without_vocabulary:
        n_params = format_params(shape.n_params_total)
        total = tr("the model has {n_params} in all, and 6ND leaves its vocabulary out", n_params=n_params)
        short = tr("the law leaves the vocabulary out: the model has {n_params} in all", n_params=n_params)
        yield _doubt(
            "non-embedding-law", tr("this law counts non-embedding parameters: {total}", total=total), short
        )
    for note in shape.notes:
        yield _doubt("shape", tr("shape: {note}", note=note), re.split("[:;]", note)[0])


def hardware_findings(memory: MemoryPlan | None, cost: Cost, schedule: Schedule) -> Iterator[Finding]:
    """A model that does not fit, and more accelerators than the batch can feed."""
    if memory is not None and memory.memory_bytes is not None and not any(row.fits for row in memory.rows):
        yield _doubt("does-not-fit", tr("memory: {hint}.", hint=memory.hint), _too_little(memory))
    fed = schedule.batch_sequences * TENSOR_PARALLEL_MOST
    if cost.n_accelerators > fed:
        yield _doubt(
            "batch-feeds-fewer",
            tr(
                "a batch of {batch_sequences:,} sequences feeds at most {fed:,} accelerators at tensor "
                "parallelism {tensor_parallel_most}, and the plan has {n_accelerators:,}: it will take longer "
                "than this.",
                batch_sequences=schedule.batch_sequences,
                fed=fed,
                tensor_parallel_most=TENSOR_PARALLEL_MOST,
                n_accelerators=cost.n_accelerators,
            ),
            tr(
                "the batch feeds at most {fed:,} of the {n_accelerators:,} accelerators",
                fed=fed,
                n_accelerators=cost.n_accelerators,
            ),
        )


def _too_little(memory: MemoryPlan) -> str:
    if memory.least is None:
        return tr("does not fit: its layers must be split into pipeline stages as well")
    return tr(
        "does not fit on {n_devices:,}: at least {least:,} are needed",
        n_devices=memory.n_devices,
        least=memory.least.n_devices,
    )
