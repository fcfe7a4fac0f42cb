"""`scaling audit`: trained models against compute-optimal ones."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.completers import complete_law, complete_model
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.errors import PlanError, UnknownNameError, UsageError, of_option
from scaling.planning.audit import Audit, TrainedModel, audit_models, deck, from_published
from scaling.planning.audit_table import audit_findings, audits_frame, summarise_audits
from scaling.render.terminal import note, warn
from scaling.units import format_params, format_tokens, parse_params, parse_tokens

if TYPE_CHECKING:
    from scaling.laws.base import Law

OF_MODELS = ("--params", "--total-params", "--tokens", "--law")


@click.command(
    cls=Command, headings={"Models and law": OF_MODELS}, epilog="Example: scaling audit gpt-3 llama-3-8b"
)
@click.argument("models", nargs=-1, metavar="[MODEL|FILE.json|FOLDER]...", shell_complete=complete_model)
@click.option(
    "--params",
    metavar="PARAMS",
    help="Parameters of a model not in the table: 7B; the active ones of a mixture of experts.",
)
@click.option("--total-params", metavar="PARAMS", help="Of a mixture of experts: the parameters in all.")
@click.option("--tokens", metavar="TOKENS", help="Training tokens of that model, or of a file's: 2T.")
@click.option(
    "--law", default="besiroglu", show_default=True, metavar="LAW", shell_complete=complete_law,
    help="Published law or fit.json.",
)  # fmt: skip
@picture_options("the models over the line of the optimal size")
@output_options("models", "sources", "doubts")
def audit(
    models: tuple[str, ...],
    params: str | None,
    total_params: str | None,
    tokens: str | None,
    law: str,
    picture: Path | None,
    size: str,
    force: bool,
    output: Output,
) -> None:
    """Compare trained models with compute-optimal ones: over- or under-trained, and what it cost.

    MODEL is a name of the table (GPT-3, "Llama 3 8B"), or with --tokens a file or folder that `scaling count` reads,
    such as a Hugging Face config.json. Without any, the models of Hoffmann et al. 2022, table 1.
    N is what computes on each token: of a mixture of experts its active parameters.
    """
    from scaling.reference import resolve_law

    refuse_picture(picture, force)
    chosen = resolve_law(law)
    audits = audit_models(_models(models, params, total_params, tokens), chosen)
    if picture is not None:
        from scaling.planning.figures import audit_figure

        write_picture([audit_figure(audits)], picture, size)
    give(
        output,
        lambda: summarise_audits(audits, chosen, next_command=_next_command(audits, law)),
        lambda: _payload(audits, law, chosen),
        lambda: audits_frame(audits),
    )
    if not output.is_screen:
        for finding in audit_findings(audits, chosen):
            warn(finding.message)


def _payload(audits: Sequence[Audit], law: str, chosen: Law) -> dict[str, Any]:
    about = {
        "name": law,
        "family": chosen.family.name,
        "coefficients": chosen.coefficients,
        "source": chosen.provenance.source if chosen.provenance else "",
    }
    return {"law": about, "models": audits}


def _next_command(audits: Sequence[Audit], law: str) -> str:
    """What the compute of the model that wasted most of it should have trained."""
    most = max(audits, key=lambda audit: audit.flops * (audit.wasted_compute_fraction or 0.0))
    chosen = "" if law == "besiroglu" else f" --law {shlex.quote(law)}"
    return f"scaling plan --flops {most.flops:.4g}{chosen}"


def _models(
    names: tuple[str, ...], params: str | None, total_params: str | None, tokens: str | None
) -> tuple[TrainedModel, ...]:
    files = {name for name in names if _is_file(name)}
    if (params is None) != (tokens is None) and not (params is None and files):
        raise UsageError(
            "--params and --tokens describe one model together: give both, such as --params 7B --tokens 2T."
        )
    if total_params is not None and params is None:
        raise UsageError(
            "--total-params belongs to the active --params of a mixture of experts: give both, such as --params 13B "
            "--total-params 47B --tokens 2T."
        )
    n_tokens = None if tokens is None else of_option("--tokens", parse_tokens, tokens)
    models = [_from_file(name, n_tokens) if name in files else _from_table(name) for name in names]
    if params is not None and n_tokens is not None:
        n_params = of_option("--params", parse_params, params)
        n_total = None if total_params is None else of_option("--total-params", parse_params, total_params)
        active = "" if n_total is None else " active"
        label = f"{format_params(n_params)}{active} on {format_tokens(n_tokens)}"
        models.append(TrainedModel(name=label, n_params=n_params, n_params_total=n_total, n_tokens=n_tokens))
    return tuple(models) or deck()


def _is_file(name: str) -> bool:
    """Whether it is a file of an architecture; a name of the table is one, whatever lies in the folder."""
    if name.lower().endswith(".json"):
        return True
    try:
        _from_table(name)
    except UnknownNameError:
        return Path(name).exists()
    except PlanError:  # known, with tokens that are not published
        pass
    return False


def _from_table(name: str) -> TrainedModel:
    from scaling.reference import find_model

    return from_published(find_model(name))


def _from_file(name: str, n_tokens: float | None) -> TrainedModel:
    """The model of a config.json or another file of an architecture: N is what a token passes."""
    from scaling.accounting import count_params
    from scaling.architecture import describe_architecture

    if n_tokens is None:
        raise UsageError(
            f"{name} says how large a model is, not on how many tokens it was trained: add --tokens 2T, if it was 2T."
        )
    architecture, notes = describe_architecture(name)
    for text in notes:
        note(f"{text}.")
    counts, path = count_params(architecture), Path(name).resolve()
    return TrainedModel(
        name=path.parent.name if path.name in ("config.json", "architecture.json") else path.name,
        n_params=counts.active,
        n_params_total=counts.total if counts.idle else None,
        n_params_non_embedding=counts.active_non_embedding,
        n_tokens=n_tokens,
        kind=architecture.kind,
    )
