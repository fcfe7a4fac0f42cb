"""What a run reads: the training windows of every step and the validation block, for one run or K packed ones."""

# K runs, B windows, T tokens

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scaling.errors import UsageError
from scaling.lm.corpus import Corpus, SyntheticCorpus, load_corpus
from scaling.lm.device import Device
from scaling.lm.evaluation import ValidationBlock, load_validation_block
from scaling.lm.run import RunSpec


class Batches:
    """The corpora of the runs. Which windows a step reads follows from its number and the seed alone."""

    def __init__(self, specs: Sequence[RunSpec], device: Device) -> None:
        names = {s.corpus: load_corpus(s.corpus) for s in specs}
        self.corpora = [names[s.corpus] for s in specs]
        for spec, corpus in zip(specs, self.corpora):
            _check_vocabulary(spec, corpus)
        self._sources = [_window_source(c, s, device) for c, s in zip(self.corpora, specs)]
        self.blocks = _validation_blocks(specs, self.corpora)
        prints = {name: corpus.fingerprint for name, corpus in names.items()}
        self.fingerprints = [prints[s.corpus] for s in specs]

    def windows(self, first: int, count: int) -> Tensor:
        """`count` windows of every run from number `first` of its order on, (K, B, T + 1), on the device."""
        return torch.stack([source(first, count) for source in self._sources])


def _check_vocabulary(spec: RunSpec, corpus: Corpus) -> None:
    if corpus.vocab_size > spec.architecture.vocab_size:
        raise UsageError(
            f"the corpus {corpus.name} has {corpus.vocab_size} token ids but the model only "
            f"{spec.architecture.vocab_size}; set vocab_size to at least {corpus.vocab_size}."
        )


def _window_source(corpus: Corpus, spec: RunSpec, device: Device) -> Callable[[int, int], Tensor]:
    """A function (first, count) → windows on the device."""
    context = spec.architecture.context_length
    if isinstance(corpus, SyntheticCorpus) and device.device.type == "cuda":
        from scaling.lm.corpus.synthetic_torch import TorchSyntheticLanguage

        stream = corpus.training_windows(context, seed=spec.data_seed).stream
        language = TorchSyntheticLanguage(corpus.language, device.device)
        return lambda first, count: language.windows(first, count, context + 1, stream=stream)
    windows = corpus.training_windows(context, seed=spec.data_seed)

    def read(first: int, count: int) -> Tensor:
        ids = torch.from_numpy(windows.windows(first, count))
        return ids.pin_memory().to(device.device, non_blocking=True) if device.device.type == "cuda" else ids

    return read


def _validation_blocks(specs: Sequence[RunSpec], corpora: Sequence[Corpus]) -> list[ValidationBlock]:
    """The block of every run; one object for those that share it."""
    context = specs[0].architecture.context_length
    keys = [(spec.corpus, spec.n_eval_windows) for spec in specs]
    blocks = {
        key: load_validation_block(corpus, context, key[1])
        for key, corpus in dict(zip(keys, corpora)).items()
    }
    return [blocks[key] for key in keys]
