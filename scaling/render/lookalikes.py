"""What a terminal or pipe without UTF-8 gets for a character it lacks: no output ends in a UnicodeEncodeError."""

from __future__ import annotations

import codecs
import unicodedata
from typing import TextIO

NAME = "scaling.lookalikes"  # of the error handler, for codecs
SIGNS = {
    **dict.fromkeys("−–—‐‑─━┄╌", "-"), **dict.fromkeys("│┃┆║", "|"), **dict.fromkeys("├└┌┐┘┼", "+"),
    **dict.fromkeys("█■▉▊▋▌●", "#"), **dict.fromkeys("▍▎▏·⋅•", "."), **dict.fromkeys("‘’ʼ′", "'"),
    **dict.fromkeys("“”«»", '"'), **dict.fromkeys("≈∼≃", "~"), **dict.fromkeys("¿¡", ""), **dict.fromkeys("═", "="),
    "→": "->", "←": "<-", "↔": "<->", "↓": "v", "±": "+/-", "×": "x", "…": "...", "≤": "<=", "≥": ">=", "␣": "_",
    "⏎": "\\n", "∅": "{}", "⋮": ":", "⁺": "+", "⁻": "-", "€": "EUR", "£": "GBP", "¥": "JPY", "№": "No",
}  # fmt: skip


def print_what_it_can(stream: TextIO) -> None:
    """From here on `stream` prints a look-alike of what its encoding lacks."""
    if hasattr(
        stream, "reconfigure"
    ):  # every stream of the interpreter; not one that a caller has put in its place
        codecs.register_error(NAME, _replaced)
        stream.reconfigure(errors=NAME)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(look_alike(c) for c in lacking), error.end


def look_alike(character: str) -> str:
    """ASCII that reads like the character: x for a multiplication sign, n for a Spanish one; else \\u4e2d, its code.

    Example:
        >>> "".join(map(look_alike, "Pérdida ± 2 × 10²"))
        'Perdida +/- 2 x 102'
    """
    if character.isascii():
        return character
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return SIGNS.get(character, plain or character.encode("ascii", "backslashreplace").decode())
