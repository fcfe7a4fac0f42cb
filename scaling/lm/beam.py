"""Beam search: keep the N most probable unfinished texts at each step, and the best finished ones.

Use which stopping rule when (transformers' `early_stopping` in brackets):
    "never"      (="never") stop when no unfinished beam can beat the worst kept text any more: the textbook search;
    "heuristic"  (=False)   the same, but judging unfinished beams at their present length;
    "first"      (=True)    stop as soon as N texts are finished.
With length_penalty 0 the score is the total log-probability; with p it is that divided by n_new_tokens ** p (the
prompt does not count, the end token does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from scaling.errors import UsageError
from scaling.lm.request import BeamNode as BeamNode  # what a search leaves is public here too
from scaling.lm.request import BeamTree as BeamTree
from scaling.lm.request import FinishReason, Generation, NodeStatus, Request
from scaling.lm.sampling import Transform, check_number, check_transforms

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
        values = (n_beams, transforms, length_penalty, early_stopping, trace)
        for field_, value in zip(fields(self), values):
            object.__setattr__(self, field_.name, value)

    def n_candidates(self, n_ends: int) -> int:
        """Continuations looked at in a step, where `n_ends` tokens end a text: N go on though all N beams end so."""
        return max(2, 1 + n_ends) * self.n_beams

    def score(self, logprob: float, n_new_tokens: int) -> float:
        """What finished texts are ranked by."""
        return float(logprob / n_new_tokens**self.length_penalty)


@dataclass(kw_only=True)
class BeamSearch:
    """The search for one prompt: feed it the best continuations of its beams until `done`."""

    beam: Beam
    request: Request
    prompt_index: int
    beams: list[_Partial] = field(default_factory=lambda: [((), (), 0.0)])
    # best first, at most N; without text and rank as yet
    finished: list[Generation] = field(default_factory=list)
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
        n_candidates = self.beam.n_candidates(len(self.request.eos_ids))
        for rank, (total, parent, token, logprob) in enumerate(candidates[:n_candidates]):
            text = (*self.beams[parent][0], token)
            history = (*self.beams[parent][1], logprob)
            reason = self.request.ended(text)
            status: NodeStatus = "pruned"
            if reason is not None and rank < n:
                status = "finished"
                self._keep_finished(text, history, total, reason)
            elif reason is None and len(survivors) < n:
                status = "kept"
                survivors.append((text, history, total))
                parents.append(parent)
            if self.beam.trace:
                nodes.append(BeamNode(ids=text, logprob=total, status=status))
        self.beams, parents = _in_place(survivors, parents)
        self.steps.append(tuple(nodes))
        self.done = not survivors or not self._can_improve()
        return parents

    def _keep_finished(
        self, ids: tuple[int, ...], logprobs: tuple[float, ...], total: float, why: FinishReason
    ) -> None:
        self.finished.append(
            Generation(
                prompt_ids=self.request.prompts[self.prompt_index],
                ids=ids,
                text=None,
                token_logprobs=logprobs,
                logprob=total,
                finish_reason=why,
                prompt_index=self.prompt_index,
                sample_index=0,
                score=self.beam.score(total, len(ids)),
            )
        )
        self.finished.sort(key=lambda found: -(found.score or 0.0))
        del self.finished[self.beam.n_beams :]

    def results(self, n: int) -> list[Generation]:
        """The n best finished texts."""
        tree = BeamTree(steps=tuple(self.steps)) if self.beam.trace else None
        return [
            replace(found, text=self.request.text(found.ids), sample_index=rank, tree=tree)
            for rank, found in enumerate(self.finished[:n])
        ]

    def _can_improve(self) -> bool:
        """Whether an unfinished beam can still enter the N best.

        Its sum of log-probabilities only falls from here on. With a length penalty > 0 the score divides a negative sum
        by a growing power of the length, so the most it can reach is its present sum at the full length.
        """
        if len(self.finished) < self.beam.n_beams:
            return True
        if self.beam.early_stopping == "first":
            return False
        to_the_end = self.beam.early_stopping == "never" and self.beam.length_penalty > 0
        length = self.request.max_new_tokens if to_the_end else len(self.beams[0][0])
        worst = self.finished[-1].score
        assert worst is not None
        return self.beam.score(max(total for _, _, total in self.beams), length) > worst


def _in_place(beams: list[_Partial], parents: list[int]) -> tuple[list[_Partial], list[int]]:
    """The beams in an order that leaves one child of each parent in its row, so that few rows of a cache move."""
    placed: dict[int, int] = {}  # row → index into beams
    for index, parent in enumerate(parents):
        if parent < len(beams):
            placed.setdefault(parent, index)
    waiting = [index for index in range(len(beams)) if index not in placed.values()]
    order = [placed[row] if row in placed else waiting.pop(0) for row in range(len(beams))]
    return [beams[i] for i in order], [parents[i] for i in order]
