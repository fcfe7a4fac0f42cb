"""Tokenizers of other people's models, run by the library that wrote them: their own split rule, their own ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.errors import DataError, UsageError
from scaling.lm.tokenization.base import require_utf8


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
    file = folder / "tokenizer.json"
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UsageError(f"reading {file} needs tokenizers: pip install 'isoflop[train]'.") from error
    try:
        engine = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"the tokenizer {file} cannot be read: {error}.") from error
    configured = _configured_ids(folder, "eos_token_id")
    end = _named_id(folder, engine, "eos_token")
    if end is None and configured:
        end = configured[0]
    if end is None:
        raise DataError(
            f"no file of {folder} names the end of text; put eos_token_id into its config.json, or eos_token into "
            "its tokenizer_config.json."
        )
    ends = sorted({end, *configured})
    return EngineTokenizer(engine, end, ends, _start_of_text(folder, engine))


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
        if isinstance(token, str) and engine.token_to_id(token) is not None:
            return int(engine.token_to_id(token))
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
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not a JSON object ({error}).") from error
