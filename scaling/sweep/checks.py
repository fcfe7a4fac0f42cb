"""What a design would train, what that costs and what is wrong with it, said before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from scaling.blocks import (
    Blocks,
    Fields,
    Record,
    Section,
    Shown,
    Table,
    Text,
    doubts_section,
    first_doubts,
)
from scaling.findings import Finding, Severity, gravest_first
from scaling.jsonable import fields_of
from scaling.sweep.design import Design, PlannedRun, budget_sizes, planned_records, published_advice
from scaling.sweep.timing import Rate, evaluation_steps, memory_bytes
from scaling.translation import tr
from scaling.units import (
    format_bytes,
    format_duration,
    format_flops,
    format_params,
    format_percent,
    format_tokens,
)

if TYPE_CHECKING:
    pass

BUDGET_TOLERANCE = 0.01
BUDGETS_ENOUGH = 4  # a line through three minima has one degree of freedom left
SIZES_ENOUGH = 5
SIZES_LEAST = 4  # a parabola and one to spare
RANGE_ENOUGH = 10.0
BRACKET = 2.0  # how far the sizes should reach beyond the expected optimum on either side
WARMUP_MOST = 0.2  # of a run's steps; Porian et al. 2024 trace part of Kaplan's exponent to longer ones
STEPS_LEAST = 100
DECAY_STEPS_LEAST = 10
EVALUATION_MOST = 0.25  # of the FLOPs of the sweep
VOCABULARY_MOST = 0.5  # of the FLOPs
STATE_BYTES = 16  # a parameter: four float32
MLP_SPREAD_MOST = 1.5  # widest over narrowest d_ff / d_model
SHARE_MOST = 0.65  # of the FLOPs of independent runs; six budgets 1.6 apart on six sizes take 0.57
SAVING_WORTH_TELLING = 1.005  # of shared trunks, as a factor: below, it is rounding
_NOT_IN_JSON = ("config", "n_params_wanted", "params_wanted", "flops_per_step", "vocabulary_share")
MOST_BUDGETS = 6  # on a first screen
REPEATS_MOST = 4.0  # Muennighoff et al. 2023: up to 4 epochs are about as good as new data


@dataclass(frozen=True, kw_only=True)
class DesignReview(Shown):
    """A design before it is run. rate: how fast this machine trains; None: not measured."""

    design: Design
    findings: tuple[Finding, ...]
    rate: Rate | None
    n_slots: int

    @property
    def wall_s(self) -> float | None:
        """Of the whole sweep on `n_slots` of this machine."""
        return None if self.rate is None else self.rate.total_seconds(self.design.units, self.n_slots)

    def to_dict(self) -> dict[str, Any]:
        design = self.design
        return {
            "kind": "sweep_design",
            "name": design.spec.name,
            "n_runs": len(design.runs),
            "work_flops": design.work_flops,
            "independent_flops": design.independent_flops,
            "n_slots": self.n_slots,
            "wall_s": self.wall_s,
            "findings": self.findings,
            "runs": [
                fields_of(r, leave_out=_NOT_IN_JSON, also=("n_steps", "architecture", "learning_rate"))
                for r in design.runs
            ],
        }

    def records(self) -> list[Record]:
        """A row a run: budget and FLOPs in FLOPs, sizes, steps, learning rate, seed; its seconds here, alone."""
        alone = [None if self.rate is None else self.rate.run_seconds(run) for run in self.design.runs]
        rows = zip(planned_records(self.design.runs), alone, strict=True)
        return [{**row, "seconds_alone": seconds} for row, seconds in rows]

    def summary(self) -> Blocks:
        """The grid by budget, what it costs, what to doubt; every run as a section."""
        spec = self.design.spec
        title = tr(
            "Sweep {name}: {n_runs} runs at {n} budgets",
            name=spec.name, n_runs=len(self.design.runs), n=len(spec.grid.budgets),
        )  # fmt: skip
        cost = self._cost()
        return (
            Text(title, "strong"),
            self._grid(),
            Fields([cost["compute"], *([cost["time"]] if "time" in cost else [])], indent=0),
            *first_doubts(self.findings),
            Section("runs", tr("Runs"), lambda: (self._runs(),)),
            Section("cost", tr("Cost"), lambda: (Fields(list(cost.values())),)),
            *doubts_section(self.findings),
        )

    def _grid(self) -> Table:
        """A row a budget, the middle ones left out where there are many."""
        rows = []
        for budget in self.design.spec.grid.budgets:
            runs = [r for r in self.design.runs if r.budget == budget]
            alone = "" if self.rate is None else format_duration(sum(map(self.rate.run_seconds, runs)))
            rows.append(
                [
                    format_flops(budget), str(len(runs)),
                    _span(format_params, [r.n_params for r in runs]),
                    _span(lambda ratio: f"{ratio:.3g}", [r.n_tokens / r.n_params for r in runs]),
                    _span(str, [r.n_steps for r in runs]), alone,
                ]
            )  # fmt: skip
        if len(rows) > MOST_BUDGETS:
            rows = [*rows[:3], ["..."] * 5 + [""], *rows[-2:]]
        headers = (tr("budget"), tr("runs"), tr("N"), tr("D/N"), tr("steps"), tr("time"))
        return Table(headers, rows, indent=0)

    def _runs(self) -> Table:
        headers = (
            tr("budget"), tr("N"), tr("d x layers"), tr("d_ff"), tr("tokens D"), tr("D/N"), tr("steps"),
            tr("batch"), tr("lr"), tr("seed"), tr("missed"), tr("alone"),
        )  # fmt: skip
        return Table(headers, [self._row(run) for run in self.design.runs])

    def _row(self, run: PlannedRun) -> list[str]:
        shape, batch = run.architecture, run.n_tokens / run.n_steps
        return [
            format_flops(run.budget), format_params(run.n_params), f"{shape['d_model']} x {shape['n_layers']}",
            str(shape["d_ff"]), format_tokens(run.n_tokens), f"{run.n_tokens / run.n_params:.3g}", str(run.n_steps),
            format_tokens(batch), f"{run.learning_rate:.2g}", str(run.seed), f"{run.flops / run.budget - 1:+.1%}",
            "" if self.rate is None else format_duration(self.rate.run_seconds(run)),
        ]  # fmt: skip

    def _cost(self) -> dict[str, tuple[str, str]]:
        design, grid = self.design, self.design.spec.grid
        saved = design.independent_flops / design.work_flops
        compute = tr("{flops} FLOPs to execute", flops=format_flops(design.work_flops))
        if saved > SAVING_WORTH_TELLING:
            share = format_percent(1 / saved)
            compute += tr(
                "; {share} of the same runs without shared trunks ({saved:.2f} times less)", share=share, saved=saved
            )  # fmt: skip
        params = grid.params.replace("_", "-")
        sizes = max(abs(r.n_params / r.n_params_wanted - 1) for r in design.runs)
        budgets = max(abs(r.flops / r.budget - 1) for r in design.runs)
        hit = tr(
            "sizes within {sizes:.1%} of those wanted, budgets within {budgets:.1%}", sizes=sizes, budgets=budgets
        )  # fmt: skip
        counted = tr("C = {flops}, N = {params} parameters", flops=grid.flops, params=params)
        rows = {
            "compute": (tr("compute"), compute),
            "counted": (tr("counted"), counted),
            "hit": (tr("hit"), hit),
        }
        if self.wall_s is not None:
            time = format_duration(self.wall_s)
            took = tr("{time} on {n} slots, from a few steps timed just now", time=time, n=self.n_slots)
            rows["time"] = (tr("time here"), took)
        return rows


def _span(form: Callable[[Any], str], values: Sequence[float]) -> str:
    low, high = form(min(values)), form(max(values))
    return low if low == high else tr("{low} to {high}", low=low, high=high)


def check_design(design: Design) -> tuple[Finding, ...]:
    """Findings, errors first. An error means that no law can come out of it."""
    checks = _grid, _sharing, _valleys, _shapes, _memory, check_runs, _recipe, _evaluation, _noise
    return tuple(gravest_first(finding for check in checks for finding in check(design)))


def _recipe(design: Design) -> Iterator[Finding]:
    """What a rule of thumb is asked for outside its range, and a batch that is not the one asked for."""
    recipe, context = design.spec.recipe, design.spec.corpus.context_length
    if recipe.name == "fixed":
        used = int(design.runs[0].config["batch_sequences"]) * context
        if used != recipe.batch_tokens:
            yield _finding(
                "batch-rounded", "note",
                f"a batch of {recipe.batch_tokens:g} tokens is no whole number of windows of {context}: "
                f"{used} are used.",
            )  # fmt: skip
        return
    outside = [a for r in design.runs if not (a := published_advice(design.spec, r)).inside]
    if outside:
        rates = [r.learning_rate for r in design.runs]
        yield _finding(
            "recipe-outside", "warning",
            f"{len(outside)} of {len(design.runs)} runs lie outside the range that {outside[0].name} was fitted on "
            f"({outside[0].fitted_on}); it gives learning rates from {min(rates):.2g} to {max(rates):.2g}. "
            "Try a few by hand and set recipe.name = 'fixed'.",
        )  # fmt: skip


def _grid(design: Design) -> Iterator[Finding]:
    budgets = design.spec.grid.budgets
    n_sizes = min(len(budget_sizes(design.spec, b)) for b in budgets)
    if len(budgets) < BUDGETS_ENOUGH:
        yield _finding(
            "few-budgets", "error" if len(budgets) < 2 else "warning",
            f"{len(budgets)} budget{'s' if len(budgets) > 1 else ''}; 2 are the least for an exponent and "
            f"{BUDGETS_ENOUGH} for its interval. Add budgets.",
        )  # fmt: skip
    if n_sizes < SIZES_ENOUGH:
        yield _finding(
            "few-sizes", "error" if n_sizes < SIZES_LEAST else "warning",
            f"{n_sizes} sizes at a budget; a valley needs {SIZES_LEAST} and is better with {SIZES_ENOUGH} or more. "
            "Raise grid.sizes_per_budget, or widen grid.tokens_per_param_range.",
        )  # fmt: skip
    if len(budgets) > 1 and budgets[-1] / budgets[0] < RANGE_ENOUGH:
        yield _finding(
            "narrow-range", "warning",
            f"budgets span a factor of {budgets[-1] / budgets[0]:.3g}; with less than {RANGE_ENOUGH:g} the exponent is "
            "left to the noise. Add a smaller or a larger budget.",
        )  # fmt: skip


def _sharing(design: Design) -> Iterator[Finding]:
    """Trunks pay when a size serves many budgets."""
    share = design.work_flops / design.independent_flops
    if design.spec.schedule.kind == "wsd" and share > SHARE_MOST:
        yield _finding(
            "little-sharing", "note",
            f"the trunks leave {format_percent(share)} of the FLOPs of independent runs, as a size serves few budgets. "
            "Budgets less than a factor of 2 apart share more: adding some in between costs little.",
        )  # fmt: skip


def _valleys(design: Design) -> Iterator[Finding]:
    for budget, group in groupby(design.runs, key=lambda r: r.budget):
        sizes = [r.n_params for r in group]
        optimum = design.spec.grid.expected_optimum(budget)
        if min(sizes) > optimum / BRACKET or max(sizes) < optimum * BRACKET:
            yield _finding(
                "narrow-valley", "warning",
                f"budget {format_flops(budget)}: sizes {format_params(min(sizes))} to {format_params(max(sizes))} "
                f"reach less than {BRACKET:g} times beyond the expected optimum {format_params(optimum)}; the valley "
                "may not bracket. Raise grid.size_ratio or grid.sizes_per_budget.",
            )  # fmt: skip


def _shapes(design: Design) -> Iterator[Finding]:
    """The MLP's width is what makes a size hit its N; few widths to choose from leave it much to do."""
    widths = {r.n_params: r.architecture["d_ff"] / r.architecture["d_model"] for r in design.runs}
    low, high = (f(widths, key=widths.__getitem__) for f in (min, max))
    if widths[high] > MLP_SPREAD_MOST * widths[low]:
        yield _finding(
            "uneven-mlp", "note",
            f"d_ff is {widths[low]:.2g} d_model at {format_params(low)} and {widths[high]:.2g} at "
            f"{format_params(high)}, so that sizes hit their N: a valley then compares shapes as well as sizes. A "
            "smaller shape.d_head (or shape.n_heads), or no fixed shape.n_layers, evens it out.",
        )  # fmt: skip


