"""TensorBoard: folders with event files (extra `logs`)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Unpack

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.installing import extra_command
from scaling.runs import Runs
from scaling.sweep.importers.logged import NO_LOSS, LeftOut
from scaling.sweep.importers.moments import Point
from scaling.sweep.importers.sizes import Logs, SizeOptions, Sizes, listed

LENGTH, CHECKSUM_BYTES = struct.Struct("<Q"), 4  # a record: length, its checksum, body, its checksum

NO_END = "TensorBoard does not record whether a run ended: --steps leaves out those that stopped before"


def from_tensorboard(
    folder: str | Path,
    *,
    loss_tag: str,
    **options: Unpack[SizeOptions],
) -> Runs:
    """Runs from TensorBoard: every folder below `folder` with event files is one run, its loss the last of `loss_tag`.

    Scalars are read in both ways they are written: as simple values (torch) and as tensors (TensorFlow 2, Keras,
    Flax, torch's new_style).

    Args:
        options: n_params, params_convention and the other fields of `Sizes`; a name is that of a scalar. The one of
            n_tokens must have been logged at the step of the loss, or once for the whole run.
    """
    sizes = Sizes(**options)
    again: list[str] = []
    logs = _logs(Path(folder), loss_tag, sizes, again)
    notes: tuple[str, ...] = () if sizes.n_steps is not None else (NO_END,)
    if again:
        lost = "steps begin again in a later event file, what stood before is taken for lost"
        notes += (f"{lost}: {', '.join(again)}",)
    return sizes.runs(logs, loss_key=loss_tag, source=str(folder), notes=notes)


def _logs(folder: Path, loss_tag: str, sizes: Sizes, again: list[str]) -> Logs:
    """The runs; of one without the loss its name alone. `again` takes in those whose steps begin again."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise UsageError(f"reading event files needs tensorboard: {extra_command('logs')}") from error
    places = sorted({p.parent for p in folder.rglob("*tfevents*")})
    if not places:
        raise MissingFileError(f"no event files below {folder}.")
    logs: Logs = []
    found: set[str] = set()
    for place in places:
        # a file that begins with "purge from step s" would purge what was read before it: later steps, read first
        whole = {"size_guidance": {"scalars": 0, "tensors": 0}, "purge_orphaned_data": False}
        events = EventAccumulator(str(place), **whole).Reload()
        history = _scalars(events)
        found |= set(history)
        name = place.name if place == folder else place.relative_to(folder).as_posix()
        damage = _damage(place)
        if loss_tag not in history or _is_note_of_settings(events, place, places):
            logs.append(LeftOut(name=f"{name}{damage}"))
            continue
        ended: dict[str, Any] = {"is_finished": False if damage else None, "remark": damage}
        logs.append(
            sizes.log_of_points(history, loss_tag, again, name=name, identity=name, beside={}, **ended)
        )
    if all(isinstance(log, LeftOut) and log.why == NO_LOSS for log in logs):
        hurt = next((log.name for log in logs if isinstance(log, LeftOut) and "damaged" in log.name), "")
        raise DataError(
            f"no run below {folder} has a scalar {loss_tag!r}; it has {listed(found)}."
            + (f" Damaged: {hurt}." if hurt else "")
        )
    return logs


def _scalars(events: Any) -> dict[str, list[Point]]:
    """The scalars of a run by tag, in both ways of writing them; tensors that are no scalar have none."""
    from tensorboard.util import tensor_util

    tags = events.Tags()
    history = {
        tag: [Point(e.step, e.wall_time, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]
    }
    for tag in tags["tensors"]:
        for event in events.Tensors(tag):
            value = tensor_util.make_ndarray(event.tensor_proto)
            if value.size == 1 and value.dtype.kind in "fiu":
                point = Point(event.step, event.wall_time, float(value.reshape(())))
                history.setdefault(tag, []).append(point)
    return history


def _damage(place: Path) -> str:
    """What is wrong with the event files of a run: TensorBoard itself reads up to there and says nothing.

    A file that ends within a record is no damage: its writer was killed.
    """
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    for path in sorted(place.glob("*tfevents*")):
        data, position, n_records = path.read_bytes(), 0, 0
        while position + LENGTH.size + CHECKSUM_BYTES <= len(data):
            n_records += 1
            (length,) = LENGTH.unpack_from(data, position)
            body = position + LENGTH.size + CHECKSUM_BYTES
            end = body + length
            for start, stop in ((position, position + LENGTH.size), (body, end)):
                if stop + CHECKSUM_BYTES > len(data):
                    break
                told = int.from_bytes(data[stop : stop + CHECKSUM_BYTES], "little")
                if masked_crc32c(data[start:stop]) != told:
                    return f" (record {n_records} of {path.name} is damaged)"
            position = end + CHECKSUM_BYTES
    return ""


def _is_note_of_settings(events: Any, place: Path, places: list[Path]) -> bool:
    """Whether torch's add_hparams wrote this folder, below that of the run itself: its loss has no step."""
    return place.parent in places and "_hparams_/session_start_info" in events.summary_metadata
