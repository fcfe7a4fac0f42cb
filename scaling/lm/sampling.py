"""How the next token is chosen: transforms of the logits, in the order they are written, then argmax or one draw.

Use which when:
    Greedy()                          the most probable token at each step (not the most probable text);
    Sample()                          ancestral sampling: exactly the model's own distribution;
    Sample(Temperature(.8), TopP(.9)) a sharper distribution cut to its nucleus, in that order.

`Sample.distribution(logits)` gives the probabilities `generate` draws from, so a plot or a test never needs draws.
No default is hidden and nothing is ignored: a transform that greedy decoding could not feel is an error.
"""

# R rows, V vocabulary, K candidates kept by top-k, T tokens of the history

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from scaling.errors import UsageError

MIN_TEMPERATURE = 1e-6  # below it float32 logits overflow; the limit itself is Greedy()
_CUT = float("-inf")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a transform may look at besides the logits.

    `ids_RT` holds every row's prompt and new tokens; short prompts are padded on the left with their own first id.
    """

    ids_RT: Tensor
    step: int


class Transform(Protocol):
    """Any `f(logits_RV, context) -> logits_RV`; a token is removed by setting it to -inf."""

    def __call__(self, logits: Tensor, context: Context, /) -> Tensor: ...


@dataclass(frozen=True)
class Temperature:
    """Divide the logits by tau: below 1 sharper, above 1 flatter, 1 unchanged."""

    tau: float
    # depends on the set of logits only, not on which token each belongs to: may run on the top-k survivors alone
    on_any_subset: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("temperature", self.tau)
        if not MIN_TEMPERATURE <= self.tau < float("inf"):
            raise UsageError(
                f"temperature must be finite and > 0, got {self.tau}; for the limit 0 use Greedy() (--greedy)."
            )

    def __call__(self, logits: Tensor, context: Context | None = None) -> Tensor:
        return logits / self.tau


@dataclass(frozen=True)
class TopK:
    """Keep the k largest logits and whatever ties with the k-th (as transformers does).

    Source: Fan et al. 2018, arXiv:1805.04833, section 5.
    """

    k: int
    on_any_subset: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise UsageError(f"top-k needs a whole number >= 1, got {self.k!r}.")

    def __call__(self, logits: Tensor, context: Context | None = None) -> Tensor:
        kth = torch.topk(logits, min(self.k, logits.shape[-1]))[0][..., -1:]
        return logits.masked_fill(logits < kth, _CUT)


@dataclass(frozen=True)
class TopP:
    """Nucleus: keep the smallest set of most probable tokens whose mass reaches p (the crossing token included).

    The mass is measured on the logits as they arrive, so after a Temperature written before it.
    Source: Holtzman et al. 2020, arXiv:1904.09751, section 3.1. Summed from the small end, as in transformers.
    """

    p: float
    on_any_subset: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_fraction("top-p", self.p)

    def __call__(self, logits: Tensor, context: Context | None = None) -> Tensor:
        if self.p == 1:
            return logits
        ascending, order = torch.sort(logits, dim=-1)
        cut = ascending.softmax(-1).cumsum(-1) <= 1 - self.p
        cut[..., -1] = False
        return logits.masked_fill(cut.scatter(-1, order, cut), _CUT)


@dataclass(frozen=True)
class MinP:
    """Keep tokens at least `fraction` times as probable as the most probable one. Source: Nguyen et al. 2024,
    arXiv:2407.01082."""

    fraction: float
    on_any_subset: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_fraction("min-p", self.fraction)

    def __call__(self, logits: Tensor, context: Context | None = None) -> Tensor:
        probabilities = logits.softmax(-1)
        floor = self.fraction * probabilities.amax(-1, keepdim=True)
        return logits.masked_fill(probabilities < floor, _CUT)


@dataclass(frozen=True)
class Typical:
    """Keep the tokens whose surprise is nearest the entropy, until their mass reaches `mass`.

    Source: Meister et al. 2023, arXiv:2202.00666, section 5.
    """

    mass: float
    on_any_subset: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_fraction("typical mass", self.mass)

    def __call__(self, logits: Tensor, context: Context | None = None) -> Tensor:
        ln_p = logits.log_softmax(-1)
        entropy = -(ln_p * ln_p.exp()).nansum(-1, keepdim=True)
        distance = (-ln_p - entropy).abs()
        ascending, order = torch.sort(distance, dim=-1)
        mass = logits.gather(-1, order).softmax(-1).cumsum(-1)
        last = (mass < self.mass).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
        cut = ascending > ascending.gather(-1, last)
        cut[..., 0] = False
        return logits.masked_fill(cut.scatter(-1, order, cut), _CUT)


@dataclass(frozen=True)
class RepetitionPenalty:
    """Divide positive logits of tokens already in the prompt or the text by `penalty`, multiply negative ones.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1. The rule depends on where zero lies, so it is applied
    to raw logits when written first.
    """

    penalty: float

    def __post_init__(self) -> None:
        check_number("repetition penalty", self.penalty)
        if not 0 < self.penalty < float("inf"):
            raise UsageError(f"repetition penalty must be finite and > 0 (1 is none), got {self.penalty}.")

    def __call__(self, logits: Tensor, context: Context) -> Tensor:
        seen = logits.gather(-1, context.ids_RT)
        seen = torch.where(seen < 0, seen * self.penalty, seen / self.penalty)
        return logits.scatter(-1, context.ids_RT, seen)


@dataclass(frozen=True, init=False)
class Greedy:
    """The most probable token at each step. Takes only transforms that can change which token that is."""

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform) -> None:
        check_transforms(transforms)
        for transform in transforms:
            if getattr(transform, "on_any_subset", False):
                raise UsageError(
                    f"greedy decoding cannot feel {transform}: drop it, or use Sample({transform}, ...)."
                )
        object.__setattr__(self, "transforms", transforms)

    def noise(self, rows: Sequence[tuple[int, int]], n_steps: int) -> None:
        """Nothing is drawn."""

    def pick(self, logits_RV: Tensor, context: Context, uniform_R: Tensor | None) -> Tensor:
        """Ids (R,) of the largest transformed logits; the lowest id wins a tie."""
        return apply_transforms(self.transforms, logits_RV, context).argmax(-1)


@dataclass(frozen=True, init=False)
class Sample:
    """Draw each token from the transformed distribution; `Sample()` alone is ancestral sampling.

    Args:
        transforms: applied in the order written.
        seed: prompt i, sample j draws from its own stream (seed, i, j): what it draws depends on its place, never on
            the prompts beside it. Or one seed per prompt, whose sample j draws from (seed, 0, j) wherever it stands.
    """

    transforms: tuple[Transform, ...]
    seed: int | tuple[int, ...]

    def __init__(self, *transforms: Transform, seed: int | Sequence[int] = 0) -> None:
        check_transforms(transforms)
        seeds = list(seed) if isinstance(seed, Sequence) and not isinstance(seed, str) else [seed]
        for value in seeds:
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
                raise UsageError(f"a seed is a whole number >= 0, got {value!r}.")
        whole = tuple(map(int, seeds))
        object.__setattr__(self, "transforms", transforms)
        object.__setattr__(self, "seed", whole if isinstance(seed, Sequence) else whole[0])

    def distribution(self, logits: Tensor, context: Context | None = None) -> Tensor:
        """Probabilities (..., V) that tokens are drawn from, given logits (..., V)."""
        rows = logits.reshape(-1, logits.shape[-1]).float()
        if context is None:
            no_history = torch.empty(rows.shape[0], 0, dtype=torch.long, device=rows.device)
            context = Context(ids_RT=no_history, step=0)
        return apply_transforms(self.transforms, rows, context).softmax(-1).reshape(logits.shape)

    def noise(self, rows: Sequence[tuple[int, int]], n_steps: int) -> Tensor:
        """Uniform numbers (R, n_steps) in [0, 1), float64: one per row and step, fixed by seed, prompt and sample."""
        return torch.stack([_row_uniforms(*self._stream(*row), n_steps) for row in rows])

    def _stream(self, prompt: int, sample: int) -> tuple[int, int, int]:
        if isinstance(self.seed, int):
            return self.seed, prompt, sample
        if prompt >= len(self.seed):
            raise UsageError(
                f"{len(self.seed)} seeds were given for at least {prompt + 1} prompts; give one each."
            )
        return self.seed[prompt], 0, sample

    def pick(self, logits_RV: Tensor, context: Context, uniform_R: Tensor | None) -> Tensor:
        """Ids (R,): the inverse of the cumulative distribution at each row's uniform number, in vocabulary order."""
        assert uniform_R is not None
        narrowed = self._narrow(logits_RV, context)
        if narrowed is None:
            return draw(self.distribution(logits_RV, context), uniform_R)
        logits_RK, ids_RK = narrowed
        chosen = draw(logits_RK.softmax(-1), uniform_R)
        return ids_RK.gather(-1, chosen[:, None])[:, 0]

    def _narrow(self, logits_RV: Tensor, context: Context) -> tuple[Tensor, Tensor] | None:
        """The k candidates of the first TopK and their ids, so that what follows never sorts the vocabulary.

        None where that would not be exact: no TopK, a later transform that needs token identities, a tie at the cut.
        """
        cuts = [(i, t.k) for i, t in enumerate(self.transforms) if isinstance(t, TopK)]
        first, k = cuts[0] if cuts else (0, logits_RV.shape[-1])
        follow = all(getattr(t, "on_any_subset", False) for t in self.transforms[first:])
        if k >= logits_RV.shape[-1] or not follow:
            return None
        logits_RV = apply_transforms(self.transforms[:first], logits_RV.float(), context)
        values, ids = logits_RV.topk(k + 1)
        if bool((values[:, -1] == values[:, -2]).any()):
            return None
        ids, order = ids[:, :-1].sort(-1)
        return apply_transforms(self.transforms[first + 1 :], values.gather(-1, order), context), ids


