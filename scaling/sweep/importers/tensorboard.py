"""TensorBoard: folders with event files (extra `logs`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

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


def _logs(folder: Path, loss_tag: str) -> Iterator[Log]:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise UsageError("reading event files needs tensorboard: pip install 'isoflop[logs]'.") from error
    places = sorted({p.parent for p in folder.rglob("*tfevents*")})
    if not places:
        raise DataError(f"no event files below {folder}.")
    for place in places:
        # a file that begins with "purge from step s" would purge what was read before it: later steps, read first
        events = EventAccumulator(
            str(place), size_guidance={"scalars": 0}, purge_orphaned_data=False
        ).Reload()
        tags = events.Tags()["scalars"]
        if loss_tag not in tags:
            raise DataError(f"{place} has no scalar {loss_tag!r}; it has {', '.join(tags) or 'none'}.")
        # Several event files of a run (stopped, and went on) are read in the order of their names, where ".10" comes
        # before ".9": so the last event is that of the highest step, and of a step done twice the later one.
        final = {tag: max(events.Scalars(tag), key=lambda e: (e.step, e.wall_time)) for tag in tags}
        last = final[loss_tag]
        name = place.name if place == folder else place.relative_to(folder).as_posix()
        values = {tag: event.value for tag, event in final.items()}
        yield Log(name=name, identity=name, values=values, step=int(last.step), loss=float(last.value))
