"""Text from a model: `generate` returns finished texts, `stream` gives one as it grows.

    generate(model, ["Me gusta", "Hola"], tokenizer, Sample(Temperature(.8), TopP(.9), seed=0), max_new_tokens=64)

Strategies: Greedy, Sample (scaling.lm.sampling), Beam (scaling.lm.beam). A model is anything with `start` and `step`
(`StepModel`): our Transformer, a toy table (scaling.lm.toy), a wrapper around another library.
"""

# R rows being continued, V vocabulary, T tokens of the history

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from scaling.errors import DataError, UsageError
from scaling.lm.beam import Beam, BeamSearch, BeamTree, FinishReason
from scaling.lm.sampling import Context, Greedy, Sample
from scaling.lm.text import TextTail, Tokenizer

Strategy = Greedy | Sample | Beam
Prompts = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]


class State(Protocol):
    """What a model remembers of the rows it is continuing."""

    def reorder(self, rows: Sequence[int], /) -> None:
        """Row i becomes the old row rows[i]: copies rows for samples and beams, drops finished ones."""


class StepModel(Protocol):
    """The step protocol. Logits are (R, V): of the token after the last one of each row. The state is the model's
    own business, but for `State.reorder`."""

    def start(self, prompts: Sequence[Sequence[int]], n_new_tokens: int, /) -> tuple[Tensor, Any]: ...

    def step(self, ids_R: Tensor, state: Any, /) -> Tensor: ...


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
class Piece:
    """One token of a stream, and the text that became certain with it (maybe none); `str(piece)` is that text."""

    id: int
    text: str
    logprob: float
    finish_reason: FinishReason | None

    def __str__(self) -> str:
        return self.text


def generate(
    model: StepModel,
    prompts: Prompts,
    tokenizer: Tokenizer | None = None,
    strategy: Strategy | None = None,
    *,
    max_new_tokens: int = 64,
    stop: str | Sequence[str] = (),
    eos_id: int | None = None,
    n: int = 1,
) -> list[Generation]:
    """Continue each prompt; n texts a prompt, in order of prompts.

    A row's text never depends on the other prompts (up to float rounding of batched matrix products).

    Args:
        prompts: a text or ids, or several; they may differ in length.
        tokenizer: needed for text prompts, stop strings and `Generation.text`.
        strategy: Greedy() if None.
        stop: strings that end a text.
        eos_id: token that ends a text; None is the tokenizer's `end_of_text`, if it has one.
        n: samples of each prompt from one reading of it; for Beam, its n best texts.
    Raises:
        UsageError: arguments that contradict each other, an empty prompt, a context too short.
        DataError: the model's logits are not finite.
    """
    strategy = Greedy() if strategy is None else strategy
    job = _Job.of(prompts, tokenizer, max_new_tokens, stop, eos_id)
    _check_n(strategy, n)
    if isinstance(strategy, Beam):
        return _beam_search(model, job, strategy, n)
    rows = job.rows(n)
    for _ in _walk(model, job, rows, strategy, n):
        pass
    return [row.result() for row in rows]


def stream(
    model: StepModel,
    prompt: str | Sequence[int],
    tokenizer: Tokenizer | None = None,
    strategy: Greedy | Sample | None = None,
    *,
    max_new_tokens: int = 64,
    stop: str | Sequence[str] = (),
    eos_id: int | None = None,
) -> Iterator[Piece]:
    """The tokens of one text as they are chosen, equal to what `generate` would return."""
    strategy = Greedy() if strategy is None else strategy
    if isinstance(strategy, Beam):
        raise UsageError("beam search decides on its text at the end and cannot be streamed; use generate.")
    job = _Job.of(prompt, tokenizer, max_new_tokens, stop, eos_id)
    if len(job.prompts) != 1:
        raise UsageError(f"stream continues one prompt, got {len(job.prompts)}; use generate.")
    return _pieces(model, job, strategy)


