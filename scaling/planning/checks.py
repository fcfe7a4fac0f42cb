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
from scaling.units import format_duration, format_flops, format_params, format_percent, format_tokens

LEAST_PARAMS = 1e4  # below this no shape is a language model
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
CORPORA = (
    (15e12, "FineWeb (Penedo et al. 2024, arXiv:2406.17557), the largest common open corpus"),
    (240e12, "DCLM-Pool (Li et al. 2024, arXiv:2406.11794), the largest open pool before filtering"),
    (510e12, "the indexed web (Villalobos et al. 2024, arXiv:2211.04325)"),
    (3100e12, "the whole web (Villalobos et al. 2024, arXiv:2211.04325)"),
)

TENSOR_PARALLEL_MOST = 8  # accelerators of one host, which can share one sequence
WORDS = {"flops": "compute", "n_params": "parameters", "n_tokens": "tokens"}
RANGES = {"flops": ("C", format_flops), "n_params": ("N", format_params), "n_tokens": ("D", format_tokens)}


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
    if point.n_params < LEAST_PARAMS or point.n_tokens < 1000:
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
    tokens, name = CORPORA[-1]
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
        times = f"{format_flops(point.flops)} FLOPs are {format_count(point.flops / LARGEST_RUN)} times the largest"
        known = f"training runs known (about {format_flops(LARGEST_RUN)}, Epoch AI 2025)."
        short = f"{format_count(point.flops / LARGEST_RUN)} times the compute of the largest run known"
        yield _doubt("larger-than-any-run", f"size: {times} {known}", short)
    if count > LARGEST_CLUSTER:
        times = f"{count:,} accelerators are {format_count(count / LARGEST_CLUSTER)} times the largest cluster known"
        short = f"{format_count(count / LARGEST_CLUSTER)} times the accelerators of the largest cluster known"
        said = f"size: {times} (about {LARGEST_CLUSTER:,}, Epoch AI 2025)."
        yield _doubt("larger-than-any-cluster", said, short)
    if seconds > LONGEST_SECONDS:
        why = "a run of over 15 months is overtaken by one that starts later on better hardware"
        said = f"time: {format_duration(seconds, 2)}; {why} (Sevilla et al. 2022, Epoch AI)."
        short = f"takes {format_duration(seconds, 2)}: a run that starts later would overtake it"
        yield _doubt("overtaken-by-later-runs", said, short)
    if ratio > MOST_TOKENS_PER_PARAM:
        end = f"{MOST_TOKENS_PER_PARAM:,.0f} (Sardana et al. 2024)"
        said = f"{ratio:,.0f} tokens per parameter; the runs behind the published laws end at {end}."
        short = f"{format_count(ratio)} tokens per parameter: more than in any run behind a law"
        yield _doubt("over-training", f"over-training: {said}", short)


def law_findings(law: Law, point: Allocation, *, has_interval: bool) -> Iterator[Finding]:
    """C, N or D outside the range of the runs behind the law; losses in another unit; FLOPs counted otherwise."""
    origin, outside, shorter = origin_of(law), [], []
    for name, (low, high) in origin.fitted_range.items():
        value = getattr(point, name, None)
        if value is None or low <= value <= high:
            continue
        factor, end, side = (value / high, high, "beyond") if value > high else (low / value, low, "below")
        symbol, formatter = RANGES[name]
        times = f"{format_count(factor)} times {side} the law's runs (they end at {formatter(end)})"
        outside.append(f"{symbol} = {formatter(value)} is {times}")
        shorter.append((f"{WORDS[name]} {format_count(factor)}", side))
    if outside:
        assumed = "The intervals assume" if has_interval else "The plan assumes"
        said = f"extrapolation: {'; '.join(outside)}. {assumed} that the law holds there."
        yield _doubt("extrapolation", said, _outside_in_short(shorter))
    if origin.loss_unit == "in doubt":
        yield _doubt(
            "loss-unit-in-doubt",
            "loss: the runs behind the law look like another unit than nats/token. Fit again with --loss-unit; until "
            "then N, D and C hold and no loss does.",
            "the law's losses look like another unit: trust sizes, not losses",
        )
    if origin.converts_flops:
        own = [format_flops(ratio * point.flops) for ratio in origin.flops_over_6nd]
        theirs = own[0] if own[0] == own[1] else f"{own[0]} to {own[1]}"
        yield _doubt(
            "flops-counted-otherwise",
            f"FLOPs: this plan counts C = 6ND, its law's runs {origin.flops_ratio_text} times that: the plan's "
            f"{format_flops(point.flops)} FLOPs are {theirs} as they count.",
            f"these FLOPs are 6ND; the law's own runs count {theirs}",
        )


