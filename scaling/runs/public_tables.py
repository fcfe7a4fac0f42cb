"""Public tables of training runs that `scaling data get` fetches: where they are, at which commit, with which hash.

The files themselves are not redistributed here: their sources state no licence. The conventions were read from the
source, not guessed; data/README.md tells how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from scaling.errors import UnknownNameError
from scaling.runs.load import load_runs
from scaling.runs.open_file import fetch
from scaling.runs.table import Runs


@dataclass(frozen=True, kw_only=True)
class PublicTable:
    """One table: a file at a fixed commit, and how its columns are to be read."""

    id: str
    about: str
    repository: str  # owner/name on GitHub
    commit: str
    path: str
    sha256: str  # of the original file
    licence: str
    cite: str
    n_runs: int
    params_convention: str
    loss_unit: str
    experiment: str | None = None  # keep these rows only (column `experiment`)
    columns: Mapping[str, str] = field(default_factory=dict)
    highest_losses_marked: int = 0  # mark that many runs of highest loss in `epoch_outlier`

    @property
    def url(self) -> str:
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"

    @property
    def file_name(self) -> str:
        """Name of the original file in a cache: unique by content."""
        return f"{self.sha256[:12]}-{self.path.rsplit('/', 1)[-1]}"


_EPOCH = PublicTable(
    id="epoch-chinchilla",
    about="Chinchilla figure 4, digitised by Epoch; epoch_outlier marks 5 runs",
    repository="epoch-research/analyzing-chinchilla",
    commit="92258837425e1b5f2851d624287f0120583a3d0e",
    path="data/svg_extracted_data.csv",
    sha256="193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30",
    licence="none stated",
    cite="Besiroglu et al. 2024, arXiv:2404.10102; runs of Hoffmann et al. 2022, arXiv:2203.15556",
    n_runs=245,
    params_convention="total",
    loss_unit="nats/token",
    columns={"n_params": "Model Size", "flops": "Training FLOP", "loss": "loss"},
    highest_losses_marked=5,
)


def _open_athena(id: str, experiment: str, n_runs: int, about: str, cite: str, **other: str) -> PublicTable:
    return PublicTable(
        id=id,
        about=about,
        repository="Open-Athena/scaling-law-analysis",
        commit="3e0656ee3dce1a2c89aa67691920f5eb9d30f0fc",
        path="data/isoflops/transform/isoflops.csv",
        sha256="b04d611253611490c5cc339fb95cb28d4f38f279a97438cb804a80f03171caa0",
        licence="none stated",
        cite=cite,
        n_runs=n_runs,
        params_convention=other.get("params_convention", "total"),
        loss_unit=other.get("loss_unit", "nats/token"),
        experiment=experiment or None,
    )


PUBLIC_TABLES: tuple[PublicTable, ...] = (
    _EPOCH,
    _open_athena(
        "open-athena-isoflops", "", 947, "all IsoFLOP experiments of that collection, in one file",
        "Open-Athena/scaling-law-analysis", params_convention="unknown", loss_unit="other",
    ),
    _open_athena(
        "mlscalefit-chinchilla", "ml_scalefit__massivetext__chinchilla", 124,
        "Chinchilla figure 4, a second digitisation", "runs of Hoffmann et al. 2022, arXiv:2203.15556",
    ),
    _open_athena(
        "llama3-isoflop", "llama_3__raw_loss", 133, "Llama 3 figure 2, digitised; N = C/(6D), loss unit not stated",
        "Llama team 2024, arXiv:2407.21783", loss_unit="other",
    ),
    _open_athena("marin-comma", "marin_202603__comma__llama_2", 85, "Marin sweep on Comma, Paloma macro loss", "Marin"),
    _open_athena("marin-dclm", "marin_202603__dclm__llama_2", 85, "Marin sweep on DCLM, Paloma macro loss", "Marin"),
    _open_athena(
        "marin-nemotron", "marin_202603__nemotron__llama_2", 88, "Marin sweep on Nemotron, Paloma macro loss", "Marin",
    ),
)  # fmt: skip


def find_table(id: str) -> PublicTable:
    """The public table of this id; UnknownNameError lists the near ones."""
    by_id = {table.id: table for table in PUBLIC_TABLES}
    if id not in by_id:
        raise UnknownNameError("public table", id, list(by_id), hint="See `scaling data list`.")
    return by_id[id]


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
    counts, unit = table.params_convention, table.loss_unit
    runs = load_runs(file, params_convention=counts, loss_unit=unit, columns=table.columns or None)
    if table.experiment is not None:
        runs = runs.select(runs.extras["experiment"] == table.experiment)
    extras = dict(runs.extras)
    if table.highest_losses_marked:  # Epoch's notebook keeps losses[i] < sorted(losses)[-5]
        extras["epoch_outlier"] = runs.loss >= np.sort(runs.loss)[-table.highest_losses_marked]
    run_id = tuple(f"{table.id}-{i:04d}" for i in range(len(runs)))
    source = f"{table.id} ({table.repository} @ {table.commit[:8]})"
    return replace(runs, run_id=run_id, extras=extras, source=source)
