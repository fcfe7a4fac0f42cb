"""What a sweep asks for: one TOML file, read strictly. An unknown key or a wrong type is an error that names it."""

from __future__ import annotations

import math
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from scaling.arguments import require_path
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, MissingFileError, UnknownNameError, UsageError
from scaling.units import parse_flops, parse_params, parse_tokens

SCHEMA_VERSION = 1
ScheduleKind = Literal["wsd", "cosine", "linear"]
FlopsConvention = Literal["6ND", "exact_causal", "palm"]
ParamsConvention = Literal["total", "non_embedding"]
RecipeName = Literal["fixed", "steplaw", "deepseek"]
MOST_PARAMS = 1e12  # of a model of a sweep; above stands a mistyped number
MOST_LEARNING_RATE = 10.0
MOST_SIZES = 200  # at a budget; beyond, the ends of the lattice are no models
SET_BY_SWEEP = {  # fields of the architecture → the keys that say them
    "context_length": "corpus.context_length",
    "vocab_size": "corpus.vocab_size",
    "n_layers": "shape.n_layers",
    "n_heads": "shape.n_heads or shape.d_head",
    "d_model": "grid and shape.aspect_ratio",
    "d_ff": "grid: the MLP is what makes a size hit its N",
}
LOG_TOOLS = ("tensorboard", "wandb", "mlflow")
_QUANTITIES = {
    "flops": parse_flops,
    "params": parse_params,
    "tokens": parse_tokens,
    "tokens_unique": parse_tokens,
}


class SpecError(UsageError):
    """The spec of a sweep says what cannot be read, or asks for something that cannot be run."""


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """name: as in `scaling.lm.corpus.load_corpus`; vocab_size and n_tokens_unique are read from it where left out."""

    name: str
    context_length: int = 256
    vocab_size: int | None = None
    n_tokens_unique: float | None = None

    def __post_init__(self) -> None:
        _at_least("corpus.context_length", self.context_length, 2)
        if (unique := self.n_tokens_unique) is not None:
            said = f"{unique:g}; leave it out to read it from the corpus"
            _require("corpus.n_tokens_unique", said, "be > 0", unique > 0)


@dataclass(frozen=True, kw_only=True)
class GridSpec:
    """Budgets, and the sizes tried at each.

    Sizes lie on one fixed lattice, size_ratio^i parameters, so that adding a budget moves no other run. Each budget
    takes the `sizes_per_budget` lattice points nearest (in the logarithm) to the expected optimum, which is either
    N = sqrt(C / (6 tokens_per_param)), or optimum_params (C / optimum_flops)^optimum_exponent.

    tokens_per_param_range = [low, high] instead takes every lattice point whose D / N at the budget lies in the range;
    the expected optimum is then its geometric middle, unless it is given too.
    """

    budgets: tuple[float, ...]
    sizes_per_budget: int = 6
    size_ratio: float = 1.5
    tokens_per_param: float | None = None
    tokens_per_param_range: tuple[float, ...] = ()
    optimum_flops: float | None = None
    optimum_params: float | None = None
    optimum_exponent: float = 0.5
    flops: FlopsConvention = "6ND"
    params: ParamsConvention = "total"

    def __post_init__(self) -> None:
        if not self.budgets:
            raise SpecError(
                "grid.budgets is empty; give training budgets in FLOPs, e.g. budgets = [1e10, 2e10]."
            )
        budgets = tuple(sorted(parse_flops(b) for b in self.budgets))
        if len(set(budgets)) < len(budgets):
            raise SpecError("grid.budgets names one budget twice; each budget once.")
        object.__setattr__(self, "budgets", budgets)
        _between("grid.sizes_per_budget", self.sizes_per_budget, 1, MOST_SIZES)
        _between("grid.size_ratio", self.size_ratio, 1.05, 16)
        if self.optimum_flops is not None:
            object.__setattr__(self, "optimum_flops", parse_flops(self.optimum_flops))
        if self.optimum_params is not None:
            object.__setattr__(self, "optimum_params", parse_params(self.optimum_params))
        if self.tokens_per_param_range:
            self._read_range()
        point = self.optimum_flops is not None and self.optimum_params is not None
        if point == (self.tokens_per_param is not None):
            raise SpecError(
                "grid needs the expected optimum: either tokens_per_param = 20 (or a tokens_per_param_range), or "
                "optimum_flops and optimum_params (one point on the line of optima); got "
                f"{'both' if point else 'neither'}."
            )
        if self.tokens_per_param is not None:
            _require("grid.tokens_per_param", self.tokens_per_param, "be > 0", self.tokens_per_param > 0)
        if not 0 <= self.optimum_exponent < 2:
            raise SpecError(
                f"grid.optimum_exponent must lie in [0, 2), about 0.5; got {self.optimum_exponent:g}."
            )
        for budget in self.budgets:
            self._check_optimum(budget)

    def _read_range(self) -> None:
        """Check tokens_per_param_range, and expect the optimum in its middle unless another place is given."""
        ends = self.tokens_per_param_range
        numbers = all(isinstance(e, int | float) and not isinstance(e, bool) for e in ends)
        if len(ends) != 2 or not numbers or not 0 < ends[0] < ends[1] < math.inf:
            raise SpecError(
                f"grid.tokens_per_param_range must be two rising numbers > 0, e.g. [4, 100]; got {list(ends)}."
            )
        if self.tokens_per_param is None and self.optimum_flops is None and self.optimum_params is None:
            object.__setattr__(self, "tokens_per_param", math.sqrt(ends[0] * ends[1]))

    def _check_optimum(self, budget: float) -> None:
        """Refuse an expected optimum that is no model; by logarithms, which do not overflow."""
        if self.tokens_per_param is not None:
            log_n = (math.log(budget) - math.log(FLOPS_PER_PARAM_TOKEN * self.tokens_per_param)) / 2
        else:
            flops, n_params = self._point()
            log_n = math.log(n_params) + self.optimum_exponent * (math.log(budget) - math.log(flops))
        if not 0 <= log_n <= math.log(MOST_PARAMS):
            raise SpecError(
                f"grid expects the optimum of {budget:g} FLOPs at 10^{log_n / math.log(10):.1f} parameters, where 1 to "
                f"{MOST_PARAMS:g} can be trained; check budgets, tokens_per_param or optimum_flops and optimum_params."
            )

    def expected_optimum(self, flops: float) -> float:
        """N* we expect at this budget."""
        if self.tokens_per_param is not None:
            return math.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * self.tokens_per_param))
        optimum_flops, n_params = self._point()
        return float(n_params * (flops / optimum_flops) ** self.optimum_exponent)

    def _point(self) -> tuple[float, float]:
        """FLOPs and N of the point on the line of optima, given where tokens_per_param is not."""
        assert self.optimum_flops is not None
        assert self.optimum_params is not None
        return self.optimum_flops, self.optimum_params


