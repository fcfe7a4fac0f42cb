"""nanochat: the results.csv of its scaling-law script."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from scaling.errors import DataError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers.logged import LoggedRun, Params, to_runs

MOST_BYTES_PER_TOKEN = 50.0  # no tokenizer comes near it


def from_nanochat(path: str | Path, *, bytes_per_token: float) -> Runs:
    """Runs from the results.csv of nanochat's scaling-law script.

    Args:
        bytes_per_token: of the validation text; val_bpb is in bits per byte.
    N is params_total where the table has it. Rows of zeros are runs that crashed; they are left out and noted.
    """
    if not 0 < bytes_per_token <= MOST_BYTES_PER_TOKEN:
        raise UsageError(
            f"bytes_per_token (--bytes-per-token) is how much text a token stands for, 3 to 6 for most tokenizers; got "
            f"{bytes_per_token:g}."
        )
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV; give nanochat's results.csv ({error}).") from error
    needed = ("depth", "tokens_trained", "val_bpb")
    if not rows or any(name not in rows[0] for name in needed):
        raise DataError(
            f"{path} lacks {', '.join(needed)}; it is not a results.csv of nanochat's scaling script."
        )
    column = next((c for c in ("params_total", "num_params", "num_scaling_params") if c in rows[0]), None)
    if column is None:
        raise DataError(f"{path} has no column with parameters (params_total, num_params).")
    for line, row in enumerate(rows, start=2):  # the header is line 1
        for name in (column, "tokens_trained"):
            if _number(row["val_bpb"]) > 0 and not _number(row[name]) > 0:
                raise DataError(f"{path}, line {line}, column {name}: {row[name]!r} is no number above 0.")
    crashed = [f"d{r['depth']}" for r in rows if not _number(r["val_bpb"]) > 0]
    logged = [
        LoggedRun(
            run_id=f"{r.get('flops_budget', '')}-d{r['depth']}",
            n_params=_number(r[column]),
            n_tokens=_number(r["tokens_trained"]),
            loss=_number(r["val_bpb"]) * float(np.log(2)) * bytes_per_token,
            step=int(_number(r.get("num_iterations") or "0")),
        )
        for r in rows
        if _number(r["val_bpb"]) > 0
    ]
    notes = (f"crashed, left out: {', '.join(crashed)}",) if crashed else ()
    convention: Params = "non_embedding" if column == "num_scaling_params" else "total"
    return to_runs(logged, source=str(path), params_convention=convention, notes=notes)


def _number(text: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0
