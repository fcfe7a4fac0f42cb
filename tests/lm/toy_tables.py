"""Models small enough to enumerate: for teaching, and for tests against the exact answer; same protocol as ours."""

# R rows, V vocabulary

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scaling.errors import UsageError


class History:
    """The ids of each row so far."""

    def __init__(self, rows: Sequence[tuple[int, ...]]) -> None:
        self.rows = list(rows)

    def reorder(self, rows: Sequence[int]) -> None:
        """Row i becomes the old row rows[i]."""
        self.rows = [self.rows[i] for i in rows]


class TableModel:
    """Next-token probabilities looked up by the whole text so far, or by its longest listed ending.

    Args:
        vocabulary: the name of each token, one character each.
        table: probabilities after each text, {"": {"a": .6, "b": .4}, "a": {...}}; tokens left out have none.
    """

    def __init__(self, vocabulary: str, table: Mapping[str, Mapping[str, float]]) -> None:
        self.vocabulary, self.vocab_size = vocabulary, len(vocabulary)
        self.rows = {text: [p.get(c, 0.0) for c in vocabulary] for text, p in table.items()}
        for text, row in self.rows.items():
            if not math.isclose(sum(row), 1.0, abs_tol=1e-9) or min(row) < 0:
                raise UsageError(
                    f"probabilities after {text!r} must be >= 0 and add up to 1, got {sum(row):.6g}."
                )

    def encode(self, text: str) -> list[int]:
        """Ids of the characters."""
        unknown = sorted(set(text) - set(self.vocabulary))
        if unknown:
            raise UsageError(
                f"the letters of this table are {self.vocabulary!r}; got {''.join(unknown)!r} in {text!r}."
            )
        return [self.vocabulary.index(c) for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        """Characters of the ids."""
        unknown = [i for i in ids if not 0 <= i < self.vocab_size]
        if unknown:
            raise UsageError(
                f"ids of this table lie in 0..{self.vocab_size - 1}, for the letters {self.vocabulary!r}; "
                f"got {unknown[0]}."
            )
        return "".join(self.vocabulary[i] for i in ids)

    def probabilities(self, ids: Sequence[int]) -> list[float]:
        """Of the next token after `ids`."""
        text = self.decode(ids)
        for start in range(len(text) + 1):
            if text[start:] in self.rows:
                return self.rows[text[start:]]
        raise UsageError(f"the table has no row for {text!r} nor for any ending of it; add one for ''.")

    def start(self, prompts: Sequence[Sequence[int]], n_new_tokens: int) -> tuple[Tensor, History]:
        """Log-probabilities (R, V) after each prompt, and the state."""
        state = History([tuple(p) for p in prompts])
        return self._logits(state), state

    def step(self, ids_R: Tensor, state: History) -> Tensor:
        """Append one token to each row; log-probabilities (R, V) of the next."""
        state.rows = [(*row, token) for row, token in zip(state.rows, ids_R.tolist())]
        return self._logits(state)

    def _logits(self, state: History) -> Tensor:
        return torch.tensor([self.probabilities(row) for row in state.rows]).log()

    def all_texts(
        self, prompt: Sequence[int], n_new_tokens: int, eos_id: int | None = None
    ) -> dict[tuple[int, ...], float]:
        """Log-probability of every text of n_new_tokens, or shorter if ended by `eos_id`: up to V^n of them."""
        found: dict[tuple[int, ...], float] = {}
        for ids in itertools.product(range(self.vocab_size), repeat=n_new_tokens):
            if eos_id in ids:
                ids = ids[: ids.index(eos_id) + 1]
            if ids not in found:
                probabilities = [
                    self.probabilities([*prompt, *ids[:i]])[token] for i, token in enumerate(ids)
                ]
                found[ids] = sum(math.log(p) if p > 0 else -math.inf for p in probabilities)
        return found


def markov_model(vocabulary: str, transitions: Sequence[Sequence[float]]) -> TableModel:
    """A first-order Markov chain: row i of `transitions` is the distribution after token i."""
    return TableModel(
        vocabulary, {c: dict(zip(vocabulary, map(float, row))) for c, row in zip(vocabulary, transitions)}
    )
