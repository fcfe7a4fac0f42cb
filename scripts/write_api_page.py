"""Write docs/api.md: every public name with its signature and what its docstring says.

Run it after a change of a public name, signature or docstring: python scripts/write_api_page.py
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"

SUBJECTS = {
    "Runs": ("load_runs", "Runs", "check_runs", "example_runs", "Finding"),
    "Laws": (
        "find_law", "published_laws", "load_law", "write_law", "Law", "ChinchillaLaw", "FrontierLaw", "Allocation",
    ),
    "Fits": (
        "fit_parametric", "fit_isoflop", "fit_envelope", "fit_law", "fit_power_law", "bootstrap", "predict_runs",
        "evaluate_extrapolation", "compare_laws", "diagnose_fit", "Fit", "Estimate", "Interval", "Prediction",
        "Extrapolation", "LawComparison",
    ),
    "Plans": (
        "plan_training", "allocate_compute", "audit_model", "choose_architecture", "Budget", "Constraints",
        "make_cluster", "Cluster", "calibrate_utilisation", "read_own_runs", "OwnRun", "Calibration",
        "find_accelerator", "Accelerator", "TrainedModel", "Plan", "Audit",
    ),
    "What a model costs": (
        "Architecture", "find_preset", "count_params", "count_flops", "flops_per_token", "estimate_memory",
    ),
    "Sweeps": ("load_sweep", "plan_sweep", "run_sweep", "load_store_runs"),
    "Text and errors": ("render_terminal", "render_markdown", "render_html", "ScalingError"),
}  # fmt: skip
PACKAGES = ("lm", "laws", "reference", "accounting", "architecture", "runs", "fitting", "planning", "sweep")

HEAD = """# Python API

Everything below loads on first use: `import scaling` takes a few hundredths of a second and imports no NumPy. Types
are complete (`py.typed`): an editor completes the names, and mypy and pyright check them.

A **law** is taken in whatever form you have it: a published name (`"besiroglu"`; `scaling laws list` shows all), the
path of a `fit.json`, a fit, or a law. Every **result** (fits and power laws, predictions, checks, plans, audits,
designs of sweeps, tables of runs) shows itself at a prompt (`repr`) and in a notebook, and has `summary()` (blocks for
[any renderer](results.md)), `to_frame()` (a pandas DataFrame, unrounded) and `records()` (the same rows as
dictionaries). Fits, power laws, predictions, checks, plans and audits have `to_dict()` ([JSON](json.md)). `plot()`
draws the first figure of a summary: of fits, plans, checks; the others say that they have none. Named tuples
(`Allocation`, `Shape`, counts of parameters and of memory, `Cluster`, `Accelerator`) are read by their fields. What is
wrong with an argument is a `ScalingError` that says what, where, and what to do.

This page is written by `scripts/write_api_page.py` from the docstrings.
"""


def page() -> str:
    """The whole page."""
    import scaling

    parts = [HEAD]
    for subject, names in SUBJECTS.items():
        parts.append(f"## {subject}\n")
        parts += [_entry(name, getattr(scaling, name)) for name in names]
    parts.append("## scaling.plots\n\n" + _prose(scaling.plots) + "\n")
    parts += [_entry(f"plots.{name}", getattr(scaling.plots, name)) for name in scaling.plots.__all__]
    parts.append("## Packages\n\nTo import by name: `from scaling.lm import train`.\n")
    parts += [_package(f"scaling.{name}") for name in PACKAGES]
    return "\n".join(parts)


def _entry(name: str, value: Any) -> str:
    text = f"{_signature(name.rpartition('.')[2], value)}\n\n{inspect.getdoc(value)}"
    return f"### {name}\n\n```text\n{text}\n```\n"


def _signature(name: str, value: Any) -> str:
    """On one line where that is short, else a line an argument."""
    built_in = isinstance(value, type) and issubclass(value, Exception)
    if built_in or getattr(value, "_is_protocol", False):
        return name
    signature = inspect.signature(value)
    shown = re.sub(
        r"(: |-> )(?:'([^']*)'|\"([^\"]*)\")", r"\1\2\3", str(signature)
    )  # annotations are kept as texts
    short = name + (shown.removesuffix(" -> None") if isinstance(value, type) else shown)
    if len(short) <= 100 or not signature.parameters:
        return short
    arguments, returned = short.removeprefix(f"{name}(").rsplit(")", 1)
    listed = textwrap.indent(",".join(_split(arguments)), "    ")
    return f"{name}(\n{listed}\n){returned}"


def _split(arguments: str) -> list[str]:
    """At the commas that no bracket holds."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("\n")
        else:
            parts[-1] += letter if parts[-1] != "\n" or letter != " " else ""
    return parts


def _prose(module: ModuleType) -> str:
    return inspect.cleandoc(module.__doc__ or "")


def _package(name: str) -> str:
    module = importlib.import_module(name)
    names = ", ".join(f"`{public}`" for public in sorted(module.__all__))
    wrapped = textwrap.fill(names, 118, break_long_words=False, break_on_hyphens=False)
    return f"### {name}\n\n{_prose(module).splitlines()[0]}\n\n{wrapped}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