def extrapolation(models: Sequence[tuple[str, float]], law: Law) -> tuple[Finding, ...]:
    """Models (name and FLOPs) outside the compute of the runs behind the law."""
    low, high = origin_of(law).fitted_range.get("flops", (0.0, 0.0))
    outside = [(name, flops) for name, flops in models if not low <= flops <= high]
    if not high or not outside:
        return ()
    which = ", ".join(name for name, _ in outside) + (" lies" if len(outside) == 1 else " lie")
    if len(outside) == len(models):
        which = "every model lies" if len(models) > 1 else "it lies"
    most = format_count(max(max(flops / high, low / flops) for _, flops in outside))
    runs = f"the runs behind the law ({format_flops(low)} to {format_flops(high)} FLOPs)"
    said = f"{which} outside {runs}, by up to {most} times: the law is extrapolated."
    lie = "it lies" if len(models) == 1 else f"{len(outside)} of {len(models)} models lie"
    return (_doubt("extrapolation", said, f"{lie} outside the law's runs, by up to {most} times"),)


def _outside_in_short(outside: list[tuple[str, str]]) -> str:
    """'compute 44, parameters 4.5 times beyond the runs behind the law'."""
    sides = dict.fromkeys(side for _, side in outside)
    parts = [f"{', '.join(told for told, s in outside if s == side)} times {side}" for side in sides]
    return f"{', '.join(parts)} the runs behind the law"


def data_sentence(n_tokens: float) -> str:
    """How the tokens compare with text that exists."""
    tokens, name = next((corpus for corpus in CORPORA if n_tokens <= corpus[0]), CORPORA[-1])
    share = n_tokens / tokens
    part = f"{format_percent(share)} of" if share <= 1 else f"{format_count(share)} times"
    return f"{format_tokens(n_tokens)} tokens are {part} {name}, {format_tokens(tokens)}"


def data_findings(law: Law, point: Allocation, unique_tokens: float | None) -> Iterator[Finding]:
    """Tokens seen so often that it costs loss, or more of them than any open corpus holds where the user named none."""
    if unique_tokens is None:
        if point.n_tokens > CORPORA[0][0]:
            advice = "Name what you have with --unique-tokens to plan with repetition."
            times = format_count(point.n_tokens / CORPORA[0][0])
            short = f"{times} times the tokens of the largest common open corpus"
            said = f"data: {data_sentence(point.n_tokens)}. {advice}"
            yield _doubt("more-than-any-open-corpus", said, short)
        return
    epochs = point.n_tokens / unique_tokens
    if needs_repetition(point, unique_tokens) and not has_surface(law):
        yield _doubt(
            "repetition-not-priced",
            f"data: this plan sees each token {format_count(epochs)} times, and the law {law.family.name} does not say "
            "what that costs; plan with --law besiroglu to price it.",
            f"{format_count(epochs)} epochs, and this law does not know what repeats cost",
        )
    elif epochs > CHEAP_EPOCHS and has_surface(law):
        less = "a repeated token is worth visibly less than a fresh one"
        times = format_count(epochs)
        short = f"{times} epochs: beyond {CHEAP_EPOCHS:g}, repeats are worth visibly less"
        yield _doubt("many-epochs", f"data: {times} epochs; beyond {CHEAP_EPOCHS:g} {less}.", short)


def shape_findings(shape: Shape, *, without_vocabulary: bool) -> Iterator[Finding]:
    """What the shape had to assume; of a law that counts parameters without the vocabulary, the parameters in all."""
    if without_vocabulary:
        n_params = format_params(shape.n_params_total)
        total = f"the model has {n_params} in all, and 6ND leaves its vocabulary out"
        short = f"the law leaves the vocabulary out: the model has {n_params} in all"
        yield _doubt("non-embedding-law", f"this law counts non-embedding parameters: {total}", short)
    for note in shape.notes:
        yield _doubt("shape", f"shape: {note}", re.split("[:;]", note)[0])


def hardware_findings(memory: MemoryPlan | None, cost: Cost, schedule: Schedule) -> Iterator[Finding]:
    """A model that does not fit, and more accelerators than the batch can feed."""
    if memory is not None and memory.memory_bytes is not None and not any(row.fits for row in memory.rows):
        yield _doubt("does-not-fit", f"memory: {memory.hint}.", _too_little(memory))
    fed = schedule.batch_sequences * TENSOR_PARALLEL_MOST
    if cost.n_accelerators > fed:
        yield _doubt(
            "batch-feeds-fewer",
            f"a batch of {schedule.batch_sequences:,} sequences feeds at most {fed:,} accelerators at tensor "
            f"parallelism {TENSOR_PARALLEL_MOST}, and the plan has {cost.n_accelerators:,}: it will take longer than "
            "this.",
            f"the batch feeds at most {fed:,} of the {cost.n_accelerators:,} accelerators",
        )


def _too_little(memory: MemoryPlan) -> str:
    if memory.least is None:
        return "does not fit: its layers must be split into pipeline stages as well"
    return f"does not fit on {memory.n_devices:,}: at least {memory.least.n_devices:,} are needed"
