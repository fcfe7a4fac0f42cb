"""Weights & Biases logs, written offline by wandb itself: what is finished, once, with the sizes asked for."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import falling

from scaling.errors import DataError, UsageError
from scaling.sweep.importers import (
    ConventionError,
    from_wandb,
)


def log_to_wandb(
    folder: Path,
    name: str,
    losses: Sequence[tuple[int, float]],
    config: dict[str, Any],
    exit_code: int | None = 0,
) -> Path:
    """An offline run written by wandb; exit_code None: its last records are cut off, as a SIGKILL leaves them."""
    wandb = pytest.importorskip("wandb", reason="pip install 'isoflop[wandb]'")
    folder.mkdir(exist_ok=True)
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(
        project="p", name=name, mode="offline", dir=str(folder), config=config, settings=settings
    )
    for step, loss in losses:
        run.log({"eval/loss": loss, "n_tokens": step * 500}, step=step)
    path = Path(run.settings.sync_file)
    run.finish(exit_code=exit_code or 0)
    wandb.teardown()  # waits until the file is whole
    if exit_code is None:
        path.write_bytes(path.read_bytes()[:-10])
    return path


@pytest.fixture(scope="module")
def wandb_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sizes; "big" crashed once and was started again; one was killed, one diverged, one logged nothing."""
    folder = tmp_path_factory.mktemp("wandb")
    small, big = {"model": {"n_params": 1e6}, "steps": 200}, {"model": {"n_params": 2e6}, "steps": 200}
    log_to_wandb(folder, "big", falling(100), big, exit_code=1)
    log_to_wandb(folder, "small", falling(200), small)
    log_to_wandb(folder, "big", falling(200), big)
    log_to_wandb(folder, "killed", falling(140), {**small, "seed": 1}, exit_code=None)
    log_to_wandb(folder, "diverged", [(180, 3.0), (200, math.nan)], {**small, "seed": 2})
    silent = log_to_wandb(folder, "silent", [], {**small, "seed": 3})
    silent.with_name("run-empty.wandb").touch()  # killed before its first record
    return folder


def test_wandb_offline_runs_give_each_finished_run_once(wandb_folder: Path) -> None:
    runs = from_wandb(
        wandb_folder,
        loss_key="eval/loss",
        n_params="model.n_params",
        params_convention="total",
        n_tokens="n_tokens",
    )
    assert dict(zip(runs.run_id, runs.n_params)) == {"big": 2e6, "small": 1e6}
    assert runs.loss.tolist() == pytest.approx([2.0, 2.0])
    assert runs.n_tokens.tolist() == [100_000, 100_000]
    assert (runs.convention.params, runs.convention.flops) == ("total", "6ND")
    notes = " ".join(runs.notes)
    left_out = notes.split("no loss logged, left out: ")[1].split(" the last loss")[0]
    assert set(left_out.split(", ")) == {"silent", "empty"}  # in one folder, where W&B's random ids sort them
    assert "killed at step 140" in notes
    assert "not a number, left out: diverged" in notes
    assert "1 further logs" in notes


def test_wandb_planned_steps_count_more_than_how_a_run_ended(wandb_folder: Path) -> None:
    """A run killed after its last step is finished; one that ended well before it is not."""
    options: dict[str, Any] = {"loss_key": "eval/loss", "n_params": 1e6, "params_convention": "total"}
    runs = from_wandb(wandb_folder, tokens_per_step=500, n_steps=140, **options)
    assert set(runs.run_id) == {"big", "small", "killed"}
    with pytest.raises(DataError, match="no finished run"):
        from_wandb(wandb_folder, tokens_per_step=500, n_steps=1000, **options)
    runs = from_wandb(wandb_folder, tokens_per_step=500, n_steps="steps", **options)
    assert set(runs.run_id) == {"big", "small"}


