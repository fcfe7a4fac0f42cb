"""The families of laws by name; each loads on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from scaling.arguments import require_known

if TYPE_CHECKING:
    from scaling.laws.base import LawFamily

# family → module that defines it and the name of its LawFamily there
FAMILIES: dict[str, tuple[str, str]] = {
    "chinchilla": ("scaling.laws.chinchilla", "FAMILY"),
    "frontier": ("scaling.laws.frontier", "FAMILY"),
    "kaplan": ("scaling.laws.kaplan", "FAMILY"),
    "kaplan_floor": ("scaling.laws.kaplan", "FLOOR_FAMILY"),
    "params_power_law": ("scaling.laws.power_law", "PARAMS_FAMILY"),
    "tokens_power_law": ("scaling.laws.power_law", "TOKENS_FAMILY"),
    "flops_power_law": ("scaling.laws.power_law", "FLOPS_FAMILY"),
    "params_power_law_floor": ("scaling.laws.power_law", "PARAMS_FLOOR_FAMILY"),
    "tokens_power_law_floor": ("scaling.laws.power_law", "TOKENS_FLOOR_FAMILY"),
    "flops_power_law_floor": ("scaling.laws.power_law", "FLOPS_FLOOR_FAMILY"),
    "data_constrained": ("scaling.laws.data_constrained", "FAMILY"),
    "over_training": ("scaling.laws.over_training", "FAMILY"),
}


def find_family(name: str) -> LawFamily:
    """The family of this name.

    Raises:
        UnknownNameError: listing near names.
    """
    require_known("law family", name, FAMILIES)
    module, attribute = FAMILIES[name]
    family: LawFamily = getattr(importlib.import_module(module), attribute)
    return family
