"""The folder of a run: whose it is, what it survives, and the description it is named by."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from safetensors import SafetensorError
from small_runs import EVERY_STEP, TINY, make_spec

from scaling.architecture import Architecture
from scaling.errors import DataError, ScalingError, UsageError
from scaling.lm.checkpoint import CHECKPOINT_FILE
from scaling.lm.metrics import MetricsLog, read_metrics
from scaling.lm.recipes import Schedule
from scaling.lm.run import RunSpec, TrainingOptions
from scaling.lm.training import train, train_packed


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import torch as files

    spec, save = make_spec(), files.save_file
    saving = TrainingOptions(device="cpu", checkpoint_every=10, log_every=1)

    def full(tensors: dict, path: Path, metadata: dict | None = None) -> None:
        if metadata is None or json.loads(metadata["state"])["step"] > 10:
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(ScalingError, match=r"could not be written to .*No space left"):
        train(spec, tmp_path, options=saving)
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT_FILE, "config.json", "metrics.jsonl"]
    monkeypatch.undo()
    assert train(spec, tmp_path, options=saving).loss == train(spec, options=EVERY_STEP).loss


def test_whoever_may_read_the_folder_may_read_the_model(tmp_path: Path) -> None:
    """safetensors leaves its files to their owner alone, unlike every other file of a run."""
    train(make_spec(), tmp_path, options=EVERY_STEP)
    modes = {p.stat().st_mode for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_flipped_byte_of_a_checkpoint_is_told_and_costs_one_interval(tmp_path: Path) -> None:
    spec = make_spec()
    saving = TrainingOptions(device="cpu", checkpoint_every=10, stop_after_step=20)
    train(spec, tmp_path, options=saving)
    content = bytearray((tmp_path / CHECKPOINT_FILE).read_bytes())
    content[-5] ^= 1
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    leftover = tmp_path / f".{CHECKPOINT_FILE}.99.tmp"  # of a process killed while it wrote
    leftover.touch()
    with pytest.raises(DataError, match=r"is damaged: .* Delete it; the run then goes on from step 10"):
        train(spec, tmp_path, options=EVERY_STEP)
    (tmp_path / CHECKPOINT_FILE).unlink()
    assert train(spec, tmp_path, options=EVERY_STEP).loss == train(spec, options=EVERY_STEP).loss
    assert not leftover.exists()


def test_wrong_folders_and_vocabularies_are_refused(tmp_path: Path) -> None:
    train(make_spec(), tmp_path / "a", options=EVERY_STEP)
    with pytest.raises(UsageError, match="holds the finished run"):
        train(make_spec(data_seed=1), tmp_path / "a")
    train(make_spec(), tmp_path / "b", options=TrainingOptions(device="cpu", stop_after_step=5))
    with pytest.raises(DataError, match="belongs to run"):
        train(make_spec(data_seed=1), tmp_path / "b")
    (tmp_path / "b" / CHECKPOINT_FILE).write_bytes(b"torn")
    with pytest.raises(DataError, match="not a readable checkpoint"):
        train(make_spec(), tmp_path / "b")
    with pytest.raises(UsageError, match="set vocab_size to at least 256"):
        train(make_spec(corpus="synthetic:bits=7"))
    with pytest.raises(UsageError, match="packed runs must agree"):
        train_packed([make_spec(), make_spec(n_steps=31)])


def test_the_folder_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    train(make_spec(), tmp_path, options=TrainingOptions(device="cpu", stop_after_step=5))
    (tmp_path / CHECKPOINT_FILE).unlink()
    config = (tmp_path / "config.json").read_text()
    with pytest.raises(UsageError, match="holds the unfinished run"):
        train(make_spec(data_seed=1), tmp_path, options=EVERY_STEP)
    assert (tmp_path / "config.json").read_text() == config
    assert train(make_spec(), tmp_path, options=EVERY_STEP).status == "done"


def test_a_run_does_not_go_on_with_a_corpus_prepared_anew(tmp_path: Path) -> None:
    from scaling.lm.corpus import prepare_corpus
    from scaling.lm.corpus.documents import Document
    from scaling.lm.tokenization import ByteTokenizer

    def prepare(word: str) -> None:
        documents = [Document(text=f"{word} {k} and {k * k}. " * 30, origin=str(k)) for k in range(40)]
        prepare_corpus(
            documents, tmp_path / "data", ByteTokenizer(), source=word, validation_fraction=0.3, force=True
        )

    prepare("seven")
    spec = make_spec(
        architecture=TINY.replace(vocab_size=257), corpus=str(tmp_path / "data"), n_eval_windows=8
    )
    train(spec, tmp_path / "run", options=TrainingOptions(device="cpu", stop_after_step=5))
    before = (tmp_path / "run" / CHECKPOINT_FILE).read_bytes()
    prepare("eight")
    with pytest.raises(DataError, match=r"is not the one .* was trained on"):
        train(spec, tmp_path / "run", options=EVERY_STEP)
    assert (tmp_path / "run" / CHECKPOINT_FILE).read_bytes() == before
    prepare("seven")
    done = train(spec, tmp_path / "run", options=EVERY_STEP)
    assert done.status == "done"
    prepare("eight")
    with pytest.raises(DataError, match="trained on another corpus"):
        train(spec, tmp_path / "run", options=EVERY_STEP)
    shutil.rmtree(tmp_path / "data")  # nothing to compare with: the result is what there is
    assert train(spec, tmp_path / "run", options=EVERY_STEP) == done


def test_a_folder_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    lock, name = tmp_path / "train.lock", socket.gethostname()
    living = {"pid": os.getpid(), "host": name, "started": None}
    lock.write_text(json.dumps(living))
    with pytest.raises(UsageError, match=f"is being trained by process {os.getpid()} on {name}"):
        train(make_spec(), tmp_path, options=EVERY_STEP)
    lock.write_text(json.dumps(living | {"host": "elsewhere"}))
    with pytest.raises(UsageError, match=r"on elsewhere; .* If that process is gone, delete"):
        train(make_spec(), tmp_path, options=EVERY_STEP)
    assert lock.exists()
    lock.write_text(
        json.dumps(living | {"pid": 2**22 + 1})
    )  # above the kernel's largest: no neighbour can have it
    assert train(make_spec(), tmp_path, options=EVERY_STEP).status == "done"
    assert not lock.exists()


def test_spec_survives_json_and_its_identity_is_its_content() -> None:
    spec = make_spec()
    again = RunSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.run_id == spec.run_id != spec.replace(init_seed=1).run_id
    assert (
        spec.trunk_id == spec.replace(n_steps=60).trunk_id != spec.replace(n_steps=60, data_seed=1).trunk_id
    )
    cosine = spec.replace(schedule=Schedule(kind="cosine"))
    assert cosine.trunk_id == cosine.run_id
    with pytest.raises(UsageError, match="decoder"):
        make_spec(
            architecture=Architecture(
                kind="encoder", n_layers=1, d_model=16, n_heads=2, vocab_size=32, context_length=16
            )
        )


def test_torn_metrics_lines_are_dropped_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    log = MetricsLog(path, resume_step=2)
    log.write(step=3, loss=float("nan"))
    log.close()
    assert read_metrics(path) == [{"step": 1}, {"step": 2}, {"step": 3, "loss": None}]
