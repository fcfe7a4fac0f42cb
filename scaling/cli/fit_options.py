"""Which fit is asked for: the options of `scaling fit` that say so, the function they call, and as a command again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scaling.errors import UsageError, of_option
from scaling.laws import FAMILIES, find_family
from scaling.units import parse_flops, parse_number

if TYPE_CHECKING:
    from scaling.fitting.comparison import LawComparison
    from scaling.fitting.extrapolation import Extrapolation
    from scaling.fitting.isoflop.budgets import ValleyKind
    from scaling.fitting.results import Fit
    from scaling.fitting.surface.optimum import ObjectiveName
    from scaling.runs import Runs

METHODS = ("parametric", "isoflop", "envelope")
OBJECTIVES = ("huber", "least_squares", "log_least_squares", "asymmetric")
OTHER_OBJECTIVES = ("huber", "log_least_squares")  # of the families beside chinchilla
VALLEYS = ("parabola", "quartic", "surface")
OF_A_LOSS = tuple(name for name in FAMILIES if name != "frontier")  # that one knows the split, not the loss
DEFAULT_LEVEL = 0.95
ROLLING = "rolling"

# option → the method it means something to; elsewhere it is a mistake, not a default
_OF_PARAMETRIC = ("law", "objective", "huber_delta", "n_resamples", "seed", "held_out", "compare", "fixed")
TAKEN_BY = dict.fromkeys(_OF_PARAMETRIC, "parametric") | dict.fromkeys(
    ("valley", "min_runs_per_budget"), "isoflop"
)
OPTION = {
    "n_resamples": "--bootstrap",
    "held_out": "--holdout-above",
    "compare": "--compare-laws",
    "fixed": "--fix",
}  # where it is not the name of the field


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Which fit is asked for. None = not given: the default of the method."""

    method: str = "parametric"
    level: float = DEFAULT_LEVEL
    law: str | None = None
    objective: ObjectiveName | None = None
    huber_delta: float | None = None
    n_resamples: int | None = None
    seed: int | None = None
    held_out: tuple[str, ...] = ()
    compare: bool = False
    fixed: tuple[tuple[str, float], ...] = ()
    valley: ValleyKind | None = None
    min_runs_per_budget: int | None = None

    def __post_init__(self) -> None:
        for name, method in TAKEN_BY.items():
            if _given(getattr(self, name)) and self.method != method:
                raise UsageError(
                    f"{_option(name)} belongs to --method {method}; --method {self.method} does not take it. Leave it "
                    "out, or choose the other method."
                )
        if self.compare and self.fixed:
            raise UsageError(
                "--compare-laws fits laws that have other coefficients than --fix holds; leave one out."
            )
        if self.family == "chinchilla":
            return
        if self.objective not in (None, *OTHER_OBJECTIVES):
            raise UsageError(
                f"--law {self.family} is fitted by --objective {' or '.join(OTHER_OBJECTIVES)}; {self.objective} is "
                "for the chinchilla law."
            )
        for name in ("huber_delta", "n_resamples"):
            if _given(getattr(self, name)):
                raise UsageError(
                    f"{_option(name)} is for the chinchilla law; --law {self.family} does not take it. Leave it out."
                )

    @property
    def family(self) -> str:
        return self.law or "chinchilla"

    @property
    def settings(self) -> dict[str, Any]:
        """What every fit of a named law is made with: fields of `FitSettings`, arguments of a hold-out."""
        return {
            "law": self.family,
            "objective": self.objective or "huber",
            "huber_delta": self.huber_delta,
            "level": self.level,
            "seed": self.seed or 0,
            "fixed": dict(self.fixed),
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the law or the method reads of a run."""
        if self.method != "parametric":
            return ("n_params", "flops")
        return tuple(i.name for i in find_family(self.family).inputs)

    @property
    def fits_final_rows(self) -> bool:
        """Training curves are used whole by an envelope only."""
        return self.method != "envelope"

    def as_arguments(self) -> str:
        """The same fit as command-line text: what was given."""
        words = [] if self.method == "parametric" else ["--method", self.method]
        for name in ("law", "objective", "huber_delta", "valley", "min_runs_per_budget", "seed"):
            value = getattr(self, name)
            if value is not None:
                words += [_option(name), f"{value:g}" if isinstance(value, float) else str(value)]
        for name, held in self.fixed:
            words += ["--fix", f"{name}={held:.15g}"]
        words += [] if self.level == DEFAULT_LEVEL else ["--level", f"{self.level:g}"]
        return shlex.join(words)


def _given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _option(name: str) -> str:
    return OPTION.get(name, "--" + name.replace("_", "-"))


def parse_held(pairs: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """The pairs of --fix as names and numbers."""
    held: dict[str, float] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name or not value:
            raise UsageError(f"--fix takes NAME=VALUE, for example E=1.6; got {pair!r}.")
        if name in held:
            raise UsageError(f"--fix holds {name} twice; give one value.")
        try:
            held[name] = float(value)  # a floor of 0 too; the fit says whether the law has room for it
        except ValueError:
            held[name] = parse_number(value)
    return tuple(held.items())


def without_floor(options: FitOptions, fit: Fit) -> FitOptions | None:
    """The same fit of the law without floor, where the fitted floor ended at zero; else None."""
    from scaling.fitting.fixed import FLOOR, law_without_floor

    if FLOOR not in fit.at_bound:
        return None
    bare = law_without_floor(options.family)
    return replace(options, law=bare) if bare else replace(options, fixed=(*options.fixed, (FLOOR, 0.0)))


# --- the fit asked for; each import stands where it is needed, so that a fit loads only its own code ---


def fit_runs(runs: Runs, options: FitOptions, *, every_row: bool = False) -> Fit:
    """The fit of any method. `every_row`: rows of training curves are runs, for they were asked for."""
    if options.method == "envelope":
        from scaling.fitting.envelope.fit import fit_envelope

        return fit_envelope(runs, level=options.level)
    if options.method == "isoflop":
        from scaling.fitting.isoflop.fit import fit_isoflop

        return fit_isoflop(
            runs,
            valley=options.valley or "parabola",
            level=options.level,
            min_runs_per_budget=options.min_runs_per_budget,
            every_row=every_row,
        )
    from scaling.fitting.named_fit import FitSettings, fit_named_law

    settings = FitSettings(**options.settings, n_resamples=options.n_resamples)
    return fit_named_law(runs, settings)


def hold_out(runs: Runs, options: FitOptions, *, every_row: bool = False) -> Extrapolation | None:
    """The error on runs dearer than each cut-off that was asked for."""
    if not options.held_out:
        return None
    from scaling.fitting.extrapolation import evaluate_extrapolation

    cuts = (
        None
        if ROLLING in options.held_out
        else [of_option("--holdout-above", parse_flops, c) for c in options.held_out]
    )
    return evaluate_extrapolation(runs, cuts=cuts, every_row=every_row, **options.settings)


def compare(runs: Runs, options: FitOptions, *, every_row: bool = False) -> LawComparison | None:
    """Other laws and objectives on the same runs, and the asked law where it is not among them."""
    if not options.compare:
        return None
    from scaling.fitting.comparison import DEFAULT_LAWS, compare_laws

    laws = tuple(dict.fromkeys((*DEFAULT_LAWS, options.family)))
    return compare_laws(runs, laws, seed=options.seed or 0, every_row=every_row)
