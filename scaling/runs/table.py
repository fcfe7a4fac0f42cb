"""Runs: the one table every fit takes, and how it is saved; float64 arrays of equal length, checked once, read-only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.arguments import require_flags, require_kind, require_path
from scaling.blocks import Blocks, Fields, Shown, Text
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, UsageError, shown
from scaling.runs.write import write_columns
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_tokens

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

# "frame": `load_runs`, which stands above this file; `scaling/runs/__init__.py` binds it
READERS: dict[str, Callable[..., Runs]] = {}

PARAMS_CONVENTIONS = ("total", "active", "non_embedding", "mixed", "unknown")
REQUIRED = ("n_params", "n_tokens", "flops", "loss")
OPTIONAL = ("budget", "step", "n_tokens_unique")
_SAVED = (
    "n_params",
    "n_tokens",
    "n_tokens_unique",
    "flops",
    "budget",
    "step",
    "trunk_id",
    "loss",
)  # in this order
# a table may lack any of these, beside the loss; a law of one of them needs no other
QUANTITIES = ("n_params", "n_tokens", "flops")
SAME_FLOPS = 2e-3  # relative; tables print C or D with three or more digits
ONE_INPUT_LAWS = {name: f"{name.removeprefix('n_')}_power_law_floor" for name in QUANTITIES}


@dataclass(frozen=True, kw_only=True)
class Convention:
    """What the numbers of a table count.

    params: total (embedding included) | active (a token, of a mixture of experts) | non_embedding | mixed | unknown.
    flops: 6ND (with the table's own N) | exact | source (published, own counting) | mixed | unknown | other text.
    loss_unit: nats/token, or "other" where the source does not say.
    """

    params: str = "unknown"
    flops: str = "unknown"
    loss_unit: str = "nats/token"
    # `params` was taken for granted from a bare name; how sure it is does not make it another convention.
    params_assumed: bool = field(default=False, compare=False)
    data_unit: str = "tokens"  # what n_tokens counts: "samples" where a caller reads images as tokens

    def __post_init__(self) -> None:
        if self.params not in PARAMS_CONVENTIONS:
            raise UsageError(
                f"the parameter convention is one of {', '.join(PARAMS_CONVENTIONS)}; got {self.params!r}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs(Shown):
    """Training runs: one row a run, or many rows a run (a training curve: rows share `run_id`).

    All arrays have shape (n_rows,), float64, finite and > 0; `budget` and `n_tokens_unique` may hold NaN = not known.
    Of n_params, n_tokens and flops one or two may be NaN in every row: the table lacks them (`absent`).
    Example:
        >>> import scaling
        >>> runs = scaling.Runs.from_arrays(n_params=[1e8, 4e8], n_tokens=[2e9, 8e9], loss=[3.4, 2.9])
        >>> runs.flops.tolist(), len(runs)
        ([1.2e+18, 1.92e+19], 2)
    """

    n_params: Array  # counted as convention.params says
    n_tokens: Array  # tokens seen in training, repeats included
    flops: Array  # training FLOPs, counted as convention.flops says
    loss: Array  # in convention.loss_unit
    run_id: tuple[str, ...]
    budget: Array | None = None  # nominal FLOPs of the IsoFLOP group
    trunk_id: tuple[str, ...] | None = None  # rows of one trunk are not independent
    step: Array | None = None  # optimiser step, >= 0
    n_tokens_unique: Array | None = None
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # every other column
    convention: Convention = field(default_factory=Convention)
    source: str = "arrays"
    # line in the text file (its header is line 1), else the row counted from 1; left empty: 1, 2, 3 ...
    row: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    notes: tuple[str, ...] = ()  # what was read as what, what was derived
    # n_params, n_tokens, flops → column of the file
    read_from: Mapping[str, str] = field(default_factory=dict)
    planned: bool = False  # rows may have no loss yet (NaN): to predict for, not to fit

    def __post_init__(self) -> None:
        n = len(self.run_id)
        if n == 0:
            raise DataError(f"{self.source} holds no runs; give at least one row.")
        row = np.asarray(self.row, dtype=np.int64) if len(self.row) else np.arange(1, n + 1)
        if row.shape != (n,):
            raise _wrong_length(self.source, "row", len(row), n)
        object.__setattr__(self, "row", _read_only(row))
        for name in (*REQUIRED, *OPTIONAL):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _column(self, name, n))
        if len(self.absent) == len(QUANTITIES):
            raise DataError(
                f"{self.source}: give n_params, n_tokens or flops, one of them at least; got none."
            )
        require_kind("extras", self.extras, Mapping, "Name each column: {'width': [...]}.")
        require_kind(
            "convention", self.convention, Convention, 'Say what is counted: Convention(params="total").'
        )
        extras = {k: _read_only(np.asarray(v)) for k, v in self.extras.items()}
        for name, values in {**extras, "trunk_id": self.trunk_id}.items():
            if values is None:
                continue
            size = len(values) if getattr(values, "ndim", 1) else 0  # 0: one number, not one a run
            if size != n:
                raise _wrong_length(self.source, name, size, n)
        object.__setattr__(self, "extras", MappingProxyType(extras))

    def __len__(self) -> int:
        return len(self.run_id)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The unit of independence of each row: its trunk where one is named, else its run."""
        return self.run_id if self.trunk_id is None else self.trunk_id

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """True where a row has a loss: everywhere, but for planned runs."""
        return np.isfinite(self.loss)

    @cached_property
    def absent(self) -> frozenset[str]:
        """Which of n_params, n_tokens and flops the table lacks: NaN in every row."""
        return frozenset(name for name in QUANTITIES if np.isnan(getattr(self, name)[0]))

    def require(self, names: Collection[str], wanted_by: str) -> None:
        """Raise DataError where the table lacks one of these quantities, naming a law of what it has.

        Args:
            names: of n_params, n_tokens, flops.
            wanted_by: the law or method that reads them: "the chinchilla law".
        """
        missing = [name for name in QUANTITIES if name in names and name in self.absent]
        if not missing:
            return
        present = [name for name in QUANTITIES if name not in self.absent]
        law = ONE_INPUT_LAWS[present[0]]
        raise DataError(
            f"{self.source}: {wanted_by} needs {' and '.join(missing)}, and the table holds {' and '.join(present)} "
            f"and loss only. Add the column, or fit a law of {present[0]} alone: --law {law} (in Python "
            f"fit_law(runs, {law!r}))."
        )

    @cached_property
    def position(self) -> Array:
        """How far each row is in its run: its step, else its tokens, else its FLOPs; zero where none is known."""
        if self.step is not None:
            return self.step
        known = next((name for name in ("n_tokens", "flops") if name not in self.absent), None)
        return np.zeros(len(self)) if known is None else np.asarray(getattr(self, known))

    def require_losses(self) -> None:
        """Raise DataError where a planned run has no loss: a fit cannot use it."""
        if self.planned and not self.measured.all():
            raise DataError(
                f"{self.source}, row {self.row[~self.measured][0]}: no loss, and a fit needs one for every run. Leave "
                "planned runs out: runs.select(runs.measured)."
            )

    @cached_property
    def run_index(self) -> NDArray[np.int64]:
        """An integer per run, in order of first appearance: rows of one run share it."""
        return group_index(self.run_id)

    @cached_property
    def is_curves(self) -> bool:
        """True when some run has several rows at different steps or tokens (checkpoints of a training curve)."""
        ids = self.run_index
        if ids.max(initial=-1) + 1 == len(self):
            return False
        order = np.lexsort((self.position, ids))
        same_run = np.diff(ids[order]) == 0
        return bool(np.any(same_run & (np.diff(self.position[order]) > 0)))

    def select(self, mask: ArrayLike) -> Runs:
        """The rows where `mask` is true (boolean, one a row) or at the given positions (integers)."""
        try:
            keep = np.asarray(mask)
        except ValueError as error:  # lists of several lengths
            raise UsageError(f"select rows by booleans or positions; got {shown(mask)}.") from error
        if keep.dtype == bool:
            if keep.shape != (len(self),):
                raise UsageError(
                    f"the mask has shape {keep.shape} for {len(self)} rows; give one bool a row."
                )
            keep = np.flatnonzero(keep)
        elif keep.size and not np.issubdtype(keep.dtype, np.integer):
            raise UsageError(f"select rows by booleans or positions; got values of type {keep.dtype}.")
        keep = keep.astype(np.int64)
        if keep.ndim != 1 or (keep.size and not -len(self) <= keep.min() <= keep.max() < len(self)):
            raise UsageError(f"select takes positions from 0 to {len(self) - 1}; got {shown(mask)}.")
        if not keep.size:
            raise DataError(
                f"{self.source}: no run is left after the selection; keep at least one of {len(self)}."
            )
        changed: dict[str, Any] = {k: getattr(self, k) for k in (*REQUIRED, *OPTIONAL, "row")}
        changed = {k: None if v is None else v[keep] for k, v in changed.items()}
        changed["run_id"] = tuple(self.run_id[i] for i in keep.tolist())
        changed["trunk_id"] = self.trunk_id and tuple(self.trunk_id[i] for i in keep.tolist())
        return replace(self, **changed, extras={k: v[keep] for k, v in self.extras.items()})

    def final(self) -> Runs:
        """One row a run: the one with the largest step (or most tokens, where steps are not recorded)."""
        ids = self.run_index
        order = np.lexsort((np.arange(len(self)), self.position, ids))  # the later row wins a tie
        return self.select(last_of_each(ids, order))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every numeric column by name: the inputs and outputs a law can read."""
        names = [k for k in (*REQUIRED, *OPTIONAL) if k not in self.absent]
        known = {k: getattr(self, k) for k in names if getattr(self, k) is not None}
        numeric = {k: v for k, v in self.extras.items() if v.dtype.kind in "fiub"}
        return {**numeric, **known}

    @classmethod
    def from_arrays(
        cls,
        *,
        loss: ArrayLike,
        n_params: ArrayLike | None = None,
        n_tokens: ArrayLike | None = None,
        flops: ArrayLike | None = None,
        run_id: Iterable[str] | None = None,
        convention: Convention | None = None,
        **columns: Any,
    ) -> Runs:
        """Runs from arrays; C = 6 N D fills in the one of `n_params`, `n_tokens`, `flops` not given.

        With one of the three alone the others are absent, which a law of that one does not mind. `columns` are the
        other fields of Runs (budget, trunk_id, step, n_tokens_unique, extras, source, notes).
        """
        source = columns.get("source", "arrays")
        losses = as_floats(loss, "loss", source)
        if n_params is None and n_tokens is None and flops is None:
            raise DataError(f"{source}: give n_params, n_tokens or flops beside the loss; got none.")
        sizes = []
        for name, given in zip(QUANTITIES, (n_params, n_tokens, flops), strict=True):
            values = np.full(len(losses), np.nan) if given is None else as_floats(given, name, source)
            if len(values) != len(losses):
                raise _wrong_length(source, name, len(values), len(losses))
            sizes.append(values)
        N, D, C = sizes
        with np.errstate(
            all="ignore"
        ):  # __post_init__ refuses what overflows, with its row; of NaN follows NaN
            if n_params is None:
                N = C / (FLOPS_PER_PARAM_TOKEN * D)
            elif n_tokens is None:
                D = C / (FLOPS_PER_PARAM_TOKEN * N)
            elif flops is None:
                C = FLOPS_PER_PARAM_TOKEN * N * D
        if convention is None:
            convention = Convention(flops="6ND" if is_6nd(C, N, D) else "unknown")
        trunk = columns.pop("trunk_id", None)
        for name, named in (("run_id", run_id), ("trunk_id", trunk)):
            require_kind(name, () if named is None else named, Iterable, "Give a name a row.")
        names = (f"run-{i:04d}" for i in range(len(losses))) if run_id is None else run_id
        return cls(
            n_params=N,
            n_tokens=D,
            flops=C,
            loss=losses,
            run_id=tuple(map(str, names)),
            trunk_id=None if trunk is None else tuple(map(str, trunk)),
            convention=convention,
            **columns,
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, **options: Any) -> Runs:
        """Runs from a pandas DataFrame; options as in `load_runs`."""
        return READERS["frame"](frame, **options)

    def summary(self) -> Blocks:
        """How many runs, the range of each quantity and what it counts, the further columns."""
        n, rows = counted(len(set(self.run_id)), "run"), counted(len(self), "row")
        said = tr("{runs} of {source}", runs=n, source=self.source)
        fields = [(name, text) for name, text in self._ranges() if text]
        if self.is_curves:
            fields.insert(0, (tr("rows"), tr("{rows}: training curves", rows=rows)))
        return Text(said), Fields(fields)

    def _ranges(self) -> list[tuple[str, str]]:
        """A quantity each: its name, least and largest value, and what it counts."""
        said, optional = self.convention, [k for k in OPTIONAL if getattr(self, k) is not None]
        counts = {"n_params": said.params, "flops": said.flops, "loss": said.loss_unit, "n_tokens": ""}
        forms = {"n_params": format_params, "n_tokens": format_tokens, "flops": format_flops}
        rows = []
        for name in (name for name in REQUIRED if name not in self.absent):
            known = getattr(self, name)[np.isfinite(getattr(self, name))]
            form: Callable[[float], str] = forms.get(name, "{:.4g}".format)
            ends = tr("not measured yet")
            if len(known):
                ends = tr("{low} to {high}", low=form(float(known.min())), high=form(float(known.max())))
            rows.append((name, f"{ends} ({counts[name]})" if counts[name] else ends))
        return [*rows, (tr("further"), ", ".join([*optional, *self.extras]))]

    def to_frame(self) -> pd.DataFrame:
        """A pandas DataFrame whose columns `load_runs` reads back, conventions included."""
        import pandas as pd

        return pd.DataFrame(self._as_table())

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write .csv, .jsonl or .parquet (also .csv.gz, .jsonl.gz) in one step: whole or not at all."""
        require_path("path", path)
        require_flags(overwrite=overwrite)
        return write_columns(self._as_table(), Path(path), overwrite=overwrite)

    def _as_table(self) -> dict[str, Any]:
        """Column name → values, conventions as columns of their own: the table `load_runs` reads back unchanged."""
        n = len(self)
        columns: dict[str, Any] = {"run_id": list(self.run_id)}
        for name in _SAVED:
            if (values := getattr(self, name)) is not None and name not in self.absent:
                columns[name] = list(values) if isinstance(values, tuple) else values
        said = self.convention
        columns |= {"params_convention": [said.params] * n, "flops_convention": [said.flops] * n}
        columns["loss_unit"] = [said.loss_unit] * n
        if said.data_unit != "tokens":
            columns["data_unit"] = [said.data_unit] * n
        return {**columns, **{k: v for k, v in self.extras.items() if k not in columns}}


def is_6nd(flops: Array, n_params: Array, n_tokens: Array) -> bool:
    """Whether every C equals 6 N D to the digits tables print; in one array, since tables have a million rows."""
    ratio = flops / n_params
    ratio /= n_tokens
    ratio /= FLOPS_PER_PARAM_TOKEN
    ratio -= 1
    return bool(np.all(np.abs(ratio, out=ratio) <= SAME_FLOPS))


def require_runs(runs: object, wanted_by: str) -> None:
    """Raise UsageError, which says how to make Runs of it, where a caller hands over something else."""
    if isinstance(runs, Runs):
        return
    how = "Give the Runs first."
    if hasattr(runs, "columns") or isinstance(runs, (str, Path, Mapping)):
        how = "Read the table first: load_runs(table)."
    raise UsageError(f"{wanted_by} takes Runs; got {type(runs).__name__}. {how}")


def group_index(names: tuple[str, ...]) -> NDArray[np.int64]:
    """An integer per name, in order of first appearance."""
    # names of different hashes differ: a million run ids are told apart in 16 MB, where a dict of them takes 80
    hashes = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
    hashes.sort()
    if not np.any(hashes[1:] == hashes[:-1]):
        return np.arange(len(names), dtype=np.int64)
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.fromiter(map(place.__getitem__, names), dtype=np.int64, count=len(names))


def last_of_each(group: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of the last row of each group, where `order` has a group's rows together; as they stand."""
    return np.sort(order[np.flatnonzero(np.diff(group[order], append=-1))])


def as_floats(values: ArrayLike | None, name: str, source: str) -> Array:
    """A float64 vector, or a DataError that names the column."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: {name} must be numbers; {error}.") from error
    if array.ndim != 1:
        raise DataError(f"{source}: {name} must be one number a run; got an array of shape {array.shape}.")
    return array


def _column(runs: Runs, name: str, n: int) -> NDArray[Any]:
    """One column as a read-only array, refused where it holds an impossible value."""
    values = as_floats(getattr(runs, name), name, runs.source)
    if values.shape != (n,):
        raise _wrong_length(runs.source, name, len(values), n)
    bad = ~np.isfinite(values) | (values <= 0 if name != "step" else values < 0)
    if name in OPTIONAL or (name == "loss" and runs.planned):
        bad &= ~np.isnan(values)  # NaN = not known
    if name in QUANTITIES and np.isnan(values).all():
        bad[:] = False  # the table lacks it
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
        raise DataError(
            f"{runs.source}, row {runs.row[i]}, column {name}: must be a finite number above zero; got {values[i]:g}"
            f"{more}. Correct or remove the row."
        )
    return _read_only(values)


def _wrong_length(source: str, name: str, n_values: int, n_runs: int) -> DataError:
    return DataError(f"{source}: {name} has {n_values} values for {n_runs} runs; give one a run.")


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written through, so that a frozen table stays what it was checked to be."""
    view = values.view()
    view.flags.writeable = False
    return view