def _pieces(model: StepModel, job: _Job, strategy: Greedy | Sample) -> Iterator[Piece]:
    rows = job.rows(1)
    row = rows[0]
    for _ in _walk(model, job, rows, strategy, 1):
        text = row.tail.take(final=row.finish_reason is not None) if row.tail else ""
        yield Piece(id=row.ids[-1], text=text, logprob=row.logprobs[-1], finish_reason=row.finish_reason)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The checked arguments."""

    prompts: list[tuple[int, ...]]
    tokenizer: Tokenizer | None
    max_new_tokens: int
    stop: tuple[str, ...]
    eos_id: int | None

    @classmethod
    def of(
        cls,
        prompts: Prompts,
        tokenizer: Tokenizer | None,
        max_new_tokens: int,
        stop: str | Sequence[str],
        eos_id: int | None,
    ) -> _Job:
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        if max_new_tokens < 1:
            raise UsageError(f"max_new_tokens must be >= 1, got {max_new_tokens}.")
        if stops and tokenizer is None:
            raise UsageError("stop strings need a tokenizer: pass one, or use eos_id.")
        if "" in stops:
            raise UsageError("a stop string is empty, which every text contains; leave it out.")
        if eos_id is None and tokenizer is not None:
            eos_id = getattr(tokenizer, "end_of_text", None)
        return cls(
            prompts=_prompt_ids(prompts, tokenizer),
            tokenizer=tokenizer,
            max_new_tokens=max_new_tokens,
            stop=stops,
            eos_id=eos_id,
        )

    def rows(self, n: int) -> list[_Row]:
        return [
            _Row(job=self, prompt_index=i, sample_index=j) for i in range(len(self.prompts)) for j in range(n)
        ]

    def text(self, ids: Sequence[int]) -> str | None:
        """Text of finished ids: without the end token, cut before a stop string."""
        if self.tokenizer is None:
            return None
        text = self.tokenizer.decode(list(ids[:-1] if ids and ids[-1] == self.eos_id else ids))
        return text[: min((text.find(s) for s in self.stop if s in text), default=len(text))]

    def finish_reason(self, ids: Sequence[int], stopped: bool) -> FinishReason | None:
        if ids[-1] == self.eos_id:
            return "eos"
        if stopped:
            return "stop"
        return "length" if len(ids) == self.max_new_tokens else None


@dataclass(kw_only=True)
class _Row:
    """A text being written."""

    job: _Job
    prompt_index: int
    sample_index: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    tail: TextTail | None = None

    def __post_init__(self) -> None:
        if self.job.tokenizer is not None:
            self.tail = TextTail(self.job.tokenizer, self.job.stop)

    def append(self, token: int, logprob: float) -> None:
        self.ids.append(token)
        self.logprobs.append(logprob)
        if self.tail is not None and token != self.job.eos_id:
            self.tail.push(token)
        self.finish_reason = self.job.finish_reason(self.ids, self.tail is not None and self.tail.stopped)

    def result(self) -> Generation:
        assert self.finish_reason is not None
        return Generation(
            prompt_ids=self.job.prompts[self.prompt_index],
            ids=tuple(self.ids),
            text=self.tail.text if self.tail is not None else None,
            token_logprobs=tuple(self.logprobs),
            logprob=sum(self.logprobs),
            finish_reason=self.finish_reason,
            prompt_index=self.prompt_index,
            sample_index=self.sample_index,
        )


def _walk(model: StepModel, job: _Job, rows: list[_Row], strategy: Greedy | Sample, n: int) -> Iterator[None]:
    """Continue all rows token by token; yields after each token; finished rows leave the batch at once."""
    logits_RV, state = model.start(job.prompts, job.max_new_tokens)
    history_RT = _history(_beginnings(model, job), job.max_new_tokens, logits_RV.device)
    if n > 1:
        copies = [i for i in range(len(job.prompts)) for _ in range(n)]
        state.reorder(copies)
        logits_RV, history_RT = logits_RV[copies], history_RT[copies]
    uniform_RT = strategy.noise([(row.prompt_index, row.sample_index) for row in rows], job.max_new_tokens)
    start = history_RT.shape[1] - job.max_new_tokens
    active = rows
    for step in range(job.max_new_tokens):
        context = Context(ids_RT=history_RT[:, : start + step], step=step)
        ids_R = strategy.pick(logits_RV, context, None if uniform_RT is None else uniform_RT[:, step])
        logprobs = logits_RV.float().log_softmax(-1).gather(-1, ids_R[:, None]).view(-1).tolist()
        _check_numbers(logprobs, step)
        for row, token, logprob in zip(active, ids_R.tolist(), logprobs):
            row.append(token, logprob)
        yield
        history_RT[:, start + step] = ids_R
        left = [i for i, row in enumerate(active) if row.finish_reason is None]
        if not left:
            return
        if len(left) < len(active):
            state.reorder(left)
            active = [active[i] for i in left]
            ids_R, history_RT = ids_R[left], history_RT[left]
            uniform_RT = None if uniform_RT is None else uniform_RT[left]
        logits_RV = model.step(ids_R, state)


def _check_numbers(logprobs: Iterable[float], step: int) -> None:
    """Stop at the first row that is no distribution: the log-probabilities of one that has NaN or +inf, or no token at
    all, are NaN. A logit of -inf is a token of probability 0, and allowed."""
    if any(map(math.isnan, logprobs)):
        raise DataError(
            f"the model's logits for new token {step + 1} are not finite (NaN or inf): its weights are damaged or "
            "its training diverged. Use another model, or train it again."
        )


def _beginnings(model: StepModel, job: _Job) -> list[tuple[int, ...]]:
    """What the texts begin with: the prompts, or the start token of an encoder-decoder (its `text_start`)."""
    start: tuple[int, ...] | None = getattr(model, "text_start", None)
    return job.prompts if start is None else [start] * len(job.prompts)


def _history(beginnings: Sequence[tuple[int, ...]], n_new_tokens: int, device: torch.device) -> Tensor:
    """Beginnings and room for new tokens, (R, T); a short one is padded on the left by its own first id."""
    width = max(map(len, beginnings))
    room = [0] * n_new_tokens
    padded = [[*(b[:1] * (width - len(b))), *b, *room] if b else [0] * width + room for b in beginnings]
    return torch.tensor(padded, device=device)


def _beam_search(model: StepModel, job: _Job, beam: Beam, n: int) -> list[Generation]:
    searches = [
        BeamSearch(beam=beam, max_new_tokens=job.max_new_tokens, ended=_ended(job)) for _ in job.prompts
    ]
    logits_RV, state = model.start(job.prompts, job.max_new_tokens)
    history_RT = _history(_beginnings(model, job), job.max_new_tokens, logits_RV.device)
    start = history_RT.shape[1] - job.max_new_tokens
    active = searches
    for step in range(job.max_new_tokens):
        context = Context(ids_RT=history_RT[:, : start + step], step=step)
        ids, logprobs = _best_continuations(beam, logits_RV, context)
        _check_numbers((best for best, *_ in logprobs), step)
        rows, first = [], 0
        for search in active:
            n_rows = len(search.beams)
            parents = search.advance(ids[first : first + n_rows], logprobs[first : first + n_rows])
            rows += [] if search.done else [first + parent for parent in parents]
            first += n_rows
        active = [search for search in active if not search.done]
        if not active:
            break
        state.reorder(rows)
        history_RT = history_RT[rows]
        last = [text[-1] for search in active for text, _, _ in search.beams]
        ids_R = torch.tensor(last, device=logits_RV.device)
        history_RT[:, start + step] = ids_R
        logits_RV = model.step(ids_R, state)
    return [found for index, search in enumerate(searches) for found in _beam_results(job, search, index, n)]


def _best_continuations(
    beam: Beam, logits_RV: Tensor, context: Context
) -> tuple[list[list[int]], list[list[float]]]:
    """The 2 N best tokens of each beam and their log-probabilities: all that can be among the 2 N best overall."""
    ln_p = logits_RV.float().log_softmax(-1)
    for transform in beam.transforms:
        ln_p = transform(ln_p, context)
    best, ids = ln_p.topk(min(2 * beam.n_beams, ln_p.shape[-1]))
    return ids.tolist(), best.tolist()


def _ended(job: _Job) -> Callable[[tuple[int, ...]], FinishReason | None]:
    def ended(ids: tuple[int, ...]) -> FinishReason | None:
        stopped = (
            bool(job.stop)
            and job.tokenizer is not None
            and _has_stop(job.tokenizer.decode(list(ids)), job.stop)
        )
        return job.finish_reason(ids, stopped)

    return ended


def _has_stop(text: str, stop: Sequence[str]) -> bool:
    return any(s in text for s in stop)


def _beam_results(job: _Job, search: BeamSearch, prompt_index: int, n: int) -> list[Generation]:
    tree = BeamTree(steps=tuple(search.steps)) if search.beam.trace else None
    return [
        Generation(
            prompt_ids=job.prompts[prompt_index],
            ids=found.ids,
            text=job.text(found.ids),
            token_logprobs=found.token_logprobs,
            logprob=found.logprob,
            finish_reason=found.finish_reason,
            prompt_index=prompt_index,
            sample_index=rank,
            score=found.score,
            tree=tree,
        )
        for rank, found in enumerate(search.finished[:n])
    ]


def _prompt_ids(prompts: Prompts, tokenizer: Tokenizer | None) -> list[tuple[int, ...]]:
    listed: list[Any] = [prompts] if isinstance(prompts, str) else list(prompts)
    if not listed:
        raise UsageError("there is no prompt; pass at least one.")
    if all(_is_id(p) for p in listed):
        listed = [listed]
    return [_ids(p, tokenizer) for p in listed]


def _ids(prompt: str | Sequence[int], tokenizer: Tokenizer | None) -> tuple[int, ...]:
    if not isinstance(prompt, str):
        return tuple(map(int, prompt))
    if tokenizer is None:
        raise UsageError("a text prompt needs a tokenizer: pass one, or pass token ids.")
    return tuple(tokenizer.encode(prompt))


def _is_id(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, Tensor) and value.dim() == 0)


def _check_n(strategy: Strategy, n: int) -> None:
    if n < 1:
        raise UsageError(f"n must be >= 1, got {n}.")
    if n > 1 and isinstance(strategy, Greedy):
        raise UsageError(f"greedy decoding gives one text a prompt, got n={n}; use Sample or Beam.")
    if isinstance(strategy, Beam) and n > strategy.n_beams:
        raise UsageError(f"{strategy.n_beams} beams cannot give n={n} texts; raise n_beams.")