def test_wandb_asks_for_what_it_cannot_know(wandb_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConventionError, match="what N counts"):
        from_wandb(wandb_folder, loss_key="eval/loss", n_params=1e6, tokens_per_step=1)
    with pytest.raises(ConventionError, match="how flops are counted"):
        from_wandb(
            wandb_folder,
            loss_key="eval/loss",
            n_params=1e6,
            params_convention="total",
            tokens_per_step=1,
            flops=1e9,
        )
    options: dict[str, Any] = {"params_convention": "total", "n_tokens": "n_tokens"}
    with pytest.raises(UsageError, match="which value is N"):
        from_wandb(wandb_folder, loss_key="eval/loss", **options)
    with pytest.raises(UsageError, match="one of them"):
        from_wandb(wandb_folder, loss_key="eval/loss", n_params=1.0, params_convention="total")
    with pytest.raises(DataError, match=r"no 'n_params' for n_params; it has .*model\.n_params"):
        from_wandb(wandb_folder, loss_key="eval/loss", n_params="n_params", **options)
    with pytest.raises(DataError, match="none of 7 runs has logged 'val'"):
        from_wandb(wandb_folder, loss_key="val", n_params=1e6, **options)
    with pytest.raises(DataError, match=r"no run-\*\.wandb"):
        from_wandb(tmp_path, loss_key="val", n_params=1e6, **options)
    (tmp_path / "run-x.wandb").write_bytes(b"not a log")
    with pytest.raises(DataError, match="not an offline run"):
        from_wandb(tmp_path, loss_key="val", n_params=1e6, **options)


def test_a_long_wandb_file_is_read_across_its_blocks(tmp_path: Path) -> None:
    """LevelDB's log format splits records at multiples of 32 KiB."""
    path = log_to_wandb(
        tmp_path, "long", [(s, 1.0 + 1.0 / s) for s in range(1, 1501)], {"note": "x" * 70_000}
    )
    assert path.stat().st_size > 200_000
    runs = from_wandb(
        tmp_path,
        loss_key="eval/loss",
        n_params=1e6,
        params_convention="total",
        tokens_per_step=1,
        n_steps=1500,
    )
    assert runs.loss[0] == pytest.approx(1.0 + 1.0 / 1500)


@dataclass
class ApiRun:
    """The part of wandb.apis.public.Run that its documentation names."""

    id: str
    name: str
    state: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any] = field(default_factory=dict)

    def scan_history(self, keys: Iterable[str]) -> Iterable[dict[str, Any]]:
        return ({k: row[k] for k in keys} for row in self.rows if all(k in row for k in keys))


def api_run(run_id: str, name: str, last: int, state: str = "finished", **config: Any) -> ApiRun:
    rows = [{"_step": 3 * s, "train/global_step": s, "eval/loss": loss} for s, loss in falling(last)]
    return ApiRun(run_id, name, state, {"_wandb": {}, **config}, [*rows, {"_step": 999, "train/loss": 1.0}])


def test_wandb_api_runs_are_read_like_files() -> None:
    runs = from_wandb(
        [
            api_run("a1", "a", 80, "crashed", n_params=1e6),
            api_run("a2", "a", 200, n_params=1e6),
            api_run("b", "b", 200, n_params=2e6),
            api_run("c", "c", 120, "running", n_params=2e6),
            api_run("d", "d", 0, n_params=2e6),
        ],
        loss_key="eval/loss", n_params="n_params", params_convention="non_embedding", tokens_per_step=500,
        step_key="train/global_step",
    )  # fmt: skip
    assert runs.run_id == ("a", "b")
    assert runs.n_tokens.tolist() == [100_000, 100_000]
    assert runs.convention.params == "non_embedding"
    assert "c at step 120" in " ".join(runs.notes)


