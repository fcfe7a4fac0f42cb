"""Fixed text in the reader's language. The English sentence is its own key, as in gettext: code stays readable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_CATALOGUE: ContextVar[Mapping[str, str] | None] = ContextVar("catalogue", default=None)


def tr(sentence: str, /, **values: Any) -> str:
    """The sentence in the language of the catalogue in use, its {fields} filled in; English without one."""
    catalogue = _CATALOGUE.get()
    told = sentence if catalogue is None else catalogue.get(sentence, sentence)
    if not values:
        return told
    try:
        return told.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError):  # a translation that names another field
        return sentence.format(**values)


def tr_n(one: str, many: str, n: int, /, **values: Any) -> str:
    """As `tr`, by number: tr_n("{n} run", "{n} runs", 5)."""
    return tr(one if n == 1 else many, n=n, **values)


def catalogue_in_use() -> Mapping[str, str]:
    """From an English sentence to the reader's; empty where text is English."""
    return _CATALOGUE.get() or {}


def counted(n: int, noun: str) -> str:
    """'1 run', '5 runs'."""
    return tr_n(f"{{n}} {noun}", f"{{n}} {noun}s", n)


@contextmanager
def translated(catalogue: Mapping[str, str]) -> Iterator[None]:
    """Within it, text is told by `catalogue`: from an English sentence, its {fields} kept, to the reader's."""
    token = _CATALOGUE.set(catalogue)
    try:
        yield
    finally:
        _CATALOGUE.reset(token)
