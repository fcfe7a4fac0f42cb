"""One object per corpus, whatever it is made of, found by its name.

Each has a `name`, a `vocab_size`, its `tokenizer` if it has one, and

- `n_tokens_unique`: distinct training tokens; None when unlimited.
- `fingerprint`: 16 hexadecimal digits that name the ids, training and validation, wherever they lie.
- `training_windows(context_length, seed=)` and `validation_windows(context_length)`.
- `count_bytes(targets)`: UTF-8 bytes the ids stand for; None when the corpus has no text behind it.
- `true_log_probabilities(windows)`: ln p of each target, (n, context_length), NaN where it does not count; None when
  nobody knows.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.lm.corpus.documents import open_documents, stdlib_documents
from scaling.lm.corpus.hashing import derive_key
from scaling.lm.corpus.prepare import INDEX_FILE, SPLITS, load_index, load_own_tokenizer, prepare_corpus
from scaling.lm.corpus.shards import (
    TokenStream,
    check_ids_of_file,
    hash_file,
    hash_parts,
    open_shard,
    verify_shards,
)
from scaling.lm.corpus.synthetic import SyntheticLanguage
from scaling.lm.corpus.windows import (
    MixtureShare,
    MixtureWindows,
    StreamWindows,
    SyntheticWindows,
    count_epochs,
    normalise,
)
from scaling.lm.tokenization import Tokenizer, train_bpe

Floats = NDArray[np.float64]
VALIDATION_SEED = 2005_14165  # fixed: every run of every sweep is measured on the same windows
STDLIB_VOCAB_SIZE = 4096
TOKENS = "tokens:"
TOKENS_FORM = "tokens:DIR,dtype=uint16,vocab=50257"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# weight*corpus, up to the next one: a + that no weight follows belongs to the name of a folder
_PART = re.compile(rf"({_NUMBER})\*(.*?)(?:\+(?={_NUMBER}\*)|\Z)", re.DOTALL)
_OPTIONS = re.compile(r"(?:,[a-z]+=[^,/]*)*$")
# train.bin and val.bin (nanoGPT), fineweb_train_000001.bin (llm.c), .npy
_SPLIT_FILES = {
    "train": re.compile(r"(.*_)?train(_.*)?"),
    "validation": re.compile(r"(.*_)?val(idation)?(_.*)?"),
}


class _Ids:
    """What is so of ids alone: no text stands behind them, and nobody knows their truth."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        return None

    def count_bytes(self, targets: NDArray[np.int64]) -> int | None:
        return None

    def true_log_probabilities(self, windows: NDArray[np.int64]) -> Floats | None:
        return None


@dataclass(frozen=True, kw_only=True)
class SyntheticCorpus(_Ids):
    """The synthetic language as a corpus."""

    language: SyntheticLanguage

    @property
    def name(self) -> str:
        return f"synthetic:bits={self.language.bits},seed={self.language.seed}"

    @property
    def vocab_size(self) -> int:
        return self.language.vocab_size

    n_tokens_unique: ClassVar[None] = None

    @property
    def fingerprint(self) -> str:
        return hash_parts("synthetic", self.language.bits, self.language.seed)

    def training_windows(self, context_length: int, *, seed: int) -> SyntheticWindows:
        stream = derive_key("training", seed)
        return SyntheticWindows(language=self.language, context_length=context_length, stream=stream)

    def validation_windows(self, context_length: int) -> SyntheticWindows:
        stream = derive_key("validation", VALIDATION_SEED)
        return SyntheticWindows(language=self.language, context_length=context_length, stream=stream)

    def true_log_probabilities(self, windows: NDArray[np.int64]) -> Floats:
        return self.language.log_probabilities(windows)[:, 1:]


class _StoredTokens(_Ids):
    """What corpora on disk share: windows of the token streams of their two splits."""

    def stream(self, split: str) -> TokenStream:
        raise NotImplementedError

    def training_windows(self, context_length: int, *, seed: int) -> StreamWindows:
        return StreamWindows(stream=self.stream("train"), context_length=context_length, seed=seed)

    def validation_windows(self, context_length: int) -> StreamWindows:
        stream = self.stream("validation")
        return StreamWindows(stream=stream, context_length=context_length, seed=VALIDATION_SEED)


