"""The page to explore: the planner's arithmetic in the reader's browser, on the planner's own tables."""

from __future__ import annotations

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
