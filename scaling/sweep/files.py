"""Small files of a store, and what one error says: is it the file's, or the disk's?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.errors import ScalingError


class StoreError(ScalingError):
    """The store cannot be read or written, or holds something else than its rules allow."""


def read_json(path: Path | str) -> dict[str, Any]:
    """A JSON object from a file of the store."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}. Move it away; the run will be done again.") from error
    if not isinstance(value, dict):
        raise StoreError(
            f"{path} is damaged: expected a JSON object. Move it away; the run will be done again."
        )
    return value


def read_result(path: Path | str) -> dict[str, Any]:
    """The result of a run: a status, and a loss where it is done."""
    result = read_json(path)
    check_result(result, path)
    return result


def check_result(result: Mapping[str, Any], path: Path | str) -> None:
    """Refuse what is no result of a finished run."""
    status, loss = result.get("status"), result.get("loss")
    is_number = isinstance(loss, (int, float)) and math.isfinite(loss) and loss > 0
    if status != "diverged" and not (status == "done" and is_number):
        raise StoreError(
            f"{path} is no result: status {status!r}, loss {loss!r}. Move it away; the run will be done again."
        )