def _memory(design: Design) -> Iterator[Finding]:
    """Weights, gradients and AdamW's two moments in float32: what no way of training goes without."""
    largest = max(design.runs, key=lambda r: r.n_params)
    needed, here = STATE_BYTES * largest.n_params, memory_bytes()
    if needed > here:
        yield _finding(
            "too-large-for-memory", "warning",
            f"{format_params(largest.n_params)} at {format_flops(largest.budget)} needs {format_bytes(needed)} for "
            f"weights, gradients and AdamW alone; this machine has {format_bytes(here)}. Lower the largest budget, or "
            "run it elsewhere.",
        )  # fmt: skip


def check_runs(design: Design) -> Iterator[Finding]:
    """What is wrong with single runs, whatever grid they are of."""
    warmup = design.spec.schedule.warmup_steps
    tests: tuple[tuple[str, Severity, Callable[[PlannedRun], bool], Callable[[PlannedRun], str], str], ...] = (
        ("budget-missed", "warning", lambda r: abs(r.flops / r.budget - 1) > BUDGET_TOLERANCE,
         lambda r: f"misses its budget by {r.flops / r.budget - 1:+.1%}", "Lower recipe.batch_tokens."),
        ("few-steps", "warning", lambda r: r.n_steps < STEPS_LEAST,
         lambda r: f"has {r.n_steps} steps", f"Lower recipe.batch_tokens; {STEPS_LEAST} steps are few already."),
        ("long-warmup", "warning", lambda r: warmup > WARMUP_MOST * r.n_steps,
         lambda r: f"warms up for {warmup} of {r.n_steps} steps", "Lower schedule.warmup_steps."),
        ("warmup-beyond-branch", "error", lambda r: r.n_steps - r.decay_steps < warmup,
         lambda r: f"decays from step {r.n_steps - r.decay_steps}, inside the warm-up of {warmup}",
         "Lower schedule.warmup_steps or the batch."),
        ("short-decay", "warning", lambda r: r.decay_steps < DECAY_STEPS_LEAST,
         lambda r: f"decays over {r.decay_steps} steps", "Lower recipe.batch_tokens."),
        ("vocabulary-heavy", "note", lambda r: r.vocabulary_share > VOCABULARY_MOST,
         lambda r: f"spends {format_percent(r.vocabulary_share)} of its FLOPs on the vocabulary",
         "A smaller vocabulary makes small models comparable with large ones."),
    )  # fmt: skip
    for code, severity, wrong, says, cure in tests:
        bad = [r for r in design.runs if wrong(r)]
        if bad:
            worst = f"{format_params(bad[0].n_params)} at {format_flops(bad[0].budget)} {says(bad[0])}"
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            yield _finding(code, severity, f"{worst}{more}. {cure}")
    yield from _repeats(design)


