"""What decoding sees, as figures: the next-token distribution with its cuts, and the tree of a beam search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling.blocks import Figure
from scaling.translation import tr, tr_n
from scaling.units import format_percent

if TYPE_CHECKING:
    from scaling.lm.explain import Explanation


def next_token_figure(seen: Explanation) -> Figure:
    """A panel a temperature, a bar a token: what top-k and the nucleus keep of it."""
    panels = seen.next_token
    bars = [(panel.temperature, bar) for panel in panels for bar in panel.bars]
    data: dict[str, Any] = {
        "bar": [float(i) for i in range(max(len(panel.bars) for panel in panels))],
        "bar_temperature": [temperature for temperature, _ in bars],
        "bar_piece": [bar.piece for _, bar in bars],
        "bar_probability": [bar.probability for _, bar in bars],
        "bar_in_top_k": [float(bar.in_top_k) for _, bar in bars],
        "bar_in_nucleus": [float(bar.in_nucleus) for _, bar in bars],
        "temperature": [panel.temperature for panel in panels],
        "n_top_k": [float(panel.n_top_k) for panel in panels],
        "n_nucleus": [float(panel.n_nucleus) for panel in panels],
        "n_others": [float(panel.n_others) for panel in panels],
        "others_mass": [panel.others_mass for panel in panels],
        "top_k": [float(seen.top_k)],
        "top_p": [seen.top_p],
    }
    titles = tuple(
        tr("T = {t:g}: nucleus of {n}", t=panel.temperature, n=f"{panel.n_nucleus:,}")
        + "\n"
        + tr("top-{k} keeps {share}", k=seen.top_k, share=format_percent(panel.top_k_mass))
        for panel in panels
    )
    caption = tr(
        "The next token at each temperature T. The nucleus is the fewest tokens that make up {p:g} % of the "
        "probability.",
        p=100 * seen.top_p,
    )
    return Figure(
        "next-token", data, "; ".join(title.replace("\n", ", ") for title in titles) + ".", caption, titles
    )


def beam_figure(seen: Explanation) -> Figure:
    """Every candidate of a beam search, right of the text it continues."""
    nodes = [node for step in seen.tree.steps for node in step]
    place = {node.ids: float(i) for i, node in enumerate(nodes)}
    parents = {node.ids[:-1] for node in nodes}
    data: dict[str, Any] = {
        "node_step": [float(len(node.ids)) for node in nodes],
        "node_parent": [place.get(node.ids[:-1], -1.0) for node in nodes],
        "node_piece": [seen.pieces[node.ids[-1]] for node in nodes],
        "node_logprob": [node.logprob for node in nodes],
        "node_status": [node.status for node in nodes],
        "node_is_best": [float(node.ids == seen.best_ids[: len(node.ids)]) for node in nodes],
        "leaf": [float(i) for i in range(sum(node.ids not in parents for node in nodes))],
        "prompt": [seen.prompt],
    }
    beams = tr_n("{n} beam", "{n} beams", seen.n_beams)
    title = tr("Best of {beams}: ln p {value:.2f}", beams=beams, value=seen.best_logprob)
    title += "\n" + tr("filled goes on, framed ends, dotted is dropped; bold is the best")
    caption = tr(
        "Beam search: each candidate token right of the text it continues, with the total ln p of that text."
    )
    return Figure("beam-tree", data, title.replace("\n", "; ") + ".", caption, (title,))
