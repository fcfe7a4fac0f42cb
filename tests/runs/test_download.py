"""`scaling data get` against a server of our own: verified, converted, and nothing half-written."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from scaling.errors import DataError, StorageError, UnknownNameError
from scaling.installing import extra_command
from scaling.runs import load_runs
from scaling.runs import public_tables as tables
from scaling.runs.public_tables import cache_folder, convert_table, download_runs, fetch_file

pytest.importorskip("pooch")

README = Path(__file__).parents[2] / "data" / "README.md"
SMALL = "Model Size,Training FLOP,loss\n" + "".join(f"{i}e8,{6 * i}e18,{4 - i / 10}\n" for i in range(1, 9))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder served on 127.0.0.1, and its address."""
    root = tmp_path / "site"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def table(site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> tables.PublicTable:
    """epoch-chinchilla's entry, for a file of eight rows that the test serves."""
    small = replace(
        tables.find_table("epoch-chinchilla"), sha256=hashlib.sha256(SMALL.encode()).hexdigest(), n_runs=8
    )
    monkeypatch.setattr(tables, "PUBLIC_TABLES", (small,))
    path = site[0] / small.repository / small.commit / small.path
    path.parent.mkdir(parents=True)
    path.write_text(SMALL)
    return small


def left_in(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*")] if folder.exists() else []


def test_a_table_is_fetched_verified_and_converted(site, table, tmp_path):
    runs = download_runs(table.id, cache=tmp_path / "cache", base_url=site[1])
    assert len(runs) == 8
    assert runs.n_tokens.tolist() == pytest.approx([1e10] * 8)  # D = C / (6 N)
    assert (runs.convention.params, runs.convention.flops) == ("total", "6ND")
    assert runs.extras["epoch_outlier"].tolist() == [True] * 5 + [False] * 3  # the five highest losses
    assert table.id in runs.source
    assert left_in(tmp_path / "cache") == [table.file_name]


def test_the_second_time_needs_no_network(site, table, tmp_path):
    first = download_runs(table.id, cache=tmp_path, base_url=site[1])
    again = download_runs(table.id, cache=tmp_path, base_url="http://127.0.0.1:9")
    assert again.loss.tolist() == first.loss.tolist()


def test_a_damaged_copy_in_the_cache_is_fetched_again(site, table, tmp_path):
    cache = tmp_path / "cache"
    file = fetch_file(table, cache=cache, base_url=site[1])
    file.write_text("damaged")
    assert len(download_runs(table.id, cache=cache, base_url=site[1])) == 8


def test_another_content_than_expected_is_not_kept(site, table, tmp_path):
    (site[0] / table.repository / table.commit / table.path).write_text(SMALL.replace("3.9", "3.8"))
    with pytest.raises(DataError, match=r"another content than expected.*not kept"):
        download_runs(table.id, cache=tmp_path / "cache", base_url=site[1])
    assert left_in(tmp_path / "cache") == []


def test_no_network_says_where_to_put_the_file(table, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refuses connections
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(
            DataError, match=r"cannot be reached.*put it at .*svg_extracted_data\.csv; .* holds its url"
        ) as told:
            download_runs(table.id, cache=tmp_path / "cache", base_url=url)
    assert str(told.value).startswith(url.removeprefix("http://") + " cannot")  # an address of 130 characters
    assert left_in(tmp_path / "cache") == []


def test_a_moved_file_is_an_error(site, table, tmp_path):
    (site[0] / table.repository / table.commit / table.path).unlink()
    with pytest.raises(DataError, match="answers 404"):
        download_runs(table.id, cache=tmp_path / "cache", base_url=site[1])
    assert left_in(tmp_path / "cache") == []


def test_a_full_disk_keeps_nothing(site, table, tmp_path, monkeypatch):
    import requests

    def full(response: requests.Response, **options: object) -> Iterator[bytes]:
        yield SMALL.encode()[:20]  # some of it is on disk already
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(requests.Response, "iter_content", full)
    with pytest.raises(StorageError, match=r"The disk is full.*Nothing was kept"):
        download_runs(table.id, cache=tmp_path / "cache", base_url=site[1])
    assert left_in(tmp_path / "cache") == []


def test_without_pooch_the_extra_is_named(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=re.escape(extra_command("data"))):
        download_runs(table.id, cache=tmp_path)


def test_an_unknown_table_lists_near_names(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean: epoch-chinchilla"):
        download_runs("epoch", cache=tmp_path)


def test_the_cache_is_the_checkout_or_the_users(tmp_path):
    assert cache_folder(tmp_path, {"XDG_CACHE_HOME": "/c"}) == Path("/c/scaling")
    assert cache_folder(tmp_path, {"SCALING_CACHE": "/s", "XDG_CACHE_HOME": "/c"}) == Path("/s")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").touch()
    (tmp_path / "scaling" / "runs").mkdir(parents=True)
    assert cache_folder(tmp_path, {"XDG_CACHE_HOME": "/c"}) == tmp_path / "data" / "cache"


def test_the_readme_lists_every_table_and_hash():
    text = README.read_text()
    for public in tables.PUBLIC_TABLES:
        assert public.id in text
        assert public.sha256 in text
        assert public.commit[:8] in text
        assert re.search(rf"\b{public.n_runs}\b", text)


def test_the_real_file_converts_to_the_published_table(site, shared_runs, tmp_path):
    """The raw copy of Epoch's file, served from here under its real hash, gives the table others use."""
    raw = shared_runs.parent / "raw" / "epoch_svg_extracted_data.csv"
    if not raw.is_file():
        pytest.skip("the raw copy of Epoch's file is not here")
    epoch = tables.find_table("epoch-chinchilla")
    path = site[0] / epoch.repository / epoch.commit / epoch.path
    path.parent.mkdir(parents=True)
    path.write_bytes(raw.read_bytes())
    runs = download_runs(epoch.id, cache=tmp_path / "cache", base_url=site[1])
    want = load_runs(shared_runs / "epoch_chinchilla.csv")
    assert len(runs) == epoch.n_runs == 245
    for name in ("n_params", "n_tokens", "flops", "loss"):
        assert getattr(runs, name) == pytest.approx(
            getattr(want, name), rel=1e-8
        )  # ten digits in the other table
    assert runs.extras["epoch_outlier"].tolist() == want.extras["epoch_outlier"].tolist()


def test_one_experiment_is_taken_from_the_collection(tmp_path):
    file = tmp_path / "isoflops.csv"
    header = "source,dataset,model,condition,experiment,tokens,params,budget,loss,outlier,reason\n"
    rows = [
        f"s,d,m,,{e},{i}e9,{i}e8,6e18,{i / 10},False,none\n"
        for e in ("llama_3__raw_loss", "x")
        for i in (7, 8, 9)
    ]
    file.write_text(header + "".join(rows))
    runs = convert_table(tables.find_table("llama3-isoflop"), file)
    assert np.unique(runs.extras["experiment"]).tolist() == ["llama_3__raw_loss"]
    assert runs.convention.loss_unit == "other"
    assert runs.budget is not None
    assert runs.budget.tolist() == [6e18] * 3
