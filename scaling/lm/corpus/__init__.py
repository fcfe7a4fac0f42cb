"""Corpora: text or a synthetic language → ids → training windows. NumPy only; torch is not imported.

Use which when:

- `SyntheticLanguage`: no download, unlimited, its entropy known exactly: the loss has a floor you can see.
- `load_corpus("stdlib")`: real text that every Python has.
- `load_corpus("tokens:DIR,dtype=uint16,vocab=50257")`: token files made elsewhere (nanoGPT, llm.c, .npy).
- `prepare_corpus(open_documents(...), ...)`: your own text files, JSONL, Parquet, or a Hugging Face dataset.
"""

from scaling.lm.corpus.corpora import (
    Corpus,
    MixtureCorpus,
    ShardCorpus,
    SyntheticCorpus,
    TokenFileCorpus,
    load_corpus,
    prepare_stdlib,
)
from scaling.lm.corpus.documents import Document, open_documents
from scaling.lm.corpus.prepare import check_corpus, load_index, prepare_corpus
from scaling.lm.corpus.shards import TokenStream, open_shard
from scaling.lm.corpus.synthetic import Entropy, SyntheticLanguage
from scaling.lm.corpus.windows import (
    MixtureWindows,
    StreamWindows,
    SyntheticWindows,
    Windows,
    count_epochs,
    gpt3_mixture,
)

__all__ = [
    "Corpus",
    "Document",
    "Entropy",
    "MixtureCorpus",
    "MixtureWindows",
    "ShardCorpus",
    "StreamWindows",
    "SyntheticCorpus",
    "SyntheticLanguage",
    "SyntheticWindows",
    "TokenFileCorpus",
    "TokenStream",
    "Windows",
    "check_corpus",
    "count_epochs",
    "gpt3_mixture",
    "load_corpus",
    "load_index",
    "open_documents",
    "open_shard",
    "prepare_corpus",
    "prepare_stdlib",
]
