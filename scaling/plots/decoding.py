"""Panels of decoding: bars of the next-token distribution with its cuts, and the tree of a beam search.

Made for one column in grey: what the cuts keep is told by fill and line, what a beam search does with a candidate by
box and line; colour only repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.plots import marks, style
from scaling.translation import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scaling.plots.optimum import Data, Draw

LONGEST_LABEL = 12  # characters of a token
LONGEST_PROMPT = 18
NUMBER_LETTERS = 8  # of a total ln p with its distance
_SMALL = 7.0  # points
_PLAIN: Any = {"fontsize": _SMALL, "parse_math": False}  # a token may hold dollar signs
_BOTH, _ONE, _NEITHER = style.FIT, "#9db4cc", "#eef0f2"  # kept by both cuts, one, neither: dark, mid, light
_DIGITS = ((0.0995, 3), (0.995, 2), (9.95, 1), (90.0, 0), (100.0, 1))  # of a percentage below each limit
_TOP_K: Any = {"color": style.INK, "linestyle": (0, (3, 2)), "linewidth": 1.0}
_NUCLEUS: Any = {"color": style.ACCENT, "linestyle": "-", "linewidth": 1.4}


def next_token_panels(data: Data) -> Sequence[Draw]:
    """A panel a temperature, all on one scale: a higher temperature is seen to flatten."""
    return [partial(draw_next_token, panel=i) for i in range(len(data["temperature"]))]


def draw_next_token(ax: Axes, data: Data, *, panel: int) -> None:
    """Bars of the most probable tokens, best on top; lines below the last one that top-k and the nucleus keep."""
    rows = data["bar_temperature"] == data["temperature"][panel]
    widths, pieces = data["bar_probability"][rows], data["bar_piece"][rows]
    kept = (data["bar_in_top_k"] + data["bar_in_nucleus"])[rows].astype(int)
    places = range(len(widths))
    fills = [(_NEITHER, _ONE, _BOTH)[n] for n in kept]
    ax.barh(places, widths, height=0.74, color=fills, edgecolor=_BOTH, linewidth=0.5)
    for place, width in zip(places, widths, strict=True):
        ax.annotate(
            percent(width), (width, place), (3, 0), textcoords="offset points", va="center", fontsize=_SMALL
        )
    for name, line in (("n_nucleus", _NUCLEUS), ("n_top_k", _TOP_K)):
        if data[name][panel] < len(widths):
            ax.axhline(data[name][panel] - 0.5, **line)
    ax.set_yticks(places, [label(piece) for piece in pieces], **_PLAIN)
    ax.set_ylim(len(widths) - 0.4, -0.6)
    ax.set_xlim(0, 1.38 * data["bar_probability"].max())
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0, pad=2)
    ax.spines["bottom"].set_visible(False)
    if n := int(data["n_others"][panel]):
        marks.remark(ax, tr("{n:,} others: {share}", n=n, share=percent(data["others_mass"][panel])))
    if panel == 0:
        _name_fills(ax, data)
        marks.key(ax)


def _name_fills(ax: Axes, data: Data) -> None:
    """What lines and fills mean, of those that any panel shows."""
    n_bars = len(data["bar"])
    if (data["n_top_k"] < n_bars).any():
        ax.plot([], [], label=tr("top-k, k = {k:g}", k=data["top_k"][0]), **_TOP_K)
    if (data["n_nucleus"] < n_bars).any():
        ax.plot([], [], label=tr("nucleus, p = {p:g}", p=data["top_p"][0]), **_NUCLEUS)
    shown = set((data["bar_in_top_k"] + data["bar_in_nucleus"]).astype(int).tolist())
    names = ((2, tr("kept by both"), _BOTH), (1, tr("kept by one"), _ONE), (0, tr("by none"), _NEITHER))
    for n_cuts, name, fill in names:
        if n_cuts in shown:
            ax.fill_between([], [], [], facecolor=fill, edgecolor=_BOTH, linewidth=0.5, label=name)


def draw_beam_tree(ax: Axes, data: Data) -> None:
    """Every candidate of every step right of its parent, with the total ln p of its text.

    Filled boxes went on as beams, framed ones are finished texts, bare ones were dropped; the best text is bold.
    """
    steps, parents = data["node_step"].astype(int), data["node_parent"].astype(int)
    rows = _rows(parents)
    letters = int(style.inches(ax)[0] * 72 / (marks.LETTER * _SMALL) / (steps.max() + 1.1)) - 2
    root = {"boxstyle": "round,pad=0.3", "facecolor": style.PAPER, "edgecolor": style.MUTED, "linewidth": 0.7}
    prompt = _cut_front(_visible(str(data["prompt"][0])), min(LONGEST_PROMPT, letters))
    ax.text(0, rows[-1], prompt, ha="center", va="center", bbox=root, **_PLAIN)
    for i, (step, parent) in enumerate(zip(steps, parents, strict=True)):
        above, row, fork = rows[int(parent)], rows[i], step - 0.5
        status, is_best = str(data["node_status"][i]), bool(data["node_is_best"][i])
        ax.plot([step - 1, fork, fork, step], [above, above, row, row], **_edge(status, is_best))
        text = _node_text(str(data["node_piece"][i]), float(data["node_logprob"][i]), letters)
        weight = "bold" if is_best else "normal"
        ax.text(step, row, text, ha="center", va="center", weight=weight, **_box(status), **_PLAIN)
    ax.set_xlim(-0.6, steps.max() + 0.5)
    ax.set_ylim(max(rows.values()) + 0.7, -0.7)
    ax.set_xticks(range(1, steps.max() + 1))
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(tr("new token"))


def _node_text(piece: str, logprob: float, letters: int) -> str:
    """The token and its text's ln p; the token alone where so many steps share the width that both have no room."""
    if letters < NUMBER_LETTERS + 2:
        return label(piece, max(letters, 2))
    number = f"{logprob:.2f}".replace("-", "\N{MINUS SIGN}")
    return f"{label(piece, min(LONGEST_LABEL, letters - NUMBER_LETTERS + 1))}  {number}"