def test_wandb_csv_of_the_table_of_runs(tmp_path: Path) -> None:
    """Columns as the page exports them: Name, State, then configuration and last values."""
    path = tmp_path / "export.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Name", "State", "Notes", "n_params", "_step", "eval/loss", "flops"])
        table.writerow(["a", "finished", "", "1000000", "200", "2.0", "7e11"])
        table.writerow(["b", "crashed", "", "2000000", "90", "3.1", "3e11"])
        table.writerow(["c", "failed", "", "2000000", "", "", ""])
    runs = from_wandb(
        path, loss_key="eval/loss", n_params="n_params", params_convention="total", tokens_per_step=500, flops="flops",
        flops_convention="exact",
    )  # fmt: skip
    assert (runs.run_id, runs.flops.tolist(), runs.convention.flops) == (("a",), [7e11], "exact")
    with pytest.raises(DataError, match="needs the columns Name and val"):
        from_wandb(path, loss_key="val", n_params=1.0, params_convention="total", tokens_per_step=1)
    with pytest.raises(DataError, match="no W&B folder or CSV"):
        from_wandb(
            tmp_path / "no", loss_key="val", n_params=1.0, params_convention="total", tokens_per_step=1
        )


def test_rows_of_one_name_in_a_table_of_runs_are_two_runs(tmp_path: Path) -> None:
    """Display names are not unique, and a row of the table is a run."""
    path = tmp_path / "export.csv"
    path.write_text("Name,State,eval/loss,_step,n\nrun,finished,2.5,100,1e6\nrun,finished,2.4,100,2e6\n")
    runs = from_wandb(
        path, loss_key="eval/loss", n_params="n", params_convention="total", tokens_per_step=1000
    )
    assert (runs.run_id, runs.n_params.tolist()) == (("run", "run-2"), [1e6, 2e6])


# --- parts of one id, and damage ---


def log_part(
    folder: Path,
    run_id: str,
    steps: Iterable[int],
    *,
    code: int = 0,
    explicit: bool = True,
    key: str = "eval/loss",
    **more: Any,
) -> Path:
    """One launch of a run under its id, as wandb writes it offline; the loss is 5 - step / 100."""
    wandb = pytest.importorskip("wandb", reason="pip install 'isoflop[wandb]'")
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(
        project="p", id=run_id, name="m", mode="offline", dir=str(folder), settings=settings, resume="allow",
        config={"n_params": 1e6, **more},
    )  # fmt: skip
    for step in steps:
        row = {key: 5 - step / 100, "trained": step}
        run.log(row, **({"step": step} if explicit else {}))
    path = Path(run.settings.sync_file)
    run.finish(exit_code=code)
    wandb.teardown()
    return path


OPTIONS: dict[str, Any] = {
    "loss_key": "eval/loss", "n_params": "n_params", "params_convention": "total", "tokens_per_step": 1000,
}  # fmt: skip


def test_parts_of_one_id_whose_steps_go_on_are_joined_where_the_later_one_begins(tmp_path: Path) -> None:
    log_part(tmp_path / "1", "same", range(10, 70, 10), code=1)  # lost at 60, its checkpoint was of step 40
    log_part(tmp_path / "2", "same", range(50, 110, 10))
    runs = from_wandb(tmp_path, **OPTIONS)
    assert (runs.run_id, runs.step.tolist(), runs.n_tokens.tolist()) == (("m",), [100], [100_000])
    assert runs.loss.tolist() == pytest.approx([4.0])
    with pytest.raises(DataError, match="m at step 100 of 120"):
        from_wandb(tmp_path, n_steps=120, **OPTIONS)


def test_a_later_part_that_ends_before_an_earlier_one_is_the_run(tmp_path: Path) -> None:
    """What the first part did behind the checkpoint was lost: its loss at step 60 is of no model that went on."""
    log_part(tmp_path / "1", "same", range(10, 70, 10), code=1)
    log_part(tmp_path / "2", "same", range(30, 60, 10))
    runs = from_wandb(tmp_path, **OPTIONS)
    assert (runs.step.tolist(), runs.loss.tolist()) == ([50], pytest.approx([4.5]))


