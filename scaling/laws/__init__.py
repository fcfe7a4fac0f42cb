"""Functional forms: each family is one file with its formula, derivative, allocation and inverse.

Use which when: `chinchilla` for L(N, D) of fresh tokens; `data_constrained` when tokens repeat; `over_training` when
the same ratio D/N is best at every budget; `kaplan` to compare with the older literature; `frontier` for an optimum
N*(C) without L(N, D); the one-input power laws where only one quantity limits. Families load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from scaling.errors import UnknownNameError
from scaling.lazy import lazy_names

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

_MODULES = {
    "chinchilla": ("ChinchillaLaw",),
    "frontier": ("FrontierLaw",),
    "kaplan": ("KaplanLaw", "KaplanFloorLaw"),
    "data_constrained": ("DataConstrainedLaw",),
    "over_training": ("OverTrainingLaw",),
    "power_law": (
        "ParamsPowerLaw", "TokensPowerLaw", "FlopsPowerLaw", "ParamsPowerFloorLaw", "TokensPowerFloorLaw",
        "FlopsPowerFloorLaw",
    ),
    "base": ("Allocation", "Law", "LawFamily", "OptimumBand", "Provenance", "Uncertainty"),
    "io": ("law_from_dict", "law_to_dict", "load_law", "write_law"),
}  # fmt: skip
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["FAMILIES", "find_family", *_PUBLIC]


def find_family(name: str) -> LawFamily:
    """The family of this name.

    Raises:
        UnknownNameError: listing near names.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise UnknownNameError("law family", str(name), FAMILIES)
    module, attribute = FAMILIES[name]
    family: LawFamily = getattr(importlib.import_module(module), attribute)
    return family


__getattr__ = lazy_names(__name__, _PUBLIC)
