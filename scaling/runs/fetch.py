"""Fetch one file from the web, whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

from scaling.errors import DataError, MissingFileError

TIMEOUT_S = 30


def fetch(url: str, folder: Path, name: str, *, sha256: str | None = None) -> Path:
    """The file behind `url` as `folder`/`name`; it gets its name there when it is complete (and has this SHA-256).

    Raises:
        DataError: no pooch, no network, no such page, another content than expected, a full disk.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DataError("downloading tables needs pooch; `pip install 'isoflop[data]'`.") from error
    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path: str = pooch.retrieve(
            url,
            known_hash=None if sha256 is None else f"sha256:{sha256}",
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
        )
    except requests.exceptions.HTTPError as error:
        status = "an error" if error.response is None else error.response.status_code
        why = "has the repository moved?" if sha256 else "check the address, and whether it needs a login."
        raise MissingFileError(f"{url} answers {status}; {why} Nothing was kept.") from error
    except requests.exceptions.RequestException as error:
        instead = f"put it at {folder / name}" if sha256 else "give the file"
        raise MissingFileError(
            f"{url} cannot be reached ({type(error).__name__}); check the network, or fetch the file elsewhere and "
            f"{instead}."
        ) from error
    except ValueError as error:  # pooch: the hash differs
        raise DataError(
            f"{url} has another content than expected (SHA-256 is not {(sha256 or '')[:12]}...); it was not kept. Try "
            f"again; if it stays so, the source or the connection has been tampered with."
        ) from error
    except OSError as error:
        full = (
            " The disk is full: free some space or pass another --cache."
            if error.errno == errno.ENOSPC
            else ""
        )
        raise DataError(
            f"{folder} cannot be written: {error.strerror or error}.{full} Nothing was kept."
        ) from error
    return Path(path)