@dataclass(frozen=True, kw_only=True)
class ShapeSpec:
    """Width to depth, heads, and any field of `Architecture` that all sizes share (in [shape.architecture])."""

    aspect_ratio: float = 32.0  # d_model / n_layers at 30M, scaled as in scaling.planning.shape
    n_layers: int | None = None  # the same depth for all sizes: below 100k parameters depth would jump with N
    d_head: int = 16
    n_heads: int | None = None  # the same for all sizes, instead of d_head: widths then change in finer steps
    architecture: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least("shape.d_head", self.d_head, 2)
        for name in ("n_layers", "n_heads"):
            _at_least(f"shape.{name}", 1 if (given := getattr(self, name)) is None else given, 1)
        _between("shape.aspect_ratio", self.aspect_ratio, 1, 1024)
        for key in sorted(set(self.architecture) & set(SET_BY_SWEEP)):
            raise SpecError(f"shape.architecture.{key} is the sweep's to set: use {SET_BY_SWEEP[key]}.")
        kind = self.architecture.get("kind", "decoder")
        if kind != "decoder":
            raise SpecError(f"a sweep trains decoders; shape.architecture.kind is {kind!r}.")


@dataclass(frozen=True, kw_only=True)
class RecipeSpec:
    """Optimiser and hyper-parameters.

    name: "fixed" is learning_rate (N / reference_params)^learning_rate_exponent and batch_tokens as given; "steplaw"
        (Li et al. 2025, 2503.04715) and "deepseek" (2401.02954) give learning rate and batch from N, D or C; on a WSD
        trunk, where all budgets share them, they are taken at the expected optimum of that size.
    """

    name: RecipeName = "fixed"
    optimizer: Literal["adamw", "muon"] = "adamw"
    batch_tokens: float = 4096
    learning_rate: float = 0.005
    reference_params: float = 1e5
    learning_rate_exponent: float = -0.3
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    clip: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_params", parse_params(self.reference_params))
        for name in ("batch_tokens", "learning_rate", "clip"):
            _require(f"recipe.{name}", getattr(self, name), "be > 0", getattr(self, name) > 0)
        rate, most, power = self.learning_rate, MOST_LEARNING_RATE, self.learning_rate_exponent
        _require("recipe.learning_rate", f"{rate:g}", f"be at most {most:g}", rate <= most)
        _require("recipe.learning_rate_exponent", f"{power:g}", "lie between -2 and 2", -2 <= power <= 2)
        is_whole = float(self.batch_tokens).is_integer()
        _require("recipe.batch_tokens", self.batch_tokens, "be a whole number", is_whole)
        for name in ("beta1", "beta2"):
            _require(f"recipe.{name}", getattr(self, name), "lie in [0, 1)", 0 <= getattr(self, name) < 1)
        _require("recipe.weight_decay", self.weight_decay, "be >= 0", self.weight_decay >= 0)


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """wsd: warm-up, constant, then 1 - sqrt down to zero over decay_fraction; all budgets of a size share a trunk.

    cosine and linear: warm-up, then down to final_fraction of the peak; every run is on its own.
    """

    kind: ScheduleKind = "wsd"
    warmup_steps: int = 50
    decay_fraction: float = 0.2
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        _at_least("schedule.warmup_steps", self.warmup_steps, 0)
        decay, final = self.decay_fraction, self.final_fraction
        _require("schedule.decay_fraction", decay, "lie in (0, 1]", 0 < decay <= 1)
        _require("schedule.final_fraction", final, "lie in [0, 1]", 0 <= final <= 1)


