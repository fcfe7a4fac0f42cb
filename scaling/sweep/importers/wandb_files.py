"""The offline runs of Weights & Biases: one file a launch, run-<id>.wandb, several of one id where a run went on.

A file is protocol buffers in LevelDB's log format. W&B's own messages decode it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.installing import extra_command
from scaling.sweep.importers.logged import NO_LOSS, LeftOut, as_number
from scaling.sweep.importers.moments import ONE_STEP, Moment, of_the_end
from scaling.sweep.importers.sizes import Log, Logs, Sizes, known
from scaling.sweep.store import canonical_json

OWN_COUNTER = "_step"  # counts calls of log() from 0, where the caller gives no step
COUNTS_STEPS = re.compile(
    r"(^|[/.])((global|train|training|trainer|optimizer)_?)?(steps?|iters?|iterations?|iter_num|it|updates?|num_updates)$"
)  # the name of a logged value
STARTED = re.compile(r"\d{8}_\d{6}")  # offline-run-20260131_120000-id
IDENTITY = b":W&B"
FILE_HEADER_BYTES = 7  # the identity, 0xBEE1, version 0
RECORD_HEADER = struct.Struct("<IHB")  # CRC-32 of kind and body, length, kind
BLOCK_BYTES = 32768  # of LevelDB's log format; no record header crosses a block
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """One launch of a run, as its file says. `first`, `last`: of every name that counts up, `begin` what its values
    lead back to at the launch's first row. `calls`: W&B's own counter stands for calls of log(), from 0 on.

    `started` is the time in the folder's name, to the second, then that of the file, which a killed launch may lack.
    """

    path: Path
    started: tuple[str, float]
    run_id: str
    name: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    first: Mapping[str, float]
    last: Mapping[str, float]
    begin: Mapping[str, float]
    calls: bool
    finished: bool
    damage: str


def offline_logs(folder: Path, loss_key: str, step_key: str, sizes: Sizes, found: set[str]) -> Logs:
    """The runs below a folder, launches of one id joined; `found` takes in the names of what they logged."""
    paths = sorted(folder.rglob("run-*.wandb"))
    if not paths:
        raise MissingFileError(
            f"no run-*.wandb below {folder}; give a folder with offline runs, or an exported CSV."
        )
    runs: dict[str, list[Part]] = {}
    parts = (_read_part(path, {OWN_COUNTER, step_key, *sizes.growing}) for path in paths)
    for part in sorted(parts, key=lambda part: part.started):
        runs.setdefault(part.run_id, []).append(part)
    return [_join(parts, loss_key, step_key, sizes, found) for parts in runs.values()]


def _read_part(path: Path, counted: set[str]) -> Part:
    """What one file says of its run, but for the rows of its history, which may be many."""
    run_id = name = path.stem.removeprefix("run-")
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    where: dict[str, tuple[float, float]] = {}  # of the first and the last value of each name, W&B's own step
    n_rows = 0
    damage: list[str] = []
    finished, seconds = False, 0.0
    for record in read_records(path, damage):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run_id, name = record.run.run_id or run_id, record.run.display_name or name
            config |= _items(record.run.config.update)
            seconds = record.run.start_time.seconds + record.run.start_time.nanos / 1e9
        elif kind == "config":
            config |= _items(record.config.update)
        elif kind == "summary":
            summary |= flat(_items(record.summary.update))
        elif kind == "history":
            row = _row(record)
            n_rows += 1
            last |= {key: as_number(row[key]) for key in counted & row.keys()}
            first = last | first
            own = last.get(OWN_COUNTER, math.nan)
            where |= {key: (where.get(key, (own,))[0], own) for key in counted & row.keys()}
        elif kind == "exit":
            finished = record.exit.exit_code == 0
    time = STARTED.search(path.parent.name)
    return Part(
        path=path, started=(time[0] if time else "", seconds), run_id=run_id, name=name, summary=summary,
        config=flat({k: v for k, v in config.items() if not k.startswith("_")}), first=first, last=last,
        begin={key: _led_back(first[key], last[key], *where[key], first.get(OWN_COUNTER, math.nan)) for key in where},
        calls=n_rows > 1 and first.get(OWN_COUNTER) == 0 and last[OWN_COUNTER] == n_rows - 1, finished=finished,
        damage="".join(damage),
    )  # fmt: skip


def _led_back(first: float, last: float, first_at: float, last_at: float, start: float) -> float:
    """The value that a counter's line from its first to its last value has at the step `start`."""
    if not last_at > first_at:
        return first
    return first - (last - first) / (last_at - first_at) * (first_at - start)


