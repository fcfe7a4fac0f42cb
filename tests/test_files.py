"""A file is there whole or not at all, whoever writes beside us."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from scaling.files import link_text, whole_file, write_text


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")

    def half(beside: Path) -> None:
        beside.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), whole_file(path) as beside:
        half(beside)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_beside_keeps_the_suffix_that_names_the_format(tmp_path: Path) -> None:
    with whole_file(tmp_path / "plan.png") as beside:
        assert beside.suffix == ".png"
        assert beside.name.startswith(".")
        beside.write_text("x")
    assert (tmp_path / "plan.png").read_text() == "x"


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [str(i) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_link_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert link_text(path, "first")
    assert not link_text(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_synced_is_open_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to sync a file that is open for reading alone."""
    fcntl = pytest.importorskip(
        "fcntl", reason="asks the system how a file is open; Windows itself would refuse"
    )
    modes = []
    monkeypatch.setattr(
        os, "fsync", lambda number: modes.append(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE)
    )
    write_text(tmp_path / "a.txt", "x")
    assert link_text(tmp_path / "b.txt", "x")
    assert len(modes) == 2
    assert os.O_RDONLY not in modes
