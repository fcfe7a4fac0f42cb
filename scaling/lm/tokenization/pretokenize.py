"""GPT-2's split of text into pieces that merges never cross, without the third-party `regex` module.

The pattern of GPT-2 (Radford et al. 2019, released encoder.py), whose classes \\p{L} and \\p{N} `re` lacks:
`'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`. They
are spelt out from `unicodedata` (0.3 s, once).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

# Unicode White_Space; Python's own \s adds U+001C..U+001F, which the reference does not count.
_SPACE = "\\t\\n\\v\\f\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


def split_words(text: str) -> list[str]:
    """Pieces of `text`, in order; joined they give `text` back."""
    return _pattern(text.isascii()).findall(text)


@cache
def _pattern(ascii_only: bool) -> re.Pattern[str]:
    letters, numbers = ("A-Za-z", "0-9") if ascii_only else (_category_class("L"), _category_class("N"))
    return re.compile(
        f"'s|'t|'re|'ve|'m|'ll|'d| ?[{letters}]+| ?[{numbers}]+| ?[^{_SPACE}{letters}{numbers}]+"
        f"|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    )


@cache
def _category_class(major: str) -> str:
    """Ranges of all code points whose general category starts with `major`."""
    parts, start = [], None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == major
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            parts.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(parts)


@cache
def byte_order() -> tuple[int, ...]:
    """Byte value of base id 0..255: printable bytes first, the order of GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return (*printable, *(b for b in range(256) if b not in set(printable)))


@cache
def byte_characters() -> dict[int, str]:
    """Byte value → the visible character GPT-2's files write it as (0x20 is written U+0120)."""
    n_printable = 188
    return {b: chr(b) if i < n_printable else chr(256 + i - n_printable) for i, b in enumerate(byte_order())}


@cache
def _bytes() -> dict[str, int]:
    return {character: byte for byte, character in byte_characters().items()}


def spell_bytes(token: bytes) -> str:
    """The bytes as GPT-2's files write them."""
    return "".join(byte_characters()[byte] for byte in token)


def read_bytes(spelling: str) -> bytes:
    """The inverse of `spell_bytes`; KeyError where a character stands for no byte."""
    return bytes(_bytes()[character] for character in spelling)
