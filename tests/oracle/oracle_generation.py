"""Generation by transformers and by us from the same weights, prompts and random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from oracle_cases import CASES, Case, planted_model, transformers_model

from scaling.lm import (
    Beam,
    Greedy,
    MinP,
    RepetitionPenalty,
    Sample,
    Temperature,
    TopK,
    TopP,
    Typical,
    generate,
)

PROMPTS = [[5, 9, 33, 2, 17, 40], [8, 3, 25, 51, 7, 7], [12, 60, 44, 31, 6, 19]]
RAGGED = [[5, 9, 33, 2, 17, 40], [8, 3], [12, 60, 44]]
N_NEW = 12
EOS = 10
MODELS = ("gpt2", "llama", "t5.1.1")

SAMPLED: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "ancestral": ((), {}),
    "temperature": ((Temperature(0.7),), {"temperature": 0.7}),
    "top_k": ((TopK(7),), {"top_k": 7}),
    "top_p": ((TopP(0.8),), {"top_p": 0.8}),
    "min_p": ((MinP(0.2),), {"min_p": 0.2}),
    "typical": ((Typical(0.6),), {"typical_p": 0.6}),
    "repetition": ((RepetitionPenalty(1.7),), {"repetition_penalty": 1.7}),
    "k50_p.9_t.8": ((Temperature(0.8), TopK(50), TopP(0.9)), {"temperature": 0.8, "top_k": 50, "top_p": 0.9}),
    "all": (
        (RepetitionPenalty(1.2), Temperature(1.3), TopK(30), TopP(0.95), MinP(0.02), Typical(0.9)),
        {
            "repetition_penalty": 1.2,
            "temperature": 1.3,
            "top_k": 30,
            "top_p": 0.95,
            "min_p": 0.02,
            "typical_p": 0.9,
        },
    ),
}
EARLY_STOPPING = {"first": True, "heuristic": False, "never": "never"}
BEAMS = {
    f"beam{n}_{rule}_{penalty:g}": (Beam(n, length_penalty=penalty, early_stopping=rule), n, EARLY_STOPPING[rule], penalty)
    for n, rule, penalty in [
        (4, "never", 0.0), (4, "never", 1.0), (4, "heuristic", 1.0), (4, "first", 1.0), (2, "first", 2.0),
        (3, "heuristic", -1.0), (3, "never", -1.0), (1, "never", 0.0), (8, "never", 0.6),
    ]
}  # fmt: skip


def our_model(name: str) -> Any:
    return planted_model(CASES[name].architecture)


def ours_greedy(name: str) -> np.ndarray:
    return _ids(generate(our_model(name), PROMPTS, None, Greedy(), max_new_tokens=N_NEW))


def ours_ragged(name: str) -> np.ndarray:
    return _ids(generate(our_model(name), RAGGED, None, Greedy(), max_new_tokens=N_NEW))


def ours_sampled(name: str, sampler: str) -> np.ndarray:
    return _ids(
        generate(our_model(name), PROMPTS, None, Sample(*SAMPLED[sampler][0], seed=3), max_new_tokens=N_NEW)
    )


def ours_beam(name: str, beam: str, ends: Sequence[int] = (EOS,)) -> tuple[np.ndarray, np.ndarray]:
    strategy, n, _, _ = BEAMS[beam]
    found = generate(our_model(name), PROMPTS, None, strategy, max_new_tokens=N_NEW, eos_id=ends, n=n)
    return _ids(found), np.array([g.score for g in found])


def theirs_greedy(name: str, prompts: list[list[int]] = PROMPTS) -> np.ndarray:
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return _theirs(CASES[name], ids, attention_mask=mask, do_sample=False).sequences.numpy()[
        :, _n_prompt(name, width) :
    ]


def theirs_sampled(name: str, sampler: str) -> np.ndarray:
    """Their filters, our random numbers: torch.multinomial is replaced by the inverse of the cumulative."""
    from unittest import mock

    from scaling.lm.sampling import draw

    uniform = Sample(seed=3).noise([(i, 0) for i in range(len(PROMPTS))], N_NEW)
    step = iter(range(N_NEW))

    def multinomial(probabilities: torch.Tensor, num_samples: int) -> torch.Tensor:
        assert num_samples == 1
        return draw(probabilities, uniform[:, next(step)])[:, None]

    settings = {"top_k": 0, **SAMPLED[sampler][1]}
    with mock.patch("torch.multinomial", multinomial):
        out = _theirs(CASES[name], torch.tensor(PROMPTS), do_sample=True, **settings)
    return out.sequences.numpy()[:, _n_prompt(name, 6) :]


def theirs_beam(name: str, beam: str, ends: Sequence[int] = (EOS,)) -> tuple[np.ndarray, np.ndarray]:
    _, n, rule, penalty = BEAMS[beam]
    if n == 1:  # transformers turns one beam into greedy decoding, which has no score
        ids = _theirs(
            CASES[name], torch.tensor(PROMPTS), do_sample=False, eos_token_id=EOS, pad_token_id=0
        ).sequences
        return _cut(ids.numpy()[:, _n_prompt(name, 6) :]), np.zeros(0)
    out = _theirs(
        CASES[name], torch.tensor(PROMPTS), do_sample=False, num_beams=n, num_return_sequences=n, early_stopping=rule,
        length_penalty=penalty, eos_token_id=list(ends), pad_token_id=0,
    )  # fmt: skip
    return _cut(out.sequences.numpy()[:, _n_prompt(name, 6) :], ends), out.sequences_scores.numpy()


def _theirs(case: Case, ids: torch.Tensor, **settings: Any) -> Any:
    from transformers import GenerationConfig

    mask = settings.pop("attention_mask", torch.ones_like(ids))
    config = GenerationConfig(
        max_new_tokens=N_NEW, output_scores=True, return_dict_in_generate=True, bos_token_id=None,
        **{"pad_token_id": 0, "eos_token_id": None, "decoder_start_token_id": 0, **settings},
    )  # fmt: skip
    return transformers_model(case).generate(ids, attention_mask=mask, generation_config=config)


def _n_prompt(name: str, width: int) -> int:
    return 1 if CASES[name].architecture.kind == "encoder_decoder" else width


def _ids(found: list[Any]) -> np.ndarray:
    """New ids, one row a text, -1 after its end."""
    return np.array([[*g.ids, *[-1] * (N_NEW - len(g.ids))] for g in found])


def _cut(ids: np.ndarray, ends: Sequence[int] = (EOS,)) -> np.ndarray:
    """-1 after the first end token, to the full width."""
    out = np.full((len(ids), N_NEW), -1)
    for row, text in zip(out, ids):
        end = next((i + 1 for i, token in enumerate(text) if token in ends), len(text))
        row[:end] = text[:end]
    return out
