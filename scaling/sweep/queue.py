"""The work of a sweep, as a queue from which workers take one item at a time, the longest first.

An item is a trunk, or the branches that are ready to leave it. A trunk is trained by its longest unfinished run, which
leaves a checkpoint wherever a shorter one branches off. From then on the shorter one is an item of its own, a decay
only, for whoever is free: so no slot waits at the end of a sweep for another that has all branches of the last trunk
to itself.

Runs of one shape and length can be packed: trained as one stacked model; seeds and learning rates may differ. On a GPU
a stacked model gives each run the numbers it has alone up to rounding (sums in another order), not bit for bit: so
packing is asked for (`--pack`), where one model is too small to fill the GPU. On a CPU the runs of a pack take turns,
and nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scaling.sweep.design import PlannedRun, Unit, branch_step
from scaling.sweep.store import Store, canonical_json

MAY_DIFFER = ("seeds", "optimizer", "corpus", "evaluation", "budget", "conventions", "trunk_id")
UNPACKABLE_POSITIONS = "relative_bias"  # one bias for the whole batch


@dataclass(frozen=True, kw_only=True)
class WorkItem:
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


def work_queue(units: Iterable[Unit], pack: int = 1) -> list[WorkItem]:
    """All items of units of which up to `pack` are trained as one model, longest first."""
    items = []
    for packed in pack_units(units, pack):
        if packed[0].runs[0].trunk_id is not None:
            items.append(WorkItem(units=packed, index=None))
        items += [WorkItem(units=packed, index=i) for i in range(len(packed[0].runs))]
    return sorted(items, key=lambda item: (-item.flops, item.units[0].unit_id))


def pack_units(units: Iterable[Unit], size: int) -> list[tuple[Unit, ...]]:
    """Units in groups of up to `size` that agree in shape and lengths; groups in the order of their first unit."""
    filling: dict[str, list[Unit]] = {}  # by shape, the group that takes the next unit
    ordered: list[list[Unit]] = []
    for unit in units:
        key = _shape_key(unit)
        if key not in filling or len(filling[key]) == size:
            filling[key] = []
            ordered.append(filling[key])
        filling[key].append(unit)
    return [tuple(group) for group in ordered]


def _shape_key(unit: Unit) -> str:
    """What units must have in common to be packed; the unit's own name where it cannot be."""
    if any(r.architecture.get("positions") == UNPACKABLE_POSITIONS for r in unit.runs):
        return unit.unit_id
    return canonical_json([{k: v for k, v in r.config.items() if k not in MAY_DIFFER} for r in unit.runs])


def trunk_checkpoint(folder: Path, step: int) -> Path:
    """Where a trunk keeps its state after so many steps."""
    return folder / f"step-{step}.safetensors"


def trunk_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that a trunk keeps, rising."""
    return sorted(int(p.stem.removeprefix("step-")) for p in folder.glob("step-*.safetensors"))


def newest_of_trunk(folder: Path, run: PlannedRun) -> int | None:
    """The step of the trunk's newest checkpoint that is not beyond the run's branch; None where there is none."""
    branch = branch_step(run.config["schedule"])
    return max((step for step in trunk_steps(folder) if step <= branch), default=None)


def can_start_alone(store: Store, run: PlannedRun) -> bool:
    """Whether a run needs no trunk to be trained on first: it shares none, or its own branching point is there.

    A trunk whose folder cannot be used is none: its runs are trained from their start.
    """
    if run.trunk_id is None:
        return True
    branch = trunk_checkpoint(store.trunks.run_dir(run.trunk_id), branch_step(run.config["schedule"]))
    return branch.exists() or store.trunks.inspect(run.trunk_id).is_broken


def steps_left(store: Store, run: PlannedRun) -> int:
    """Steps of a run from the nearest checkpoint of its trunk on."""
    if run.trunk_id is None or store.trunks.inspect(run.trunk_id).is_broken:
        return run.n_steps
    return run.n_steps - (newest_of_trunk(store.trunks.run_dir(run.trunk_id), run) or 0)
