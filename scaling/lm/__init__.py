"""Everything that needs torch: models, tokens, corpora, training, decoding. Nothing outside this folder imports it.

The public names below load on first use.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_PUBLIC: dict[str, str] = {  # name → module that defines it
    name: module
    for module, names in {
        "models": ("Transformer", "build_model", "load_model", "save_model"),
        "models.convert": ("load_huggingface", "save_huggingface"),
        "pretrained": ("load_language_model",),
        "corpus": ("load_corpus",),
        "training": ("train", "train_packed", "train_branches"),
        "run": ("RunSpec", "RunResult", "TrainingOptions"),
        "recipes": ("Recipe", "Schedule"),
        "decoding": ("generate", "stream"),
        "request": ("Generation",),
        "beam": ("Beam",),
        "sampling": (
            "Greedy", "Sample", "Temperature", "TopK", "TopP", "MinP", "Typical", "RepetitionPenalty",
        ),
    }.items()
    for name in names
}  # fmt: skip

__all__ = [*_PUBLIC]

__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
