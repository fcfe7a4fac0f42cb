"""Which runs can be trained as one stacked model: one shape, one length; seeds and learning rates may differ.

On a GPU a stacked model gives each run the numbers it has alone up to rounding (sums in another order), not bit for
bit: so packing is asked for (`--pack`), where one model is too small to fill the GPU. On a CPU the runs of a pack take
turns, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scaling.sweep.design import Unit
from scaling.sweep.store import canonical_json

MAY_DIFFER = ("seeds", "optimizer", "corpus", "evaluation", "budget", "conventions", "trunk_id")
UNPACKABLE_POSITIONS = "relative_bias"  # one bias for the whole batch


def pack_units(units: Iterable[Unit], size: int) -> list[tuple[Unit, ...]]:
    """Units in groups of up to `size` that agree in shape and lengths; groups in the order of their first unit."""
    groups: dict[str, list[list[Unit]]] = {}
    ordered: list[list[Unit]] = []
    for unit in units:
        alike = groups.setdefault(_shape_key(unit), [])
        if alike and len(alike[-1]) < size:
            alike[-1].append(unit)
        else:
            alike.append([unit])
            ordered.append(alike[-1])
    return [tuple(group) for group in ordered]


def _shape_key(unit: Unit) -> str:
    if any(r.config["architecture"].get("positions") == UNPACKABLE_POSITIONS for r in unit.runs):
        return unit.unit_id
    return canonical_json([_shape(r.config) for r in unit.runs])


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k not in MAY_DIFFER}
