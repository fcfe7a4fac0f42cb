"""Fetch a public table, verify it, and convert it to our columns; whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from scaling.runs.fetch import fetch
from scaling.runs.load import load_runs
from scaling.runs.public_tables import PublicTable, find_table
from scaling.runs.table import Runs

HOST = "https://raw.githubusercontent.com"


def cache_folder(here: Path, environ: Mapping[str, str]) -> Path:
    """$SCALING_CACHE; else data/cache where `here` is a checkout of this project; else the user's cache."""
    if environ.get("SCALING_CACHE"):
        return Path(environ["SCALING_CACHE"]).expanduser()
    if (here / "data" / "README.md").is_file() and (here / "scaling" / "runs").is_dir():
        return here / "data" / "cache"
    base = environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "scaling"


def download_runs(id: str, *, cache: Path, base_url: str = HOST) -> Runs:
    """The runs of a public table, fetched once and read from `cache` afterwards.

    Args:
        id: as `scaling data list` prints it.
        cache: folder for the original file (made if need be).
        base_url: another host that serves owner/name/commit/path (a mirror).
    Raises:
        UnknownNameError: no such table.
        DataError: no pooch, no network, another content than expected, a full disk; nothing half-written is left.
    """
    table = find_table(id)
    return convert_table(table, fetch_file(table, cache=cache, base_url=base_url))


def fetch_file(table: PublicTable, *, cache: Path, base_url: str = HOST) -> Path:
    """The original file in `cache`, its SHA-256 verified before it gets its name there."""
    url = table.url.replace(HOST, base_url.rstrip("/"), 1)
    return fetch(url, cache, table.file_name, sha256=table.sha256)


def convert_table(table: PublicTable, file: Path) -> Runs:
    """The original file as Runs, with the conventions of its source."""
    runs = load_runs(
        file,
        params_convention=table.params_convention,
        loss_unit=table.loss_unit,
        columns=dict(table.columns) or None,
    )
    if table.experiment is not None:
        runs = runs.select(runs.extras["experiment"] == table.experiment)
    extras = dict(runs.extras)
    if table.highest_losses_marked:  # Epoch's notebook keeps losses[i] < sorted(losses)[-5]
        extras["epoch_outlier"] = runs.loss >= np.sort(runs.loss)[-table.highest_losses_marked]
    run_id = tuple(f"{table.id}-{i:04d}" for i in range(len(runs)))
    source = f"{table.id} ({table.repository} @ {table.commit[:8]})"
    return replace(runs, run_id=run_id, extras=extras, source=source)
