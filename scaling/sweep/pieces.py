"""A sweep cut into pieces that workers take one by one, the longest first: trunks, and branches ready to leave them.

A trunk is trained by its longest unfinished run, which leaves a checkpoint wherever a shorter one branches off. From
then on the shorter one is a piece of its own, a decay only, for whoever is free: so no slot waits at the end of a
sweep for another that has all branches of the last trunk to itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaling.sweep.design import PlannedRun, Unit, branch_step
from scaling.sweep.store import Store


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a worker takes in one go, of one unit or of several that are packed.

    index: which of the runs of each unit, once it can start by itself; None: the trunk, with the longest of them.
    """

    units: tuple[Unit, ...]
    index: int | None

    @property
    def n_steps(self) -> int:
        """Steps of each unit, where nothing is trained yet."""
        run = self.units[0].runs[-1 if self.index is None else self.index]
        return run.n_steps if self.index is None or run.trunk_id is None else run.decay_steps

    @property
    def flops(self) -> float:
        return self.n_steps * self.units[0].runs[0].flops_per_step

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Every run that may be trained in it."""
        if self.index is None:
            return tuple(run for unit in self.units for run in unit.runs)
        return tuple(unit.runs[self.index] for unit in self.units)


def cut_pieces(packs: Iterable[Sequence[Unit]]) -> list[Piece]:
    """All pieces of units packed as given, longest first."""
    pieces = []
    for pack in packs:
        units = tuple(pack)
        if units[0].runs[0].trunk_id is not None:
            pieces.append(Piece(units=units, index=None))
        pieces += [Piece(units=units, index=i) for i in range(len(units[0].runs))]
    return sorted(pieces, key=lambda p: (-p.flops, p.units[0].unit_id))


def trunk_checkpoint(folder: Path, step: int) -> Path:
    """Where a trunk keeps its state after so many steps."""
    return folder / f"step-{step}.safetensors"


def trunk_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that a trunk keeps, rising."""
    return sorted(int(p.stem.removeprefix("step-")) for p in folder.glob("step-*.safetensors"))


def can_start_alone(store: Store, run: PlannedRun) -> bool:
    """Whether a run needs no trunk to be trained on first: it shares none, or its own branching point is there.

    A trunk whose folder cannot be used is none: its runs are trained from their start.
    """
    if run.trunk_id is None:
        return True
    return (
        trunk_checkpoint(store.trunks.run_dir(run.trunk_id), branch_step(run.config["schedule"])).exists()
        or store.trunks.inspect(run.trunk_id).is_broken
    )


def steps_left(store: Store, run: PlannedRun) -> int:
    """Steps of a run from the nearest checkpoint of its trunk on."""
    if run.trunk_id is None or store.trunks.inspect(run.trunk_id).is_broken:
        return run.n_steps
    branch = branch_step(run.config["schedule"])
    reached = [s for s in trunk_steps(store.trunks.run_dir(run.trunk_id)) if s <= branch]
    return run.n_steps - max(reached, default=0)
