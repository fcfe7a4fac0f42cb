"""Beam search: keep the N most probable unfinished texts at each step, and the best finished ones.

Use which stopping rule when (transformers' `early_stopping` in brackets):
    "never"      (="never") stop when no unfinished beam can beat the worst kept text any more: the textbook search;
    "heuristic"  (=False)   the same, but judging unfinished beams at their present length;
    "first"      (=True)    stop as soon as N texts are finished.
With length_penalty 0 the score is the total log-probability; with p it is that divided by n_new_tokens ** p (the
prompt does not count, the end token does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scaling.errors import UsageError
from scaling.lm.sampling import Transform, check_number, check_transforms
from scaling.lm.text import FinishReason

_Partial = tuple[tuple[int, ...], tuple[float, ...], float]  # ids, log-probability of each, their sum
EarlyStopping = Literal["never", "heuristic", "first"]
MOST_LENGTH_PENALTY = 50


@dataclass(frozen=True, init=False)
class Beam:
    """Beam search with `n_beams` beams; transforms, if any, act on the log-probabilities as in transformers.

    Args:
        n_beams: N >= 1; 1 without transforms and length penalty is greedy decoding.
        length_penalty: exponent of the length in the score; 0 ranks by total log-probability.
        early_stopping: "never", "heuristic" or "first", see the module.
        trace: keep every candidate looked at, as `Generation.tree`.
    """

    n_beams: int
    transforms: tuple[Transform, ...]
    length_penalty: float
    early_stopping: EarlyStopping
    trace: bool

    def __init__(
        self,
        n_beams: int,
        *transforms: Transform,
        length_penalty: float = 0.0,
        early_stopping: EarlyStopping = "never",
        trace: bool = False,
    ) -> None:
        if isinstance(n_beams, bool) or not isinstance(n_beams, int) or n_beams < 1:
            raise UsageError(f"beam search needs a whole number of beams >= 1, got {n_beams!r}.")
        check_number("length_penalty", length_penalty)
        if not abs(length_penalty) <= MOST_LENGTH_PENALTY:  # its power of a length would overflow
            raise UsageError(
                f"length_penalty must be finite, from -{MOST_LENGTH_PENALTY} to {MOST_LENGTH_PENALTY} (0 is none), "
                f"got {length_penalty}."
            )
        check_transforms(transforms)
        if early_stopping not in ("never", "heuristic", "first"):
            raise UsageError(f"early_stopping is 'never', 'heuristic' or 'first', got {early_stopping!r}.")
        for name, value in (
            ("n_beams", n_beams),
            ("transforms", transforms),
            ("length_penalty", length_penalty),
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "early_stopping", early_stopping)
        object.__setattr__(self, "trace", trace)

    def n_candidates(self, n_ends: int) -> int:
        """Continuations looked at in a step, where `n_ends` tokens end a text: N go on though all N beams end so."""
        return max(2, 1 + n_ends) * self.n_beams

    def score(self, logprob: float, n_new_tokens: int) -> float:
        """What finished texts are ranked by."""
        return float(logprob / n_new_tokens**self.length_penalty)


@dataclass(frozen=True, kw_only=True)
class BeamNode:
    """One candidate of one step. `kept` went on as a beam, `finished` ended, `pruned` was looked at and dropped."""

    ids: tuple[int, ...]
    logprob: float
    status: Literal["kept", "finished", "pruned"]


@dataclass(frozen=True, kw_only=True)
class BeamTree:
    """The candidates of every step, best first: at most 2 N per step, which is all the search looks at."""

    steps: tuple[tuple[BeamNode, ...], ...]

    def beams(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The new ids of the beams kept at each step, in alphabetical order of ids."""
        return tuple(tuple(sorted(n.ids for n in step if n.status == "kept")) for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A finished text and the log-probability of each of its tokens."""

    ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    logprob: float
    score: float
    finish_reason: FinishReason


@dataclass(kw_only=True)
class BeamSearch:
    """The search for one prompt: feed it the best continuations of its beams until `done`."""

    beam: Beam
    max_new_tokens: int
    n_ends: int  # token ids that end a text
    ended: Callable[[tuple[int, ...]], FinishReason | None]
    beams: list[_Partial] = field(default_factory=lambda: [((), (), 0.0)])
    finished: list[Hypothesis] = field(default_factory=list)
    steps: list[tuple[BeamNode, ...]] = field(default_factory=list)
    done: bool = False

    def advance(self, ids: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]]) -> list[int]:
        """One step from the best continuations of each beam; returns the parent beam of each new beam.

        Only candidates among the best N may finish; the best N unfinished go on (transformers' rule).
        """
        n = self.beam.n_beams
        candidates = [
            (total + logprob, parent, token, logprob)
            for parent, (_, _, total) in enumerate(self.beams)
            for token, logprob in zip(ids[parent], logprobs[parent])
            if logprob > float("-inf")
        ]
        candidates.sort(key=lambda c: -c[0])  # stable: an earlier beam, then torch's order, wins a tie
        survivors: list[_Partial] = []
        parents: list[int] = []
        nodes: list[BeamNode] = []
        for rank, (total, parent, token, logprob) in enumerate(
            candidates[: self.beam.n_candidates(self.n_ends)]
        ):
            text = (*self.beams[parent][0], token)
            history = (*self.beams[parent][1], logprob)
            reason = self.ended(text)
            if reason is not None and rank < n:
                self._keep_finished(text, history, total, reason)
            if reason is None and len(survivors) < n:
                survivors.append((text, history, total))
                parents.append(parent)
            if self.beam.trace:
                status = _status(
                    reason is not None and rank < n, bool(survivors) and survivors[-1][0] == text
                )
                nodes.append(BeamNode(ids=text, logprob=total, status=status))
        self.beams, parents = _in_place(survivors, parents)
        self.steps.append(tuple(nodes))
        self.done = not survivors or not self._can_improve()
        return parents

    def _keep_finished(
        self, ids: tuple[int, ...], logprobs: tuple[float, ...], total: float, why: FinishReason
    ) -> None:
        score = self.beam.score(total, len(ids))
        self.finished.append(
            Hypothesis(ids=ids, token_logprobs=logprobs, logprob=total, score=score, finish_reason=why)
        )
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.beam.n_beams :]

    def _can_improve(self) -> bool:
        if len(self.finished) < self.beam.n_beams:
            return True
        if self.beam.early_stopping == "first":
            return False
        to_the_end = self.beam.early_stopping == "never" and self.beam.length_penalty > 0
        length = self.max_new_tokens if to_the_end else len(self.beams[0][0])
        return self.beam.score(max(total for _, _, total in self.beams), length) > self.finished[-1].score


def _in_place(beams: list[_Partial], parents: list[int]) -> tuple[list[_Partial], list[int]]:
    """The beams in an order that leaves one child of each parent in its row, so that few rows of a cache move."""
    placed: dict[int, int] = {}  # row → index into beams
    for index, parent in enumerate(parents):
        if parent < len(beams):
            placed.setdefault(parent, index)
    waiting = [index for index in range(len(beams)) if index not in placed.values()]
    order = [placed[row] if row in placed else waiting.pop(0) for row in range(len(beams))]
    return [beams[i] for i in order], [parents[i] for i in order]


def _status(finished: bool, kept: bool) -> Literal["kept", "finished", "pruned"]:
    return "finished" if finished else "kept" if kept else "pruned"