@dataclass(frozen=True, kw_only=True)
class SeedSpec:
    """Seed k starts weights and data order of replicate k. replicate_budgets: whose middle size is repeated."""

    first: int = 0
    replicates: int = 1
    replicate_budgets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _at_least("seeds.replicates", self.replicates, 1)
        if self.replicates > 1 and not self.replicate_budgets:
            raise SpecError(
                f"seeds.replicates = {self.replicates} repeats nothing without seeds.replicate_budgets, the "
                "budgets whose middle size is repeated."
            )
        object.__setattr__(self, "replicate_budgets", tuple(parse_flops(b) for b in self.replicate_budgets))


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """The final loss is the mean over this many fixed validation windows of one context length."""

    windows: int = 512

    def __post_init__(self) -> None:
        _at_least("evaluation.windows", self.windows, 2)


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep as asked for. `load_sweep` reads it.

    log: tools that follow every run live (tensorboard, wandb, mlflow), in the store; no part of what a run is.
    """

    name: str
    corpus: CorpusSpec
    grid: GridSpec
    description: str = ""
    log: tuple[str, ...] = ()
    shape: ShapeSpec = field(default_factory=ShapeSpec)
    recipe: RecipeSpec = field(default_factory=RecipeSpec)
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    seeds: SeedSpec = field(default_factory=SeedSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise SpecError(f"name must be letters, digits, '-', '_' and '.', got {self.name!r}.")
        unknown = set(self.seeds.replicate_budgets) - set(self.grid.budgets)
        if unknown:
            raise SpecError(
                f"seeds.replicate_budgets names {', '.join(f'{b:g}' for b in sorted(unknown))}, "
                "which grid.budgets lacks."
            )
        for tool in self.log:
            _one_of("log", tool, LOG_TOOLS)

    def to_dict(self) -> dict[str, Any]:
        values = {k: v for k, v in asdict(self).items() if k != "log" or v}
        return {"schema_version": SCHEMA_VERSION, **values}


def template(name: str) -> str:
    """The spec that `scaling sweep init` writes: the quick start, with every key explained."""
    text = Path(__file__).with_name("template.toml").read_text(encoding="utf-8")
    return text.replace("{name}", name)


def load_sweep(path: str | Path) -> SweepSpec:
    """Read a sweep.toml, or the one in a folder.

    Raises:
        MissingFileError: there is no such file.
        SpecError: the file, the key, what is wrong with it and what is allowed.
    Example:
        >>> import scaling
        >>> from pathlib import Path
        >>> from scaling.sweep.spec import template
        >>> _ = Path("sweep.toml").write_text(template("first"))
        >>> scaling.load_sweep("sweep.toml").name
        'first'
    """
    require_path("spec", path)
    path = Path(path)
    if path.is_dir() and (path / "runs").is_dir() and not (path / "sweep.toml").exists():
        raise SpecError(f"{path} is a store of runs; give the sweep.toml they were asked for by.")
    path = path / "sweep.toml" if path.is_dir() else path
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"there is no spec {path}; `scaling sweep init {shlex.quote(str(path))}` writes one to edit."
        ) from error
    except OSError as error:
        raise MissingFileError(
            f"{path} cannot be read: {error.strerror}. Give a sweep.toml or its folder."
        ) from error
    except ValueError as error:  # also not UTF-8, or a number of thousands of digits
        raise DataError(
            f"{path} is not TOML: {error}. The spec of a sweep is a sweep.toml; `scaling sweep init` writes one."
        ) from error
    try:
        return sweep_from_dict(values)
    except UsageError as error:
        raise SpecError(f"{path}: {error}") from error


def sweep_from_dict(values: Mapping[str, Any]) -> SweepSpec:
    """A spec from nested dictionaries, as TOML and `SweepSpec.to_dict` give them."""
    values = dict(values)
    version = values.pop("schema_version", None)
    if version is None:
        raise SpecError(f"schema_version = {SCHEMA_VERSION} is missing; a sweep's spec begins with it.")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise SpecError(f"schema_version is {version!r}; this version reads {SCHEMA_VERSION}.")
    spec: SweepSpec = build("", SweepSpec, values)
    return spec


def _require(name: str, value: float | str, rule: str, holds: bool) -> None:
    if not holds:
        raise SpecError(f"{name} must {rule}, got {value}.")


def _one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise UnknownNameError(name, str(value), known)


def _at_least(name: str, value: int, least: int) -> None:
    _require(name, value, f"be at least {least}", value >= least)


def _between(name: str, value: float, low: float, high: float) -> None:
    _require(name, value, f"lie between {low} and {high}", low <= value <= high)


def build(prefix: str, cls: type, values: Mapping[str, Any]) -> Any:
    """The dataclass `cls` from a table; `prefix` is where the table stands, for errors ("grid.").

    Raises:
        UnknownNameError: a key that the dataclass has not.
        SpecError: a key is missing, or a value does not fit.
    """
    known = {f.name: f for f in fields(cls)}
    for key in values:
        _one_of("key", f"{prefix}{key}", [f"{prefix}{k}" for k in known])
    missing = [
        k for k, f in known.items()
        if k not in values and f.default is MISSING and f.default_factory is MISSING
    ]  # fmt: skip
    if missing:
        raise SpecError(f"{', '.join(prefix + m for m in missing)} must be given.")
    hints = get_type_hints(cls)
    checked = {k: _typed(f"{prefix}{k}", hints[k], v) for k, v in values.items()}
    return cls(**checked)


def _typed(name: str, hint: Any, value: Any) -> Any:
    """`value` as the field's type wants it.

    Raises:
        SpecError: it does not fit.
        TypeError: a field of a type that is not read here, a mistake of ours.
    """
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        (hint,) = (h for h in get_args(hint) if h is not type(None))
    kind: Any = get_origin(hint) or hint
    if kind is Literal:
        _one_of(name, value, get_args(hint))
        return value
    if kind is int:
        return _whole(name, value)
    if kind is float:
        return _number(name, value)
    if kind is tuple:
        if not isinstance(value, list | tuple):
            raise SpecError(f"{name} must be a list, got {value!r}.")
        return tuple(_item(name, get_args(hint)[0], item) for item in value)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise SpecError(f"[{name}] must be a table, got {value!r}.")
        return build(f"{name}.", kind, value)
    if kind not in (str, Mapping):
        raise TypeError(f"{name} is annotated {hint}, which no spec can hold")
    if not isinstance(value, kind):
        raise SpecError(f"{name} must be {'text' if kind is str else 'a table'}, got {value!r}.")
    return value


def _item(name: str, hint: Any, item: Any) -> Any:
    """One of a list. A quantity written as text is read by the dataclass, which knows what it counts."""
    if isinstance(item, str):
        return item
    if hint is str:
        raise SpecError(f"{name} must be a list of names in quotes; it holds {item!r}.")
    return _number(f"each of {name}", item)


def _whole(name: str, value: Any) -> int:
    _refuse_huge(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise SpecError(f"{name} must be a whole number, got {value!r}.")
    return int(value)


def _number(name: str, value: Any) -> float:
    """A number; a quantity may be written as text: "1e18", "20M"."""
    if isinstance(value, str):
        for ending, parse in _QUANTITIES.items():
            if name.endswith(ending):
                return parse(value)
        try:
            return _number(name, float(value))
        except ValueError as error:
            raise SpecError(f"{name} must be a plain number such as 0.01, got {value!r}.") from error
    _refuse_huge(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise SpecError(f"{name} must be a number, got {value!r}.")
    if not math.isfinite(value):
        raise SpecError(f"{name} must be finite, got {value}.")
    return float(value)


def _refuse_huge(name: str, value: Any) -> None:
    """TOML has whole numbers of any length; beyond the largest float nothing can be computed with them."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise SpecError(f"{name} must be below 1e308; it has {len(hex(value))} hexadecimal digits.")
