"""The two checks `scaling fit` makes on request: errors on runs the fit did not see, and what other laws say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling.cli.output import heading, print_table, wrapped_lines
from scaling.units import format_flops, format_params, format_tokens

if TYPE_CHECKING:
    from scaling.fitting.comparison import LawComparison, LawRow
    from scaling.fitting.extrapolation import CutOff, Extrapolation


def print_checks(held_out: Extrapolation | None, compared: LawComparison | None) -> None:
    """Both sections, where they were asked for."""
    if held_out is not None:
        _held_out(held_out)
    if compared is not None:
        _compared(compared)


def _held_out(found: Extrapolation) -> None:
    heading("hold-out: fitted up to a budget, asked for the dearer runs")
    rows = [_cut_off(cut) for cut in (*found.cut_offs, found.all_runs)]
    inside = f"in {100 * found.level:g} % int."
    headers = ["fitted up to", "runs", "held out", "mean |error|", "mean error", "largest", inside, "a"]
    print_table(headers, rows)
    for cut in found.cut_offs:
        if cut.refused is not None:
            wrapped_lines(f"{format_flops(cut.flops)}: {cut.refused}", "    ", "  ! ")
    drift = found.exponent_drift
    if drift is not None and len(found.usable) > 1:
        wrapped_lines(f"from the lowest cut-off to all runs the exponent a moves by {drift:+.3f}", "  ")


def _cut_off(cut: CutOff) -> tuple[str, ...]:
    return (
        format_flops(cut.flops),
        str(cut.n_fitted),
        str(cut.n_held_out) if cut.n_held_out else "none",
        _percent(cut.mean_absolute_error),
        _percent(cut.mean_error, signed=True),
        _percent(cut.largest_error, signed=True),
        "" if cut.inside_fraction is None else f"{100 * cut.inside_fraction:.0f} %",
        "" if cut.params_exponent is None else f"{cut.params_exponent:.3f}",
    )


def _compared(found: LawComparison) -> None:
    flops = format_flops(found.target_flops, 2)
    heading(f"other laws and objectives, and their optimum at {flops} FLOPs; best hold-out error first")
    headers = ["law", "objective", "hold-out", "residual", "AICc", "a", "N*", "D*", "loss"]
    least = min((r.aicc for r in found.rows if r.aicc is not None), default=0.0)
    print_table(headers, [_law_row(row, least) for row in found.rows], left=2)
    words = []
    for name, show in (
        ("params_exponent", lambda v: f"{v:.3f}"),
        ("n_params", format_params),
        ("n_tokens", format_tokens),
        ("loss", lambda v: f"{v:.3f}"),
    ):
        known = [v for r in found.rows if (v := getattr(r, name)) is not None]
        if known:
            label = {"params_exponent": "a", "n_params": "N*", "n_tokens": "D*", "loss": "loss"}[name]
            words.append(f"{label} {show(min(known))} to {show(max(known))}")
    wrapped_lines(f"spread: {', '.join(words)}. No interval of one law holds this doubt.", "  ")
    wrapped_lines(
        f"hold-out: mean error on the {found.n_held_out} runs above {format_flops(found.cut_flops, 2)} FLOPs, fitted "
        f"on the other {found.n_fitted}. AICc: above the least; under 2 means nothing.",
        "  ",
    )
    for law, objective, reason in found.refused:
        wrapped_lines(f"{law}, {objective}: {reason}", "    ", "  ! ")


def _law_row(row: LawRow, least_aicc: float) -> tuple[str, ...]:
    return (
        row.law,
        row.objective.replace("_", " ") + ("" if row.certified else " (uncertain)"),
        _percent(row.held_out_mean_error),
        _percent(row.residual_rms),
        "" if row.aicc is None else f"{row.aicc - least_aicc:+.0f}",
        "" if row.params_exponent is None else f"{row.params_exponent:.3f}",
        "none" if row.n_params is None else format_params(row.n_params),
        "none" if row.n_tokens is None else format_tokens(row.n_tokens),
        "" if row.loss is None else f"{row.loss:.3f}",
    )


def _percent(value: float | None, *, signed: bool = False) -> str:
    return "" if value is None else f"{100 * value:{'+' if signed else ''}.2f} %"
