"""Hugging Face datasets, streamed by the real library from files on this disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from scaling.cli.corpus import corpus as command
from scaling.errors import DataError
from scaling.lm.corpus import check_corpus, open_documents

datasets = pytest.importorskip("datasets")
TEXTS = [f"document {i}: the budget of the plan, café {i * 7919}\n" * 3 for i in range(120)]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No look at the hub, and caches of this test's own."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_MODULES_CACHE", str(tmp_path / "modules"))


def write_dataset(folder: Path, kind: str, field: str = "text") -> Path:
    """A dataset as a clone of a hub repository has it: data files of two splits in a folder."""
    folder.mkdir(parents=True)
    rows = [{field: text, "id": i} for i, text in enumerate(TEXTS)]
    test = [{field: "never to be trained on", "id": -1}]
    for split, part in (("train", rows), ("test", test)):
        if kind == "parquet":
            datasets.Dataset.from_list(part).to_parquet(folder / f"{split}.parquet")
        else:
            lines = "".join(json.dumps(row) + "\n" for row in part)
            (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_rows_of_the_training_split_come_in_order(kind: str, tmp_path: Path) -> None:
    found = list(open_documents(f"hf:{write_dataset(tmp_path / 'texts', kind)}"))
    assert [d.text for d in found] == TEXTS
    assert [d.origin.rpartition("#")[2] for d in found] == [str(i) for i in range(len(TEXTS))]


def test_rows_are_streamed_and_not_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a dataset of terabytes gives its first row at once: nothing is downloaded or built whole"""
    asked = []
    load = datasets.load_dataset

    def watched(*arguments, **options):
        asked.append(options)
        return load(*arguments, **options)

    monkeypatch.setattr("datasets.load_dataset", watched)
    documents = open_documents(f"hf:{write_dataset(tmp_path / 'texts', 'jsonl')}")
    assert next(documents).text == TEXTS[0]
    assert [(o["streaming"], o["split"]) for o in asked] == [(True, "train")]
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_a_configuration_of_the_dataset_is_chosen_by_its_name(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "texts", "jsonl")
    (folder / "small.jsonl").write_text(json.dumps({"text": "the small one"}) + "\n")
    configs = [("all", "train.jsonl"), ("small", "small.jsonl")]
    listed = "".join(f"- config_name: {name}\n  data_files: {file}\n" for name, file in configs)
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    assert [d.text for d in open_documents(f"hf:{folder}:small")] == ["the small one"]
    assert len(list(open_documents(f"hf:{folder}:all"))) == len(TEXTS)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "texts", "jsonl", field="content")
    with pytest.raises(
        DataError, match=r"row 0 of .*texts has no 'text'; it has content, id\. Name the text"
    ):
        next(open_documents(f"hf:{folder}"))
    assert next(open_documents(f"hf:{folder}", field="content")).text == TEXTS[0]


def test_a_streamed_dataset_becomes_a_corpus_equal_to_that_of_its_file(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "texts", "parquet")
    for source, out in ((f"hf:{folder}", "streamed"), (str(folder / "train.parquet"), "read")):
        arguments = ["prepare", source, "--out", str(tmp_path / out), "--tokenizer", "byte"]
        CliRunner().invoke(command, [*arguments, "--validation-fraction", "0.1"], catch_exceptions=False)
    streamed, direct = (check_corpus(tmp_path / name) for name in ("streamed", "read"))
    assert streamed["splits"] == direct["splits"]
    assert streamed["source"] == f"hf:{folder}"
