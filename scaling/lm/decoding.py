"""Text from a model: `generate` returns finished texts, `stream` gives one as it grows.

    generate(model, ["Me gusta", "Hola"], tokenizer, Sample(Temperature(.8), TopP(.9), seed=0), max_new_tokens=64)

Strategies: Greedy, Sample (scaling.lm.sampling), Beam (scaling.lm.beam). A model is anything with `start` and `step`
(`StepModel`): our Transformer, a wrapper around another library.
"""

# R rows being continued, V vocabulary, T tokens of the history

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.errors import DataError, UsageError
from scaling.lm.beam import Beam, BeamSearch
from scaling.lm.models.transformer import pad_left
from scaling.lm.request import FinishReason, Generation, Prompts, Request, Row, Tokenizer
from scaling.lm.sampling import Context, Greedy, Sample, apply_transforms

Strategy = Greedy | Sample | Beam
# from logits (R, V): the rows that go on, one of them maybe several times or none, and the new token of each
Choose = Callable[[Tensor, Context], tuple[list[int], Tensor]]


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
    eos_id: int | Collection[int] | None = None,
    n: int = 1,
) -> list[Generation]:
    """Continue each prompt; n texts a prompt, in order of prompts.

    A row's text never depends on the other prompts (up to float rounding of batched matrix products).

    Args:
        prompts: a text or ids, or several; they may differ in length.
        tokenizer: needed for text prompts, stop strings and `Generation.text`.
        strategy: Greedy() if None.
        stop: strings that end a text.
        eos_id: token that ends a text, or several; None is what the tokenizer names (`end_of_text`), if anything.
        n: samples of each prompt from one reading of it; for Beam, its n best texts (fewer where there are fewer).
    Raises:
        UsageError: arguments that contradict each other, an empty prompt, a context too short.
        DataError: the model's logits are not finite.
    """
    strategy = Greedy() if strategy is None else strategy
    _check_strategy(model, strategy, n)
    request = Request.of(prompts, tokenizer, max_new_tokens, stop, eos_id)
    if isinstance(strategy, Beam):
        places = range(len(request.prompts))
        searches = [BeamSearch(beam=strategy, request=request, prompt_index=i) for i in places]
        deque(_walk(model, request, _all_beams(request, searches, strategy)), maxlen=0)
        return [found for search in searches for found in search.results(n)]
    seeds = strategy.seed if isinstance(strategy, Sample) else 0
    if isinstance(seeds, tuple) and len(seeds) != len(request.prompts):
        raise UsageError(
            f"{len(seeds)} seeds for {len(request.prompts)} prompts: give one each, or one for all."
        )
    rows = request.rows(n)
    deque(_walk(model, request, _one_token_a_row(request, rows, strategy), n=n), maxlen=0)
    return [row.result() for row in rows]


def stream(
    model: StepModel,
    prompt: str | Sequence[int],
    tokenizer: Tokenizer | None = None,
    strategy: Greedy | Sample | None = None,
    *,
    max_new_tokens: int = 64,
    stop: str | Sequence[str] = (),
    eos_id: int | Collection[int] | None = None,
) -> Iterator[Piece]:
    """The tokens of one text as they are chosen, equal to what `generate` would return."""
    strategy = Greedy() if strategy is None else strategy
    if isinstance(strategy, Beam):
        raise UsageError("beam search decides on its text at the end and cannot be streamed; use generate.")
    _check_strategy(model, strategy, 1)
    request = Request.of(prompt, tokenizer, max_new_tokens, stop, eos_id)
    if len(request.prompts) != 1:
        raise UsageError(f"stream continues one prompt, got {len(request.prompts)}; use generate.")
    return _pieces(model, request, strategy)


def _pieces(model: StepModel, request: Request, strategy: Greedy | Sample) -> Iterator[Piece]:
    [row] = request.rows(1)
    for _ in _walk(model, request, _one_token_a_row(request, [row], strategy)):
        text = row.tail.take(final=row.finish_reason is not None) if row.tail else ""
        yield Piece(id=row.ids[-1], text=text, logprob=row.logprobs[-1], finish_reason=row.finish_reason)