def _evaluation(design: Design) -> Iterator[Finding]:
    """Windows that cost much beside the training are paid once a run."""
    flops = sum(evaluation_steps(r) * r.flops_per_step for r in design.runs)
    share = flops / (flops + design.work_flops)
    if share > EVALUATION_MOST:
        yield _finding(
            "long-evaluation", "warning",
            f"evaluation takes {format_percent(share)} of the sweep's FLOPs (they are not in its budgets). "
            f"Lower evaluation.windows, {design.spec.evaluation.windows} now.",
        )  # fmt: skip


def _repeats(design: Design) -> Iterator[Finding]:
    unique = design.n_tokens_unique
    repeated = [r for r in design.runs if unique is not None and r.n_tokens > unique]
    if unique is None or not repeated:
        return
    most: PlannedRun = max(repeated, key=lambda r: r.n_tokens)
    epochs = most.n_tokens / unique
    yield _finding(
        "data-repeats", "warning" if epochs > REPEATS_MOST else "note",
        f"{len(repeated)} runs repeat the corpus ({format_tokens(unique)} tokens), up to {epochs:.3g} times; beyond "
        f"{REPEATS_MOST:g} a law without repetition is biased. Use more text or smaller budgets.",
    )  # fmt: skip


def _noise(design: Design) -> Iterator[Finding]:
    if design.spec.seeds.replicates < 2 or not design.spec.seeds.replicate_budgets:
        yield _finding(
            "no-replicates", "note",
            "no cell is repeated with another seed, so the noise of a run stays unknown; set seeds.replicates = 2 and "
            "seeds.replicate_budgets.",
        )  # fmt: skip


def _finding(code: str, severity: Severity, message: str) -> Finding:
    return Finding(code=code, severity=severity, message=message)
