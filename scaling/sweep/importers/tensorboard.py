"""TensorBoard: folders with event files (extra `logs`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from scaling.errors import DataError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers.logged import Log, Sizes, Told


def from_tensorboard(
    folder: str | Path,
    *,
    loss_tag: str,
    **told: Unpack[Told],
) -> Runs:
    """Runs from TensorBoard: every folder below `folder` with event files is one run, its loss the last of `loss_tag`.

    Args:
        told: n_params, params_convention and the other fields of `Sizes`; a name is that of a scalar, whose last
            value it is.
    """
    sizes = Sizes(**told)
    return sizes.runs(_logs(Path(folder), loss_tag), source=str(folder))


def _logs(folder: Path, loss_tag: str) -> list[Log | str]:
    """The runs; of one without the loss its name alone."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise UsageError("reading event files needs tensorboard: pip install 'isoflop[logs]'.") from error
    places = sorted({p.parent for p in folder.rglob("*tfevents*")})
    if not places:
        raise DataError(f"no event files below {folder}.")
    logs: list[Log | str] = []
    found: set[str] = set()
    for place in places:
        # a file that begins with "purge from step s" would purge what was read before it: later steps, read first
        events = EventAccumulator(
            str(place), size_guidance={"scalars": 0}, purge_orphaned_data=False
        ).Reload()
        tags = events.Tags()["scalars"]
        found |= set(tags)
        name = place.name if place == folder else place.relative_to(folder).as_posix()
        if loss_tag not in tags or _is_note_of_settings(events, place, places):
            logs.append(name)
            continue
        # Several event files of a run (stopped, and went on) are read in the order of their names, where ".10" comes
        # before ".9": so the last event is that of the highest step, and of a step done twice the later one.
        final = {tag: max(events.Scalars(tag), key=lambda e: (e.step, e.wall_time)) for tag in tags}
        last = final[loss_tag]
        values = {tag: event.value for tag, event in final.items()}
        logs.append(Log(name=name, identity=name, values=values, step=int(last.step), loss=float(last.value)))
    if all(isinstance(log, str) for log in logs):
        raise DataError(
            f"no run below {folder} has a scalar {loss_tag!r}; it has {', '.join(sorted(found)) or 'none'}."
        )
    return logs


def _is_note_of_settings(events: Any, place: Path, places: list[Path]) -> bool:
    """Whether torch's add_hparams wrote this folder, below that of the run itself: its loss has no step."""
    return place.parent in places and "_hparams_/session_start_info" in events.summary_metadata