@dataclass(frozen=True, kw_only=True)
class ShardCorpus(_StoredTokens):
    """A prepared corpus on disk."""

    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder)

    @cached_property
    def index(self) -> Mapping[str, Any]:
        return load_index(self.folder)

    @cached_property
    def vocab_size(self) -> int:
        return int(self.index["vocab_size"])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_own_tokenizer(self.folder, self.index)

    @property
    def n_tokens_unique(self) -> int:
        return int(load_index(self.folder)["splits"]["train"]["n_tokens"])

    @property
    def fingerprint(self) -> str:
        index = load_index(self.folder)
        shards = [[shard["sha256"] for shard in index["splits"][name]["shards"]] for name in SPLITS]
        return hash_parts("shards", index["vocab_size"], index["tokenizer"]["hash"], *shards)

    def stream(self, split: str) -> TokenStream:
        """All shards of "train" or "validation" as one stream; each is compared with its SHA-256 once."""
        entry = load_index(self.folder)["splits"].get(split)
        if entry is None:
            raise DataError(f"{self.folder} has no split {split!r}.")
        shards = [open_shard(self.folder / shard["file"]) for shard in entry["shards"]]
        verify_shards(self.folder, entry["shards"])
        return TokenStream(shards, vocab_size=self.vocab_size, name=f"{self.folder} ({split})")

    @cached_property
    def _token_bytes(self) -> NDArray[np.int64]:
        # the last id, the separator, is not text
        return np.array([*(len(self.tokenizer.token_bytes(i)) for i in range(self.tokenizer.end_of_text)), 0])

    def count_bytes(self, targets: NDArray[np.int64]) -> int:
        return int(self._token_bytes[targets].sum())


@dataclass(frozen=True, kw_only=True)
class TokenFileCorpus(_StoredTokens):
    """Token files made elsewhere: nanoGPT's train.bin and val.bin, llm.c's shards, .npy."""

    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    vocab_size: int
    dtype: str | None = None

    @property
    def name(self) -> str:
        return f"{TOKENS}{self.train[0].parent},dtype={self.dtype},vocab={self.vocab_size}"

    @property
    def n_tokens_unique(self) -> int:
        return self.stream("train").n_tokens

    @property
    def fingerprint(self) -> str:
        files = [[hash_file(file) for file in split] for split in (self.train, self.validation)]
        return hash_parts("token files", self.vocab_size, self.dtype, *files)

    def stream(self, split: str) -> TokenStream:
        files = self.train if split == "train" else self.validation
        for file in files:
            check_ids_of_file(file, dtype=self.dtype, vocab_size=self.vocab_size)
        shards = [open_shard(file, dtype=self.dtype) for file in files]
        return TokenStream(shards, vocab_size=self.vocab_size, name=str(files[0]))