def _join(parts: list[Part], loss_key: str, step_key: str, sizes: Sizes, found: set[str]) -> Log | LeftOut:
    """One run of its parts."""
    name, damage = parts[-1].name, "".join(part.damage for part in parts)
    settings = {k: v for part in parts for k, v in part.config.items()}
    summary = {k: v for part in parts for k, v in part.summary.items()}
    chosen, offset, why = _one_count(parts, step_key, sizes, settings)
    rows = _rows_of(chosen, step_key)
    moment, last = sizes.at_last_row(rows, loss_key, step_key)
    found |= last.keys() | summary.keys()
    if moment is None:
        return LeftOut(name=f"{name}{damage}", why="its file is damaged" if damage else NO_LOSS)
    if (
        not why and step_key in moment.unsure and not offset
    ):  # with one, it is known how often the steps begin again
        why = f"{step_key} {moment.unsure[step_key]}"
    if why := why or of_calls(parts[0].calls, offset, last, step_key, sizes):
        return LeftOut(name=f"{name}{damage}", why=why)
    log = log_of_rows(
        moment, last, sizes, offset=offset, name=name, summary=summary, settings=settings, tool_id=parts[0].run_id,
        is_finished=chosen[-1].finished, counts_calls=step_key == OWN_COUNTER and parts[0].calls, remark=damage,
    )  # fmt: skip
    return replace(log, unsure={**log.unsure, **_differing(chosen, sizes)})


def log_of_rows(
    moment: Moment, last: dict[str, Any], sizes: Sizes, *, name: str, summary: dict[str, Any],
    settings: dict[str, Any], **rest: Any,
) -> Log:  # fmt: skip
    """A run at the moment of its last loss, with what stands beside its rows: summary and configuration."""
    beside_the_rows = of_the_end(moment, sizes.growing, last, {**summary, **settings})
    return Log.at(
        moment, name=name, identity=f"{name} {canonical_json({k: str(v) for k, v in settings.items()})}",
        values={**summary, **last, **settings, **moment.values}, unsure={**moment.unsure, **beside_the_rows}, **rest,
    )  # fmt: skip


def _one_count(
    parts: list[Part], step_key: str, sizes: Sizes, settings: Mapping[str, Any]
) -> tuple[list[Part], int, str]:
    """The parts to take, what to add to the steps of the last one, and why the steps cannot be known."""
    lost = [part for part in parts if not part.first]  # killed before W&B had written a row
    parts = [part for part in parts if part.first] or parts[-1:]
    if not _counts_again(parts, step_key) and not (lost and step_key == OWN_COUNTER and parts[0].first):
        return parts, int(parts[0].calls and step_key == OWN_COUNTER), ""
    planned = None
    if sizes.n_steps is not None:
        log = Log(name=parts[-1].name, identity="", values=settings, step=0, loss=0.0)
        with contextlib.suppress(DataError):  # it is asked for where the row is made
            planned = int(known(sizes.n_steps, log, "n_steps"))
    from_0 = int(step_key == OWN_COUNTER and parts[-1].calls)
    counts = [int(part.last.get(step_key, 0)) + from_0 for part in parts]
    if planned is not None and counts[-1] >= planned:
        return parts[-1:], from_0, ""  # it began anew and reached the end by itself
    if planned is None and sizes.tokens_per_step is None:
        return parts, sum(counts[:-1]) + from_0, ""  # no number of the table comes from the steps
    if lost:
        return parts, 0, (
            f"a part of run {parts[0].run_id} was killed before its rows were written, and {step_key} counts from 0 in "
            "each: say --step-key, --tokens or --sizes with n_tokens"
        )  # fmt: skip
    if planned == sum(counts):
        return parts, sum(counts[:-1]) + from_0, ""
    return parts, 0, (
        f"{len(parts)} parts of run {parts[0].run_id} count {step_key} from the start again "
        f"({' + '.join(map(str, counts))}): say --steps {sum(counts)} if each went on where the one before ended, "
        "else --step-key, --tokens or --sizes with n_tokens"
    )  # fmt: skip


def _counts_again(parts: list[Part], key: str) -> bool:
    """Whether the counter of a later part knows nothing of the parts before.

    A value that falls is none of a whole run where W&B's own step goes on. Where that falls too the part went on from
    a checkpoint, unless its values lead back to where the first part began.
    """
    having = [part for part in parts if key in part.first]
    for before, part in pairwise(having):
        goes_on = part.first[OWN_COUNTER] > before.last[OWN_COUNTER]
        constant = part.first[key] == part.last[key] == before.first[key] == before.last[key]
        if constant and key != OWN_COUNTER:
            continue
        if part.first[key] < before.last[key] and goes_on:
            return True
        if part.first[key] <= before.last[key] and part.begin[key] <= having[0].first[key]:
            return True
    return False


