"""Decoding as pictures: bars of the next-token distribution with its cuts, and the tree of a beam search.

Made for one column in grey: what the cuts keep is told by fill and line, what a beam search does with a candidate by
box and line; colour only repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from scaling.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scaling.lm.beam import BeamNode, BeamTree
    from scaling.lm.explain import Explanation, NextToken

LONGEST_LABEL = 12  # characters of a token
LONGEST_PROMPT = 18
WIDTH = 5.4  # inches, at least
ROW_INCHES = 0.17  # of a bar
NODE_INCHES = 0.22  # of a leaf of the tree
STEP_INCHES = 1.2  # of a step of the tree, at least
PANELS_A_ROW = 3
_SMALL = 7.0  # points
_PLAIN: Any = {"fontsize": _SMALL, "parse_math": False}  # a token may hold dollar signs
_BOTH, _ONE, _NEITHER = style.FIT, "#9db4cc", "#eef0f2"  # kept by both cuts, one, neither: dark, mid, light
_DIGITS = ((0.0995, 3), (0.995, 2), (9.95, 1), (90.0, 0), (100.0, 1))  # of a percentage below each limit
_TOP_K: Any = {"color": style.INK, "linestyle": (0, (3, 2)), "linewidth": 1.0}
_NUCLEUS: Any = {"color": style.ACCENT, "linestyle": "-", "linewidth": 1.4}


def plot_next_token(seen: NextToken, *, ax: Axes, widest: float | None = None) -> Axes:
    """Bars of the most probable tokens, best on top; lines below the last one that top-k and the nucleus keep.

    Args:
        widest: the probability that fills the panel, for panels to compare; None is that of this panel's best token.
    """
    bars = seen.bars
    places = range(len(bars))
    fills = [(_NEITHER, _ONE, _BOTH)[bar.in_top_k + bar.in_nucleus] for bar in bars]
    widths = [bar.probability for bar in bars]
    ax.barh(places, widths, height=0.74, color=fills, edgecolor=_BOTH, linewidth=0.5)
    for place, width in zip(places, widths):
        ax.annotate(
            percent(width), (width, place), (3, 0), textcoords="offset points", va="center", fontsize=_SMALL
        )
    for n_kept, line in ((seen.n_nucleus, _NUCLEUS), (seen.n_top_k, _TOP_K)):
        if n_kept < len(bars):
            ax.axhline(n_kept - 0.5, **line)
    ax.set_yticks(places, [label(bar.piece) for bar in bars], **_PLAIN)
    ax.set_ylim(len(bars) - 0.4, -0.6)
    ax.set_xlim(0, 1.38 * (widest or max(widths)))
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0, pad=2)
    ax.spines["bottom"].set_visible(False)
    ax.set_title(f"temperature {seen.temperature:g}")
    kept = f"top-k keeps {percent(seen.top_k_mass)}\nnucleus keeps {count(seen.n_nucleus, 'token')}"
    rest = f"{count(seen.n_others, 'other')}: {percent(seen.others_mass)}\n" if seen.n_others else ""
    ax.set_xlabel(rest + kept, fontsize=_SMALL, loc="left", labelpad=2, linespacing=1.35)
    return ax


def plot_beam_tree(
    tree: BeamTree,
    decode: Callable[[list[int]], str],
    *,
    ax: Axes,
    prompt: str = "",
    best: Sequence[int] = (),
) -> Axes:
    """Every candidate of every step right of its parent, with the total ln p of its text.

    Filled boxes went on as beams, framed ones are finished texts, bare ones were dropped; `best` is drawn bold.
    """
    rows = _rows(tree)
    root = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": style.MUTED, "linewidth": 0.7}
    ax.text(0, rows[()], _end_of(prompt), ha="center", va="center", bbox=root, **_PLAIN)
    for step, nodes in enumerate(tree.steps, start=1):
        for node in nodes:
            is_best = node.ids == tuple(best[:step])
            above, row = rows[node.ids[:-1]], rows[node.ids]
            fork = step - 0.5
            ax.plot([step - 1, fork, fork, step], [above, above, row, row], **_edge(node, is_best))
            number = f"{node.logprob:.2f}".replace("-", "\N{MINUS SIGN}")
            ax.text(step, row, f"{label(decode([node.ids[-1]]))}  {number}", ha="center", va="center",
                    weight="bold" if is_best else "normal", **_box(node), **_PLAIN)  # fmt: skip
    ax.set_xlim(-0.6, len(tree.steps) + 0.5)
    ax.set_ylim(max(rows.values()) + 0.7, -0.7)
    ax.set_xticks(range(1, len(tree.steps) + 1))
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("new token; dotted is dropped, framed ends here")
    return ax


def _rows(tree: BeamTree) -> dict[tuple[int, ...], int]:
    """The row of each text: its first child's, where it has one; leaves one below the other."""
    children: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for nodes in tree.steps:
        for node in nodes:
            children.setdefault(node.ids[:-1], []).append(node.ids)
    rows: dict[tuple[int, ...], int] = {}
    waiting: list[tuple[int, ...]] = [()]  # depth first, without recursion: a search may have many steps
    n_leaves = 0
    while waiting:
        ids = waiting.pop()
        rows[ids] = n_leaves
        below = children.get(ids, [])
        waiting += reversed(below)
        n_leaves += not below
    return rows


