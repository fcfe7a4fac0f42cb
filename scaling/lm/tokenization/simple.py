"""Tokenizers that need no merges: one id per byte, or one per character."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scaling.errors import DataError
from scaling.lm.tokenization.base import END_OF_TEXT, Tokenizer, require_utf8


class ByteTokenizer(Tokenizer):
    """Id = byte value; 256 is the end of text."""

    kind = "byte"

    @property
    def vocab_size(self) -> int:
        return 257

    @property
    def end_of_text(self) -> int:
        return 256

    def encode(self, text: str) -> list[int]:
        require_utf8(text)
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes:
        return END_OF_TEXT.encode() if self._check(token) == 256 else bytes([token])

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind}


class CharTokenizer(Tokenizer):
    """One id per character of a closed alphabet, in code-point order; the last id is the end of text."""

    kind = "char"

    def __init__(self, alphabet: Iterable[str]) -> None:
        self.alphabet = "".join(sorted(set("".join(alphabet))))
        if not self.alphabet:
            raise DataError("a character tokenizer needs at least one character; the training text is empty.")
        self._ids = {c: i for i, c in enumerate(self.alphabet)}

    @classmethod
    def train(cls, texts: Iterable[str]) -> CharTokenizer:
        """Alphabet = every character seen in `texts`."""
        seen: set[str] = set()
        for text in texts:
            require_utf8(text)
            seen.update(text)
        return cls(seen)

    @property
    def vocab_size(self) -> int:
        return len(self.alphabet) + 1

    @property
    def end_of_text(self) -> int:
        return len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        require_utf8(text)
        try:
            return [self._ids[c] for c in text]
        except KeyError as error:
            c = error.args[0]
            raise DataError(
                f"character {c!r} (U+{ord(c):04X}) at position {text.index(c)} is not in the alphabet of "
                f"{len(self.alphabet)} characters this tokenizer was trained on. Train it on text that has it, "
                "or use the byte tokenizer."
            ) from error

    def token_bytes(self, token: int) -> bytes:
        is_end = self._check(token) == self.end_of_text
        return (END_OF_TEXT if is_end else self.alphabet[token]).encode()

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "alphabet": self.alphabet}
