"""Tokenizers on disk: our JSON, the common tokenizer.json, and GPT-2's two files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.files import write_text
from scaling.lm.tokenization.base import END_OF_TEXT, Tokenizer
from scaling.lm.tokenization.bpe import BytePairTokenizer
from scaling.lm.tokenization.pretokenize import byte_characters
from scaling.lm.tokenization.simple import ByteTokenizer, CharTokenizer

SCHEMA_VERSION = 1
TOKENIZER_FILE = "tokenizer.json"
MERGES_FILES = ("vocab.bpe", "merges.txt")  # as OpenAI and as Hugging Face name it


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> Path:
    """Write `tokenizer` as JSON, atomically."""
    path = Path(path)
    body = {
        "schema_version": SCHEMA_VERSION,
        "kind": "tokenizer",
        "hash": tokenizer.hash,
        **tokenizer.to_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(body, ensure_ascii=True, indent=None))
    return path


def load_tokenizer(source: str | Path) -> Tokenizer:
    """Read a tokenizer: a JSON file of ours or of `tokenizers`, a folder that holds one, or the word "byte".

    Raises:
        DataError: the file is absent, damaged, of a later version, or not byte-level BPE split as in GPT-2.
    """
    if str(source) == "byte":
        return ByteTokenizer()
    path = Path(source)
    if path.is_dir():
        # merges alone do not say how text is split: other models ship a merges.txt too
        if not (path / TOKENIZER_FILE).exists() and has_gpt2_files(path):
            return load_gpt2(path)
        path = path / TOKENIZER_FILE
    body = _read_object(path)
    return _from_common(body, path) if "model" in body else _from_ours(body, path)


def has_gpt2_files(folder: Path) -> bool:
    """Whether the folder holds a merge list as GPT-2's was published."""
    return any((folder / name).exists() for name in MERGES_FILES)


def has_own_rule(path: Path) -> bool:
    """Whether a tokenizer.json is of the `tokenizers` library and not GPT-2's kind, or puts tokens around a text: only
    that library gives its ids."""
    body = _read_object(path)
    if "model" not in body:
        return False
    return departure_from_gpt2(body) is not None or _adds_tokens(body.get("post_processor"))


def _adds_tokens(step: dict[str, Any] | None) -> bool:
    """Whether a post_processor puts tokens before or after a text."""
    if not step or step.get("type") == "ByteLevel":  # which only shifts offsets
        return False
    if step.get("type") == "Sequence":
        return any(_adds_tokens(part) for part in step["processors"])
    if step.get("type") == "TemplateProcessing":
        return any("SpecialToken" in piece for piece in step["single"])
    return True  # BertProcessing, RobertaProcessing


