"""`scaling demo`: the whole path, runs to law to plan, on runs whose true law is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Blocks, Code, Fields, Heading, Table, Text
from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.render.terminal import say, show, show_json
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_tokens, round_by_error

if TYPE_CHECKING:
    from scaling.fitting.parametric.result import ParametricFit
    from scaling.fitting.results import Estimate

TARGET_FLOPS = 1e22  # about 30 times the largest example run


@click.command(cls=Command, epilog="Example: scaling demo --write runs.csv && scaling fit runs.csv")
@click.option(
    "--write",
    "path",
    metavar="FILE.csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the example runs as CSV.",
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
            show_json({"kind": "demo", "path": path})
        else:
            say(tr("wrote {path}: example runs from a planted law. Next: scaling fit {path}", path=path))
        return
    with waiting_for(tr("fitting the example runs")):
        fits = _fit_all()
    show_json(fits.to_dict()) if as_json else show(*fits.summary())


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Approach 3 on the example runs, and the exponent of N* by all three approaches."""

    n_runs: int
    surface: ParametricFit
    exponents: dict[str, Estimate]  # by method

    def to_dict(self) -> dict[str, Any]:
        from scaling.reference.example import NOISE_SD, PLANTED_LAW

        best = PLANTED_LAW.allocate(TARGET_FLOPS)
        at = {q: self.surface.estimate(q, flops=TARGET_FLOPS) for q in ("n_params", "n_tokens", "loss")}
        fitted, a = self.surface.estimates, PLANTED_LAW.params_exponent
        return {
            "kind": "demo",
            "n_runs": self.n_runs,
            "noise_sd_ln": NOISE_SD,
            "coefficients": {name: _beside(e, getattr(PLANTED_LAW, name)) for name, e in fitted.items()},
            "params_exponent": {method: _beside(e, a) for method, e in self.exponents.items()},
            "plan": {"flops": TARGET_FLOPS} | {q: _beside(e, getattr(best, q)) for q, e in at.items()},
        }

    def summary(self) -> Blocks:
        """The fitted law and its plan, each number beside the planted one."""
        from scaling.reference.example import NOISE_SD, PLANTED_LAW

        truth = PLANTED_LAW
        planted = tr(
            "{demo.n_runs} example runs, generated (not trained) from L = {law.E} + {law.A:g} / N^{law.alpha} + "
            "{law.B:g} / D^{law.beta} with {percent:g} % noise. Everything below is fitted as if that were unknown.",
            demo=self,
            law=truth,
            percent=100 * NOISE_SD,
        )
        names = {
            "envelope": tr("Approach 1: envelope of training curves"),
            "isoflop": tr("Approach 2: IsoFLOP valleys"),
            "parametric": tr("Approach 3: the surface"),
        }
        interval = tr("95 % interval")
        coefficients = [_row(name, e, getattr(truth, name)) for name, e in self.surface.estimates.items()]
        exponents = [_row(names[m], e, truth.params_exponent) for m, e in self.exponents.items()]
        target = format_flops(TARGET_FLOPS)
        first = "scaling demo --write runs.csv && scaling fit runs.csv -o fit.json"
        return (
            Text(planted),
            Heading(tr("the law (Approach 3), beside the truth")),
            Table(("", tr("fitted"), interval, tr("truth"), ""), coefficients),
            Heading(tr("the exponent of N*, three ways")),
            Table(("", "a", interval, tr("truth"), ""), exponents),
            Heading(tr("the plan for {flops} FLOPs, 30 times the largest run", flops=target)),
            Fields(_plan(self.surface)),
            Text(""),
            Code(first, label=tr("next"), indent=2),
            Code(f"scaling plan --flops {target} --law fit.json", indent=6),
        )


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


def _beside(estimate: Estimate, truth: float) -> dict[str, Any]:
    inside = None if estimate.interval is None else estimate.interval.contains(truth)
    return {**estimate.to_dict(), "truth": truth, "inside": inside}


def _plan(surface: ParametricFit) -> list[tuple[str, str]]:
    from scaling.reference.example import PLANTED_LAW

    best = PLANTED_LAW.allocate(TARGET_FLOPS)
    fields = []
    for name, form in {"n_params": format_params, "n_tokens": format_tokens, "loss": "{:.4f}".format}.items():
        estimate = surface.estimate(name, flops=TARGET_FLOPS)
        assert estimate.interval is not None
        ends = estimate.interval
        value, low, high, truth = map(form, (estimate.value, ends.low, ends.high, getattr(best, name)))
        text = tr(
            "{value} (95 %: {low} to {high}); truth {truth}", value=value, low=low, high=high, truth=truth
        )
        fields.append((name, text))
    return fields


def _row(name: str, estimate: Estimate, truth: float) -> tuple[str, str, str, str, str]:
    interval = estimate.interval
    if interval is None:
        return name, f"{estimate.value:.4g}", tr("none"), f"{truth:g}", ""
    numbers = (estimate.value, interval.low, interval.high)
    value, low, high = (round_by_error(number, interval.half_width / 2) for number in numbers)
    verdict = tr("inside") if interval.contains(truth) else tr("outside")
    return name, value, tr("{low} to {high}", low=low, high=high), f"{truth:.4g}", verdict
