"""Read own training runs with their hours from a CSV, for `scaling plan --calibrate`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from scaling.arguments import require_kind
from scaling.errors import DataError, MissingFileError, ScalingError
from scaling.planning.utilisation import OwnRun
from scaling.reference.hardware import find_accelerator
from scaling.units import parse_number, parse_params, parse_tokens

NAMES = {
    "n_params": ("n_params", "params", "parameters", "n"),
    "n_tokens": ("n_tokens", "tokens", "d"),
    "accelerator": ("accelerator", "device", "gpu", "hardware"),
    "n_devices": ("n_devices", "n_accelerators", "devices", "gpus", "n_gpus", "world_size"),
    "context_length": ("context_length", "seq_len", "context", "sequence_length"),
    "accelerator_hours": ("accelerator_hours", "gpu_hours", "device_hours"),
    "hours": ("hours", "wall_hours"),
    "wall_s": ("wall_s", "seconds", "wall_seconds"),
}
HOURS = ("accelerator_hours", "hours", "wall_s")


def read_own_runs(path: str | Path) -> list[OwnRun]:
    """The runs of a CSV with columns n_params, n_tokens, accelerator and hours.

    Hours are accelerator_hours (of all devices together), or hours or wall_s of the clock with n_devices (else 1);
    context_length, where it is there, else 2048. An accelerator is named as nvidia-smi, torch or a cloud names it.

    Raises:
        MissingFileError: there is no such file.
        DataError: a column is missing, or a cell is no such number: with row and column.
        UnknownNameError: an accelerator that is in no table.
    Example:
        >>> import scaling
        >>> scaling.read_own_runs("none.csv")
        Traceback (most recent call last):
        scaling.errors.MissingFileError: there is no file none.csv; --calibrate takes a CSV of runs with their hours.
    """
    require_kind("path", path, (str, Path), "Give the path of a CSV.")
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise MissingFileError(
            f"there is no file {path}; --calibrate takes a CSV of runs with their hours."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV: {error}.") from error
    headers = [cell.strip().lower() for cell in rows[0]] if rows else []
    columns = {
        field: headers.index(name) for field, names in NAMES.items() for name in names if name in headers
    }
    missing = [field for field in ("n_params", "n_tokens", "accelerator") if field not in columns]
    missing += [] if any(name in columns for name in HOURS) else ["accelerator_hours"]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}; --calibrate needs n_params, n_tokens, accelerator and "
            "accelerator_hours (or hours, with n_devices)."
        )
    cells = [(i, row) for i, row in enumerate(rows[1:], start=2) if any(cell.strip() for cell in row)]
    if not cells:
        raise DataError(f"{path} has no run to calibrate on; give at least one with its hours.")
    return [_own_run(f"{path}:{i}", row, columns) for i, row in cells]


def _own_run(where: str, row: list[str], columns: dict[str, int]) -> OwnRun:
    def read(field: str, parse: Callable[[str], float], default: float | None = None) -> float:
        column = columns.get(field)
        text = row[column].strip() if column is not None and column < len(row) else ""
        if not text and default is not None:
            return default
        try:
            return parse(text)
        except ScalingError as error:
            raise DataError(f"{where}, column {field}: {error}") from error

    def number(text: str) -> float:
        return parse_number(text, example="1200")

    n_devices = int(read("n_devices", number, 1.0))
    hours = next(name for name in HOURS if name in columns)
    taken = read(hours, number)
    if hours != "accelerator_hours":
        taken *= n_devices / (3600 if hours == "wall_s" else 1)
    name = row[columns["accelerator"]].strip() if columns["accelerator"] < len(row) else ""
    return OwnRun(
        n_params=read("n_params", parse_params),
        n_tokens=read("n_tokens", parse_tokens),
        accelerator=find_accelerator(name),
        accelerator_hours=taken,
        n_devices=n_devices,
        context_length=int(read("context_length", number, 2048.0)),
    )
