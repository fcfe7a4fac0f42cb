"""Architecture: sizes of a decoder, encoder or encoder-decoder; validated, frozen, no torch. Presets by name.

Names load on first use: planning never needs the presets.
"""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