def draw(probabilities_RV: Tensor, uniform_R: Tensor) -> Tensor:
    """First index whose cumulative probability exceeds the uniform number: (R,) ids, never one of probability 0."""
    if probabilities_RV.device.type == "mps":  # has no float64, which the last digits of a long tail need
        return draw(probabilities_RV.cpu(), uniform_R).to(probabilities_RV.device)
    cumulative = probabilities_RV.cumsum(-1, dtype=torch.float64)
    at = uniform_R.to(cumulative)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True)[:, 0].clamp(max=cumulative.shape[-1] - 1)


def apply_transforms(transforms: Sequence[Transform], logits_RV: Tensor, context: Context) -> Tensor:
    """All of them, in order.

    Raises:
        UsageError: one that is not of this module removed every token of a row.
    """
    for transform in transforms:
        logits_RV = transform(logits_RV, context)
        if type(transform) not in _LEAVE_A_TOKEN and bool((logits_RV.amax(-1) == _CUT).any()):
            raise UsageError(f"{transform} removed every token of a row; it must leave at least one.")
    return logits_RV


def check_transforms(transforms: Sequence[object]) -> None:
    """Refuse what cannot be one, such as a bare number."""
    for transform in transforms:
        if not callable(transform) or isinstance(transform, type):
            raise UsageError(f"a transform is Temperature(0.8), TopK(50) or the like, got {transform!r}.")


_LEAVE_A_TOKEN = frozenset({Temperature, TopK, TopP, MinP, Typical, RepetitionPenalty})


def _row_uniforms(seed: int, prompt: int, sample: int, n_steps: int) -> Tensor:
    from numpy.random import PCG64, SeedSequence  # independent streams from any mix of small integers

    words = PCG64(SeedSequence([seed, prompt, sample])).random_raw(n_steps)
    return torch.from_numpy((words >> 11).astype("float64") * 2.0**-53)


def _check_fraction(name: str, value: float) -> None:
    check_number(name, value)
    if not 0 < value <= 1:
        raise UsageError(f"{name} must lie in (0, 1], got {value}.")


def check_number(name: str, value: object) -> None:
    """Refuse a text or a truth value where a number is meant."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{name} must be a number, got {value!r}.")