def _walk(model: StepModel, request: Request, choose: Choose, *, n: int = 1) -> Iterator[None]:
    """Continue n rows a prompt token by token; yields after each token; finished rows leave the batch at once."""
    logits_RV, state = model.start(request.prompts, request.max_new_tokens)
    history_RT = _history(model, request, logits_RV.device)
    if n > 1:
        copies = [i for i in range(len(request.prompts)) for _ in range(n)]
        state.reorder(copies)
        logits_RV, history_RT = logits_RV[copies], history_RT[copies]
    start = history_RT.shape[1] - request.max_new_tokens
    for step in range(request.max_new_tokens):
        rows, ids_R = choose(logits_RV, Context(ids_RT=history_RT[:, : start + step], step=step))
        yield
        if not rows:
            return
        if rows != list(range(len(history_RT))):
            state.reorder(rows)
            history_RT = history_RT[rows]
        history_RT[:, start + step] = ids_R
        logits_RV = model.step(ids_R, state)


def _one_token_a_row(request: Request, rows: list[Row], strategy: Greedy | Sample) -> Choose:
    places = [(row.prompt_index, row.sample_index) for row in rows]
    uniform_RT = strategy.noise(places, request.max_new_tokens)
    active = list(range(len(rows)))  # of the rows, those in the batch

    def choose(logits_RV: Tensor, context: Context) -> tuple[list[int], Tensor]:
        uniform_R = None if uniform_RT is None else uniform_RT[active, context.step]
        ids_R = strategy.pick(logits_RV, context, uniform_R)
        logprobs = logits_RV.float().log_softmax(-1).gather(-1, ids_R[:, None]).view(-1).tolist()
        _check_numbers(logprobs, context.step)
        for index, token, logprob in zip(active, ids_R.tolist(), logprobs):
            rows[index].append(token, logprob)
        left = [i for i, index in enumerate(active) if rows[index].finish_reason is None]
        if len(left) < len(active):
            active[:] = [active[i] for i in left]
            ids_R = ids_R[left]
        return left, ids_R

    return choose


def _all_beams(request: Request, searches: list[BeamSearch], beam: Beam) -> Choose:
    n_candidates = beam.n_candidates(len(request.eos_ids))

    def choose(logits_RV: Tensor, context: Context) -> tuple[list[int], Tensor]:
        ln_p = apply_transforms(beam.transforms, logits_RV.float().log_softmax(-1), context)
        # all that can be among the candidates of the step
        best, ids = (t.tolist() for t in ln_p.topk(min(n_candidates, ln_p.shape[-1])))
        _check_numbers((first for first, *_ in best), context.step)
        rows, last, start = [], [], 0  # the rows of one search lie together; its parents count from its first
        for search in [search for search in searches if not search.done]:
            end = start + len(search.beams)
            parents = search.advance(ids[start:end], best[start:end])
            if not search.done:
                rows += [start + parent for parent in parents]
                last += [text[-1] for text, _, _ in search.beams]
            start = end
        return rows, torch.tensor(last, device=logits_RV.device)

    return choose


def _check_numbers(logprobs: Iterable[float], step: int) -> None:
    """Stop at the first row that is no distribution: the log-probabilities of one that has NaN or +inf, or no token at
    all, are NaN. A logit of -inf is a token of probability 0, and allowed."""
    if any(map(math.isnan, logprobs)):
        raise DataError(
            f"the model's logits for new token {step + 1} are not finite (NaN or inf): its weights are damaged or "
            "its training diverged. Use another model, or train it again."
        )


def _history(model: StepModel, request: Request, device: torch.device) -> Tensor:
    """What the texts begin with and room for new tokens, (R, T): the prompts, or the start token of an encoder-decoder
    (its `text_start`); a short one is padded on the left by its own first id."""
    start: tuple[int, ...] | None = getattr(model, "text_start", None)
    beginnings = request.prompts if start is None else [start] * len(request.prompts)
    return F.pad(pad_left(beginnings, device)[0], (0, request.max_new_tokens))


def _check_strategy(model: StepModel, strategy: Strategy, n: int) -> None:
    if not (hasattr(model, "start") and hasattr(model, "step")):
        raise UsageError(
            f"a {type(model).__name__} cannot be decoded: it has no start and step, see StepModel."
        )
    if not isinstance(strategy, Greedy | Sample | Beam):
        wrapped = f"; write Sample({strategy!r})" if callable(strategy) else ""
        raise UsageError(f"a strategy is Greedy(...), Sample(...) or Beam(...), got {strategy!r}{wrapped}.")
    if n < 1:
        raise UsageError(f"n must be >= 1, got {n}.")
    if n > 1 and isinstance(strategy, Greedy):
        raise UsageError(f"greedy decoding gives one text a prompt, got n={n}; use Sample or Beam.")
    if isinstance(strategy, Beam) and n > strategy.n_beams:
        raise UsageError(f"{strategy.n_beams} beams cannot give n={n} texts; raise n_beams.")
