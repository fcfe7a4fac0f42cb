"""Tokenizers of other people's models, run by the library that wrote them: their own split rule, their own ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.errors import DataError, UsageError


class EngineTokenizer:
    """A tokenizer of the `tokenizers` library, kept as it is: for reading a model, not for preparing a corpus.

    Args:
        engine: a `tokenizers.Tokenizer`.
        end_of_text: the id that ends a text.
        ends_of_text: every id that does (a chat model has several); that one unless given.
    """

    def __init__(self, engine: Any, end_of_text: int, ends_of_text: Sequence[int] = ()) -> None:
        self.engine, self.end_of_text = engine, end_of_text
        self.ends_of_text = tuple(ends_of_text) or (end_of_text,)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self.engine.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Ids of the text; special tokens written out in it are recognised."""
        return list(self.engine.encode(text, add_special_tokens=False).ids)

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
    end = _end_of_text(folder, engine)
    if end is None:
        raise DataError(
            f"no file of {folder} names the end of text; put eos_token_id into its config.json, or eos_token into "
            "its tokenizer_config.json."
        )
    return EngineTokenizer(engine, end, sorted({end, *_configured_ends(folder)}))


def _end_of_text(folder: Path, engine: Any) -> int | None:
    token = _read(folder / "tokenizer_config.json").get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    if isinstance(token, str) and engine.token_to_id(token) is not None:
        return int(engine.token_to_id(token))
    return next(iter(_configured_ends(folder)), None)


def _configured_ends(folder: Path) -> list[int]:
    """The eos_token_id of the checkpoint, one or several; that for generation goes first."""
    for name in ("generation_config.json", "config.json"):
        ids = _read(folder / name).get("eos_token_id")
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
