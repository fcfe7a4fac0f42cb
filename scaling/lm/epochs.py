"""How often a run reads its data: epochs of each source, and when that begins to cost."""

from __future__ import annotations

from scaling.lm.corpus import Corpus, MixtureCorpus, count_epochs
from scaling.lm.corpus.mixture import MixtureShare, normalise

CHEAP_EPOCHS = (
    4.0  # up to here a repeated token is about as good as a new one (Muennighoff et al. 2023, fig. 1)
)


def epochs_of(corpus: Corpus, n_tokens: float) -> tuple[MixtureShare, ...]:
    """What a run of `n_tokens` draws from each source of the corpus; () from one without an end (synthetic)."""
    mixed = isinstance(corpus, MixtureCorpus)
    sources = corpus.corpora if isinstance(corpus, MixtureCorpus) else (corpus,)
    weights = normalise(corpus.weights) if isinstance(corpus, MixtureCorpus) else (1.0,)
    finite = [(s, s.n_tokens_unique, w) for s, w in zip(sources, weights) if s.n_tokens_unique is not None]
    if not finite:
        return ()
    return count_epochs(
        [w for _, _, w in finite],
        [unique for _, unique, _ in finite],
        n_tokens,
        names=[s.name if mixed else corpus.name for s, _, _ in finite],
    )
