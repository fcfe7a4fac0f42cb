"""What is asked of decoding, checked, and what becomes of it: prompts, what ends a text, the texts as they grow.

Text comes as its tokens arrive: no half characters, nothing shown that a stop string may still take back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from numbers import Integral
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from scaling.errors import UsageError
from scaling.lm.tokenization import require_utf8

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what a decoder shows for the first bytes of a character
FinishReason = Literal["eos", "stop", "length"]  # why a text ended
NodeStatus = Literal["kept", "finished", "pruned"]
Prompts = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]


class Tokenizer(Protocol):
    """What decoding needs of a tokenizer; the token id `end_of_text`, if it has one, ends a text."""

    def encode(self, text: str, /) -> Sequence[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...


@dataclass(frozen=True, kw_only=True)
class BeamNode:
    """One candidate of one step. `kept` went on as a beam, `finished` ended, `pruned` was looked at and dropped."""

    ids: tuple[int, ...]
    logprob: float
    status: NodeStatus


@dataclass(frozen=True, kw_only=True)
class BeamTree:
    """The candidates of every step, best first: at most 2 N per step, which is all the search looks at."""

    steps: tuple[tuple[BeamNode, ...], ...]

    def beams(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The new ids of the beams kept at each step, in alphabetical order of ids."""
        return tuple(tuple(sorted(n.ids for n in step if n.status == "kept")) for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One finished text.

    Args:
        ids: the new tokens, the end token or those of a stop string included.
        text: of the new tokens, without the end token and cut before the stop string; None without a tokenizer.
        token_logprobs: ln p of each new token under the model itself, before any transform (Beam: after its own).
        logprob: their sum.
        finish_reason: "eos" the end token came, "stop" a stop string came, "length" max_new_tokens were made.
        prompt_index, sample_index: which prompt, and which of its n texts (for Beam: rank, best first).
        score: what Beam ranked it by (under its transforms, if it has any); None for other strategies.
        tree: what Beam looked at, with trace=True.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    text: str | None
    token_logprobs: tuple[float, ...]
    logprob: float
    finish_reason: FinishReason
    prompt_index: int
    sample_index: int
    score: float | None = None
    tree: BeamTree | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The checked arguments of `generate`: prompts as ids, and what ends a text."""

    prompts: list[tuple[int, ...]]
    tokenizer: Tokenizer | None
    max_new_tokens: int
    stop: tuple[str, ...]
    eos_ids: frozenset[int]

    @classmethod
    def of(
        cls,
        prompts: Prompts,
        tokenizer: Tokenizer | None,
        max_new_tokens: int,
        stop: str | Sequence[str],
        eos_id: int | Collection[int] | None,
    ) -> Request:
        """The request these arguments make.

        Raises:
            UsageError: one of them is of the wrong kind or out of range, or two contradict each other.
        """
        if tokenizer is not None and not hasattr(tokenizer, "decode"):
            raise UsageError(f"the third argument is the tokenizer, got {tokenizer!r}; write strategy=... .")
        if not _is_whole(max_new_tokens) or max_new_tokens < 1:
            raise UsageError(f"max_new_tokens must be >= 1 and whole, got {max_new_tokens!r}.")
        stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        if not all(isinstance(s, str) for s in stops):
            raise UsageError(f"stop takes strings, got {stop!r}; a token id that ends a text is eos_id.")
        if stops and tokenizer is None:
            raise UsageError("stop strings need a tokenizer: pass one, or use eos_id.")
        for one in stops:
            require_utf8(one)
        if "" in stops:
            raise UsageError("a stop string is empty, which every text contains; leave it out.")
        return cls(
            prompts=_prompt_ids(prompts, tokenizer),
            tokenizer=tokenizer,
            max_new_tokens=max_new_tokens,
            stop=stops,
            eos_ids=_eos_ids(eos_id, tokenizer),
        )

    def rows(self, n: int) -> list[Row]:
        """n empty texts a prompt, in order of prompts."""
        places = product(range(len(self.prompts)), range(n))
        return [Row(request=self, prompt_index=i, sample_index=j) for i, j in places]

    def text(self, ids: Sequence[int]) -> str | None:
        """Text of finished ids: without the end token, cut before a stop string."""
        if self.tokenizer is None:
            return None
        text = self.tokenizer.decode(list(ids[:-1] if ids and ids[-1] in self.eos_ids else ids))
        return text[: min((text.find(s) for s in self.stop if s in text), default=len(text))]

    def ended(self, ids: Sequence[int]) -> FinishReason | None:
        """Why a text of these ids ends here, if it does."""
        text = self.tokenizer.decode(list(ids)) if self.stop and self.tokenizer is not None else ""
        return self.finish_reason(ids, stopped=any(s in text for s in self.stop))

    def finish_reason(self, ids: Sequence[int], *, stopped: bool) -> FinishReason | None:
        """The same for a text of which is known whether it has a stop string."""
        if ids[-1] in self.eos_ids:
            return "eos"
        if stopped:
            return "stop"
        return "length" if len(ids) == self.max_new_tokens else None


@dataclass(kw_only=True)
class Row:
    """A text being written."""

    request: Request
    prompt_index: int
    sample_index: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    tail: TextTail | None = None

    def __post_init__(self) -> None:
        if self.request.tokenizer is not None:
            self.tail = TextTail(self.request.tokenizer, self.request.stop)

    def append(self, token: int, logprob: float) -> None:
        """Add a token; sets `finish_reason` if it is the last."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if self.tail is not None and token not in self.request.eos_ids:
            self.tail.push(token)
        stopped = self.tail is not None and self.tail.stopped
        self.finish_reason = self.request.finish_reason(self.ids, stopped=stopped)

    def result(self) -> Generation:
        """The finished text."""
        assert self.finish_reason is not None
        return Generation(
            prompt_ids=self.request.prompts[self.prompt_index],
            ids=tuple(self.ids),
            text=self.tail.text if self.tail is not None else None,
            token_logprobs=tuple(self.logprobs),
            logprob=sum(self.logprobs),
            finish_reason=self.finish_reason,
            prompt_index=self.prompt_index,
            sample_index=self.sample_index,
        )


def _eos_ids(eos_id: int | Collection[int] | None, tokenizer: Tokenizer | None) -> frozenset[int]:
    """The ids that end a text: those given, else those of the tokenizer."""
    if eos_id is None:
        eos_id = getattr(tokenizer, "ends_of_text", None) or getattr(tokenizer, "end_of_text", None)
    if eos_id is None:
        return frozenset()
    ids: list[Any] = [eos_id] if _is_whole(eos_id) or isinstance(eos_id, str) else _as_list(eos_id)
    if not all(_is_whole(i) and i >= 0 for i in ids):
        raise UsageError(
            f"eos_id is a token id >= 0 or several, got {eos_id!r}; a text that ends is a stop string."
        )
    return frozenset(map(int, ids))


def _prompt_ids(prompts: Any, tokenizer: Tokenizer | None) -> list[tuple[int, ...]]:
    listed = [prompts] if isinstance(prompts, str) else _as_list(prompts)
    if not listed:
        raise UsageError("there is no prompt; pass at least one.")
    if all(map(_is_whole, listed)):
        listed = [listed]
    return [_ids(p, tokenizer) for p in listed]


def _ids(prompt: Any, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    if isinstance(prompt, str):
        if tokenizer is None:
            raise UsageError("a text prompt needs a tokenizer: pass one, or pass token ids.")
        return tuple(encode_prompt(tokenizer, prompt))
    ids = _as_list(prompt)
    if not all(map(_is_whole, ids)):
        raise UsageError(f"a prompt is a text or whole token ids, got {prompt!r}.")
    return tuple(map(int, ids))


def _as_list(prompts: Any) -> list[Any]:
    if isinstance(prompts, Tensor):
        return prompts.tolist() if prompts.dim() else [prompts.item()]
    if not isinstance(prompts, Iterable):
        raise UsageError(f"a prompt is a text or whole token ids, got {prompts!r}.")
    return list(prompts)


def _is_whole(value: object) -> bool:
    """An int of Python or NumPy, or a tensor of one."""
    if isinstance(value, Tensor):
        return value.dim() == 0 and not value.is_floating_point() and value.dtype != torch.bool
    return isinstance(value, Integral) and not isinstance(value, bool)


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
