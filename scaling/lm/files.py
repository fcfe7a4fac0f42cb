"""Tensors on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import StorageError

if TYPE_CHECKING:  # tokenizers and corpora come here too, without torch
    from torch import Tensor


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
