"""Architectures in JSON files: a saved model's, of `scaling plan --json` and `scaling count --json`, a config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.architecture.spec import Architecture
from scaling.errors import UsageError

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
        UsageError: no such file, no JSON object, or fields that make no architecture.
        DataError: a Hugging Face config without a size it needs.
    """
    path = _file(Path(path))
    stored = _read(path)
    if isinstance(stored.get("architecture"), Mapping):
        stored = stored["architecture"]
    else:
        from scaling.architecture.huggingface import is_huggingface_config, read_huggingface

        if is_huggingface_config(stored):
            return read_huggingface(stored, source=str(path))
    return Architecture.from_dict({k: v for k, v in stored.items() if k not in COUNTED}), ()


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in _IN_A_FOLDER if (path / name).is_file()), None)
    if found is None:
        raise UsageError(
            f"the folder {str(path)!r} holds no {' or '.join(_IN_A_FOLDER)}; give the JSON file itself."
        )
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"cannot read the architecture file {str(path)!r}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is not JSON: {error}.") from error
    if not isinstance(stored, Mapping) or not isinstance(stored.get("architecture", {}), Mapping):
        raise UsageError(
            f"{str(path)!r} holds no architecture: expected an object of fields such as n_layers."
        )
    return stored