@dataclass(frozen=True, kw_only=True)
class MixtureCorpus(_Ids):
    """Several corpora of one vocabulary, drawn by weight; validated on the same mixture."""

    corpora: tuple[Corpus, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        normalise(self.weights)
        names = [c.name for c in self.corpora]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise UsageError(f"{twice} is twice in a mixture; name it once, with the sum of its weights.")
        hashes = {c.tokenizer.hash for c in self.corpora if c.tokenizer is not None}
        if len(hashes) > 1:
            raise UsageError(f"all corpora of a mixture need one tokenizer; got {sorted(hashes)}.")

    @property
    def name(self) -> str:
        return "+".join(f"{w:g}*{c.name}" for w, c in zip(self.weights, self.corpora))

    @property
    def vocab_size(self) -> int:
        return self.corpora[0].vocab_size

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self.corpora[0].tokenizer

    @property
    def n_tokens_unique(self) -> int | None:
        counts = [c.n_tokens_unique for c in self.corpora]
        return None if any(n is None for n in counts) else sum(n for n in counts if n is not None)

    @property
    def fingerprint(self) -> str:
        return hash_parts("mixture", normalise(self.weights), [c.fingerprint for c in self.corpora])

    def training_windows(self, context_length: int, *, seed: int) -> MixtureWindows:
        parts = tuple(c.training_windows(context_length, seed=seed) for c in self.corpora)
        return MixtureWindows(sources=parts, weights=self.weights, seed=seed)

    def validation_windows(self, context_length: int) -> MixtureWindows:
        parts = tuple(c.validation_windows(context_length) for c in self.corpora)
        return MixtureWindows(sources=parts, weights=self.weights, seed=VALIDATION_SEED, once=True)

    def count_bytes(self, targets: NDArray[np.int64]) -> int | None:
        """Bytes of the targets; None unless every source has a tokenizer, which is one for all."""
        all_have = all(c.tokenizer is not None for c in self.corpora)
        return self.corpora[0].count_bytes(targets) if all_have else None


Corpus: TypeAlias = SyntheticCorpus | ShardCorpus | TokenFileCorpus | MixtureCorpus


def load_corpus(name: str | Path) -> Corpus:
    """A corpus by name.

    Args:
        name: "synthetic" or "synthetic:bits=7,seed=0"; "stdlib" (prepared once, in the user's cache folder); a
            folder made by `scaling corpus prepare`; "tokens:DIR,dtype=uint16,vocab=50257" for token files made
            elsewhere (these are the defaults, nanoGPT's); or a mixture "0.7*folder_a+0.3*folder_b".
    """
    name = str(name)
    parts = split_mixture(name)
    if parts is not None:
        weights = tuple(weight for weight, _ in parts)
        return MixtureCorpus(corpora=tuple(load_corpus(part) for _, part in parts), weights=weights)
    if name.startswith(TOKENS):
        folder, dtype, vocab_size = parse_token_files(name)
        return TokenFileCorpus(**require_token_files(folder), vocab_size=vocab_size, dtype=dtype)
    if name.split(":")[0] == "synthetic":
        return SyntheticCorpus(language=_parse_language(name))
    if name == "stdlib":
        return ShardCorpus(folder=prepare_stdlib())
    if not Path(name).is_dir():
        raise MissingFileError(
            f"no corpus {name!r}: give 'synthetic', 'stdlib', a folder made by scaling corpus prepare, "
            f"or {TOKENS_FORM}."
        )
    if not (Path(name) / INDEX_FILE).exists() and all(find_token_files(Path(name)).values()):
        raise DataError(f"{name} is not a prepared corpus but holds token files: name it {TOKENS}{name}.")
    corpus = ShardCorpus(folder=Path(name))
    load_index(corpus.folder)
    return corpus


def _parse_language(name: str) -> SyntheticLanguage:
    values = {"bits": 7, "seed": 0}
    for part in filter(None, name.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        if key not in values or not re.fullmatch(r"\d+", value):
            raise UsageError(f"a synthetic corpus reads synthetic:bits=7,seed=0; got {name!r}.")
        values[key] = int(value)
    return SyntheticLanguage(**values)


def stdlib_folder() -> Path:
    """Where the prepared standard library is kept: below $SCALING_CACHE, else the user's cache folder."""
    base = os.environ.get("SCALING_CACHE")
    cache = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "scaling"
    return cache / f"stdlib-{platform.python_version()}-{STDLIB_VOCAB_SIZE}"


def prepare_stdlib() -> Path:
    """The standard library's text with a vocabulary trained on it; made once (about half a minute), then reused."""
    folder = stdlib_folder()
    if not (folder / INDEX_FILE).exists():
        tokenizer = train_bpe((d.text for d in stdlib_documents()), STDLIB_VOCAB_SIZE)
        try:
            prepare_corpus(
                open_documents("stdlib"),
                folder,
                tokenizer,
                source="stdlib",
                revision=platform.python_version(),
                validation_fraction=0.05,
            )
        except (OSError, UsageError):
            if not (folder / INDEX_FILE).exists():
                raise  # else another process finished first, with the same content
    return folder


# up to here a repeated token is about as good as a new one (Muennighoff et al. 2023, fig. 1)
CHEAP_EPOCHS = 4.0


def epochs_of(corpus: Corpus, n_tokens: float) -> tuple[MixtureShare, ...]:
    """What a run of `n_tokens` draws from each source of the corpus; () from one without an end (synthetic)."""
    if isinstance(corpus, MixtureCorpus):
        sources = [(c.name, c.n_tokens_unique, w) for c, w in zip(corpus.corpora, normalise(corpus.weights))]
    else:
        sources = [(corpus.name, corpus.n_tokens_unique, 1.0)]
    finite = [(name, unique, weight) for name, unique, weight in sources if unique is not None]
    if not finite:
        return ()
    names, n_tokens_unique, weights = zip(*finite)
    return count_epochs(weights, n_tokens_unique, n_tokens, names=names)


def split_mixture(name: str) -> list[tuple[float, str]] | None:
    """Weights and names of "0.7*folder_a+0.3*folder_b"; None when `name` is one corpus.

    Raises:
        UsageError: it has the form of a mixture, but a weight is missing or is no number.
    """
    if "*" not in name or Path(name).is_dir():
        return None
    if _PART.match(name) is None:
        raise UsageError(f"a mixture reads weight*corpus+weight*corpus; {name!r} has no weight in {name!r}.")
    parts = [(float(weight), part) for weight, part in _PART.findall(name)]
    for _, part in parts:
        if "+" in part and not part.startswith(TOKENS) and not Path(part).is_dir():
            raise UsageError(
                f"a mixture reads weight*corpus+weight*corpus; {part!r} is no folder, and what follows its + "
                f"has no weight in {name!r}."
            )
    if min(weight for weight, _ in parts) < 0:
        raise UsageError(f"the weights of a mixture must not be negative; got {name!r}.")
    return parts


def parse_token_files(name: str) -> tuple[Path, str, int]:
    """Folder, dtype and vocabulary of "tokens:DIR,dtype=uint16,vocab=50257", the defaults being nanoGPT's."""
    body = name.removeprefix(TOKENS)
    options = _OPTIONS.search(body)
    assert options is not None  # it matches the empty text
    values = {"dtype": "uint16", "vocab": "50257"}
    for option in filter(None, options.group().split(",")):
        key, _, value = option.partition("=")
        if key not in values:
            raise UsageError(f"token files read {TOKENS_FORM}; got the option {key!r} in {name!r}.")
        values[key] = value
    if values["dtype"] not in ("uint16", "uint32"):
        raise UsageError(
            f"the dtype of token files is uint16 or uint32; got {values['dtype']!r} in {name!r}."
        )
    if not re.fullmatch(r"[1-9]\d*", values["vocab"]):
        raise UsageError(
            f"the vocab of token files is a positive number; got {values['vocab']!r} in {name!r}."
        )
    return Path(body[: options.start()]), values["dtype"], int(values["vocab"])


def find_token_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The .bin and .npy files of the two splits, in name order."""
    files = sorted(p for p in folder.glob("*") if p.suffix in (".bin", ".npy"))
    return {split: tuple(p for p in files if name.fullmatch(p.stem)) for split, name in _SPLIT_FILES.items()}


def require_token_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The token files of both splits.

    Raises:
        DataError: one of them has none.
    """
    found = find_token_files(folder)
    for split, files in found.items():
        if twice := [stem for stem, n in Counter(p.stem for p in files).items() if n > 1]:
            name = min(twice)
            raise DataError(
                f"{folder} holds {name}.bin and {name}.npy: the same tokens twice? Move one away."
            )
        if not files:
            short = "val" if split == "validation" else split
            raise DataError(
                f"{folder} holds no token file of the {split} split; it is to be named like {short}.bin or {short}.npy."
            )
    return found
