"""Architecture: sizes of a decoder, encoder or encoder-decoder; validated, frozen, no torch. Presets by name.

The presets load on first use, since planning never needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling.architecture.fields import Activation, Head, Kind, Norm, NormPosition, Positions
from scaling.architecture.spec import Architecture
from scaling.lazy import lazy_names

if TYPE_CHECKING:
    from scaling.architecture.files import describe_architecture, load_architecture
    from scaling.architecture.presets import PRESETS, find_preset

__all__ = [
    "PRESETS",
    "Activation",
    "Architecture",
    "Head",
    "Kind",
    "Norm",
    "NormPosition",
    "Positions",
    "describe_architecture",
    "find_preset",
    "load_architecture",
]

_LAZY = {
    "PRESETS": "presets",
    "find_preset": "presets",
    "load_architecture": "files",
    "describe_architecture": "files",
}

__getattr__ = lazy_names(__name__, _LAZY)