def _read_object(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(
            f"cannot read the tokenizer {path}: {error.strerror}. Train one: scaling tokenize train."
        ) from error
    except ValueError as error:
        raise DataError(
            f"the tokenizer {path} is not JSON ({error}). It is damaged; make it again."
        ) from error
    if not isinstance(body, dict):
        raise DataError(f"the tokenizer {path} must be a JSON object; got {type(body).__name__}.")
    return body


def load_gpt2(folder: str | Path) -> BytePairTokenizer:
    """GPT-2's vocabulary from its published files.

    Args:
        folder: holds vocab.bpe (or merges.txt) and, optionally, encoder.json (or vocab.json), which is checked.
    Returns:
        50,257 ids with the published file; the end of text is 50,256.
    Source: Radford et al. 2019, the released encoder.json and vocab.bpe.
    """
    folder = Path(folder)
    merges_file = next((folder / n for n in MERGES_FILES if (folder / n).exists()), None)
    if merges_file is None:
        raise DataError(f"{folder} holds neither vocab.bpe nor merges.txt, the merge list of GPT-2.")
    back = {c: b for b, c in byte_characters().items()}
    merges = []
    for number, line in enumerate(merges_file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        halves = line.split(" ")
        if len(halves) != 2 or any(c not in back for c in line if c != " "):
            raise DataError(f"line {number} of {merges_file} is not two byte-level pieces: {line!r}.")
        merges.append((bytes(back[c] for c in halves[0]), bytes(back[c] for c in halves[1])))
    tokenizer = BytePairTokenizer(merges)
    vocab_file = next((folder / n for n in ("encoder.json", "vocab.json") if (folder / n).exists()), None)
    if vocab_file is not None:
        _check_vocab(tokenizer, _read_object(vocab_file), vocab_file)
    return tokenizer


def _check_vocab(tokenizer: BytePairTokenizer, vocab: dict[str, int], path: Path) -> None:
    if not isinstance(vocab, dict) or not all(isinstance(i, int) for i in vocab.values()):
        raise DataError(f"{path} is damaged: a vocabulary gives each piece its whole number. Fetch it again.")
    back = {c: b for b, c in byte_characters().items()}
    for piece, token in vocab.items():
        if (piece, token) == (END_OF_TEXT, tokenizer.end_of_text):
            continue
        spelt = bytes(back[c] for c in piece) if all(c in back for c in piece) else None
        if token >= tokenizer.end_of_text or tokenizer.token_bytes(token) != spelt:
            raise DataError(
                f"{path} gives {piece!r} the id {token}, which does not follow from its merges in order. "
                "Only byte-level vocabularies in GPT-2's order can be read."
            )


def _from_ours(body: dict[str, Any], path: Path) -> Tokenizer:
    if body.get("kind") != "tokenizer":
        raise DataError(f"{path} is not a tokenizer (kind is {body.get('kind')!r}).")
    if body.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {body.get('schema_version')}; this release reads {SCHEMA_VERSION}."
        )
    tokenizer: Tokenizer
    try:
        if body["type"] == "byte":
            tokenizer = ByteTokenizer()
        elif body["type"] == "char":
            tokenizer = CharTokenizer(body["alphabet"])
        elif body["type"] == "bpe":
            tokenizer = BytePairTokenizer([(bytes.fromhex(a), bytes.fromhex(b)) for a, b in body["merges"]])
        else:
            raise UsageError(
                f"{path} names an unknown tokenizer type {body['type']!r}; known: byte, char, bpe."
            )
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"the tokenizer {path} is damaged: {error!r}. Make it again.") from error
    if tokenizer.hash != body.get("hash"):
        raise DataError(
            f"the tokenizer {path} was changed after it was written (hash {tokenizer.hash}, not {body.get('hash')})."
        )
    return tokenizer


def _from_common(body: dict[str, Any], path: Path) -> BytePairTokenizer:
    """The tokenizer.json of the `tokenizers` library, when it splits and merges as GPT-2 does."""
    try:
        departure = departure_from_gpt2(body)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error!r}. Fetch it again.") from error
    if departure is not None:
        raise DataError(
            f"{path} is not byte-level BPE as in GPT-2: {departure}; read here it would give other ids. "
            "Train a vocabulary: scaling tokenize train."
        )
    model = body["model"]
    back = {c: b for b, c in byte_characters().items()}
    try:
        halves = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        merges = [(bytes(back[c] for c in a), bytes(back[c] for c in b)) for a, b in halves]
        tokenizer, vocab = BytePairTokenizer(merges), model["vocab"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is damaged: {error!r} in its merges or vocabulary. Fetch it again."
        ) from error
    _check_vocab(tokenizer, vocab, path)
    return tokenizer


# What decides the ids, as GPT-2's own tokenizer.json has it; a key that is left out has the first of these values.
_GPT2_MODEL = {
    "type": ("BPE",), "dropout": (None, 0.0), "continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, ""),
    "byte_fallback": (False,), "ignore_merges": (False,),
}  # fmt: skip
_GPT2_SPLIT = {"type": ("ByteLevel",), "add_prefix_space": (False,), "use_regex": (True,)}


def departure_from_gpt2(body: dict[str, Any]) -> str | None:
    """The first setting of a tokenizer.json that gives other ids than GPT-2's rule, None when there is none."""
    for key, allowed in _GPT2_MODEL.items():
        if body["model"].get(key, allowed[0]) not in allowed:
            return f"its model has {key} {body['model'][key]!r}"
    if body.get("normalizer") is not None:
        return f"it has the normalizer {body['normalizer'].get('type')!r}"
    split: dict[str, Any] = body.get("pre_tokenizer") or {"type": None}
    parts: list[dict[str, Any]] = split["pretokenizers"] if split["type"] == "Sequence" else [split]
    if len(parts) != 1:
        return f"its pre_tokenizer is a sequence of {', '.join(str(p.get('type')) for p in parts)}"
    for key, values in _GPT2_SPLIT.items():
        if parts[0].get(key, values[0]) not in values:
            return f"its pre_tokenizer has {key} {parts[0][key]!r}"
    others = [token["content"] for token in body.get("added_tokens", []) if token["content"] != END_OF_TEXT]
    return f"it adds the token {others[0]!r}" if others else None