def test_a_later_part_without_an_evaluation_leaves_the_last_one_before_its_checkpoint(tmp_path: Path) -> None:
    log_part(tmp_path / "1", "same", range(10, 70, 10), code=1)
    log_part(tmp_path / "2", "same", range(41, 46), code=1, key="train/loss")
    with pytest.raises(DataError, match="unfinished, left out: m evaluated last at step 40 of 45"):
        from_wandb(tmp_path, **OPTIONS)
    runs = from_wandb(tmp_path, n_steps=40, **OPTIONS)
    assert (runs.step.tolist(), runs.loss.tolist()) == ([40], pytest.approx([4.6]))


def test_a_part_whose_rows_were_lost_leaves_wandbs_own_counter_without_meaning(tmp_path: Path) -> None:
    """A node that dies takes with it what was not yet written; the next part counts from 0 all the same."""
    lost = log_part(tmp_path / "1", "same", range(1, 7), code=1, explicit=False)
    data = lost.read_bytes()
    lost.write_bytes(data[: data.index(b"eval/loss")])
    log_part(tmp_path / "2", "same", range(7, 11), explicit=False)
    with pytest.raises(
        DataError, match="killed before its rows were written, and _step counts from 0 in each"
    ):
        from_wandb(tmp_path, **OPTIONS)
    assert from_wandb(tmp_path, step_key="trained", **OPTIONS).n_tokens.tolist() == [10_000]


def test_parts_that_count_from_the_start_again_are_joined_by_a_step_of_their_own_or_asked_about(
    tmp_path: Path,
) -> None:
    log_part(tmp_path / "1", "same", range(1, 7), code=1, explicit=False)
    log_part(tmp_path / "2", "same", range(7, 11), explicit=False)
    with pytest.raises(DataError, match=r"2 parts of run same count _step from the start again \(6 \+ 4\)"):
        from_wandb(tmp_path, **OPTIONS)
    for remedy in ({"step_key": "trained"}, {"n_steps": 10}, {"tokens_per_step": None, "n_tokens": 10_000}):
        assert from_wandb(tmp_path, **{**OPTIONS, **remedy}).n_tokens.tolist() == [10_000], remedy
    assert from_wandb(tmp_path, **{**OPTIONS, "n_steps": 4}).n_tokens.tolist() == [
        4000
    ]  # begun anew, and whole
    with pytest.raises(DataError, match="count _step from the start again"):
        from_wandb(tmp_path, **{**OPTIONS, "n_steps": 11})


def test_two_finished_runs_of_one_name_and_configuration_are_two(tmp_path: Path) -> None:
    log_part(tmp_path / "1", "first", range(10, 110, 10))
    log_part(tmp_path / "2", "second", range(10, 210, 10))
    runs = from_wandb(tmp_path, **OPTIONS)
    assert (runs.run_id, runs.step.tolist()) == (("m", "m-2"), [100, 200])
    assert any("share a name" in note for note in runs.notes)


def test_a_damaged_record_ends_a_run_and_is_named(tmp_path: Path) -> None:
    log_part(tmp_path / "1", "whole", range(10, 110, 10))
    hurt = log_part(tmp_path / "2", "hurt", range(10, 110, 10), seed=1)
    data = bytearray(hurt.read_bytes())
    data[data.rindex(b"eval/loss")] ^= 1  # in the last summary or row
    hurt.write_bytes(data)
    runs = from_wandb(tmp_path, **OPTIONS)
    assert runs.run_id == ("m",)
    assert any("run-hurt.wandb is damaged at byte" in note for note in runs.notes)


def test_a_record_whose_checksum_fits_but_that_is_no_message_is_named(tmp_path: Path) -> None:
    import struct
    import zlib

    path = tmp_path / "run-odd.wandb"
    body = b"\xff\xff\xff"
    header = struct.pack("<IHB", zlib.crc32(bytes([1]) + body), len(body), 1)
    path.write_bytes(b":W&B\xe1\xbe\x00" + header + body)
    with pytest.raises(
        DataError, match=r"its file is damaged, left out: odd \(run-odd\.wandb is damaged at byte 7"
    ):
        from_wandb(tmp_path, **OPTIONS)
