"""Packaged tables with a source, a date and a status per row: published laws, accelerators, published models."""

from __future__ import annotations

from scaling.lazy import lazy_names

_PUBLIC = {
    "DEFAULT_LAW": "published",
    "find_law": "published",
    "law_names": "published",
    "published_laws": "published",
    "resolve_law": "published",
    "Accelerator": "hardware",
    "accelerators": "hardware",
    "find_accelerator": "hardware",
    "PublishedModel": "models",
    "find_model": "models",
    "published_models": "models",
}

__all__ = list(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
