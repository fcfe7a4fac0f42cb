"""What decoding sees: the next-token distribution at several temperatures with its cuts, and the beams of a search."""

# V vocabulary

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from scaling.errors import UsageError
from scaling.lm.beam import Beam, BeamTree
from scaling.lm.decoding import StepModel, generate
from scaling.lm.request import encode_prompt, joint
from scaling.lm.sampling import Sample, Temperature, TopK, TopP


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One token at one temperature."""

    token: int
    piece: str
    probability: float
    in_top_k: bool
    in_nucleus: bool


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """The next token at one temperature: the most probable ones, and what each cut keeps of the whole vocabulary.

    `n_others` tokens are not among the bars; together they have `others_mass`. A mass is a probability, 0 to 1.
    """

    temperature: float
    bars: tuple[Bar, ...]
    n_top_k: int
    top_k_mass: float
    n_nucleus: int
    nucleus_mass: float
    n_others: int
    others_mass: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One step of sampling at several temperatures, and the tree of a beam search, from the same prompt."""

    prompt: str
    top_k: int
    top_p: float
    n_beams: int
    next_token: tuple[NextToken, ...]
    tree: BeamTree
    best_ids: tuple[int, ...]
    best_text: str
    best_logprob: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "prompt": self.prompt, "top_k": self.top_k, "top_p": self.top_p, "n_beams": self.n_beams,
            "temperatures": [asdict(seen) for seen in self.next_token],
            "beams": [[asdict(node) for node in step] for step in self.tree.steps],
            "best": {"text": self.best_text, "ids": self.best_ids, "logprob": self.best_logprob},
        }  # fmt: skip


def explain_decoding(
    model: StepModel,
    tokenizer: Any,
    prompt: str,
    *,
    temperatures: Sequence[float] = (0.5, 1.0, 4.0),
    top_k: int = 5,
    top_p: float = 0.9,
    n_beams: int = 2,
    n_steps: int = 3,
    n_bars: int = 20,
) -> Explanation:
    """Look at one step of sampling after `prompt` and at `n_steps` of beam search. The nucleus is measured at each
    temperature, as in Sample(Temperature(t), TopP(p)).

    Raises:
        UsageError: the prompt has no token, no temperature is given, or a number is out of range.
    """
    if not temperatures or n_bars < 1:
        raise UsageError(f"there is nothing to show at temperatures {list(temperatures)} with {n_bars} bars.")
    ids = encode_prompt(tokenizer, prompt)
    if not ids:
        raise UsageError("the prompt is empty; give a text to continue.")
    beam = Beam(n_beams, trace=True)
    best = generate(model, [ids], tokenizer, beam, max_new_tokens=n_steps)[0]
    assert best.tree is not None
    logits_V = model.start([ids], 1)[0][0].float()
    return Explanation(
        prompt=prompt,
        top_k=top_k,
        top_p=top_p,
        n_beams=n_beams,
        next_token=tuple(
            _next_token(tokenizer, logits_V, t, TopK(top_k), TopP(top_p), n_bars)
            for t in dict.fromkeys(temperatures)
        ),
        tree=best.tree,
        best_ids=best.ids,
        best_text=joint(tokenizer, ids, best.ids) + (best.text or ""),
        best_logprob=best.logprob,
    )


def _next_token(
    tokenizer: Any, logits_V: torch.Tensor, temperature: float, top_k: TopK, top_p: TopP, n_bars: int
) -> NextToken:
    p = Sample(Temperature(temperature)).distribution(logits_V)
    in_top_k, in_nucleus = (
        Sample(Temperature(temperature), cut).distribution(logits_V) > 0 for cut in (top_k, top_p)
    )
    by_probability = logits_V.argsort(descending=True, stable=True)
    shown, others = by_probability[:n_bars], by_probability[n_bars:]
    bars = tuple(
        Bar(
            token=token,
            piece=tokenizer.decode([token]),
            probability=float(p[token]),
            in_top_k=bool(in_top_k[token]),
            in_nucleus=bool(in_nucleus[token]),
        )
        for token in shown.tolist()
    )
    return NextToken(
        temperature=temperature,
        bars=bars,
        n_top_k=int(in_top_k.sum()),
        top_k_mass=float(p[in_top_k].sum()),
        n_nucleus=int(in_nucleus.sum()),
        nucleus_mass=float(p[in_nucleus].sum()),
        n_others=len(others),
        others_mass=float(p[others].sum()),
    )
