"""A row is one moment: logs without steps, counters that begin again, calls that are counted for steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import DataError
from scaling.sweep.importers import from_mlflow, from_tensorboard, from_wandb
from scaling.sweep.importers.moments import Point, at_last_step

SIZES: dict[str, Any] = {"n_params": 1e6, "params_convention": "total"}
TOKENS: dict[str, Any] = {**SIZES, "n_tokens": "n_tokens"}


def moment(loss: list[Point], tokens: list[Point]) -> Any:
    return at_last_step(
        {"loss": loss, **({"D": tokens} if tokens else {})}, "loss", growing=("D",), constant=()
    )


# --- logged without a step: every point stands at step 0 ---


def test_without_steps_the_tokens_before_the_last_loss_are_of_its_moment() -> None:
    tokens = [Point(0, float(k), 1000.0 * k) for k in range(1, 11)]
    found = moment([Point(0, 5.5, 4.2), Point(0, 10.5, 4.0)], tokens)
    assert (found.values["D"], found.unsure) == (10_000, {})


def test_without_steps_tokens_logged_after_the_last_loss_are_not_taken_for_its_own() -> None:
    tokens = [Point(0, float(k), 1000.0 * k) for k in range(1, 13)]
    found = moment([Point(0, 5.5, 4.2), Point(0, 10.5, 4.0)], tokens)
    assert "logged 12 times at step 0" in found.unsure["D"]
    assert "2 of them after it" in found.unsure["D"]


def test_an_epoch_for_a_step_holds_many_moments() -> None:
    tokens = [Point(epoch, 10.0 * epoch + k, 1000.0 * (8 * epoch + k)) for epoch in (0, 1) for k in range(8)]
    found = moment([Point(0, 7.5, 4.2), Point(1, 15.5, 4.0)], tokens)
    assert "2 of them after it" in found.unsure["D"]
    found = moment([Point(0, 7.5, 4.2), Point(1, 17.5, 4.0)], tokens)
    assert (found.values["D"], found.unsure) == (15_000, {})


def test_a_step_done_twice_has_the_tokens_of_the_second_time_in_either_order() -> None:
    for after in (-0.1, 0.1):
        loss = [Point(50, 1.0, 4.5), Point(100, 2.0, 4.0), Point(100, 9.0, 3.9)]
        found = moment(loss, [Point(100, 2.0 + after, 1e5), Point(100, 9.0 + after, 1.2e5)])
        assert (found.values["D"], found.unsure) == (1.2e5, {}), after


def test_tensorboard_and_mlflow_leave_out_runs_whose_tokens_went_on_without_a_step(tmp_path: Path) -> None:
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    from scaling.sweep.importers.mlflow import connect

    client = connect((tmp_path / "mlruns").as_uri())
    run = client.create_run(client.create_experiment("e"), run_name="m").info.run_id
    with writer(str(tmp_path / "events" / "m")) as log:
        for k in range(1, 13):
            log.add_scalar("n_tokens", 1000.0 * k)
            client.log_metric(run, "n_tokens", 1000.0 * k)
            time.sleep(0.003)  # MLflow keeps milliseconds
            if k % 5 == 0:
                log.add_scalar("eval/loss", 4 + 1 / k)
                client.log_metric(run, "eval/loss", 4 + 1 / k)
                time.sleep(0.003)
    client.set_terminated(run)
    says = "n_tokens was logged 12 times at step 0 .* 2 of them after it.*left out: m"
    with pytest.raises(DataError, match=says):
        from_tensorboard(tmp_path / "events", loss_tag="eval/loss", **TOKENS)
    with pytest.raises(DataError, match=says):
        from_mlflow(tmp_path / "mlruns", loss_key="eval/loss", **TOKENS)
    told = {**SIZES, "n_tokens": {"m": 1e4}}
    assert from_mlflow(tmp_path / "mlruns", loss_key="eval/loss", **told).n_tokens.tolist() == [1e4]


# --- counters that begin again ---


def steps(first: int, last: int, *, at: float = 0.0, value: float = 0.0, by: float = 0.0) -> list[Point]:
    return [Point(s, at + s / 1000, value + by * s) for s in range(first, last + 1)]


def test_tokens_that_fall_while_the_step_rises_are_those_of_the_last_launch_alone() -> None:
    tokens = [*steps(1, 60, by=1000), *steps(61, 100, at=5, value=-60_000, by=1000)]
    found = moment(steps(10, 100), tokens)
    assert "falls from 60000 to 1000 from step 60 to 61" in found.unsure["D"]
    assert "--tokens-per-step" in found.unsure["D"]


def test_tokens_that_fall_with_the_step_go_on_from_a_checkpoint() -> None:
    """Lost at step 60 with large batches, it went on from 40 with smaller ones."""
    tokens = [*steps(1, 60, by=1000), *steps(41, 100, at=5, value=20_000, by=500)]
    found = moment([*steps(1, 60), *steps(41, 100, at=5)], tokens)
    assert (found.values["D"], found.unsure, found.began_again) == (70_000, {}, "")


def test_two_trainings_in_one_log_are_told_and_not_mixed() -> None:
    shorter = moment([*steps(1, 60), *steps(1, 40, at=5)], [])
    assert "begins again after step 60, at step 1" in shorter.unsure["loss"]
    longer = moment(
        [*steps(1, 60), *steps(1, 90, at=5)], [*steps(1, 60, by=1.0), *steps(1, 90, at=5, by=2.0)]
    )
    assert (longer.unsure, longer.began_again, longer.values["D"]) == ({}, "after step 60, at step 1", 180)
    last_word = moment(
        [*steps(1, 60), Point(0, 9.0, 3.0)], []
    )  # MLflow's log_metric without a step, at the end
    assert (last_word.step, last_word.unsure) == (60, {})


def test_a_second_training_in_one_tensorboard_folder_is_told(tmp_path: Path) -> None:
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    for last, suffix in ((60, ".a"), (80, ".b")):
        with writer(str(tmp_path / "again"), filename_suffix=suffix) as log:
            for step in range(10, last + 1, 10):
                log.add_scalar("eval/loss", 5 - step / 100, step)
    runs = from_tensorboard(tmp_path, loss_tag="eval/loss", tokens_per_step=10, **SIZES)
    assert runs.step.tolist() == [80]
    assert any(
        "begin again in a later event file" in note and "again (after step 60, at" in note
        for note in runs.notes
    )


class ApiRun:
    """A run of the API: scan_history gives rows that hold every key."""

    def __init__(self, rows: list[dict[str, Any]], name: str = "r", state: str = "finished") -> None:
        self.id, self.name, self.state, self.config = name, "r", state, {"batch": 1000}
        self.rows = [{"_step": n, **row} for n, row in enumerate(rows)]
        self.summary = {k: v for row in self.rows for k, v in row.items()}

    def scan_history(self, keys: list[str] | None = None, min_step: int = 0) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            if row["_step"] >= min_step and all(k in row for k in keys or ()):
                yield row if keys is None else {k: row[k] for k in keys}


def logged(first: int, last: int, **counters: Any) -> list[dict[str, Any]]:
    """Rows of training with an evaluation every 10 steps; `counters`: functions of the step."""
    return [
        {"eval/loss" if s % 10 == 0 else "train/loss": 5 - s / 50, **{k: f(s) for k, f in counters.items()}}
        for s in range(first, last + 1)
    ]


def test_a_counter_of_the_api_that_begins_again_is_asked_about() -> None:
    rows = logged(1, 60, n_tokens=lambda s: 1000 * s) + logged(61, 100, n_tokens=lambda s: 1000 * (s - 60))
    with pytest.raises(DataError, match="n_tokens falls from 60000 to 1000 from _step 59 to 60"):
        from_wandb([ApiRun(rows)], loss_key="eval/loss", **TOKENS)
    rows = logged(1, 60, it=lambda s: s) + logged(61, 100, it=lambda s: s - 60)
    with pytest.raises(DataError, match="it falls from 60 to 1 in one run"):
        from_wandb([ApiRun(rows)], loss_key="eval/loss", step_key="it", tokens_per_step=1000, **SIZES)
    rewound = logged(1, 60, it=lambda s: s) + logged(41, 90, it=lambda s: s)
    runs = from_wandb([ApiRun(rewound)], loss_key="eval/loss", step_key="it", tokens_per_step=1000, **SIZES)
    assert (runs.step.tolist(), runs.n_tokens.tolist()) == ([90], [90_000])


# --- W&B's own counter: calls of log(), from 0 ---


def test_a_hundred_calls_of_log_are_a_hundred_steps() -> None:
    options: dict[str, Any] = {"loss_key": "eval/loss", "tokens_per_step": "batch", **SIZES}
    for told in ({}, {"n_steps": 100}):
        runs = from_wandb([ApiRun(logged(1, 100))], **options, **told)
        assert (runs.step.tolist(), runs.n_tokens.tolist()) == ([100], [100_000])
    assert any("calls of log()" in note for note in runs.notes)


def test_several_calls_of_log_in_a_step_are_refused_where_a_counter_of_steps_says_so() -> None:
    rows: list[dict[str, Any]] = []
    for row in logged(1, 100, global_step=lambda s: s):
        rows += [row, {"lr": 0.1}] if "eval/loss" in row else [row]
    options: dict[str, Any] = {"loss_key": "eval/loss", "tokens_per_step": "batch", **SIZES}
    rows.pop()  # so that the loss is the last word
    with pytest.raises(DataError, match="109 of them, and global_step says 100: say --step-key global_step"):
        from_wandb([ApiRun(rows)], **options)
    assert from_wandb([ApiRun(rows)], step_key="global_step", **options).n_tokens.tolist() == [100_000]


def test_a_run_that_may_have_gone_on_under_another_id_is_asked_about() -> None:
    runs = [ApiRun(logged(1, 60), "a1", "crashed"), ApiRun(logged(61, 100), "a2")]
    options: dict[str, Any] = {"loss_key": "eval/loss", **SIZES}
    with pytest.raises(DataError, match=r"a1\) was cut after 60 steps.*--steps 40 if run a2 began anew"):
        from_wandb(runs, tokens_per_step="batch", **options)
    for remedy in ({"n_tokens": {"r": 1e5}}, {"tokens_per_step": 2500, "n_steps": 40}):
        assert from_wandb(runs, **options, **remedy).n_tokens.tolist() == [1e5]


def wandb_part(folder: Path, first: int, last: int, code: int, *, explicit: bool, **counters: Any) -> None:
    """One launch, written by wandb offline."""
    wandb = pytest.importorskip("wandb", reason="pip install 'isoflop[wandb]'")
    folder.mkdir(parents=True)
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(
        project="p", id="same", name="m", mode="offline", dir=str(folder), settings=settings, resume="allow",
        config={"batch": 1000},
    )  # fmt: skip
    for s, row in zip(range(first, last + 1), logged(first, last)):
        row |= {name: f(s) for name, f in counters.items() if s >= first + 4}
        run.log(row, **({"step": s} if explicit else {}))
    run.finish(exit_code=code)
    wandb.teardown()


@pytest.mark.parametrize(
    ("explicit", "restarts", "key", "told"),
    [
        (True, True, "n_tokens", {"n_tokens": "n_tokens"}),
        (False, True, "it", {"step_key": "it", "tokens_per_step": 1000}),
        (False, False, "it", {"step_key": "it", "tokens_per_step": 1000}),
    ],
)
def test_a_counter_that_a_later_part_logs_late_is_known_to_begin_again_or_to_go_on(
    tmp_path: Path, explicit: bool, restarts: bool, key: str, told: dict[str, Any]
) -> None:
    """Its first value, 5, is above the first of the part before: what counts is where its values lead back to."""
    begin = 60 if restarts else 0
    by = 1000 if key == "n_tokens" else 1
    wandb_part(tmp_path / "1", 1, 60, 1, explicit=explicit, **{key: lambda s: by * s})
    wandb_part(
        tmp_path / "2", 61 if restarts else 41, 100, 0, explicit=explicit, **{key: lambda s: by * (s - begin)}
    )
    if restarts:
        with pytest.raises(DataError, match=f"{key}.* from the start again"):
            from_wandb(tmp_path, loss_key="eval/loss", **SIZES, **told)
    else:
        assert from_wandb(tmp_path, loss_key="eval/loss", **SIZES, **told).n_tokens.tolist() == [100_000]
