"""What else the tools write: panels, exports of a script, logs, units; and the moment that a row is of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import DataError, UsageError
from scaling.runs import load_runs
from scaling.sweep.importers import from_mlflow, from_nanochat, from_tensorboard, from_wandb
from scaling.sweep.importers.logged import LoggedRun, to_runs
from scaling.sweep.importers.moments import Point, at_last_row, at_last_step
from scaling.sweep.importers.sizes import to_nats

TOTAL: dict[str, Any] = {"params_convention": "total"}
NAMED: dict[str, Any] = {"n_params": "n_params", "n_tokens": "n_tokens", **TOTAL}


# --- the moment of a row ---


def last_row(rows: list[dict[str, Any]], **options: Any) -> Any:
    told = {"step_key": "_step", "growing": ("n_tokens",), "constant": (), **options}
    return at_last_row(rows, "eval/loss", **told)[0]


def test_tokens_logged_just_before_the_loss_are_of_its_moment_and_older_ones_are_not() -> None:
    rows = [{"_step": 0, "n_tokens": 10, "train/loss": 5.0}, {"_step": 1, "eval/loss": 4.0}]
    moment = last_row(rows)
    assert (moment.values["n_tokens"], moment.unsure) == (10, {})
    between = {"_step": 1, "train/loss": 4.9}
    moment = last_row([rows[0], between, {"_step": 2, "eval/loss": 4.0}])
    assert moment.unsure == {"n_tokens": "was logged before the last loss, and training went on"}
    moment = last_row([{"_step": 0, "eval/loss": 4.0}, {"_step": 1, "n_tokens": 10}])
    assert moment.unsure == {"n_tokens": "was first logged after the last loss"}


def test_a_summary_after_the_last_loss_is_no_training_but_two_train_losses_are() -> None:
    end = [{"_step": 7, "train/global_step": 20, "eval/loss": 4.0}]
    summary = {"_step": 8, "train/global_step": 20, "train/train_loss": 4.4}
    assert not last_row([*end, summary]).went_on
    assert last_row([*end, {"_step": 8, "train/loss": 4.4}, {"_step": 9, "train/loss": 4.3}]).went_on
    by_step = last_row([*end, {"_step": 8, "train/global_step": 24}], step_key="train/global_step")
    assert (by_step.went_on, by_step.step, by_step.last_step) == (True, 20, 24)


def test_a_value_of_another_step_is_not_of_the_moment_but_one_said_once_is() -> None:
    loss = [Point(500, 1.0, 4.0), Point(1000, 2.0, 3.5)]
    options: dict[str, Any] = {"growing": ("D",), "constant": ("N",)}
    moment = at_last_step(
        {"loss": loss, "D": [Point(1000, 2.0, 1e6), Point(1200, 3.0, 1.2e6)]}, "loss", **options
    )
    assert (moment.values["D"], moment.unsure, moment.went_on, moment.last_step) == (1e6, {}, True, 1200)
    moment = at_last_step(
        {"loss": loss, "D": [Point(900, 2.0, 9e5), Point(950, 3.0, 9.5e5)]}, "loss", **options
    )
    assert "up to step 950, but not at step 1000" in moment.unsure["D"]
    assert at_last_step({"loss": loss, "D": [Point(0, 9.0, 1e6)]}, "loss", **options).unsure == {}
    moment = at_last_step({"loss": loss, "D": [Point(1200, 9.0, 1.2e6)]}, "loss", **options)
    assert "once, at step 1200" in moment.unsure["D"]
    moment = at_last_step({"loss": loss, "N": [Point(0, 1.0, 1e6), Point(5, 1.0, 2e6)]}, "loss", **options)
    assert "several values" in moment.unsure["N"]


def test_a_step_that_was_done_twice_counts_as_it_was_done_last() -> None:
    loss = [Point(100, 9.0, 3.0), Point(100, 1.0, 4.0)]
    assert at_last_step({"loss": loss}, "loss", growing=(), constant=()).loss == 3.0


# --- one run, or two ---


def logged(**changes: Any) -> LoggedRun:
    told = {"run_id": "a", "n_params": 1e6, "n_tokens": 1e7, "loss": 3.0, "step": 100, "ended_well": True}
    return LoggedRun(**{**told, **changes})


def test_the_tools_id_decides_which_finished_runs_are_one() -> None:
    two = [logged(tool_id="x", identity="a"), logged(tool_id="y", identity="a", loss=3.1)]
    assert to_runs(two, source="s", params_convention="total").loss.tolist() == [3.0, 3.1]
    one = [logged(tool_id="x", identity="a"), logged(tool_id="x", identity="a", step=120, loss=2.9)]
    assert to_runs(one, source="s", params_convention="total").loss.tolist() == [2.9]
    cut = [logged(tool_id="x", identity="a", ended_well=False, step=150), logged(tool_id="y", identity="a")]
    runs = to_runs(cut, source="s", params_convention="total")
    assert runs.step.tolist() == [100]
    assert runs.notes == ("1 further logs of the same runs left out: a",)


def test_two_ends_of_one_name_without_an_id_are_refused_even_at_one_step() -> None:
    with pytest.raises(DataError, match=r"loss 3\).*loss 3\.1\).*they are different runs"):
        to_runs([logged(), logged(loss=3.1)], source="s", params_convention="total")
    assert len(to_runs([logged(), logged()], source="s", params_convention="total")) == 1


def test_numbers_given_to_runs_of_one_name_meet_no_other_name() -> None:
    runs = [logged(tool_id=str(k), run_id=name) for k, name in enumerate(("a", "a", "a-2"))]
    assert to_runs(runs, source="s", params_convention="total").run_id == ("a", "a-3", "a-2")


# --- units ---


@pytest.mark.parametrize(
    ("name", "unit", "bytes_per_token", "nats"),
    [
        ("eval/loss", None, None, 2.0),
        ("val/bpb", None, 4.0, 2.0 * math.log(2) * 4),
        ("eval/bits_per_byte", None, 4.0, 2.0 * math.log(2) * 4),
        ("eval/loss", "bits/token", None, 2.0 * math.log(2)),
        ("eval/loss", "nats/byte", 4.0, 8.0),
        ("eval/perplexity", None, None, math.log(2.0)),
        ("wikitext_ppl", None, None, math.log(2.0)),
        ("val/bpc", "other", None, 2.0),
    ],
)
def test_a_loss_is_converted_from_the_unit_of_its_name_or_the_one_told(
    name: str, unit: str | None, bytes_per_token: float | None, nats: float
) -> None:
    assert to_nats(name, unit, bytes_per_token)[1](2.0) == pytest.approx(nats)


def test_a_unit_that_nobody_can_convert_is_asked_for() -> None:
    with pytest.raises(UsageError, match="--bytes-per-token"):
        to_nats("val/bpb", None, None)
    with pytest.raises(UsageError, match="bits per character"):
        to_nats("val/bpc", None, None)
    with pytest.raises(UsageError, match="says nothing"):
        to_nats("eval/loss", None, 4.0)


# --- TensorBoard ---


def test_tensorboard_takes_the_tokens_of_the_step_of_the_loss(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    with writer(str(tmp_path / "early")) as log:
        for step in range(100, 1201, 100):
            log.add_scalar("n_tokens", step * 1000.0, step)
            if step % 500 == 0:
                log.add_scalar("eval/loss", 5 - step / 1000, step)
    options: dict[str, Any] = {"loss_tag": "eval/loss", "n_params": 1e6, "n_tokens": "n_tokens", **TOTAL}
    with pytest.raises(DataError, match="early evaluated last at step 1000 of 1200"):
        from_tensorboard(tmp_path, **options)
    runs = from_tensorboard(tmp_path, n_steps=1000, **options)
    assert (runs.n_tokens.tolist(), runs.loss.tolist(), runs.step.tolist()) == ([1e6], [4.0], [1000])


def test_a_damaged_event_file_is_named_and_a_torn_one_is_read(tmp_path: Path) -> None:
    """TensorBoard itself stops at a wrong checksum and says nothing: the loss would be of an early step."""
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    for name in ("hurt", "torn", "whole"):
        with writer(str(tmp_path / name)) as log:
            for step in range(1, 21):
                log.add_scalar("eval/loss", 4.0 - step / 10, step)
    hurt, torn = (next((tmp_path / name).iterdir()) for name in ("hurt", "torn"))
    data = bytearray(hurt.read_bytes())
    data[len(data) // 2] ^= 1
    hurt.write_bytes(data)
    torn.write_bytes(torn.read_bytes()[:-5])
    options: dict[str, Any] = {"loss_tag": "eval/loss", "n_params": 1e6, "tokens_per_step": 1e3, **TOTAL}
    runs = from_tensorboard(tmp_path, **options)
    assert (runs.run_id, runs.step.tolist()) == (("torn", "whole"), [19, 20])
    assert any("hurt at step" in note and "is damaged" in note for note in runs.notes)
    assert any("does not record whether a run ended" in note for note in runs.notes)
    assert from_tensorboard(tmp_path, n_steps=20, **options).run_id == ("whole",)


# --- MLflow ---


def test_mlflow_takes_the_tokens_of_the_step_of_the_loss(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    from scaling.sweep.importers.mlflow import connect

    client = connect((tmp_path / "mlruns").as_uri())
    experiment = client.create_experiment("e")
    for name, steps in (("early", (500, 1000)), ("whole", (500, 1000, 1200)), ("once", (0,))):
        run = client.create_run(experiment, run_name=name).info.run_id
        client.log_param(run, "n_params", "1M")
        for step in steps:
            client.log_metric(run, "eval_loss", 5 - step / 1000, step=step)
        for step in range(100, 1201, 100) if name != "once" else (0,):
            client.log_metric(run, "n_tokens", 1000.0 * (step or 7), step=step)
            client.log_metric(run, "system/cpu", 1.0, step=step * 9)  # counts samples
        client.set_terminated(run)
    runs = from_mlflow(tmp_path / "mlruns", loss_key="eval_loss", **NAMED)
    assert dict(zip(runs.run_id, runs.n_tokens.tolist())) == {"whole": 1.2e6, "once": 7000.0}
    assert any("early evaluated last at step 1000 of 1200" in note for note in runs.notes)
    with pytest.raises(DataError, match="there is eval_loss, n_tokens"):
        from_mlflow(tmp_path / "mlruns", loss_key="eval/loss", **NAMED)


# --- W&B ---

PANEL = (
    '"Step","70M - x - test/lm_loss","70M - x - test/lm_loss__MIN","70M - x - test/lm_loss__MAX",'
    '"160M - test/lm_loss","160M - test/lm_loss__MIN","160M - test/lm_loss__MAX","160M - train/loss"\n'
    '"100","3.9","3.9","3.9","3.7","3.7","3.7","3.8"\n'
    '"200","3.5","3.5","3.5","","","",""\n'
    '"300","","","","3.2","3.1","3.3",""\n'
)


def test_the_lines_of_a_panel_of_wandb_are_runs(tmp_path: Path) -> None:
    path = tmp_path / "panel.csv"
    path.write_text(PANEL)
    sizes: dict[str, Any] = {"n_params": {"70M - x": 7e7, "160M": 1.6e8}, "tokens_per_step": 1000, **TOTAL}
    runs = from_wandb(path, loss_key="test/lm_loss", **sizes)
    assert (runs.run_id, runs.loss.tolist()) == (("70M - x", "160M"), [3.5, 3.2])
    assert (runs.n_params.tolist(), runs.n_tokens.tolist()) == ([7e7, 1.6e8], [2e5, 3e5])
    assert any("averages of several points or runs" in note and "160M" in note for note in runs.notes)
    with pytest.raises(DataError, match=r"no line of 'eval/loss'; it has test/lm_loss, train/loss.*--loss"):
        from_wandb(path, loss_key="eval/loss", **sizes)
    by_axis = {**sizes, "tokens_per_step": None, "n_tokens": "Step"}
    assert from_wandb(path, loss_key="test/lm_loss", **by_axis).n_tokens.tolist() == [200, 300]


def test_a_csv_of_wandbs_own_export_script_is_read(tmp_path: Path) -> None:
    path = tmp_path / "project.csv"
    path.write_text(
        ",summary,config,name\n"
        "0,\"{'eval': {'loss': 3.5}, 'n_tokens': 2e8, '_step': 9}\",\"{'model': {'n_params': 1000000}}\",s2\n"
        "1,\"{'eval': {'loss': 'NaN'}, '_step': 9}\",\"{'model': {'n_params': 1000000}}\",s3\n"
    )
    runs = from_wandb(path, loss_key="eval.loss", n_params="model.n_params", n_tokens=1e8, **TOTAL)
    assert (runs.run_id, runs.loss.tolist()) == (("s2",), [3.5])
    assert "the last loss is not a number, left out: s3" in runs.notes


def test_rows_of_wandbs_table_with_their_ids_are_runs_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(
        "Name,ID,State,eval/loss,n_params,n_tokens\na,x1,finished,3,1e6,1e7\na,x2,finished,2.9,1e6,2e7\n"
    )
    runs = from_wandb(path, loss_key="eval/loss", **NAMED)
    assert (runs.run_id, runs.n_tokens.tolist()) == (("a", "a-2"), [1e7, 2e7])
    assert any("may be of a" in note or "of a later moment" in note for note in runs.notes)


class ApiRun:
    """A run of the API with a history; scan_history gives rows that hold every key, from min_step on."""

    def __init__(self, rows: list[dict[str, Any]], **config: Any) -> None:
        self.id = self.name = "r"
        self.state, self.config, self.rows = (
            "finished",
            config,
            [{"_step": n, **row} for n, row in enumerate(rows)],
        )
        self.summary = {k: v for row in self.rows for k, v in row.items()}

    def scan_history(self, keys: list[str] | None = None, min_step: int = 0) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            if row["_step"] >= min_step and all(k in row for k in keys or ()):
                yield row if keys is None else {k: row[k] for k in keys}


def test_the_api_gives_the_tokens_of_the_last_loss_not_those_of_the_summary() -> None:
    rows: list[dict[str, Any]] = [{"n_tokens": 1000 * s, "train/loss": 5 - s / 10} for s in range(1, 11)]
    rows.insert(5, {"eval/loss": 4.0})
    with pytest.raises(DataError, match="r evaluated last at step 6 of 11"):
        from_wandb([ApiRun(rows, n_params=1e6)], loss_key="eval/loss", **NAMED)
    runs = from_wandb([ApiRun(rows[:6], n_params=1e6)], loss_key="eval/loss", **NAMED)
    assert (runs.n_tokens.tolist(), runs.loss.tolist()) == ([5000], [4.0])
    said_once = ApiRun(rows, n_params=1e6, D=1e4)
    with pytest.raises(DataError, match="D is said once for the whole run"):
        from_wandb([said_once], loss_key="eval/loss", n_params="n_params", n_tokens="D", **TOTAL)


def test_a_loss_of_step_0_alone_has_no_tokens_and_says_so() -> None:
    runs = [ApiRun([{"eval/loss": 9.0}], n_params=1e6)]
    with pytest.raises(DataError, match=r"the loss stands at step 0 alone.*left out: r"):
        from_wandb(runs, loss_key="eval/loss", n_params="n_params", tokens_per_step=1000, **TOTAL)


def test_a_loss_that_no_run_of_the_api_has_is_answered_with_what_there_is() -> None:
    run = ApiRun([{"val/loss": 3.0, "lr": 1.0}], n_params=1e6)
    with pytest.raises(
        DataError, match=r"none of 1 runs has logged 'eval/loss'; they have val/loss, lr.*--loss"
    ):
        from_wandb([run], loss_key="eval/loss", n_params="n_params", n_tokens=1e6, **TOTAL)


# --- nanochat ---

TRAINING_LOG = """\
Vocab size: 32,768
Parameter counts:
wte                     : 25,165,824
value_embeds            : 1,000
lm_head                 : 25,165,824
transformer_matrices    : 84,934,656
scalars                 : 24
total                   : 135,267,328
Estimated FLOPs per token: 7.5e+08
Calculated number of iterations from target FLOPs: 1,200
Total number of training tokens: 629,145,600
Step 00000 | Validation bpb: 3.300000
step 00100/01200 (8.33%) | loss: 4.1 | lrm: 1.00 | dt: 100.00ms
Step {last:05d} | Validation bpb: 1.050000
"""


def test_nanochats_training_logs_are_runs_and_one_cut_short_is_left_out(tmp_path: Path) -> None:
    for name, last in (("scaling_1e18_d12", 1200), ("scaling_1e18_d14", 1000)):
        (tmp_path / f"{name}_train.log").write_text(TRAINING_LOG.format(last=last))
    (tmp_path / "scaling_1e18_d16_train.log").write_text("torch.OutOfMemoryError")
    runs = from_nanochat(tmp_path, bytes_per_token=4.0)
    assert runs.run_id == ("scaling_1e18_d12",)
    assert (runs.n_params.tolist(), runs.n_tokens.tolist()) == ([135_267_328], [629_145_600])
    assert runs.loss.tolist() == pytest.approx([1.05 * math.log(2) * 4])
    assert runs.budget is not None
    assert runs.budget.tolist() == [1e18]
    notes = " ".join(runs.notes)
    assert "scaling_1e18_d14 at step 1000 of 1200" in notes
    assert "crashed, left out: scaling_1e18_d16" in notes
    runs = from_nanochat(tmp_path, bytes_per_token=4.0, n_params="transformer_matrices")
    assert (runs.n_params.tolist(), runs.convention.params) == ([84_934_656], "non_embedding")


def test_nanochats_scaling_parameters_are_not_called_non_embedding(tmp_path: Path) -> None:
    """They hold the untied vocabulary head, which Kaplan's N does not."""
    path = tmp_path / "results.csv"
    path.write_text(
        "flops_budget,depth,num_scaling_params,tokens_trained,val_bpb\n1e18,8,42000000,3900000000,1.07\n"
    )
    runs = from_nanochat(path, bytes_per_token=4.8)
    assert (runs.convention.params, runs.n_params.tolist()) == ("unknown", [4.2e7])
    assert any("untied vocabulary head" in note for note in runs.notes)
    runs.save(tmp_path / "runs.csv")
    assert load_runs(tmp_path / "runs.csv").budget.tolist() == [1e18]  # type: ignore[union-attr]


def test_the_columns_that_a_table_of_nanochat_has_empty_are_not_n(tmp_path: Path) -> None:
    """Its miniseries script writes num_params from words that the log no longer has: the cells are empty."""
    path = tmp_path / "results.csv"
    path.write_text("depth,num_params,params_total,tokens_trained,val_bpb\n8,,42000000,3900000000,1.07\n")
    assert from_nanochat(path, bytes_per_token=4.8).n_params.tolist() == [4.2e7]
    path.write_text("depth,num_params,tokens_trained,val_bpb\n8,,3900000000,1.07\n")
    with pytest.raises(UsageError, match="--params"):
        from_nanochat(path, bytes_per_token=4.8)
    assert from_nanochat(path, bytes_per_token=4.8, n_params=1e6, **TOTAL).n_params.tolist() == [1e6]
