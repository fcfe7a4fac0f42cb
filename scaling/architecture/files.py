"""Architectures in JSON files: a saved model's, of `scaling plan --json` and `scaling count --json`, a config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.architecture.huggingface import is_huggingface_config, read_huggingface
from scaling.architecture.spec import Architecture
from scaling.errors import DataError, MissingFileError, UsageError

COUNTED = {"n_params", "n_params_total", "n_params_wanted", "relative_error", "vocabulary_share", "notes"}
_IN_A_FOLDER = ("architecture.json", "config.json")  # of a saved model; of a Hugging Face checkpoint


def load_architecture(path: str | Path) -> Architecture:
    """`describe_architecture` without its remarks."""
    return describe_architecture(path)[0]


def describe_architecture(path: str | Path) -> tuple[Architecture, tuple[str, ...]]:
    """Read an architecture and what to know of it: its fields in JSON (on their own or under the key "architecture"),
    a Hugging Face config.json, or the folder of either.

    What a plan says about its shape beside the fields (COUNTED) is left unread, since the fields decide.

    Raises:
        MissingFileError: no such file, or a folder without one.
        DataError: no JSON object, fields that make no architecture, a Hugging Face config that is not understood.
    """
    path = _file(Path(path))
    try:
        return _described(_read(path), str(path))
    except UsageError as error:  # what a file says is its content, not the usage of a command
        raise DataError(str(error)) from error


def _described(stored: Mapping[str, Any], source: str) -> tuple[Architecture, tuple[str, ...]]:
    if isinstance(stored.get("architecture"), Mapping):
        stored = stored["architecture"]
    elif is_huggingface_config(stored):
        return read_huggingface(stored, source=source)
    return Architecture.from_dict({k: v for k, v in stored.items() if k not in COUNTED}), ()


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in _IN_A_FOLDER if (path / name).is_file()), None)
    if found is None:
        raise MissingFileError(
            f"the folder {str(path)!r} holds no {' or '.join(_IN_A_FOLDER)}; give the JSON file itself."
        )
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingFileError(
            f"cannot read the architecture file {str(path)!r}: {error.strerror}."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{str(path)!r} is not JSON: {error}. An architecture is a config.json, or the name of a preset "
            "(`scaling count --list`)."
        ) from error
    if not isinstance(stored, Mapping) or not isinstance(stored.get("architecture", {}), Mapping):
        raise DataError(
            f"{str(path)!r} holds no architecture: expected an object of fields such as n_layers."
        )
    return stored
