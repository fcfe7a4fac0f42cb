"""`scaling demo`: the whole path, runs to law to plan, on runs whose true law is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import heading, paragraph, print_fields, print_json, print_table
from scaling.units import format_flops, format_params, format_tokens, round_by_error

if TYPE_CHECKING:
    from scaling.fitting.parametric.result import ParametricFit
    from scaling.fitting.results import Estimate

TARGET_FLOPS = 1e22  # about 30 times the largest example run


@click.command(epilog="Example: scaling demo --write runs.csv && scaling fit runs.csv")
@click.option(
    "--write", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write the example runs as CSV."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print the fits beside the truth as JSON.")
def demo(path: Path | None, force: bool, as_json: bool) -> None:
    """Fit and plan on example runs. They are generated from a planted law with noise, not trained."""
    from scaling.cli.tables import write_file
    from scaling.reference.example import example_runs_text

    if path is not None:
        write_file(path, example_runs_text(), force)
        if as_json:
            print_json({"kind": "demo", "path": str(path)})
        else:
            click.echo(f"wrote {path}: example runs from a planted law. Next: scaling fit {path}")
        return
    found = _fit_all()
    print_json(_as_dict(found)) if as_json else _print(found)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Approach 3 on the example runs, and the exponent of N* by all three approaches."""

    n_runs: int
    surface: ParametricFit
    exponents: dict[str, Estimate]  # by method


def _fit_all() -> Demo:
    from scaling.fitting.envelope.fit import fit_envelope
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.parametric.fit import fit_parametric
    from scaling.reference.example import example_curves, example_runs
    from scaling.runs import Runs

    runs = example_runs()
    surface = fit_parametric(runs)
    exponents = {
        "envelope": fit_envelope(Runs.from_arrays(**example_curves())).params_exponent,
        "isoflop": fit_isoflop(runs).params_exponent,
        "parametric": surface.params_exponent,
    }
    return Demo(n_runs=len(runs), surface=surface, exponents=exponents)


def _as_dict(found: Demo) -> dict[str, Any]:
    from scaling.reference.example import NOISE_SD, PLANTED_LAW

    best = PLANTED_LAW.allocate(TARGET_FLOPS)
    at = {q: found.surface.estimate(q, flops=TARGET_FLOPS) for q in ("n_params", "n_tokens", "loss")}
    return {
        "kind": "demo",
        "n_runs": found.n_runs,
        "noise_sd_ln": NOISE_SD,
        "coefficients": {
            name: _beside(e, getattr(PLANTED_LAW, name)) for name, e in found.surface.estimates.items()
        },
        "params_exponent": {
            method: _beside(e, PLANTED_LAW.params_exponent) for method, e in found.exponents.items()
        },
        "plan": {"flops": TARGET_FLOPS} | {q: _beside(e, getattr(best, q)) for q, e in at.items()},
    }


def _beside(estimate: Estimate, truth: float) -> dict[str, Any]:
    inside = None if estimate.interval is None else estimate.interval.contains(truth)
    return {**estimate.to_dict(), "truth": truth, "inside": inside}


def _print(found: Demo) -> None:
    from scaling.reference.example import NOISE_SD, PLANTED_LAW

    truth, surface = PLANTED_LAW, found.surface
    paragraph(
        f"{found.n_runs} example runs, generated (not trained) from L = {truth.E} + {truth.A:g} / N^{truth.alpha} + "
        f"{truth.B:g} / D^{truth.beta} with {100 * NOISE_SD:g} % noise. Everything below is fitted "
        "as if that were unknown."
    )
    heading("the law (Approach 3), beside the truth")
    rows = [_row(name, estimate, getattr(truth, name)) for name, estimate in surface.estimates.items()]
    print_table(["", "fitted", "95 % interval", "truth", ""], rows)
    heading("the exponent of N*, three ways")
    names = {
        "envelope": "Approach 1: envelope of training curves",
        "isoflop": "Approach 2: IsoFLOP valleys",
        "parametric": "Approach 3: the surface",
    }
    rows = [_row(names[m], e, truth.params_exponent) for m, e in found.exponents.items()]
    print_table(["", "a", "95 % interval", "truth", ""], rows)
    _plan(surface)
    click.echo()
    click.echo("next  scaling demo --write runs.csv && scaling fit runs.csv -o fit.json")
    click.echo(f"      scaling plan --flops {format_flops(TARGET_FLOPS)} --law fit.json")


def _plan(surface: ParametricFit) -> None:
    from scaling.reference.example import PLANTED_LAW

    best = PLANTED_LAW.allocate(TARGET_FLOPS)
    heading(f"the plan for {format_flops(TARGET_FLOPS)} FLOPs, 30 times the largest run")
    fields = []
    assert best.loss is not None  # a law of the loss, not a frontier
    for name, true, show in (
        ("n_params", best.n_params, format_params),
        ("n_tokens", best.n_tokens, format_tokens),
        ("loss", best.loss, lambda x: f"{x:.4f}"),
    ):
        estimate = surface.estimate(name, flops=TARGET_FLOPS)
        assert estimate.interval is not None
        low, high = show(estimate.interval.low), show(estimate.interval.high)
        fields.append((name, f"{show(estimate.value)} (95 %: {low} to {high}); truth {show(true)}"))
    print_fields(fields)


def _row(name: str, estimate: Estimate, truth: float) -> tuple[str, str, str, str, str]:
    interval = estimate.interval
    if interval is None:
        return name, f"{estimate.value:.4g}", "none", f"{truth:g}", ""
    error = interval.half_width / 2
    ends = f"{round_by_error(interval.low, error)} to {round_by_error(interval.high, error)}"
    verdict = "inside" if interval.contains(truth) else "outside"
    return name, round_by_error(estimate.value, error), ends, f"{truth:.4g}", verdict
