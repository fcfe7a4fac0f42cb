"""Tokenizers on disk: our JSON, the common tokenizer.json, and GPT-2's two files.

Those of other people's models are run by the library that wrote them: their own split rule, their own ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.files import write_text
from scaling.installing import extra_command
from scaling.lm.tokenization.base import END_OF_TEXT, ByteTokenizer, CharTokenizer, Tokenizer, require_utf8
from scaling.lm.tokenization.bpe import BytePairTokenizer, read_bytes, spell_bytes

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
    write_text(path, json.dumps(body))
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
    return _first_of(folder, *MERGES_FILES) is not None


def _first_of(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def has_own_rule(path: Path) -> bool:
    """Whether a tokenizer.json is of the `tokenizers` library and not GPT-2's kind, or puts tokens around a text: only
    that library gives its ids."""
    body = _read_object(path)
    return "model" in body and bool(departure_from_gpt2(body) or _adds_tokens(body.get("post_processor")))


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
    merges_file = _first_of(folder, *MERGES_FILES)
    if merges_file is None:
        raise DataError(f"{folder} holds neither vocab.bpe nor merges.txt, the merge list of GPT-2.")
    merges = []
    for number, line in enumerate(merges_file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        try:
            left, right = map(read_bytes, line.split(" "))
        except (KeyError, ValueError) as error:
            raise DataError(
                f"line {number} of {merges_file} is not two byte-level pieces: {line!r}."
            ) from error
        merges.append((left, right))
    tokenizer = BytePairTokenizer(merges)
    vocab_file = _first_of(folder, "encoder.json", "vocab.json")
    if vocab_file is not None:
        _check_vocab(tokenizer, _read_object(vocab_file), vocab_file)
    return tokenizer


def _check_vocab(tokenizer: BytePairTokenizer, vocab: dict[str, int], path: Path) -> None:
    if not isinstance(vocab, dict) or not all(isinstance(i, int) for i in vocab.values()):
        raise DataError(f"{path} is damaged: a vocabulary gives each piece its whole number. Fetch it again.")
    for piece, token in vocab.items():
        if (piece, token) == (END_OF_TEXT, tokenizer.end_of_text):
            continue
        if token >= tokenizer.end_of_text or spell_bytes(tokenizer.token_bytes(token)) != piece:
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
    try:
        halves = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        merges = [(read_bytes(a), read_bytes(b)) for a, b in halves]
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


class EngineTokenizer:
    """A tokenizer of the `tokenizers` library, kept as it is: for reading a model, not for preparing a corpus.

    Args:
        engine: a `tokenizers.Tokenizer`.
        end_of_text: the id that ends a text.
        ends_of_text: every id that does (a chat model has several); that one unless given.
        start_of_text: the id a text of the model begins with; None where nothing names one.
    """

    def __init__(
        self,
        engine: Any,
        end_of_text: int,
        ends_of_text: Sequence[int] = (),
        start_of_text: int | None = None,
    ) -> None:
        engine.no_truncation()  # some files were saved with the lengths of a training run
        engine.no_padding()
        self.engine, self.end_of_text, self.start_of_text = engine, end_of_text, start_of_text
        self.ends_of_text = tuple(ends_of_text) or (end_of_text,)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self.engine.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Ids of the text; special tokens written out in it are recognised."""
        require_utf8(text)
        return list(self.engine.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a text to continue: with what the file's post_processor puts around it, as transformers does."""
        require_utf8(text)
        return list(self.engine.encode(text, add_special_tokens=True).ids)

    @property
    def before_text(self) -> tuple[int, ...]:
        """What the file's post_processor puts before every text (GLM's [gMASK]<sop>), whatever it puts behind."""
        encoded = self.engine.encode("a", add_special_tokens=True)
        added = list(encoded.special_tokens_mask)
        return tuple(encoded.ids[: added.index(0)]) if 0 in added else ()

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens included."""
        return str(self.engine.decode(list(ids), skip_special_tokens=False))


def load_engine_tokenizer(folder: str | Path) -> EngineTokenizer:
    """The tokenizer.json of a Hugging Face checkpoint, with the end of text its configuration names.

    Raises:
        UsageError: the library tokenizers is not installed.
        DataError: the file cannot be read, or no file of the folder names an end of text.
    """
    folder = Path(folder)
    file = folder / TOKENIZER_FILE
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UsageError(f"reading {file} needs tokenizers: {extra_command('train')}") from error
    try:
        engine = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"the tokenizer {file} cannot be read: {error}.") from error
    configured = _configured_ids(folder, "eos_token_id")
    end = next((i for i in (_named_id(folder, engine, "eos_token"), *configured) if i is not None), None)
    if end is None:
        raise DataError(
            f"no file of {folder} names the end of text; put eos_token_id into its config.json, or eos_token into "
            "its tokenizer_config.json."
        )
    return EngineTokenizer(engine, end, sorted({end, *configured}), _start_of_text(folder, engine))


def _start_of_text(folder: Path, engine: Any) -> int | None:
    """The model's own goes first, as in transformers' generate; a default of its class may lie outside the
    vocabulary."""
    configured = _configured_ids(folder, "bos_token_id")
    known = [i for i in configured if i >= 0 and engine.id_to_token(i) is not None]
    return known[0] if known else _named_id(folder, engine, "bos_token")


def _named_id(folder: Path, engine: Any, role: str) -> int | None:
    """Id of a token that the tokenizer's configuration names by its text."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _read(folder / name).get(role)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and (found := engine.token_to_id(token)) is not None:
            return int(found)
    return None


def _configured_ids(folder: Path, key: str) -> list[int]:
    """The ids of the checkpoint under a key, one or several; those for generation go first."""
    for name in ("generation_config.json", "config.json"):
        ids = _read(folder / name).get(key)
        listed = [i for i in (ids if isinstance(ids, list) else [ids]) if type(i) is int]
        if listed:
            return listed
    return []


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.exists() else {}


def read_json_object(path: Path) -> dict[str, Any]:
    """A file of a checkpoint; FileNotFoundError where there is none.

    Raises:
        DataError: it holds something else.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not a JSON object ({error}).") from error
