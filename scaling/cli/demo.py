"""`scaling demo`: the whole path, runs to law to plan, on runs whose true law is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling.cli.output import heading, paragraph, print_fields, print_table
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
def demo(path: Path | None, force: bool) -> None:
    """Fit and plan on example runs. They are generated from a planted law with noise, not trained."""
    from scaling.cli.tables import write_file
    from scaling.reference.example import example_runs_text

    if path is not None:
        write_file(path, example_runs_text(), force)
        click.echo(f"wrote {path}: example runs from a planted law. Next: scaling fit {path}")
        return
    _run()


def _run() -> None:
    from scaling.fitting.envelope.fit import fit_envelope
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.parametric.fit import fit_parametric
    from scaling.reference.example import NOISE_SD, PLANTED_LAW, example_curves, example_runs
    from scaling.runs import Runs

    truth = PLANTED_LAW
    runs = example_runs()
    paragraph(
        f"{len(runs)} example runs, generated (not trained) from L = {truth.E} + {truth.A:g} / N^{truth.alpha} + "
        f"{truth.B:g} / D^{truth.beta} with {100 * NOISE_SD:g} % noise. Everything below is fitted "
        "as if that were unknown."
    )
    surface = fit_parametric(runs)
    heading("the law (Approach 3), beside the truth")
    rows = [_row(name, estimate, getattr(truth, name)) for name, estimate in surface.estimates.items()]
    print_table(["", "fitted", "95 % interval", "truth", ""], rows)
    heading("the exponent of N*, three ways")
    curves = fit_envelope(Runs.from_arrays(**example_curves()))
    ways = [
        ("Approach 1: envelope of training curves", curves.params_exponent),
        ("Approach 2: IsoFLOP valleys", fit_isoflop(runs).params_exponent),
        ("Approach 3: the surface", surface.params_exponent),
    ]
    print_table(["", "a", "95 % interval", "truth", ""], [_row(n, e, truth.params_exponent) for n, e in ways])
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
