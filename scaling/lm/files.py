"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import StorageError

if TYPE_CHECKING:  # tokenizers and corpora come here too, without torch
    from torch import Tensor


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write: it takes that name when it is complete and on disk, or is removed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")  # two hosts may share a process id
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        StorageError: there is no room, or no permission.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        path.touch()
        mode = path.stat().st_mode  # as any new file here; safetensors would leave it to its owner alone
        save_file(dict(tensors), path, metadata=metadata)
        path.chmod(mode)
    except (SafetensorError, OSError) as error:
        why = f"{error.strerror} (os error {error.errno})" if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"{path.parent} could not be written to ({why}). Check its free space and permissions."
        ) from error
