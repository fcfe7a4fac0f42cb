"""Text of tokens as they arrive: no half characters, nothing shown that a stop string may still take back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from scaling.errors import UsageError

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what a decoder shows for the first bytes of a character
FinishReason = Literal["eos", "stop", "length"]  # why a text ended


class Tokenizer(Protocol):
    """What decoding needs of a tokenizer; the token id `end_of_text`, if it has one, ends a text."""

    def encode(self, text: str, /) -> Sequence[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text that a user typed.

    Raises:
        UsageError: it is no text: it came from bytes that are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the text {text!r} is not UTF-8; save or type it as UTF-8.") from error
    return list(tokenizer.encode(text))


class TextTail:
    """The text of one row as its tokens arrive.

    `text` is all of it so far, cut before the first stop string; `shown` is how much of it `take` has given away.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.ids: list[int] = []
        self.text, self.stopped = "", False
        self._shown = 0
        self._settled_ids, self._settled_text = 0, ""  # tokens whose text can no longer change

    def push(self, token: int) -> None:
        """Add a token; sets `stopped` when a stop string is complete."""
        self.ids.append(token)
        # decoded from the last settled token on, so that a tokenizer that joins or trims words sees its left neighbour
        anchor = max(0, self._settled_ids - 1)
        tail = self.tokenizer.decode(self.ids[anchor:])
        left = self.tokenizer.decode(self.ids[anchor : self._settled_ids])
        old = len(self._settled_text)
        self.text = self._settled_text + tail[len(left) :]
        if not tail.endswith(_UNFINISHED):
            self._settled_ids, self._settled_text = len(self.ids), self.text
        self._cut_at_stop(old)

    def take(self, *, final: bool) -> str:
        """The part not shown before; until `final` without half characters and possible beginnings of stop strings."""
        end = len(self.text)
        if not (final or self.stopped):
            while end > self._shown and self.text[end - 1] == _UNFINISHED:
                end -= 1
            end -= max((_overlap(self.text[self._shown : end], s) for s in self.stop), default=0)
        piece = self.text[self._shown : end]
        self._shown = max(self._shown, end)
        return piece

    def _cut_at_stop(self, old: int) -> None:
        longest = max(map(len, self.stop), default=0)
        starts = [self.text.find(s, max(0, old - longest)) for s in self.stop]
        found = [start for start in starts if start >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
