"""`scaling audit`: trained models against compute-optimal ones."""

from __future__ import annotations

from pathlib import Path

import click

from scaling.cli.output import heading, note, paragraph, print_fields, print_json, print_table, warn
from scaling.errors import PlanError, UnknownNameError, UsageError
from scaling.laws.base import Law
from scaling.planning.audit import (
    RULE_OF_THUMB,
    Audit,
    TrainedModel,
    audit_models,
    audit_to_dict,
    deck,
    describe_reading,
    from_published,
)
from scaling.units import (
    format_flops,
    format_interval,
    format_params,
    format_percent,
    format_tokens,
    parse_params,
    parse_tokens,
)

DETAILED = 2  # up to this many models each get their own paragraph
LONGEST_NAME = 14  # keeps the table within 100 columns


@click.command(epilog="Example: scaling audit gpt-3 llama-3-8b")
@click.argument("models", nargs=-1, metavar="[MODEL|FILE.json|FOLDER]...")
@click.option(
    "--params",
    metavar="N",
    help="Parameters of a model not in the table: 7B; the active ones of a mixture of experts.",
)
@click.option("--total-params", metavar="N", help="Of a mixture of experts: the parameters in all.")
@click.option("--tokens", metavar="D", help="Training tokens of that model, or of a file's: 2T.")
@click.option("--law", default="besiroglu", show_default=True, help="Published law or fit.json.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, unrounded.")
def audit(
    models: tuple[str, ...],
    params: str | None,
    total_params: str | None,
    tokens: str | None,
    law: str,
    as_json: bool,
) -> None:
    """Compare trained models with compute-optimal ones: over- or under-trained, and what it cost.

    MODEL is a name of the table (GPT-3, "Llama 3 8B"), or with --tokens a file or folder that `scaling count` reads,
    such as a Hugging Face config.json. Without any, the models of Hoffmann et al. 2022, table 1.
    N is what computes on each token: of a mixture of experts its active parameters.
    """
    from scaling.reference import resolve_law

    chosen = resolve_law(law)
    audits = audit_models(_models(models, params, total_params, tokens), chosen)
    if as_json:
        source = chosen.provenance.source if chosen.provenance else ""
        about = {
            "name": law,
            "family": chosen.family.name,
            "coefficients": chosen.coefficients,
            "source": source,
        }
        print_json({"law": about, "models": [audit_to_dict(a) for a in audits]})
        return
    _print_table(audits)
    if len(audits) <= DETAILED:
        for one in audits:
            _print_details(one, chosen)
    _print_assumptions(audits, chosen, law)


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
    n_tokens = None if tokens is None else parse_tokens(tokens)
    models = [_from_file(name, n_tokens) if name in files else _from_table(name) for name in names]
    if params is not None and n_tokens is not None:
        n_params = parse_params(params)
        n_total = None if total_params is None else parse_params(total_params)
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


def _print_table(audits: tuple[Audit, ...]) -> None:
    print_table(
        [
            "model",
            "params",
            "tokens",
            "C",
            "D/N",
            "law N*",
            "law D*",
            f"{RULE_OF_THUMB} N",
            "trained",
            "wasted",
            "loss +",
        ],
        [
            [
                _shortened(a.model.name),
                format_params(a.n_params),
                format_tokens(a.model.n_tokens),
                format_flops(a.flops),
                _number(a.tokens_per_param),
                format_params(a.optimum.n_params),
                format_tokens(a.optimum.n_tokens),
                format_params(a.rule_of_thumb.n_params),
                _trained(a) + ("?" if _is_open(a) else ""),
                _percent(a.wasted_compute_fraction),
                "-" if a.excess_loss is None else f"{a.excess_loss:.3f}",
            ]
            for a in audits
        ],
    )


def _print_details(a: Audit, law: Law) -> None:
    heading(a.model.name)
    optimum = f"{format_params(a.optimum.n_params)} on {format_tokens(a.optimum.n_tokens)} tokens"
    if a.n_params_interval is not None and law.uncertainty is not None:
        optimum += f" (params {format_interval(*a.n_params_interval, format_params, law.uncertainty.level)})"
    fields = [("verdict", _sentence(a))]
    if a.model.n_params_total is not None:
        held = f"{format_params(a.model.n_params_total)} in all, which memory holds and the law does not know"
        fields.append(("N", f"{format_params(a.n_params)} active parameters a token, of {held}"))
    fields += [
        *_other_verdicts(a),
        ("same compute", f"{optimum}, {a.optimum.n_tokens / a.optimum.n_params:.3g} tokens per parameter"),
    ]
    if a.loss is not None and a.excess_loss is not None:
        best = a.loss - a.excess_loss
        fields.append(
            (
                "loss left",
                f"{a.excess_loss:.3f} nats/token: {a.loss:.3f} predicted, {best:.3f} at the optimum",
            )
        )
    if a.cheapest_flops is not None and a.wasted_compute_fraction is not None:
        aim = ", unless it is repaid by cheap inference" if a.verdict == "over-trained" else ""
        share = _percent(a.wasted_compute_fraction)
        fields.append(
            (
                "same loss",
                f"{format_flops(a.cheapest_flops)} FLOPs would do: {share} of the compute is wasted{aim}",
            )
        )
    print_fields(fields)


