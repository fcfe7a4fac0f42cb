"""Packaged tables with a source, a date and a status per row: published laws, accelerators, published models."""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
