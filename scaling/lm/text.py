"""Text of tokens as they arrive: no half characters, nothing shown that a stop string may still take back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from scaling.lm.tokenization import require_utf8

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what a decoder shows for the first bytes of a character
FinishReason = Literal["eos", "stop", "length"]  # why a text ended


class Tokenizer(Protocol):
    """What decoding needs of a tokenizer; the token id `end_of_text`, if it has one, ends a text."""

    def encode(self, text: str, /) -> Sequence[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text that a model is to continue, with what its tokenizer puts around every text (Llama's <s>).

    Raises:
        UsageError: it is no text: it came from bytes that are not UTF-8.
    """
    require_utf8(text)
    encode = getattr(tokenizer, "encode_prompt", tokenizer.encode)
    return list(encode(text))


def first_ids(tokenizer: Any) -> list[int]:
    """What a text without a prompt begins with: what the tokenizer puts before every text, else the start of text of
    the model or its tokenizer, else the end of the text before."""
    if before := getattr(tokenizer, "before_text", ()):
        return list(before)
    start = getattr(tokenizer, "start_of_text", None)
    return [start] if start is not None else encode_prompt(tokenizer, "") or [tokenizer.end_of_text]


def joint(tokenizer: Tokenizer, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
    """What belongs between a prompt and its continuation: the space that some decoders drop before the first id they
    are given (SentencePiece's)."""
    left, alone = tokenizer.decode(prompt_ids[-1:]), tokenizer.decode(ids[:1])
    both = tokenizer.decode([*prompt_ids[-1:], *ids[:1]])
    return both[len(left) : len(both) - len(alone)] if both.startswith(left) and both.endswith(alone) else ""


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