def _other_verdicts(a: Audit) -> list[tuple[str, str]]:
    """A line for each other figure, beside the verdict it leads to."""
    named = "disputed" if a.disputes_tokens else "published C"
    pairs = [describe_reading(a, reading) for reading in a.readings]
    return [("" if i else named, f"{said}: {verdict}") for i, (said, verdict) in enumerate(pairs)]


def _is_open(a: Audit) -> bool:
    """Whether another figure would say more than that the model is near-optimal, as this one does."""
    return any(not r.verdict == a.verdict == "near-optimal" for r in a.readings)


def _sentence(a: Audit) -> str:
    ratio = a.size_ratio
    times = _number(a.tokens_per_param_ratio)
    per_param = f"{_number(a.tokens_per_param)} tokens per parameter, {times} times the optimum"
    if a.verdict == "near-optimal":
        return f"near-optimal: {per_param}"
    size = (
        f"{_number(ratio)} times too large"
        if ratio > 1
        else f"{_number(1 / ratio)} times smaller than optimal"
    )
    return f"{a.verdict}: {per_param}; {size} for its compute"


def _trained(a: Audit) -> str:
    """By how much the tokens per parameter miss the optimum's."""
    if a.verdict == "near-optimal":
        return "near"
    ratio = a.tokens_per_param_ratio
    return f"{_number(1 / ratio, 2)}x under" if ratio < 1 else f"{_number(ratio, 2)}x over"


def _print_assumptions(audits: tuple[Audit, ...], law: Law, name: str) -> None:
    click.echo()
    source = f" ({law.provenance.source})" if law.provenance else ""
    disputed = " (?: its figures are disputed)" if any(map(_is_open, audits)) else ""
    paragraph(
        f"C = 6 N D, {_counted(audits, law)}. Law: {name}{source}. N*, D*: the best split of the same C. Trained: by "
        f"how many times D/N misses the law's{disputed}. Wasted: the share of C that an optimal model of the same loss "
        "would not have needed (under 6 % is near). Loss +: above the optimum at the same C. Losses are the law's "
        "predictions in nats per token."
    )
    _warn_of_extrapolation(audits, law)
    told: dict[str, list[str]] = {}
    for a in audits:
        dispute = [a.dispute] if a.dispute and len(audits) > DETAILED else []
        for text in (*dispute, *a.warnings):
            told.setdefault(text, []).append(a.model.name)
    for text, names in told.items():
        warn(f"{', '.join(names)}: {text}.")


def _counted(audits: tuple[Audit, ...], law: Law) -> str:
    """Which parameters N are."""
    convention = law.provenance.params_convention if law.provenance else "total"
    counted = "non-embedding" if convention == "non_embedding" else "total"
    mixture = " (of a mixture of experts: the active)" if any(a.model.n_params_total for a in audits) else ""
    return f"N the {counted} parameters{mixture}"


def _warn_of_extrapolation(audits: tuple[Audit, ...], law: Law) -> None:
    low, high = law.provenance.fitted_range.get("flops", (0.0, 0.0)) if law.provenance else (0.0, 0.0)
    outside = [a for a in audits if not low <= a.flops <= high]
    if not high or not outside:
        return
    if len(outside) == len(audits):
        which = "every model lies" if len(audits) > 1 else "it lies"
    else:
        which = ", ".join(a.model.name for a in outside) + (" lies" if len(outside) == 1 else " lie")
    most = max(max(a.flops / high, low / a.flops) for a in outside)
    runs = f"the runs behind the law ({format_flops(low)} to {format_flops(high)} FLOPs)"
    warn(f"{which} outside {runs}, by up to {_number(most, 2)} times: the law is extrapolated.")


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else format_percent(fraction)


def _number(value: float, digits: int = 3) -> str:
    if value >= 1e7:
        return format_flops(value, digits)
    return f"{value:.{digits}g}" if value < 10**digits else f"{value:,.0f}"


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
