"""Tokenizers: text ↔ ids, with save, load and a hash that names the vocabulary.

Use which when:

- `ByteTokenizer`: no training, no surprise, 256 + 1 ids; long sequences.
- `CharTokenizer`: small closed alphabets (toy corpora); fails loudly on a character it never saw.
- `BytePairTokenizer`: everything else. Train with `train_bpe` (the `tokenizers` library when it is installed,
  else pure Python: same merges, same ids); below 30M parameters use 4k to 8k entries trained on your corpus.
- `load_gpt2`: the published 50,257 entries, from GPT-2's own two files.
"""

from scaling.lm.tokenization.base import END_OF_TEXT, ByteTokenizer, CharTokenizer, Tokenizer, require_utf8
from scaling.lm.tokenization.bpe import (
    BytePairTokenizer,
    EncodingStep,
    MergeStep,
    trace_encoding,
    trace_training,
    train_bpe,
)
from scaling.lm.tokenization.files import load_gpt2, load_tokenizer, save_tokenizer

__all__ = [
    "END_OF_TEXT",
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "EncodingStep",
    "MergeStep",
    "Tokenizer",
    "load_gpt2",
    "load_tokenizer",
    "require_utf8",
    "save_tokenizer",
    "trace_encoding",
    "trace_training",
    "train_bpe",
]
