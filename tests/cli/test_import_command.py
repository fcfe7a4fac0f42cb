"""`scaling sweep import`: sizes by option, by name, by table; what is left out is said on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling.cli import run
from scaling.runs import load_runs

TRAINER_LOGS = Path(__file__).parents[1] / "sweep" / "hf_trainer"


def test_hf_trainer_logs_become_a_table_that_can_be_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "runs.csv"
    assert run(["sweep", "import", "hf-trainer", str(TRAINER_LOGS), "-o", str(table)]) == 0
    told = capsys.readouterr()
    assert told.out == f"wrote 2 runs to {table}. Fit them:  scaling fit {table}\n"
    assert "stopped at step 6 of 12" in told.err
    runs = load_runs(table)
    assert (runs.run_id, runs.convention.params) == (("narrow", "wide"), "non_embedding")
    assert run(["sweep", "import", "hf-trainer", str(TRAINER_LOGS), "-o", str(table)]) == 3
    assert run(["sweep", "import", "hf-trainer", str(TRAINER_LOGS), "-o", str(table), "--force"]) == 0


@pytest.fixture
def events(tmp_path: Path) -> Path:
    writer = pytest.importorskip(
        "torch.utils.tensorboard", reason="pip install 'isoflop[logs]'"
    ).SummaryWriter
    folder = tmp_path / "events"
    for name, last in (("a", 200), ("b", 100)):
        with writer(str(folder / name)) as log:
            log.add_scalar("eval/loss", 2.5, last)
    return folder


def test_sizes_come_from_a_table_or_from_an_option(events: Path, tmp_path: Path) -> None:
    sizes, table = tmp_path / "sizes.csv", tmp_path / "runs.csv"
    sizes.write_text("run,n_params,tokens_per_step\na,1e6,500\nb,2e6,500\n")
    command = [
        "sweep",
        "import",
        "tensorboard",
        str(events),
        "-o",
        str(table),
        "--params-convention",
        "total",
    ]
    assert run([*command, "--sizes", str(sizes)]) == 0
    runs = load_runs(table)
    assert runs.n_params.tolist() == [1e6, 2e6]
    assert runs.n_tokens.tolist() == [100_000, 50_000]
    assert run([*command, "--params", "3M", "--tokens-per-step", "1k", "--steps", "150", "--force"]) == 0
    runs = load_runs(table)
    assert (runs.run_id, runs.n_params.tolist(), runs.n_tokens.tolist()) == (("a",), [3e6], [200_000])


def test_a_table_of_sizes_must_be_one(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = tmp_path / "sizes.csv"
    command = [
        "sweep",
        "import",
        "tensorboard",
        str(events),
        "-o",
        str(tmp_path / "runs.csv"),
        "--sizes",
        str(sizes),
    ]
    for text, says in (
        ("name,n_params\na,1\n", "needs a column run"),
        ("run,n_params\na,many\n", "are numbers"),
    ):
        sizes.write_text(text)
        assert run(command) == 3
        assert says in capsys.readouterr().err


def test_a_loss_nobody_logged_is_named_with_what_there_is(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", "import", "tensorboard", str(events), "-o", str(tmp_path / "r.csv"), "--loss", "val"]
    assert run([*command, "--params", "1M", "--params-convention", "total", "--tokens", "1B"]) == 3
    assert "has a scalar 'val'; it has eval/loss" in capsys.readouterr().err
