"""Rebuild the reports of this folder: python reports/build.py [NAME ...] [--output FOLDER]

Each is built by the commands that its README names, in a folder of its own; what differs from machine to machine
(versions, host, commit) is left out, so that a report changes only where its runs, its numbers or its words do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from scaling.blocks import Block, Figure, Heading, Section, Table, Text
from scaling.files import write_text
from scaling.laws.base import Law
from scaling.laws.io import load_law
from scaling.planning.audit import Audit, TrainedModel, audit_models, from_published
from scaling.planning.audit_table import summarise_audits
from scaling.planning.figures import audit_figure
from scaling.plots import figure_svg
from scaling.reference import find_law, find_model
from scaling.render.markdown import render_markdown
from scaling.report import load_catalogue
from scaling.report.write import compact_svg
from scaling.runs.public_tables import cache_folder
from scaling.translation import tr, translated
from scaling.units import format_params, format_tokens

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TABLE = "epoch-chinchilla"
LAW = "besiroglu"
OUTLIERS = "epoch_outlier"  # a column of the table: true of the five runs of highest loss
# of the models that papers name, a few of each kind: those of Hoffmann et al. 2022 and what came after them
MODELS = (
    "GPT-3", "Gopher", "MT-NLG", "Jurassic-1", "LaMDA", "Chinchilla", "PaLM", "Llama 65B", "Llama 2 70B",
    "Llama 3 8B", "Llama 3.1 405B", "DeepSeek-V3", "Pythia 12B",
)  # fmt: skip
OF_A_MACHINE = re.compile(r"- \*\*(git commit|git remote|versions|machine|written)\*\*: ")


def build_chinchilla(folder: Path) -> None:
    """Fetch the digitised runs of Hoffmann et al. 2022, figure 4, and report on Chinchilla's budget.

    Besiroglu et al. 2024 leave out the five runs of highest loss, which the table marks; so does the report, and a
    table says what all runs give. The source of the table states no licence: its rows, and figures' tables with a row
    a run, stay out of the folder.
    """
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        _scaling(here, "data", "get", TABLE, "-o", f"{TABLE}.csv")
        _scaling(here, "report", f"{TABLE}.csv", "--drop", OUTLIERS, "--target", "5.76e23", "-o", "chinchilla",
                 "--no-run-data", "--anonymous", "--format", "md")  # fmt: skip
        _keep(here / "chinchilla", folder)
        _scaling(here, "fit", f"{TABLE}.csv", "--drop", OUTLIERS, "-o", "kept.json")
        _scaling(here, "fit", f"{TABLE}.csv", "-o", "all.json")
        _scaling(
            here, "fit", f"{TABLE}.csv", "--drop", OUTLIERS, "--huber-delta", "1e-3", "-o", "theirs.json"
        )
        beside = _beside_the_papers(
            {name: load_law(here / f"{name}.json") for name in ("theirs", "kept", "all")}
        )
    text = (folder / "report.md").read_text(encoding="utf-8")
    write_text(folder / "report.md", f"{text.rstrip()}\n\n{render_markdown(beside)}")


def _beside_the_papers(ours: dict[str, Law]) -> Iterable[Block]:
    """The coefficients of both papers and of ours, and what each says of Chinchilla's budget."""
    laws = {
        "Hoffmann et al. 2022, TeX source": find_law("hoffmann"),
        "Besiroglu et al. 2024, 240 runs": find_law("besiroglu"),
        "ours, the same 240 runs, their threshold of 0.001": ours["theirs"],
        "ours, the same 240 runs, threshold 1.345 robust deviations": ours["kept"],
        "ours, all 245 runs, threshold 1.345 robust deviations": ours["all"],
    }
    rows = []
    for name, law in laws.items():
        best, c = law.allocate(5.76e23), law.coefficients
        a = c["beta"] / (c["alpha"] + c["beta"])
        rows.append([name, *(f"{c[n]:.4g}" for n in ("E", "A", "B", "alpha", "beta")), f"{a:.3f}",
                     format_params(best.n_params), format_tokens(best.n_tokens)])  # fmt: skip
    headers = ["", "E", "A", "B", "alpha", "beta", "a of N*", "N* at 5.76e23", "D*"]
    return (Heading("Beside the papers", 2), Table(headers, rows))


