"""`scaling demo`: the whole path, runs to law to plan, on runs whose true law is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Blocks, Code, Fields, Section, Table, Text, next_step
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.progress import waiting_for
from scaling.render.terminal import say, show_json
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_tokens, round_by_error

if TYPE_CHECKING:
    from pandas import DataFrame

    from scaling.fitting.results import Estimate
    from scaling.fitting.surface.result import ParametricFit

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
@output_options("coefficients")
def demo(path: Path | None, force: bool, output: Output) -> None:
    """Fit and plan on example runs. They are generated from a planted law with noise, not trained."""
    from scaling.cli.tables import write_file
    from scaling.reference.example import example_runs_text

    if path is not None:
        write_file(path, example_runs_text(), force)
        if output.as_json:
            show_json({"kind": "demo", "path": path})
        else:
            say(tr("wrote {path}: example runs from a planted law. Next: scaling fit {path}", path=path))
        return
    with waiting_for(tr("fitting the example runs")):
        fits = _fit_all()
    give(output, fits.summary, fits.to_dict, fits.to_frame)


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

    def to_frame(self) -> DataFrame:
        """A row a quantity: fitted value, ends of its interval, the truth."""
        import pandas as pd

        told = self.to_dict()
        groups = ("coefficients", "params_exponent")
        plan = {name: told["plan"][name] for name in ("n_params", "n_tokens", "loss")}
        found = {f"{group} {name}": e for group in groups for name, e in told[group].items()}
        found |= {f"plan {name}": e for name, e in plan.items()}
        rows = [
            {
                "quantity": name,
                "value": e["value"],
                **{end: e["interval"][end] if e["interval"] else None for end in ("low", "high")},
                "truth": e["truth"],
            }
            for name, e in found.items()
        ]
        return pd.DataFrame(rows)

    def summary(self) -> Blocks:
        """What was planted, what three ways of fitting find of it, and the plan, beside the truth."""
        from scaling.fitting.digits import rounded
        from scaling.reference.example import NOISE_SD, PLANTED_LAW

        truth = PLANTED_LAW
        planted = tr(
            "{demo.n_runs} example runs, generated (not trained) from a known law with {percent:g} % noise; "
            "what is found as if it were unknown:",
            demo=self,
            percent=100 * NOISE_SD,
        )
        c = {name: rounded(e) for name, e in self.surface.estimates.items()}
        laws = [
            (tr("planted"), f"L = {truth.E} + {truth.A:g} / N^{truth.alpha} + {truth.B:g} / D^{truth.beta}"),
            (tr("fitted"), f"L = {c['E']} + {c['A']} / N^{c['alpha']} + {c['B']} / D^{c['beta']}"),
        ]
        names = {
            "envelope": tr("training curves (Approach 1)"),
            "isoflop": tr("equal-compute valleys (2)"),
            "parametric": tr("one surface (3)"),
        }
        exponents = [_row(names[m], e, truth.params_exponent) for m, e in self.exponents.items()]
        target = format_flops(TARGET_FLOPS)
        first = "scaling demo --write runs.csv && scaling fit runs.csv -o fit.json"
        interval = tr("95 %")
        return (
            Text(planted),
            Fields(laws),
            Text(""),
            Table((tr("N* grows as C^a"), "a", interval, tr("truth"), ""), exponents),
            Text(""),
            Table(
                (tr("{flops} FLOPs, 30 times beyond", flops=target), tr("plan"), interval, tr("truth"), ""),
                _plan(self.surface),
            ),
            Section("coefficients", tr("The law (Approach 3), beside the truth"), self._coefficients),
            *next_step(first),
            Code(f"scaling plan --flops {target} --law fit.json", indent=6),
        )

    def _coefficients(self) -> Blocks:
        from scaling.reference.example import PLANTED_LAW

        rows = [_row(name, e, getattr(PLANTED_LAW, name)) for name, e in self.surface.estimates.items()]
        return (Table(("", tr("fitted"), tr("95 % interval"), tr("truth"), ""), rows),)


def _fit_all() -> Demo:
    from scaling.fitting.envelope.fit import fit_envelope
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.surface.fit import fit_parametric
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


def _plan(surface: ParametricFit) -> list[tuple[str, str, str, str, str]]:
    from scaling.fitting.digits import span
    from scaling.reference.example import PLANTED_LAW

    best = PLANTED_LAW.allocate(TARGET_FLOPS)
    forms: dict[str, tuple[str, Callable[[float], str]]] = {
        "n_params": (tr("parameters"), format_params),
        "n_tokens": (tr("tokens"), format_tokens),
        "loss": (tr("loss"), "{:.4f}".format),
    }
    rows = []
    for name, (label, form) in forms.items():
        estimate, truth = surface.estimate(name, flops=TARGET_FLOPS), getattr(best, name)
        told = tr("inside") if estimate.interval and estimate.interval.contains(truth) else tr("outside")
        rows.append((label, form(estimate.value), span(estimate.interval, form), form(truth), told))
    return rows


def _row(name: str, estimate: Estimate, truth: float) -> tuple[str, str, str, str, str]:
    interval = estimate.interval
    if interval is None:
        return name, f"{estimate.value:.4g}", tr("none"), f"{truth:g}", ""
    numbers = (estimate.value, interval.low, interval.high)
    value, low, high = (round_by_error(number, interval.half_width / 2) for number in numbers)
    verdict = tr("inside") if interval.contains(truth) else tr("outside")
    return name, value, tr("{low} to {high}", low=low, high=high), f"{truth:.4g}", verdict
