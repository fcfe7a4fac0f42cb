"""Weights & Biases (extra `wandb`): offline runs, the CSV that the web page exports, or runs of its API.

An offline run is one file, run-<id>.wandb: protocol buffers in LevelDB's log format. W&B's own messages decode it.
A run that was relaunched has another id but the same name and configuration: these two together are its identity.
"""

from __future__ import annotations

import csv
import importlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from scaling.errors import DataError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers.logged import Log, Sizes, Told
from scaling.sweep.store import canonical_json

IDENTITY = b":W&B"
FILE_HEADER_BYTES = 7  # the identity, 0xBEE1, version 0
RECORD_HEADER = struct.Struct("<IHB")  # CRC-32 of kind and body, length, kind
BLOCK_BYTES = 32768  # of LevelDB's log format; no record header crosses a block
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def from_wandb(
    source: str | Path | Iterable[Any],
    *,
    loss_key: str,
    step_key: str = "_step",
    **told: Unpack[Told],
) -> Runs:
    """Runs from W&B: the last `loss_key` of each run that finished.

    Args:
        source: a folder with offline runs anywhere below it; a CSV exported from the table of runs; or runs of the
            API, `wandb.Api().runs("entity/project")`.
        told: n_params, params_convention and the other fields of `Sizes`; a name is that of a configuration value
            ("model.n_params" for nested ones) or of a logged one.
        step_key: what counts steps, where it is not W&B's own counter ("train/global_step" of transformers).
    """
    sizes = Sizes(**told)
    if not isinstance(source, str | Path):
        logs = [_from_api(run, loss_key, step_key) for run in source]
        return sizes.runs(_with_loss(logs, loss_key, "the W&B API"), source="the W&B API")
    path = Path(source)
    if path.is_dir():
        logs = [_from_file(p, loss_key, step_key) for p in _offline_files(path)]
    else:
        logs = list(_from_csv(path, loss_key, step_key))
    return sizes.runs(_with_loss(logs, loss_key, str(path)), source=str(path))


def _with_loss(logs: list[Log | str], loss_key: str, source: str) -> list[Log | str]:
    """The runs, where one at least has logged a loss; those killed before their first are names alone."""
    if all(isinstance(log, str) for log in logs):
        raise DataError(f"{source}: none of {len(logs)} runs has logged {loss_key!r}.")
    return logs


# --- offline runs ---


def _offline_files(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob("run-*.wandb"))  # the folders' names begin with the time of the start
    if not paths:
        raise DataError(
            f"no run-*.wandb below {folder}; give a folder with offline runs, or an exported CSV."
        )
    return sorted(paths, key=lambda p: p.parent.name)


def _from_file(path: Path, loss_key: str, step_key: str) -> Log | str:
    config: dict[str, Any] = {}
    values: dict[str, Any] = {}
    name, finished = path.stem.removeprefix("run-"), False
    last: tuple[int, float] | None = None
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name = record.run.display_name or name
            config |= _items(record.run.config.update)
        elif kind == "config":
            config |= _items(record.config.update)
        elif kind == "summary":
            values |= _items(record.summary.update)
        elif kind == "history":
            row = _items(record.history.item)
            values |= row
            if row.get(loss_key) is not None:
                last = int(values.get(step_key, row.get("_step", 0))), float(row[loss_key])
        elif kind == "exit":
            finished = record.exit.exit_code == 0
    if last is None:
        return name
    settings = _flat({k: v for k, v in config.items() if not k.startswith("_")})
    return Log(
        name=name, identity=_identity(name, settings), values={**values, **settings}, step=last[0], loss=last[1],
        is_finished=finished,
    )  # fmt: skip


def read_records(path: Path) -> Iterator[Any]:
    """The records of an offline run; a torn one (the writer was killed) ends them.

    Raises:
        DataError: not a W&B file.
    """
    try:
        messages: Any = importlib.import_module(
            "wandb.proto.wandb_internal_pb2"
        )  # its classes are made at import
    except ImportError as error:
        raise UsageError("reading offline runs needs wandb: pip install 'isoflop[wandb]'.") from error
    data = path.read_bytes()
    if not data.startswith(IDENTITY[: len(data)]):
        raise DataError(f"{path} is not an offline run of W&B.")
    position, body = FILE_HEADER_BYTES, b""
    while position + RECORD_HEADER.size <= len(data):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < RECORD_HEADER.size:
            position += left
            continue
        crc, length, kind = RECORD_HEADER.unpack_from(data, position)
        position += RECORD_HEADER.size
        part = data[position : position + length]
        position += length
        if len(part) < length or zlib.crc32(bytes([kind]) + part) != crc:
            return
        body = part if kind in (FULL, FIRST) else body + part
        if kind in (FULL, LAST):
            record = messages.Record()
            record.ParseFromString(body)
            yield record


def _items(items: Iterable[Any]) -> dict[str, Any]:
    """Values by key, those of nested keys under "a.b"."""
    return {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


# --- exports and the API ---


def _from_csv(path: Path, loss_key: str, step_key: str) -> Iterator[Log | str]:
    """Rows of the table of runs that W&B's page exports: Name, State, then configuration and last values."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError(f"there is no W&B folder or CSV at {path}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV exported from W&B ({error}).") from error
    if not rows or "Name" not in rows[0] or loss_key not in rows[0]:
        found = ", ".join(rows[0]) if rows else "no row"
        raise DataError(f"{path} needs the columns Name and {loss_key}; it has {found}.")
    for row in rows:
        values = {k: v for k, v in row.items() if k is not None and v}
        if loss_key not in values:
            yield row["Name"]
            continue
        yield Log(
            name=row["Name"],
            identity=values.get("ID", row["Name"]),
            values=values,
            step=int(float(values.get(step_key, 0))),
            loss=float(values[loss_key]),
            is_finished=row["State"] == "finished" if row.get("State") else None,
        )


def _from_api(run: Any, loss_key: str, step_key: str) -> Log | str:
    """A run of wandb.Api(): id, name, state, config, summary, scan_history."""
    last: tuple[int, float] | None = None
    for row in run.scan_history(keys=[loss_key, step_key]):
        if row.get(loss_key) is not None and row.get(step_key) is not None:
            last = int(row[step_key]), float(row[loss_key])
    if last is None:
        return str(run.name)
    settings = _flat({k: v for k, v in dict(run.config).items() if not k.startswith("_")})
    return Log(
        name=run.name,
        identity=_identity(run.name, settings),
        values={**_flat(dict(run.summary)), **settings},
        step=last[0],
        loss=last[1],
        is_finished=run.state == "finished",
    )


def _identity(name: str, settings: Mapping[str, Any]) -> str:
    return f"{name} {canonical_json({k: str(v) for k, v in settings.items()})}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under "a.b"."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