def build_quickstart(folder: Path) -> None:
    """Report on the recorded sweep of the quick start."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        sweep = here / "sweeps" / "quickstart"
        sweep.mkdir(parents=True)
        for file in ("sweep.toml", "runs.csv"):
            shutil.copy(ROOT / "sweeps" / "quickstart" / file, sweep)
        _scaling(here, "report", "sweeps/quickstart", "-o", "quickstart", "--anonymous", "--format", "md")
        _keep(here / "quickstart", folder)


def build_audit(folder: Path) -> None:
    """Audit published models, in Spanish: what `scaling audit` says of them, its figure first."""
    with translated(load_catalogue("es")):
        audits = audit_models(_models(), LAW)
        figure = audit_figure(audits)
        said = _audit_blocks(audits, figure)
        write_text(folder / "report.md", render_markdown(said, figures=lambda _: "figures/audit.svg"))
        write_text(folder / "figures" / "audit.svg", compact_svg(figure_svg(figure)) + "\n")
    write_text(folder / "audit.json", _as_json([a.to_dict() for a in audits]))


def _models() -> list[TrainedModel]:
    return [from_published(find_model(name)) for name in MODELS]


def _audit_blocks(audits: Sequence[Audit], figure: Figure) -> Iterable[Block]:
    summary = summarise_audits(audits, find_law(LAW))
    lead = next(i for i, block in enumerate(summary) if isinstance(block, Section))
    return (
        Heading("¿Se entrenaron los modelos publicados según su cómputo?", 1),
        Text(tr("By the law {name}.", name=LAW), "faint"),
        *summary[:lead],
        figure,
        *summary[lead:],
    )


REPORTS: dict[str, Callable[[Path], None]] = {
    "chinchilla": build_chinchilla,
    "quickstart": build_quickstart,
    "auditoria": build_audit,
}


def _scaling(here: Path, *words: str) -> None:
    cache = str(cache_folder(ROOT, os.environ))
    environment = {**os.environ, "SCALING_CACHE": cache, "COLUMNS": "100"}
    environment.pop("SOURCE_DATE_EPOCH", None)
    done = subprocess.run([sys.executable, "-m", "scaling", *words], cwd=here, env=environment)
    if done.returncode:
        raise SystemExit(f"scaling {' '.join(words)} ended with {done.returncode}: see above.")


def _keep(written: Path, folder: Path) -> None:
    """The text, the drawings and the coefficients of a report that was written."""
    lines = (written / "report.md").read_text(encoding="utf-8").splitlines(keepends=True)
    write_text(folder / "report.md", "".join(line for line in lines if not OF_A_MACHINE.match(line)))
    for drawing in sorted((written / "figures").glob("*.svg")):
        write_text(folder / "figures" / drawing.name, drawing.read_text(encoding="utf-8"))
    told = json.loads((written / "report.json").read_text(encoding="utf-8"))
    write_text(folder / "coefficients.json", _as_json(_coefficients(told)))


def _coefficients(told: dict[str, Any]) -> dict[str, Any]:
    """Of report.json what was fitted and planned; no run, and no draw."""
    named = (
        "method",
        "n_runs",
        "coefficients",
        "standard_errors",
        "intervals",
        "params_exponent",
        "tokens_exponent",
    )
    fits = {m: {k: v for k, v in fit.items() if k in named} for m, fit in told["approaches"].items()}
    planned = ("flops", "n_params", "n_tokens", "loss", "intervals")
    return {
        "target_flops": told["target_flops"],
        "inputs": told["reproduction"]["inputs"],
        "approaches": fits,
        "plan": {k: v for k, v in (told["plan"] or {}).items() if k in planned},
    }


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def main() -> None:
    about = argparse.ArgumentParser(description="Rebuild the reports of this folder.")
    about.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REPORTS)}  [default: all]")
    about.add_argument("--output", type=Path, default=HERE, help="folder to write to  [default: this one]")
    asked = about.parse_args()
    if unknown := [name for name in asked.names if name not in REPORTS]:
        about.error(f"{unknown[0]} is no report: {', '.join(REPORTS)}")
    for name in asked.names or REPORTS:
        with tempfile.TemporaryDirectory() as made_in:  # what is there stays until the new one is whole
            made = Path(made_in) / name
            (made / "figures").mkdir(parents=True)
            REPORTS[name](made)
            shutil.rmtree(asked.output / name, ignore_errors=True)
            shutil.copytree(made, asked.output / name)


if __name__ == "__main__":
    main()
