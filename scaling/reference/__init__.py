"""Packaged tables with a source, a date and a status per row: published laws, accelerators, published models."""

from __future__ import annotations

from scaling.lazy import lazy_names

_MODULES = {
    "published": ("DEFAULT_LAW", "find_law", "law_names", "published_laws", "resolve_law"),
    "hardware": ("Accelerator", "accelerators", "find_accelerator"),
    "models": ("PublishedModel", "find_model", "published_models"),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = list(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