def _edge(node: BeamNode, is_best: bool) -> dict[str, Any]:
    if node.status == "pruned":
        return {"color": style.MUTED, "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1}
    colour = style.ACCENT if node.status == "finished" else style.FIT
    return {"color": colour, "linewidth": 2.2 if is_best else 1.0, "zorder": 1.5 if is_best else 1.2}


def _box(node: BeamNode) -> dict[str, Any]:
    text, shape, face, edge = "white", "round,pad=0.3", style.FIT, style.FIT
    if node.status == "pruned":
        text, shape, face, edge = style.MUTED, "square,pad=0.15", "white", "none"
    if node.status == "finished":
        text, face, edge = style.INK, "white", style.ACCENT
    frame = {"linewidth": 1.2} if node.status == "finished" else {}
    return {"color": text, "bbox": {"boxstyle": shape, "facecolor": face, "edgecolor": edge, **frame}}


def draw_explanation(seen: Explanation, tokenizer: Any) -> Figure:
    """The distributions side by side, and the beam tree below."""
    n_panels, n_steps = len(seen.next_token), len(seen.tree.steps)
    n_rows = -(-n_panels // PANELS_A_ROW)
    bars_inches = n_rows * (ROW_INCHES * len(seen.next_token[0].bars) + 1.0) + 0.35
    tree_inches = NODE_INCHES * (1 + max(_rows(seen.tree).values())) + 0.85
    with style.context():
        width = max(WIDTH, STEP_INCHES * (n_steps + 1))
        figure = style.new_drawing(width, bars_inches + tree_inches)
        grid_spec = figure.add_gridspec(2, 1, height_ratios=(bars_inches, tree_inches))
        bars: Any = figure.add_subfigure(grid_spec[0])
        columns = min(n_panels, PANELS_A_ROW)
        grid = bars.subplots(n_rows, columns, squeeze=False, sharey=True).ravel()
        widest = max(bar.probability for panel in seen.next_token for bar in panel.bars)
        for ax, panel in zip(grid, seen.next_token):
            plot_next_token(panel, ax=ax, widest=widest)  # one scale: a higher temperature is seen to flatten
        for ax in grid[n_panels:]:
            ax.set_visible(False)
        _legend(bars, seen)
        ax = figure.add_subfigure(grid_spec[1]).subplots()
        plot_beam_tree(seen.tree, tokenizer.decode, ax=ax, prompt=seen.prompt, best=seen.best_ids)
        ax.set_title(f"beam search, N = {seen.n_beams}: total ln p")
    return figure


def _legend(figure: Any, seen: Explanation) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    panels = seen.next_token
    signs: dict[str, Any] = {}
    if any(panel.n_top_k < len(panel.bars) for panel in panels):
        signs[f"top-k, k = {seen.top_k}"] = Line2D([], [], **_TOP_K)
    if any(panel.n_nucleus < len(panel.bars) for panel in panels):
        signs[f"nucleus, p = {seen.top_p:g}"] = Line2D([], [], **_NUCLEUS)
    shown = {bar.in_top_k + bar.in_nucleus for panel in panels for bar in panel.bars}
    fills = ((2, "kept by both", _BOTH), (1, "kept by one", _ONE), (0, "by none", _NEITHER))
    for n_cuts, name, fill in fills:
        if n_cuts in shown:
            signs[name] = Patch(facecolor=fill, edgecolor=_BOTH, linewidth=0.5)
    narrow: Any = {"ncols": len(signs), "columnspacing": 1.2, "handlelength": 1.6}
    figure.legend(signs.values(), signs.keys(), loc="outside upper left", **narrow)


def count(n: int, what: str) -> str:
    """1 token, 1,056 tokens."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def percent(p: float) -> str:
    """34 %, 3.5 %, 0.038 %, 99.7 %: two digits of what is small, the share or the rest."""
    shown = 100 * p
    if shown == 0 or shown >= 100:
        return "0 %" if shown == 0 else "100 %"
    if shown < 0.0005:
        return "< 0.001 %"
    if shown >= 99.95:
        return "> 99.9 %"
    return f"{shown:.{next(digits for below, digits in _DIGITS if shown < below)}f} %"


def label(piece: str, longest: int = LONGEST_LABEL) -> str:
    """A token as one can read it: spaces as ␣, no line ends, nothing the font lacks, no longer than `longest`."""
    seen = _visible(piece)
    return (seen if len(seen) <= longest else f"{seen[: longest - 1]}…") or "∅"


def _end_of(prompt: str) -> str:
    seen = _visible(prompt)
    return (seen if len(seen) <= LONGEST_PROMPT else f"…{seen[1 - LONGEST_PROMPT :]}") or "∅"


def _visible(text: str) -> str:
    return "".join("␣" if c == " " else c if c.isprintable() and _has_glyph(c) else _escape(c) for c in text)


def _escape(character: str) -> str:
    named = repr(character)[1:-1]
    return named if named in ("\\n", "\\t", "\\r") else f"U+{ord(character):X}"


@cache
def _has_glyph(character: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties())).get_char_index(ord(character)) != 0
