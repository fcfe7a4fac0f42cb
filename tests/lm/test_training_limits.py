"""What a run says of its speed, its data and its memory."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")

from small_runs import TINY, make_spec

from scaling.errors import UsageError
from scaling.lm.corpus import load_corpus, prepare_corpus
from scaling.lm.corpus.corpora import epochs_of
from scaling.lm.corpus.documents import Document
from scaling.lm.metrics import read_metrics
from scaling.lm.run import RunResult, TrainingOptions
from scaling.lm.tokenization import ByteTokenizer
from scaling.lm.training import train


def test_speed_after_a_resume_counts_the_steps_made_since(tmp_path: Path) -> None:
    spec = make_spec(n_steps=40)
    train(spec, tmp_path, options=TrainingOptions(device="cpu", stop_after_step=19))
    train(spec, tmp_path, options=TrainingOptions(device="cpu"))
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "train"]
    at_20, at_30 = (line for line in lines if line["step"] in (20, 30))
    # the line at 20 covers one step of this process and nine of the one before, which it did not time; the clock
    # of a line is read a little after that of its rate
    assert at_20["tokens_per_s"] < 3 * spec.tokens_per_step / at_20["wall_s"]
    assert at_30["tokens_per_s"] < 3 * 10 * spec.tokens_per_step / (at_30["wall_s"] - at_20["wall_s"])


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_built() -> None:
    # 12 layers x width^2 = 11.1T parameters, 16 bytes each
    huge = TINY.replace(n_layers=96, d_model=96 * 1024, n_heads=96, d_ff=4 * 96 * 1024)
    with pytest.raises(
        UsageError, match=r"11\.1T parameters need 178 TB for weights, gradients and optimizer"
    ):
        train(make_spec(architecture=huge), options=TrainingOptions(device="cpu"))


def test_a_result_says_how_often_the_corpus_was_read(tmp_path: Path) -> None:
    for name, n_documents in (("one", 40), ("other", 80)):
        documents = [
            Document(text=f"{name} {k} and {k * k}. " * 30, origin=str(k)) for k in range(n_documents)
        ]
        prepare_corpus(documents, tmp_path / name, ByteTokenizer(), source=name, validation_fraction=0.3)
    name = f"0.75*{tmp_path / 'one'}+0.25*{tmp_path / 'other'}"
    spec = make_spec(corpus=name, architecture=TINY.replace(vocab_size=257), n_eval_windows=4)
    one, other = (load_corpus(tmp_path / part).n_tokens_unique for part in ("one", "other"))
    assert one is not None
    assert other is not None
    shares = epochs_of(load_corpus(name), spec.n_tokens)
    assert [s.epochs for s in shares] == pytest.approx(
        [0.75 * spec.n_tokens / one, 0.25 * spec.n_tokens / other]
    )
    result = train(spec, tmp_path / "run", options=TrainingOptions(device="cpu"))
    assert result.epochs == max(s.epochs for s in shares)
    assert epochs_of(load_corpus("synthetic"), 1e12) == ()


def test_results_of_earlier_versions_can_be_read(tmp_path: Path) -> None:
    train(make_spec(n_steps=2), tmp_path, options=TrainingOptions(device="cpu"))
    values = json.loads((tmp_path / "result.json").read_text())
    assert values.pop("epochs") is None
    assert values.pop("corpus")
    assert RunResult.from_dict(values).epochs is None
    del values["loss"]
    with pytest.raises(KeyError):
        RunResult.from_dict(values)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_a_stop_while_the_speed_is_measured_begins_no_training(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe is a run of a few steps: it once took the signal for itself, and the run was planned all the same."""
    from scaling.lm.budget import measure_speed
    from scaling.lm.loop import Loop

    windows = Loop._windows

    def strike(loop: Loop) -> Any:
        if loop.spec.n_steps > 1:
            signal.raise_signal(number)
        return windows(loop)

    monkeypatch.setattr(Loop, "_windows", strike)
    options = TrainingOptions(device="cpu", stop_on_interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        measure_speed(TINY, "synthetic:bits=4", options=options)
