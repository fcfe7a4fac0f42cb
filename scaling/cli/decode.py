"""scaling decode explain: see what sampling and beam search see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import WIDTH, heading, print_json, print_table, printable
from scaling.cli.tables import refuse_overwrite
from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.lm.beam import BeamNode
    from scaling.lm.explain import Explanation, NextToken

_EXAMPLE = "Example: scaling decode explain 'Me gusta correr' --model runs/tiny --figure decode.png"
_BAR_WIDTH = 40
_MARKS = {"kept": "●", "finished": "■", "pruned": "·"}
_COUNT = click.IntRange(min=1)


@click.group(epilog=_EXAMPLE)
def decode() -> None:
    """Look inside decoding: temperatures, cuts, beams."""


@decode.command("explain", epilog=_EXAMPLE)
@click.argument("prompt")
@click.option(
    "--model",
    "folder",
    type=click.Path(path_type=Path),
    default="smollm2",
    show_default=True,
    help="A folder of a model, a .gguf file, or smollm2.",
)
@click.option(
    "--temperature", "temperatures", type=float, multiple=True, default=(0.5, 1.0, 4.0), show_default=True
)
@click.option("--top-k", type=int, default=5, show_default=True)
@click.option("--top-p", type=float, default=0.9, show_default=True)
@click.option("--beams", "n_beams", type=_COUNT, default=2, show_default=True)
@click.option("--steps", "n_steps", type=_COUNT, default=3, show_default=True, help="Steps of beam search.")
@click.option("--bars", "n_bars", type=_COUNT, default=12, show_default=True, help="Tokens to show.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw it: out.png, .svg or .pdf.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing picture.")
@click.option("--json", "as_json", is_flag=True, help="Print probabilities and beams as JSON.")
def explain(
    prompt: str, folder: Path, figure: Path | None, force: bool, as_json: bool, **wish: Any
) -> None:  # fmt: skip
    """Show the next-token distribution after PROMPT at several temperatures, its cuts, and a beam search."""
    try:
        from scaling.lm.explain import explain_decoding
        from scaling.lm.pretrained import load_language_model
        from scaling.lm.tokenization import require_utf8
    except ImportError as error:
        raise UsageError("this needs torch: pip install 'isoflop[train]'.") from error
    require_utf8(prompt)
    if figure is not None:
        from scaling.plots.figures import check_picture

        check_picture(figure)
        refuse_overwrite(force, figure)
    model, tokenizer = load_language_model(folder)
    if tokenizer is None:
        raise UsageError(f"{folder} has no tokenizer.json; explain needs a model of text.")
    seen = explain_decoding(model, tokenizer, prompt, **wish)
    if figure is not None:
        _draw(seen, tokenizer, figure)
    if as_json:
        print_json(seen.to_dict())
        return
    widest = max(bar.probability for panel in seen.next_token for bar in panel.bars)
    for panel in seen.next_token:
        _print_bars(panel, seen, widest)
    _print_tree(seen, tokenizer)


def _draw(seen: Explanation, tokenizer: Any, figure: Path) -> None:
    from scaling.plots.decoding import draw_explanation
    from scaling.plots.figures import save_picture

    save_picture(draw_explanation(seen, tokenizer), figure)
    click.echo(f"wrote {figure}", err=True)


def _print_bars(panel: NextToken, seen: Explanation, widest: float) -> None:
    """Bars of one scale at all temperatures."""
    heading(
        f"temperature {panel.temperature:g}: top-{seen.top_k} keeps {100 * panel.top_k_mass:.3g} % of the probability, "
        f"the nucleus of {seen.top_p:g} {panel.n_nucleus:,} tokens"
    )
    rows = [
        [
            _quoted(bar.piece),
            f"{bar.probability:.3g}",
            _kept(bar),
            _bar(bar.probability / widest),
        ]
        for bar in panel.bars
    ]
    if panel.n_others:
        rows.append([f"{panel.n_others:,} others", f"{panel.others_mass:.3g}", "", ""])
    print_table(["token", "p", "kept by", ""], rows, left=4)


def _bar(share: float) -> str:
    """Down to an eighth of a character."""
    eighths = round(8 * _BAR_WIDTH * share)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _kept(bar: Any) -> str:
    cuts = [name for name, kept in (("top-k", bar.in_top_k), ("nucleus", bar.in_nucleus)) if kept]
    return ", ".join(cuts) or "-"


def _print_tree(seen: Explanation, tokenizer: Any) -> None:
    """Each candidate below its parent, with the total ln p of its text."""
    heading(f"beam search, N = {seen.n_beams}: ● goes on, ■ ends here, · is dropped; total ln p")
    children: dict[tuple[int, ...], list[BeamNode]] = {}
    for step in seen.tree.steps:
        for node in step:
            children.setdefault(node.ids[:-1], []).append(node)
    indent = max(1, min(3, (WIDTH - 40) // len(seen.tree.steps)))

    def branch(ids: tuple[int, ...], before: str) -> None:
        nodes = children.get(ids, [])
        for node in nodes:
            last = node is nodes[-1]
            corner = ("└" if last else "├") + "─" * (indent - 2)
            best = "  best" if node.ids == seen.best_ids else ""
            token = _quoted(tokenizer.decode([node.ids[-1]]))
            click.echo(f"  {before}{corner:{indent}}{_MARKS[node.status]} {token} {node.logprob:.2f}{best}")
            branch(node.ids, before + f"{' ' if last else '│':{indent}}")

    click.echo(f"  {_quoted(seen.prompt)}")
    branch((), "")
    click.echo(
        f"  best: {_quoted(seen.prompt + seen.best_text, keep_end=True)}, ln p {seen.best_logprob:.2f}"
    )


def _quoted(text: str, *, keep_end: bool = False) -> str:
    """In quotes, on one line that fits the screen, with what could command a terminal escaped."""
    quoted, room = repr(text), WIDTH - 30
    if len(quoted) > room:
        quoted = f"{quoted[0]}…{quoted[-room:]}" if keep_end else f"{quoted[:room]}…{quoted[0]}"
    return printable(quoted)
