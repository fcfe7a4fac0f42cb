"""What every tokenizer offers; and the two that need no merges: one id per byte, or one per character."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from scaling.errors import DataError, UsageError

END_OF_TEXT = "<|endoftext|>"  # the one special token; separates documents in a stream
_SHOWN = 60  # characters of a text in an error


def require_utf8(text: str) -> None:
    """Refuse what is no text: Python keeps bytes that are not UTF-8, and halves of characters, as lone surrogates.

    Raises:
        UsageError: the text holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        near = text if len(text) <= _SHOWN else text[max(0, error.start - _SHOWN // 2) :][:_SHOWN]
        raise UsageError(f"the text {near!r} is not UTF-8; save or type it as UTF-8.") from error


class Tokenizer(ABC):
    """Text to ids and back. `decode(encode(text)) == text` for every text the tokenizer accepts."""

    kind: str

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids, the end-of-text id included."""

    @property
    def end_of_text(self) -> int:
        """The last id separates documents. `encode` never returns it: text cannot forge a separator."""
        return self.vocab_size - 1

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added. Raises UsageError where it is not UTF-8."""

    @abstractmethod
    def _bytes_of(self, token: int) -> bytes:
        """The bytes of an id below the end of text."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Everything that decides the ids, as JSON values; `hash` is taken over it."""

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes one id stands for (possibly an incomplete character)."""
        if not 0 <= token < self.vocab_size:
            raise DataError(
                f"ids of this {self.kind} tokenizer lie in 0..{self.vocab_size - 1}; got {token}. "
                f"The ids were made with another tokenizer (this one is {self.hash})."
            )
        return END_OF_TEXT.encode() if token == self.end_of_text else self._bytes_of(token)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of several texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; bytes that form no character become U+FFFD, as when cutting inside one."""
        return b"".join(self.token_bytes(int(i)) for i in ids).decode("utf-8", errors="replace")

    def pieces(self, text: str) -> list[str]:
        """The text of each token, for showing; incomplete characters as \\x escapes."""
        return [self.token_bytes(i).decode("utf-8", errors="backslashreplace") for i in self.encode(text)]

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 16 hexadecimal digits: two tokenizers with one hash give equal ids.

        Byte-pair encoding: for text of characters that the Unicode tables of both engines assign (see `bpe`).
        """
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, hash={self.hash})"


class ByteTokenizer(Tokenizer):
    """Id = byte value; 256 is the end of text."""

    kind = "byte"
    vocab_size = 257

    def encode(self, text: str) -> list[int]:
        require_utf8(text)
        return list(text.encode())

    def _bytes_of(self, token: int) -> bytes:
        return bytes([token])

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

    def _bytes_of(self, token: int) -> bytes:
        return self.alphabet[token].encode()

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "alphabet": self.alphabet}