def _differing(parts: list[Part], sizes: Sizes) -> dict[str, str]:
    """Values that the parts of one run do not agree on, or that count from the start again in a later one."""
    told = {key: {str(part.config[key]) for part in parts if key in part.config} for key in sizes.constant}
    return {
        **{key: f"differs between parts of run {parts[0].run_id}" for key, found in told.items() if len(found) > 1},
        **{
            key: f"counts from the start again in a later part of run {parts[0].run_id} (--steps says whether that one "
            "is whole; --tokens takes a number, --sizes one a run)"
            for key in sizes.growing
            if _counts_again(parts, key)
        },
    }  # fmt: skip


def of_calls(calls: bool, offset: int, last: Mapping[str, Any], step_key: str, sizes: Sizes) -> str:
    """Why W&B's own counter does not count training steps: another counter was logged, and says otherwise."""
    if not calls or step_key != OWN_COUNTER or (sizes.tokens_per_step is None and sizes.n_steps is None):
        return ""
    n_calls = as_number(last.get(OWN_COUNTER)) + offset
    for key, value in last.items():
        number = as_number(value)
        if key == OWN_COUNTER or not COUNTS_STEPS.search(key.lower()) or not 1 <= number < 2**63:
            continue
        if number.is_integer() and abs(number - n_calls) > ONE_STEP:
            return (
                f"{OWN_COUNTER} counts calls of log(), {n_calls:g} of them, and {key} says {number:g}: say --step-key "
                f"{key}"
            )
    return ""


def ask_of_other_launches(logs: Logs, sizes: Sizes) -> Logs:
    """The runs; one is left out where a launch of another id was cut and nobody can say whether it went on from there.

    That matters where tokens come from a counter that begins at 0 in every launch.
    """
    if sizes.tokens_per_step is None or sizes.n_steps is not None:
        return logs
    runs = (log for log in logs if isinstance(log, Log))
    cut = {log.identity: log for log in runs if log.is_finished is False and log.step > 0}
    asked: Logs = []
    for log in logs:
        if isinstance(log, Log) and log.counts_calls and log.is_finished and log.identity in cut:
            before = cut[log.identity]
            anew = (
                f"--steps {log.step} if run {log.tool_id} began anew, else " if log.step > before.step else ""
            )
            why = (
                f"a launch under another id ({before.tool_id}) was cut after {before.step} steps, and {OWN_COUNTER} "
                f"counts from 0 in each: say {anew}--step-key, or --sizes with n_tokens"
            )
            asked.append(LeftOut(name=log.name, why=why))
        else:
            asked.append(log)
    return asked


def _rows_of(parts: list[Part], step_key: str) -> Iterator[dict[str, Any]]:
    """The rows of all parts in order; where the counter goes on, without those that a later part did again."""
    goes_on = not _counts_again(parts, step_key)
    for k, part in enumerate(parts):
        later = [p.first[step_key] for p in parts[k + 1 :] if goes_on and step_key in p.first]
        done_again, step = min(later, default=math.inf), -math.inf
        for record in read_records(part.path):
            if record.WhichOneof("record_type") == "history":
                row = _row(record)
                step = as_number(row[step_key]) if step_key in row else step
                if not step >= done_again:
                    yield row


def read_records(path: Path, damage: list[str] | None = None) -> Iterator[Any]:
    """The records of an offline run. A torn one (the writer was killed) ends them; so does a damaged one, which
    `damage` takes in.

    Raises:
        DataError: not a W&B file.
    """
    try:
        # its classes are made at import
        messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
        not_decoded: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError as error:
        raise UsageError(f"reading offline runs needs wandb: {extra_command('wandb')}") from error
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
        start, position = position, position + RECORD_HEADER.size + length
        part = data[start + RECORD_HEADER.size : position]
        if len(part) < length:
            return
        record = messages.Record()
        try:
            if zlib.crc32(bytes([kind]) + part) != crc:
                raise not_decoded
            body = part if kind in (FULL, FIRST) else body + part
            if kind in (FULL, LAST):
                record.ParseFromString(body)
        except not_decoded:
            if damage is not None:
                damage.append(f" ({path.name} is damaged at byte {start} of {len(data)})")
            return
        if kind in (FULL, LAST):
            yield record


def _row(record: Any) -> dict[str, Any]:
    return flat(_items(record.history.item))


def _items(items: Iterable[Any]) -> dict[str, Any]:
    """Values by key, those of nested keys under "a.b"."""
    return {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested values under "a.b"."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if hasattr(value, "items"):  # a mapping, or a part of the summary of W&B's API, which is none
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
