"""nanochat: the results.csv of its scaling scripts and of their forks, or the training logs these are made from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, MissingFileError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers.logged import MOST_NAMED, LeftOut, LoggedRun, as_number, to_runs
from scaling.sweep.importers.sizes import Known, ToNats, of_run, to_nats

BITS_PER_BYTE = "val_bpb"
# What a column counts where its name says it. nanochat's scaling parameters are the transformer's matrices and the
# untied vocabulary head: neither N of Kaplan et al. nor all parameters.
COUNTS = {
    "params_total": "total", "total_params": "total", "num_params": "total", "n_params": "total", "total": "total",
    "params_transformer": "non_embedding", "transformer_matrices": "non_embedding",
    "params_active": "active", "active_params": "active", "n_params_active": "active", "num_active_params": "active",
}  # fmt: skip
# both in the order they are taken
TAKEN_BY_ITSELF = (
    "params_total", "num_params", "total_params", "n_params", "num_scaling_params", "scaling_params", "total",
)  # fmt: skip
BUDGETS = ("flops_budget", "target_flops", "compute_budget", "budget_flops", "budget")
FAR = 0.2  # of the budget: far above what a whole number of steps misses it by, below what counts differ by
_NUMBER_OF = re.compile(r"Number of (scaling )?parameters: ([\d,]+)(?: \(scaling: ([\d,]+)\))?")
_COUNT = re.compile(r"^(\w+)\s*: ([\d,]+)$", re.MULTILINE)
_STEPS = re.compile(r"(?:Calculated|Using user-provided) number of iterations[^:]*: ([\d,]+)")
_TOKENS = re.compile(r"Total number of training tokens: ([\d,]+)")
_EVALUATED = re.compile(r"Step (\d+) \| Validation bpb: (\S+)")
_BUDGET = re.compile(r"_(\d[\d.]*e\d+)_d\d+")  # of the script's tag, scaling_1e18_d8


def from_nanochat(
    path: str | Path,
    *,
    bytes_per_token: float | None = None,
    n_params: Known | None = None,
    params_convention: str | None = None,
    n_tokens: Known | None = None,
    tokens_per_step: Known | None = None,
    loss_key: str = BITS_PER_BYTE,
    loss_unit: str | None = None,
) -> Runs:
    """Runs from the results.csv of nanochat's scaling scripts, or from its training logs (*.log).

    Args:
        path: the CSV, one log, or a folder with logs.
        bytes_per_token: of the validation text; val_bpb is in bits per byte.
        n_params: the column with N (a fork's "active_params"), or numbers; None takes all parameters where the table
            has them, and asks where it tells active ones apart.
        params_convention: what N counts, where the column's name does not say.
        n_tokens, tokens_per_step: instead of tokens_trained.
        loss_key, loss_unit: the column with the loss, where it is not val_bpb.
    `flops_budget` is kept as the budget. Rows of zeros are runs that crashed; they are left out and noted.
    """
    path = Path(path)
    rows = list(_logs(path)) if path.is_dir() or path.suffix == ".log" else _table(path, loss_key)
    unit, in_nats = to_nats(loss_key, loss_unit, bytes_per_token)
    column = n_params if n_params is not None else _column(rows, path, params_convention)
    convention = params_convention or (COUNTS.get(column) if isinstance(column, str) else None)
    logged = [_run(row, place, column, n_tokens, tokens_per_step, loss_key, in_nats) for place, row in rows]
    return to_runs(
        logged,
        source=str(path),
        params_convention=convention or "unknown",
        loss_unit=unit,
        notes=(*_notes(column, convention), *_far_from_budget(logged)),
    )


def _notes(column: Known, convention: str | None) -> tuple[str, ...]:
    said = (f"N is the column {column}",) if isinstance(column, str) else ()
    if convention is not None:
        return said
    head = " (nanochat's own count with the untied vocabulary head)" if "scaling" in str(column) else ""
    return (
        *said,
        f"what N counts{head} is not said: --params-convention total, active or non_embedding says it",
    )


def _far_from_budget(logged: list[LoggedRun | LeftOut]) -> tuple[str, ...]:
    """Runs whose 6ND is not their budget: an N or D of another count, or a budget of another."""
    shares = {
        run.run_id: FLOPS_PER_PARAM_TOKEN * run.n_params * run.n_tokens / run.budget
        for run in logged
        if isinstance(run, LoggedRun) and run.budget is not None
    }
    far = [f"{name} ({share:.2g} of it)" for name, share in shares.items() if abs(share - 1) > FAR]
    if not far:
        return ()
    more = f" and {len(far) - MOST_NAMED} more" if len(far) > MOST_NAMED else ""
    return (
        f"6ND is far from the budget, so N, D or the budget counts something else: {', '.join(far[:MOST_NAMED])}{more}",
    )


Row = tuple[str, Mapping[str, str]]  # where it stands, and its values


def _table(path: Path, loss_key: str) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        kind = DataError if path.exists() else MissingFileError
        raise kind(f"{path} cannot be read as a CSV; give nanochat's results.csv ({error}).") from error
    header = list(reader.fieldnames or [])
    if not rows or loss_key not in header:
        raise DataError(
            f"{path} lacks {loss_key}; it is not a results.csv of nanochat's scaling script. It has "
            f"{', '.join(header) or 'no row'}; loss_key (--loss) takes another column."
        )
    return [(place, {k: v or "" for k, v in row.items() if k is not None}) for place, row in rows]


def _logs(path: Path) -> Iterator[Row]:
    """What the training logs say, under the names of the table and of the log's own counts."""
    paths = [path] if path.is_file() else sorted(path.rglob("*.log"))
    if not paths:
        raise MissingFileError(
            f"no *.log below {path}; give nanochat's results.csv, or the folder of its training logs."
        )
    for log in paths:
        try:
            text = log.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise DataError(f"{log} cannot be read ({error}).") from error
        start = text.find("Parameter counts:")
        counts = {k: v.replace(",", "") for k, v in _COUNT.findall(text[start:])} if start >= 0 else {}
        for scaling, number, scaling_too in _NUMBER_OF.findall(text):
            counts["num_scaling_params" if scaling else "num_params"] = number.replace(",", "")
            if scaling_too:
                counts["num_scaling_params"] = scaling_too.replace(",", "")
        evaluated = _EVALUATED.findall(text)
        step, loss = evaluated[-1] if evaluated else ("0", "")
        row = {"name": log.stem.removesuffix("_train"), BITS_PER_BYTE: loss, "step": str(int(step)), **counts}
        for key, pattern in (("num_iterations", _STEPS), ("tokens_trained", _TOKENS)):
            if found := pattern.findall(text):
                row[key] = found[-1].replace(",", "")
        if budget := _BUDGET.search(log.name):
            row["flops_budget"] = budget[1]
        yield str(log), row


def _column(rows: list[Row], path: Path, convention: str | None) -> str:
    """The column with N that needs no word, or the question which one it is."""
    has = dict.fromkeys(name for _, row in rows for name, value in row.items() if as_number(value) > 0)
    if asked := [name for name in has if convention is not None and COUNTS.get(name) == convention]:
        return asked[0]
    counts = [name for name in has if "param" in name.lower() and "ratio" not in name.lower()]
    whole = [name for name in TAKEN_BY_ITSELF if name in has]
    if not whole or any("activ" in name.lower() for name in counts):
        there = ", ".join(counts) or f"none that says param ({', '.join(has)})"
        raise UsageError(
            f"{path}: say which column is N: n_params (--params), and what it counts, params_convention "
            f"(--params-convention); its columns with parameters are {there}."
        )
    return whole[0]


def _run(
    row: Mapping[str, str], place: str, column: Known, n_tokens: Known | None, tokens_per_step: Known | None,
    loss_key: str, in_nats: ToNats,
) -> LoggedRun | LeftOut:  # fmt: skip
    """One row; a crashed run has zeros, or nothing, for its loss."""
    named = next((key for key in BUDGETS if row.get(key)), "")
    budget = as_number(row.get(named))
    depth = row.get("depth") or row.get("n_layer") or row.get("model_dim") or ""
    name = row.get("name") or f"{row.get(named, '')}-d{depth}"
    loss = as_number(row[loss_key])
    if not loss > 0:
        why = "crashed" if loss == 0 or not row[loss_key].strip() else f"{loss_key} is no number"
        return LeftOut(name=row.get("name") or f"d{depth}", why=why)

    def number(value: Known, what: str) -> float:
        found = row.get(value) if isinstance(value, str) else of_run(value, name, what)
        if found is None:
            raise UsageError(
                f"{place}: there is no column {value!r} for {what}; it has {', '.join(row)}. Name another or say a "
                "number: --params, --tokens or --tokens-per-step."
            )
        if not 0 < as_number(found) < float("inf"):
            raise DataError(f"{place}, column {value}: {found!r} is no number above 0.")
        return as_number(found)

    planned = as_number(row.get("num_iterations"))
    step = int(as_number(row.get("step", row.get("num_iterations"))) if planned > 0 else 0)
    if tokens_per_step is not None:
        D = step * number(tokens_per_step, "tokens_per_step")
    else:
        D = number(n_tokens if n_tokens is not None else "tokens_trained", "n_tokens")
    N = number(column, "n_params")
    return LoggedRun(
        run_id=name,
        tool_id=row.get("name")
        or repr((budget, depth, N, D, loss)),  # a row is a run, twice the same one is one
        n_params=N,
        n_tokens=D,
        loss=in_nats(loss),
        step=step,
        n_steps_planned=int(planned) if "step" in row and planned > 0 else None,
        budget=budget if 0 < budget < float("inf") else None,
    )
