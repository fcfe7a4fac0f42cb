"""Utilisation against whole runs: those it was fitted on, those of laboratories left out, and own ones."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.errors import DataError, MissingFileError, UnknownNameError, UsageError
from scaling.planning.cost import Budget, buy_compute, make_cluster
from scaling.planning.plan import plan_training
from scaling.planning.run_log import read_own_runs
from scaling.planning.utilisation import (
    LABORATORY,
    LEVEL,
    MANY,
    RUN,
    SMALL,
    SPREAD,
    STARVED,
    OwnRun,
    calibrate_utilisation,
    estimate_utilisation,
)
from scaling.reference.measured_runs import TrainingRun, training_runs

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "hours.py"


@pytest.fixture(scope="module")
def hours() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARK))


def test_the_coefficients_are_those_of_the_table(hours: dict[str, Any]) -> None:
    fitted = hours["fit_utilisation"](np.ones(len(training_runs()), bool))
    assert fitted == pytest.approx(
        (LEVEL, SMALL, STARVED, MANY), abs=6e-4
    )  # they are written with three digits
    told = hours["restricted_likelihood"]
    for other in (
        (LABORATORY + 0.02, RUN),
        (LABORATORY - 0.02, RUN),
        (LABORATORY, RUN + 0.02),
        (LABORATORY, RUN - 0.02),
    ):
        assert told(LABORATORY, RUN) > told(*other)


def test_runs_of_laboratories_left_out_come_out_as_well(hours: dict[str, Any]) -> None:
    deviations = hours["left_out"]()
    assert np.mean(abs(deviations) < math.log(SPREAD)) >= 0.85
    assert 0.9 < math.exp(-deviations.mean()) < 1.15


def test_printed_hours_are_those_of_whole_runs(hours: dict[str, Any]) -> None:
    ratios, inside = [], []
    for run in training_runs():
        low, mid, high = hours["printed_hours"](run)
        assert high / low <= 3
        ratios.append(mid / run.accelerator_hours)
        inside.append(low <= run.accelerator_hours <= high)
    assert 0.9 < math.exp(np.mean(np.log(ratios))) < 1.15
    assert np.mean(inside) >= 0.85


def test_every_run_has_a_source_and_reached_a_share_of_its_peak() -> None:
    for run in training_runs():
        assert run.source
        assert run.status in ("agreed", "partly", "from memory"), run.run
        assert run.hours_of in ("whole run", "steps only", "throughput"), run.run
        peak = make_cluster(run.accelerator).peak_flops_per_s
        assert 0.05 < run.flops / (run.accelerator_hours * 3600 * peak) < 0.7, run.run


def test_small_models_long_contexts_many_devices_and_starved_ones_reach_less() -> None:
    usual = estimate_utilisation(7e9, 2048, 256, 0.0).mid
    assert estimate_utilisation(7e7, 2048, 256, 0.0).mid < 0.6 * usual
    assert estimate_utilisation(7e9, 32768, 256, 0.0).mid < 0.7 * usual
    assert estimate_utilisation(7e9, 2048, 8192, 0.0).mid < 0.9 * usual
    assert estimate_utilisation(7e9, 2048, 256, 1.0).mid == pytest.approx(usual * math.exp(STARVED))
    # attention by hand: width (128 x 7e9 / 12)^(1/3) = 4211, causal 2048 / (12 x 4211) = 4.05 %
    no_attention = math.exp(LEVEL + SMALL * math.log1p(5e8 / 7e9))
    assert usual == pytest.approx(no_attention / 1.0405, rel=1e-4)


def test_a_given_mfu_stays() -> None:
    cluster = make_cluster("H100", count=8, mfu=0.4).for_run(1e8, 8192).on(4096)
    assert (cluster.mfu_low, cluster.mfu_mid, cluster.mfu_high) == (0.4, 0.4, 0.4)


@pytest.mark.parametrize("budget", [Budget(seconds=14 * 86400.0), Budget(dollars=25e3)])
@pytest.mark.parametrize("count", [None, 8, 4096])
def test_time_and_money_buy_what_the_model_they_buy_takes(budget: Budget, count: int | None) -> None:
    """The utilisation is that of the size that the compute gives."""
    plan = plan_training(budget, cluster=make_cluster("H100", count=count))
    bought = buy_compute(budget, plan.cluster)
    assert bought is not None
    if budget.seconds is not None or count is not None:
        assert bought.flops == pytest.approx(plan.point.flops, rel=1e-6)
        assert plan.cost.mfu[1] == pytest.approx(plan.cluster.on(plan.cost.n_accelerators).mfu_mid)
    if budget.seconds is not None and count is not None:
        assert plan.cost.seconds[1] == pytest.approx(budget.seconds, rel=1e-6)
    if budget.dollars is not None:
        hours = plan.cost.accelerator_hours[1]
        assert hours == pytest.approx(budget.dollars / math.sqrt(1.99 * 5.00), rel=1e-6)


def own(run: TrainingRun, factor: float = 1.0) -> OwnRun:
    return OwnRun(
        n_params=run.n_params, n_tokens=run.n_tokens, accelerator=run.accelerator,
        accelerator_hours=run.accelerator_hours * factor, n_devices=run.n_devices or 256,
        context_length=run.context_length,
    )  # fmt: skip


def test_own_runs_move_the_middle_and_narrow_the_range() -> None:
    meta = [own(run) for run in training_runs() if run.laboratory == "Meta"]
    one, all_of_them = calibrate_utilisation(meta[:1]), calibrate_utilisation(meta)
    assert SPREAD > one.spread > all_of_them.spread > SPREAD ** (RUN / math.hypot(RUN, LABORATORY))
    slow = calibrate_utilisation([own(run, 2.0) for run in training_runs() if run.laboratory == "Meta"])
    n = len(meta)
    believed = n * LABORATORY**2 / (n * LABORATORY**2 + RUN**2)
    assert slow.factor / all_of_them.factor == pytest.approx(2.0**-believed)
    plain, calibrated = (
        plan_training(
            Budget(n_params=7e9, n_tokens=1e12), cluster=make_cluster("A100", count=512, calibration=c)
        )
        for c in (None, slow)
    )
    assert calibrated.cost.accelerator_hours[1] == pytest.approx(
        plain.cost.accelerator_hours[1] / slow.factor
    )
    assert "12 own runs" in calibrated.cost.mfu_source


def test_hours_beyond_the_peak_and_none_at_all_are_refused() -> None:
    with pytest.raises(DataError, match=r"would be 1\.07 of its peak; check hours, parameters and tokens"):
        calibrate_utilisation(
            [OwnRun(n_params=1e9, n_tokens=2e10, accelerator="A100", accelerator_hours=100)]
        )
    with pytest.raises(DataError, match="give at least one"):
        calibrate_utilisation([])
    with pytest.raises(UsageError, match="calibration"):
        make_cluster("A100", calibration=0.5)  # type: ignore[arg-type]


def test_a_measured_cpu_is_calibrated_on_its_own_runs() -> None:
    run = OwnRun(n_params=1e7, n_tokens=2e8, accelerator="CPU (x86_64)", accelerator_hours=100)
    with pytest.raises(UsageError, match="measure it"):
        calibrate_utilisation([run])
    # 1.2e16 FLOPs in 360,000 s are a third of 1e11 FLOP/s, more than small models on little known devices reach
    assert calibrate_utilisation([run], peak_flops_per_s=1e11).factor > 1


def test_a_log_is_read_by_the_names_that_people_write(tmp_path: Path) -> None:
    log = tmp_path / "runs.csv"
    log.write_text(
        "params,tokens,GPU,gpus,hours,seq_len\n1B,20B,A100-80GB,8,40,4096\n\n2.5e9,5e10,h100,16,24,\n"
    )
    first, second = read_own_runs(log)
    assert (first.n_params, first.n_tokens, first.accelerator_hours) == (1e9, 2e10, 320)
    assert (first.context_length, second.context_length, second.n_devices) == (4096, 2048, 16)
    log.write_text("n_params,n_tokens,device,wall_s\n1e6,1e8,a100,7200\n")
    assert read_own_runs(log)[0].accelerator_hours == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("params,tokens\n1,2\n", DataError, "no column accelerator, accelerator_hours"),
        ("params,tokens,gpu,hours\n", DataError, "no run to calibrate on"),
        ("params,tokens,gpu,hours\n1B,20B,A100,many\n", DataError, r"runs.csv:2, column hours"),
        (
            "params,tokens,gpu,hours\n1B,20B,A100,-3\n",
            DataError,
            "column hours: number must be a finite number above zero",
        ),
        ("params,tokens,gpu,hours\n1B,20B,A1000,3\n", UnknownNameError, "A1000"),
    ],
)
def test_what_a_log_lacks_is_said(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    log = tmp_path / "runs.csv"
    log.write_text(text)
    with pytest.raises(error, match=message):
        read_own_runs(log)


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no file"):
        read_own_runs(tmp_path / "none.csv")
