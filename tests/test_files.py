"""A file is there whole or not at all, whoever writes beside us."""

from __future__ import annotations

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
