"""Wrong arguments of public functions are answered by our errors, whatever is handed over in place of what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.surface.result import ParametricFit

WRONG: dict[str, Any] = {
    "None": None,
    "text": "nonsense",
    "empty text": "",
    "negative": -1,
    "zero": 0,
    "half": 0.5,
    "large": 1e300,
    "true": True,
    "nan": math.nan,
    "infinite": math.inf,
    "list": [],
    "numbers": [1.0, 2.0],
    "mapping": {},
    "named": {"nonsense": 1},
    "object": object(),
    "frame": pd.DataFrame({"x": [1.0]}),
    "array": np.array([1.0, math.nan]),
    "type": int,
}


Call = tuple[Callable[..., Any], dict[str, Any]]


@cache
def runs() -> scaling.Runs:
    """Six budgets, four sizes each: enough for every fit, little enough for hundreds of them."""
    law = scaling.ChinchillaLaw(E=1.8, A=450.0, B=1800.0, alpha=0.345, beta=0.36)
    flops = np.repeat([1e18, 3e18, 1e19, 3e19], 5)
    best = np.array([law.allocate(float(c)).n_params for c in flops])
    n_params = best * np.tile([0.3, 0.6, 1.0, 1.8, 3.0], 4)
    noise = np.exp(0.003 * np.sin(7 * np.arange(len(flops)) ** 2))
    return scaling.Runs.from_arrays(
        n_params=n_params, flops=flops, loss=law.loss(n_params, flops / (6 * n_params)) * noise, budget=flops
    )


@cache
def curves() -> scaling.Runs:
    law = scaling.ChinchillaLaw(E=1.8, A=450.0, B=1800.0, alpha=0.345, beta=0.36)
    n_params = np.repeat(np.geomspace(1e7, 1e9, 7), 30)
    n_tokens = np.tile(np.geomspace(1e17, 1e20, 30), 7) / (6 * n_params)
    return scaling.Runs.from_arrays(
        n_params=n_params, n_tokens=n_tokens, loss=law.loss(n_params, n_tokens),
        run_id=[f"{n:.0f}" for n in n_params],
    )  # fmt: skip


@cache
def surface() -> ParametricFit:
    return scaling.fit_parametric(runs())


@cache
def envelope() -> EnvelopeFit:
    return scaling.fit_envelope(curves())


@cache
def isoflop() -> IsoflopFit:
    return scaling.fit_isoflop(runs())


@cache
def held_out() -> scaling.Extrapolation:
    return scaling.evaluate_extrapolation(runs(), intervals=False)


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def calls() -> dict[str, Callable[[], Call]]:
    """Every public function and class that takes arguments, with arguments that are right."""
    p = scaling.plots
    s, model = scaling, {"name": "m", "n_params": 7e9, "n_tokens": 1e12}
    law = s.find_law("besiroglu")
    shape = s.find_preset("gpt2")
    numbers = {"value": 0.5, "standard_error": 0.1}
    return {
        "Runs.from_arrays": lambda: (
            s.Runs.from_arrays,
            {"loss": [3.0, 2.5], "n_params": [1e8, 2e8], "n_tokens": [1e9, 2e9], "run_id": ["a", "b"],
             "convention": None, "budget": [1e18, 1e18], "extras": {}, "notes": (), "source": "here"},
        ),
        "Runs.select": lambda: (runs().select, {"mask": np.arange(4)}),
        "Runs.save": lambda: (runs().save, {"path": "runs.csv", "overwrite": True}),
        "Runs.from_frame": lambda: (s.Runs.from_frame, {"frame": runs().to_frame()}),
        "load_runs": lambda: (s.load_runs, {
            "path_or_frame": {"params": ["1B", "2B"], "tokens": ["20B", "40B"], "loss": [2.6, 2.4]},
            "params_convention": None, "flops_convention": None, "loss_unit": None, "bytes_per_token": None,
            "columns": None, "only": (), "exclude": (), "drop": (), "best_of_cell": False, "final": False,
            "tokens_per_step": None, "decimal": None, "wide": None, "inputs": None, "planned": False,
            "max_rows": 100}),
        "check_runs": lambda: (s.check_runs, {"runs": runs(), "inputs": None}),
        "ChinchillaLaw": lambda: (s.ChinchillaLaw, {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.3, "beta": 0.3}),
        "ChinchillaLaw.loss": lambda: (law.loss, {"n_params": 1e9, "n_tokens": 2e10}),
        "ChinchillaLaw.gradient": lambda: (law.gradient, {"n_params": 1e9, "n_tokens": 2e10}),
        "ChinchillaLaw.predict": lambda: (law.predict, {"inputs": {"n_params": 1e9, "n_tokens": 2e10}}),
        "ChinchillaLaw.allocate": lambda: (law.allocate, {"flops": 1e21}),
        "ChinchillaLaw.flops_for_loss": lambda: (law.flops_for_loss, {"loss": 2.3}),
        "ChinchillaLaw.tokens_for_loss": lambda: (law.tokens_for_loss, {"n_params": 1e9, "loss": 2.5}),
        "ChinchillaLaw.params_for_loss": lambda: (law.params_for_loss, {"n_tokens": 1e11, "loss": 2.5}),
        "ChinchillaLaw.with_coefficients": lambda: (law.with_coefficients, {"values": (1.7, 4e2, 4e2, 0.3, 0.3)}),
        "FrontierLaw": lambda: (s.FrontierLaw, {"k": 0.1, "a": 0.5, "L_floor": 1.0, "C_c": 1e20, "gamma": 0.1}),
        "FrontierLaw.from_tokens": lambda: (s.FrontierLaw.from_tokens, {"coefficient": 0.3, "exponent": 0.5}),
        "FrontierLaw.from_tokens_per_param": lambda: (s.FrontierLaw.from_tokens_per_param, {"ratio": 20}),
        "load_law": lambda: (s.load_law, {"path": "law.json"}),
        "write_law": lambda: (s.write_law, {"law": law, "path": "law.json"}),
        "find_law": lambda: (s.find_law, {"name": "besiroglu"}),
        "find_accelerator": lambda: (s.find_accelerator, {"name": "H100"}),
        "find_preset": lambda: (s.find_preset, {"name": "gpt2"}),
        "published_laws": lambda: (s.published_laws, {"of_size_and_data": True}),
        "fit_parametric": lambda: (s.fit_parametric, {
            "runs": runs(), "law": "chinchilla", "objective": "huber", "huber_delta": None, "level": 0.95,
            "intervals": False, "n_resamples": None, "seed": 0, "fixed": None}),
        "fit_isoflop": lambda: (s.fit_isoflop, {
            "runs": runs(), "valley": "parabola", "level": 0.95, "tolerance": 0.1, "min_runs_per_budget": None,
            "surface": law, "require_bracket": True, "every_row": False}),
        "fit_envelope": lambda: (s.fit_envelope, {"curves": curves(), "level": 0.95}),
        "fit_power_law": lambda: (s.fit_power_law, {
            "x": [1e18, 1e19, 1e20], "y": [2e9, 6.3e9, 2e10], "method": "ols", "weights": None, "level": 0.9}),
        "diagnose_fit": lambda: (s.diagnose_fit, {"fit": surface(), "runs": runs()}),
        "fit_law": lambda: (s.fit_law, {
            "runs": runs(), "law": "flops_power_law", "objective": "huber", "level": 0.95, "seed": 0,
            "fixed": None}),
        "bootstrap": lambda: (s.bootstrap, {
            "fit": surface(), "runs": runs(), "n": 20, "seed": 0, "cluster": "auto"}),
        "Fit.estimate": lambda: (surface().estimate, {"quantity": "n_params", "flops": 1e21}),
        "predict_runs": lambda: (s.predict_runs, {"law": law, "runs": runs()}),
        "ParametricFit.estimate": lambda: (surface().estimate, {
            "quantity": "loss", "n_params": 1e9, "n_tokens": 1e10, "kind": "prediction", "method": "profile",
            "level": 0.9}),
        "ParametricFit.interval": lambda: (surface().interval, {"quantity": "loss", "flops": 1e20}),
        "IsoflopFit.estimate": lambda: (isoflop().estimate, {"quantity": "n_params", "flops": 1e20}),
        "EnvelopeFit.estimate": lambda: (envelope().estimate, {"quantity": "n_params", "flops": 1e20}),
        "LawFit.estimate": lambda: (s.fit_law(runs(), "over_training").estimate, {
            "quantity": "n_params", "flops": 1e20}),
        "evaluate_extrapolation": lambda: (s.evaluate_extrapolation, {
            "runs": runs(), "law": "flops_power_law", "cuts": [1.5e19], "objective": "huber", "huber_delta": None,
            "intervals": False, "level": 0.95, "seed": 0, "fixed": None, "every_row": False}),
        "compare_laws": lambda: (s.compare_laws, {
            "runs": runs(), "laws": ["flops_power_law"], "objectives": ["huber"], "target_flops": None,
            "held_out_share": 0.2, "seed": 0, "every_row": False}),
        "Architecture": lambda: (s.Architecture, {
            "n_layers": 2, "d_model": 64, "n_heads": 4, "vocab_size": 100, "context_length": 32}),
        "Architecture.replace": lambda: (shape.replace, {"n_layers": 3, "norm": "rms", "norm_bias": False}),
        "Architecture.from_dict": lambda: (s.Architecture.from_dict, {"values": shape.to_dict()}),
        "count_params": lambda: (s.count_params, {"architecture": shape}),
        "flops_per_token": lambda: (s.flops_per_token, {
            "architecture": shape, "phase": "train", "convention": "exact_causal", "context_length": None,
            "decoder_length": None}),
        "count_flops": lambda: (s.count_flops, {
            "architecture": shape, "n_tokens": 1e9, "phase": "train", "convention": "six_n",
            "context_length": None, "decoder_length": None}),
        "estimate_memory": lambda: (s.estimate_memory, {
            "architecture": shape, "batch_size": 1, "context_length": None, "decoder_length": None,
            "n_devices": 1, "strategy": "ddp", "tensor_parallel": 1, "precision": "bf16_mixed",
            "optimizer": "adamw", "recomputation": "none", "attention": "flash", "dropout": False,
            "loss_chunk_tokens": None, "framework_bytes": 0}),
        "Budget": lambda: (s.Budget, {"flops": 1e21}),
        "Budget.n_params": lambda: (s.Budget, {"n_params": 1e9, "n_tokens": 1e10}),
        "Budget.seconds": lambda: (s.Budget, {"seconds": 1e6}),
        "Budget.dollars": lambda: (s.Budget, {"dollars": 1e4}),
        "Budget.target_loss": lambda: (s.Budget, {"target_loss": 2.4}),
        "Constraints": lambda: (s.Constraints, {
            "unique_tokens": 1e12, "max_params": 1e12, "max_memory_bytes": 8e10, "inference_tokens": 1e12,
            "context_length": 2048, "vocab_size": 32_000}),
        "make_cluster": lambda: (s.make_cluster, {
            "accelerator": s.find_accelerator("H100"), "count": 8, "mfu": 0.4, "goodput": 0.9,
            "price_usd_per_hour": 2.0, "peak_flops_per_s": 1e15, "memory_bytes": 8e10,
            "calibration": None, "name": ""}),
        "OwnRun": lambda: (s.OwnRun, {
            "n_params": 1e9, "n_tokens": 2e10, "accelerator": "A100", "accelerator_hours": 300.0, "n_devices": 8,
            "context_length": 2048}),
        "Calibration": lambda: (s.Calibration, {"factor": 1.0, "spread": 1.7, "n_runs": 3}),
        "calibrate_utilisation": lambda: (s.calibrate_utilisation, {"runs": (s.OwnRun(
            n_params=1e9, n_tokens=2e10, accelerator="A100", accelerator_hours=300),), "peak_flops_per_s": 1e12}),
        "read_own_runs": lambda: (s.read_own_runs, {"path": "runs.csv"}),
        "allocate_compute": lambda: (s.allocate_compute, {"law": law, "flops": 1e21}),
        "plan_training": lambda: (s.plan_training, {
            "budget": 1e20, "law": law, "cluster": s.make_cluster(s.find_accelerator("H100"), count=8),
            "constraints": s.Constraints(), "ratios": (0.5,)}),
        "choose_architecture": lambda: (s.choose_architecture, {
            "n_params": 1e8, "vocab_size": None, "context_length": 2048, "count": "total"}),
        "TrainedModel": lambda: (s.TrainedModel, {
            **model, "n_params_total": None, "published_flops": None, "figures": (), "n_tokens_unique": None,
            "n_params_non_embedding": None, "kind": "decoder", "status": ""}),
        "audit_model": lambda: (s.audit_model, {"model": s.TrainedModel(**model), "law": law}),
        "Estimate": lambda: (s.Estimate, numbers),
        "Interval": lambda: (s.Interval, {"low": 1.0, "high": 2.0, "level": 0.95, "method": "t"}),
        "load_sweep": lambda: (s.load_sweep, {"path": "sweep.toml"}),
        "plan_sweep": lambda: (s.plan_sweep, {"spec": "sweep.toml", "store": None}),
        "run_sweep": lambda: (s.run_sweep, {"spec": "sweep.toml", "store": "store"}),
        "load_store_runs": lambda: (s.load_store_runs, {"store": "store", "design": None, "run_ids": None}),
        "plot_isoflop": lambda: (p.plot_isoflop, {"fit": isoflop(), "x": "n_params", "ax": None}),
        "plot_envelope": lambda: (p.plot_envelope, {"fit": envelope(), "curves": None, "ax": None}),
        "plot_parametric": lambda: (p.plot_parametric, {"fit": surface(), "ax": None}),
        "plot_slices": lambda: (p.plot_slices, {"fit": surface(), "ax": None}),
        "plot_residuals": lambda: (p.plot_residuals, {"fit": surface(), "runs": runs(), "ax": None}),
        "plot_power_law": lambda: (p.plot_power_law, {
            "fit": s.fit_law(runs(), "flops_power_law"), "runs": runs(), "ax": None}),
        "plot_frontier": lambda: (p.plot_frontier, {
            "fit": law, "quantity": "n_params", "to_flops": 1e25, "others": ["hoffmann"], "ax": None}),
        "plot_extrapolation": lambda: (p.plot_extrapolation, {"result": held_out(), "ax": None}),
        "plot_exponent_drift": lambda: (p.plot_exponent_drift, {"result": held_out(), "ax": None}),
        "plot_comparison": lambda: (p.plot_comparison, {"result": s.compare_laws(runs()), "ax": None}),
        "plot_plan": lambda: (p.plot_plan, {"plan": s.plan_training(1e20), "ax": None}),
        "LawComparison.spread": lambda: (s.compare_laws(runs()).spread, {"quantity": "n_params"}),
        "plot_first_figure": lambda: (p.plot_first_figure, {"blocks": (), "ax": None}),
        "draw_figure": lambda: (p.draw_figure, {"figure": None, "ax": None}),
        "figure_svg": lambda: (p.figure_svg, {"figure": None}),
        "compose": lambda: (p.compose, {"figures": [], "size": "page"}),
        "draw_figures": lambda: (p.draw_figures, {"figures": [], "path": "figures.svg", "size": "page"}),
        "fit_figure": lambda: (p.fit_figure, {"fit": surface(), "runs": runs()}),
        "draw_fit": lambda: (p.draw_fit, {"fit": surface(), "runs": runs(), "path": "fit.png"}),
        "render_terminal": lambda: (s.render_terminal, {"blocks": ()}),
        "render_markdown": lambda: (s.render_markdown, {"blocks": ()}),
        "render_html": lambda: (s.render_html, {"blocks": ()}),
    }  # fmt: skip


def wrong_calls() -> list[Any]:
    return [
        pytest.param(call, argument, id=f"{name}-{argument}")
        for name, call in calls().items()
        for argument in call()[1]
    ]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "argument"), wrong_calls())
def test_a_wrong_argument_is_answered_by_our_own_error(call: Callable[[], Call], argument: str) -> None:
    function, right = call()
    for said, wrong in WRONG.items():
        try:
            function(**{**right, argument: wrong})
        except scaling.ScalingError as error:
            assert str(error), said
        except Exception as error:
            pytest.fail(f"{argument} = {said}: {type(error).__name__}: {error}")


def test_every_public_function_and_class_that_a_user_calls_is_among_them() -> None:
    """What is left out is returned by others, or takes nothing."""
    returned = {
        "Accelerator", "Allocation", "Audit", "Cluster", "Extrapolation", "Finding", "Law",
        "Plan", "Prediction", "ScalingError", "example_runs", "plots",
    }  # fmt: skip
    called = {name.split(".")[0] for name in calls()} - {
        "EnvelopeFit",
        "IsoflopFit",
        "LawFit",
        "ParametricFit",
    }
    assert {*scaling.__all__, *scaling.plots.__all__} - called == returned


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        (lambda: scaling.plan_training("1e21"), "flops must be a positive finite number, got '1e21'"),
        (lambda: scaling.plan_training(1e21, "besirogl"), "unknown law 'besirogl'; did you mean: besiroglu"),
        (lambda: scaling.plan_training(1e21, 3), "a law is a name as besiroglu, the path of a fit.json"),
        (lambda: scaling.plan_training(1e21, cluster="H100"), 'make_cluster("H100", count=8)'),
        (lambda: scaling.fit_parametric(pd.DataFrame({"x": [1]})), "Read the table first: load_runs"),
        (lambda: scaling.fit_parametric("runs.csv"), "Read the table first: load_runs"),
        (lambda: scaling.count_params("gpt2"), 'find_preset("gpt2")'),
        (
            lambda: scaling.fit_law(runs(), "chinchila"),
            "unknown law family 'chinchila'; did you mean: chinchilla",
        ),
        (lambda: scaling.render_html(scaling.plan_training(1e21)), "summary()"),
    ],
)
def test_a_usual_mistake_is_told_what_to_do(wrong: Callable[[], Any], answer: str) -> None:
    with pytest.raises(scaling.ScalingError) as caught:
        wrong()
    assert answer in str(caught.value)
