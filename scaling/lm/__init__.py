"""Everything that needs torch: models, tokens, corpora, training, decoding. Nothing outside this folder imports it.

The public names below load on first use.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_PUBLIC: dict[str, str] = {  # name → module that defines it
    "Transformer": "scaling.lm.models",
    "build_model": "scaling.lm.models",
    "load_model": "scaling.lm.models",
    "save_model": "scaling.lm.models",
    "load_huggingface": "scaling.lm.models.convert",
    "save_huggingface": "scaling.lm.models.convert",
    "load_language_model": "scaling.lm.pretrained",
    "load_corpus": "scaling.lm.corpus",
    "train": "scaling.lm.training",
    "train_packed": "scaling.lm.training",
    "train_branches": "scaling.lm.training",
    "RunSpec": "scaling.lm.run",
    "RunResult": "scaling.lm.run",
    "TrainingOptions": "scaling.lm.run",
    "Recipe": "scaling.lm.recipes",
    "Schedule": "scaling.lm.recipes",
    "generate": "scaling.lm.decoding",
    "stream": "scaling.lm.decoding",
    "Generation": "scaling.lm.decoding",
    "Beam": "scaling.lm.beam",
    "Greedy": "scaling.lm.sampling",
    "Sample": "scaling.lm.sampling",
    "Temperature": "scaling.lm.sampling",
    "TopK": "scaling.lm.sampling",
    "TopP": "scaling.lm.sampling",
    "MinP": "scaling.lm.sampling",
    "Typical": "scaling.lm.sampling",
    "RepetitionPenalty": "scaling.lm.sampling",
}

__all__ = [*_PUBLIC]

__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