def _rows(parents: Any) -> dict[int, int]:
    """The row of each node and of the prompt, -1: its first child's, where it has one; leaves one below the other."""
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(np.asarray(parents).tolist()):
        children.setdefault(parent, []).append(node)
    rows: dict[int, int] = {}
    waiting = [-1]  # depth first, without recursion: a search may have many steps
    n_leaves = 0
    while waiting:
        node = waiting.pop()
        rows[node] = n_leaves
        below = children.get(node, [])
        waiting += reversed(below)
        n_leaves += not below
    return rows


def _edge(status: str, is_best: bool) -> dict[str, Any]:
    if status == "pruned":
        return {"color": style.MUTED, "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1}
    colour = style.ACCENT if status == "finished" else style.FIT
    return {"color": colour, "linewidth": 2.2 if is_best else 1.0, "zorder": 1.5 if is_best else 1.2}


def _box(status: str) -> dict[str, Any]:
    text, shape, face, edge = style.PAPER, "round,pad=0.3", style.FIT, style.FIT
    if status == "pruned":
        text, shape, face, edge = style.MUTED, "square,pad=0.15", style.PAPER, "none"
    if status == "finished":
        text, face, edge = style.INK, style.PAPER, style.ACCENT
    frame = {"linewidth": 1.2} if status == "finished" else {}
    return {"color": text, "bbox": {"boxstyle": shape, "facecolor": face, "edgecolor": edge, **frame}}


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


def _cut_front(seen: str, longest: int) -> str:
    return (seen if len(seen) <= longest else f"…{seen[1 - longest :]}") or "∅"


def _visible(text: str) -> str:
    return "".join(
        "␣" if c == " " else c if c.isprintable() and style.has_glyph(c) else _escape(c) for c in text
    )


def _escape(character: str) -> str:
    named = repr(character)[1:-1]
    return named if named in ("\\n", "\\t", "\\r") else f"U+{ord(character):X}"
