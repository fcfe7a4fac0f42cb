"""Where a table lies and how it is packed: spreadsheets, archives, standard input, web addresses."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scaling.errors import DataError
from scaling.installing import extra_command
from scaling.runs.read import read_table

CSV = "n_params,n_tokens,loss\n19494255,8.5e9,3.41\n38988510,4.25e9,3.27\n"
LOSS = [3.41, 3.27]


def loss_of(data: object) -> list[float]:
    table = read_table(data)
    return [float(cell) for cell in table.values[table.headers.index("loss")]]


# --- packed ---


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["runs.csv", "runs.csv.gz", "runs"])
def test_a_packed_table_is_known_by_its_bytes(tmp_path, pack, name):
    path = tmp_path / name
    path.write_bytes(pack(CSV.encode()))
    assert loss_of(path) == LOSS
    path.write_bytes(pack(CSV.encode() * 50)[:-9])
    with pytest.raises(DataError, match=r"damaged or cut-off .*get it again"):
        read_table(path)


def archive(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name.replace("__", "."), text)
    return path


def test_a_zip_of_one_table_is_read_and_of_several_asked_about(tmp_path):
    assert loss_of(archive(tmp_path / "one.zip", runs__csv=CSV, README="about")) == LOSS
    two = archive(tmp_path / "two.zip", a__csv=CSV, b__json='[{"loss": 2.5}]')
    with pytest.raises(DataError, match=r"2 files; name one of them: .*two\.zip#a\.csv, .*two\.zip#b\.json"):
        read_table(two)
    assert loss_of(f"{two}#b.json") == [2.5]
    with pytest.raises(DataError, match="a zip without a table in it"):
        read_table(archive(tmp_path / "none.zip"))


def test_a_hash_in_the_name_of_a_file_is_no_part(tmp_path):
    path = tmp_path / "run#1.csv"
    path.write_text(CSV)
    (tmp_path / "run").write_text("another")
    assert loss_of(path) == LOSS


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"\x89HDF\r\n", "is an HDF5 file; write the table with DataFrame.to_csv"),
        (b"SQLite format 3\x00", "sqlite3 -header -csv"),
        (b"\x28\xb5\x2f\xfd\x00", "unpack it first: zstd -d"),
        (b"\x80\x04\x95", "a pickle, which may run any code"),
        (b"%PDF-1.7", "is a PDF"),
        (b"PK\x03\x04 and no more", "damaged or cut-off gzip, bzip2, xz or zip"),
        (b"<!DOCTYPE html>\n<html>", "is a web page, not a table"),
    ],
)
def test_another_kind_of_file_is_refused_by_what_it_is(tmp_path, start, says):
    path = tmp_path / "runs.csv"
    path.write_bytes(start)
    with pytest.raises(DataError, match=says):
        read_table(path)


# --- spreadsheets ---


def workbook(path: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "About"
    book.active["A1"] = "made in July"
    runs = book.create_sheet("Runs")
    cells = [["Runs of July"], [], ["n_params (M)", "loss", "name"], [19.5, 3.41, "a"], [39, None, "b"]]
    for row, values in enumerate(cells, start=1):
        for column, value in enumerate(values, start=2):  # a table need not begin in A1
            runs.cell(row, column, value)
    more = book.create_sheet("More runs")
    more.append(["loss", "N"])
    more.append([2.5, 1])
    book.save(path)
    return path


def test_the_first_sheet_with_a_table_is_read_and_the_others_named(tmp_path):
    path = workbook(tmp_path / "runs.xlsx")
    table = read_table(path)
    assert table.headers == ("n_params (M)", "loss", "name")
    assert table.values == ([19.5, 39], [3.41, None], ["a", "b"])
    assert (table.row_word, table.row.tolist()) == ("row", [4, 5])
    assert f"read sheet 'Runs'; the others are {path}#More runs" in table.notes
    assert loss_of(f"{path}#More runs") == [2.5]
    with pytest.raises(DataError, match=r"no sheet 'Rns'; name one of .*#About, .*#Runs"):
        read_table(f"{path}#Rns")
    with pytest.raises(DataError, match="no sheet holds a table"):
        read_table(f"{path}#About")


def test_without_openpyxl_the_extra_is_named(tmp_path, monkeypatch):
    path = workbook(tmp_path / "runs.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=re.escape(f"needs openpyxl; `{extra_command('xlsx')}`")):
        read_table(path)


# --- standard input ---


@pytest.mark.parametrize(
    "data",
    [CSV.encode(), gzip.compress(CSV.encode()), b'[{"loss": 3.41}, {"loss": 3.27}]'],
    ids=["csv", "gzip", "json"],  # gzip's bytes hold the time
)
def test_a_dash_reads_standard_input(data):
    script = (
        "from scaling.runs.read import read_table; t = read_table('-'); print(t.source, list(t.values[-1]))"
    )
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
    assert done.stdout.decode().replace("'", "") == "standard input [3.41, 3.27]\n"


def test_a_terminal_is_not_waited_for(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(DataError, match=r"none is piped in: `cat runs\.csv \| scaling fit -`"):
        read_table("-")


# --- web addresses ---


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder served on 127.0.0.1, and its address."""
    pytest.importorskip("pooch")
    root = tmp_path / "site"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_is_read_also_as_a_path_and_nothing_is_kept(site, tmp_path, monkeypatch):
    root, url = site
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    (root / "runs.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert loss_of(f"{url}/runs.csv.gz?raw=true") == LOSS
    assert loss_of(Path(f"{url}/runs.csv.gz")) == LOSS  # a Path has lost one slash
    (root / "two.json").write_text('{"a": [{"loss": 1}], "b": [{"loss": 2}]}')
    assert loss_of(f"{url}/two.json#b") == [2]
    assert list(kept.iterdir()) == []


def test_a_page_that_is_not_there_is_a_line(site):
    with pytest.raises(DataError, match=r"answers 404; check the address.*Nothing was kept\.$"):
        read_table(f"{site[1]}/absent.csv")


def test_no_network_is_a_line():
    pytest.importorskip("pooch")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refuses connections
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/runs.csv"
        with pytest.raises(
            DataError, match=r"cannot be reached.*or fetch the file elsewhere and give the file\.$"
        ):
            read_table(url)


def test_without_pooch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=re.escape(extra_command("data"))):
        read_table("https://example.org/runs.csv")
