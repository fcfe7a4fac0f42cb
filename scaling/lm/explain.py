"""What decoding sees: the next-token distribution at several temperatures with its cuts, and the beams of a search."""

# V vocabulary

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from scaling.blocks import Block, Blocks, Code, Figure, Heading, Record, Section, Shown, Table, Text
from scaling.errors import UsageError
from scaling.jsonable import jsonable
from scaling.lm.beam import Beam, BeamNode, BeamTree
from scaling.lm.decoding import StepModel, generate
from scaling.lm.request import encode_prompt, joint
from scaling.lm.sampling import Sample, Temperature, TopK, TopP
from scaling.translation import tr, tr_n
from scaling.units import format_percent

if TYPE_CHECKING:
    pass

FIRST_TOKENS = 10  # of a first screen
BAR_LENGTH = 24  # characters of the longest bar
QUOTE_LENGTH = 70  # characters of a token or text shown
TREE_WIDTH = 60  # columns that the branches of a tree share
_MARKS = {"kept": "●", "finished": "■", "pruned": "·"}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One token at one temperature."""

    token: int
    piece: str
    probability: float
    in_top_k: bool
    in_nucleus: bool


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """The next token at one temperature: the most probable ones, and what each cut keeps of the whole vocabulary.

    `n_others` tokens are not among the bars; together they have `others_mass`. A mass is a probability, 0 to 1.
    """

    temperature: float
    bars: tuple[Bar, ...]
    n_top_k: int
    top_k_mass: float
    n_nucleus: int
    nucleus_mass: float
    n_others: int
    others_mass: float


@dataclass(frozen=True, kw_only=True)
class Explanation(Shown):
    """One step of sampling at several temperatures, and the tree of a beam search, from the same prompt.

    `pieces` are the texts of the tokens in the tree.
    """

    prompt: str
    top_k: int
    top_p: float
    n_beams: int
    next_token: tuple[NextToken, ...]
    tree: BeamTree
    best_ids: tuple[int, ...]
    best_text: str
    best_logprob: float
    pieces: Mapping[int, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        asked = {name: getattr(self, name) for name in ("prompt", "top_k", "top_p", "n_beams")}
        best = {"text": self.best_text, "ids": list(self.best_ids), "logprob": self.best_logprob}
        looked_at = {"temperatures": jsonable(self.next_token), "beams": jsonable(self.tree.steps)}
        return {**asked, **looked_at, "best": best}

    def records(self) -> list[Record]:
        """A row a bar: temperature, token id, its text, its probability, and which cuts keep it."""
        return [
            {"temperature": panel.temperature, **vars(bar)} for panel in self.next_token for bar in panel.bars
        ]

    def summary(self) -> Blocks:
        """The likeliest tokens at every temperature and the best text of the search; bars and tree as sections."""
        most = max(bar.probability for panel in self.next_token for bar in panel.bars)
        text = _quoted(self.prompt + self.best_text, keep_end=True)
        best = tr("best: {text}, ln p {seen.best_logprob:.2f}", text=text, seen=self)
        marks = tr("beam search, N = {n}: ● goes on, ■ ends here, · is dropped; total ln p", n=self.n_beams)
        return (
            Text(tr("After {prompt}, the next token with its probability:", prompt=_quoted(self.prompt))),
            self._probabilities(),
            Text(""),
            Text(tr("beam search, N = {n}, {best}", n=self.n_beams, best=best)),
            Section(
                "temperatures",
                tr("Temperatures and cuts"),
                lambda: tuple(b for panel in self.next_token for b in _bar_blocks(panel, self, most)),
            ),
            Section(
                "beams",
                marks,
                lambda: (Code("\n".join([f"  {_quoted(self.prompt)}", *_branches(self), f"  {best}"])),),
            ),
            *self.figures(),
        )

    def figures(self) -> tuple[Figure, Figure]:
        """The distributions, and the tree of the search."""
        return next_token_figure(self), beam_figure(self)

    def _probabilities(self) -> Table:
        """A row a token, a column a temperature, which orders tokens alike; then how many the nucleus keeps."""
        shown = self.next_token[0].bars[:FIRST_TOKENS]
        rows = [
            [_quoted(bar.piece), *(f"{panel.bars[i].probability:.3g}" for panel in self.next_token)]
            for i, bar in enumerate(shown)
        ]
        kept = tr("tokens that make up {p:.3g} %", p=100 * self.top_p)
        rows.append([kept, *(f"{panel.n_nucleus:,}" for panel in self.next_token)])
        headers = (tr("token"), *(tr("at T = {t:g}", t=panel.temperature) for panel in self.next_token))
        return Table(headers, rows)


def explain_decoding(
    model: StepModel,
    tokenizer: Any,
    prompt: str,
    *,
    temperatures: Sequence[float] = (0.5, 1.0, 4.0),
    top_k: int = 5,
    top_p: float = 0.9,
    n_beams: int = 2,
    n_steps: int = 3,
    n_bars: int = 20,
) -> Explanation:
    """Look at one step of sampling after `prompt` and at `n_steps` of beam search. The nucleus is measured at each
    temperature, as in Sample(Temperature(t), TopP(p)).

    Raises:
        UsageError: the prompt has no token, no temperature is given, or a number is out of range.
    """
    if not temperatures or n_bars < 1:
        raise UsageError(f"there is nothing to show at temperatures {list(temperatures)} with {n_bars} bars.")
    ids = encode_prompt(tokenizer, prompt)
    if not ids:
        raise UsageError("the prompt is empty; give a text to continue.")
    beam = Beam(n_beams, trace=True)
    best = generate(model, [ids], tokenizer, beam, max_new_tokens=n_steps)[0]
    assert best.tree is not None
    in_tree = {node.ids[-1] for step in best.tree.steps for node in step}
    logits_V = model.start([ids], 1)[0][0].float()
    return Explanation(
        prompt=prompt,
        top_k=top_k,
        top_p=top_p,
        n_beams=n_beams,
        next_token=tuple(
            _next_token(tokenizer, logits_V, t, TopK(top_k), TopP(top_p), n_bars)
            for t in dict.fromkeys(temperatures)
        ),
        tree=best.tree,
        best_ids=best.ids,
        best_text=joint(tokenizer, ids, best.ids) + (best.text or ""),
        best_logprob=best.logprob,
        pieces={token: tokenizer.decode([token]) for token in in_tree},
    )


def _next_token(
    tokenizer: Any, logits_V: torch.Tensor, temperature: float, top_k: TopK, top_p: TopP, n_bars: int
) -> NextToken:
    tau = Temperature(temperature)
    p = Sample(tau).distribution(logits_V)
    in_top_k, in_nucleus = (Sample(tau, cut).distribution(logits_V) > 0 for cut in (top_k, top_p))
    by_probability = logits_V.argsort(descending=True, stable=True)
    shown, others = by_probability[:n_bars], by_probability[n_bars:]
    bars = tuple(
        Bar(
            token=token,
            piece=tokenizer.decode([token]),
            probability=float(p[token]),
            in_top_k=bool(in_top_k[token]),
            in_nucleus=bool(in_nucleus[token]),
        )
        for token in shown.tolist()
    )
    return NextToken(
        temperature=temperature,
        bars=bars,
        n_top_k=int(in_top_k.sum()),
        top_k_mass=float(p[in_top_k].sum()),
        n_nucleus=int(in_nucleus.sum()),
        nucleus_mass=float(p[in_nucleus].sum()),
        n_others=len(others),
        others_mass=float(p[others].sum()),
    )


def _bar_blocks(panel: NextToken, seen: Explanation, most: float) -> Iterator[Block]:
    kept = tr(
        "temperature {panel.temperature:g}: top-{seen.top_k} keeps {percent:.3g} % of the probability, the nucleus of "
        "{seen.top_p:g} {panel.n_nucleus:,} tokens",
        panel=panel,
        seen=seen,
        percent=100 * panel.top_k_mass,
    )
    yield Heading(kept)
    rows = [
        (_quoted(b.piece), f"{b.probability:.3g}", _kept_by(b), _drawn(b.probability / most))
        for b in panel.bars
    ]
    if panel.n_others:
        rows.append((tr("{n:,} others", n=panel.n_others), f"{panel.others_mass:.3g}", "", ""))
    yield Table((tr("token"), "p", tr("kept by"), ""), rows, left=4)


def _drawn(share: float) -> str:
    """A bar, down to an eighth of a character."""
    eighths = round(8 * BAR_LENGTH * share)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _kept_by(bar: Bar) -> str:
    cuts = [name for name, kept in (("top-k", bar.in_top_k), (tr("nucleus"), bar.in_nucleus)) if kept]
    return ", ".join(cuts) or "-"


def _branches(seen: Explanation) -> Iterator[str]:
    """Each candidate below its parent, with the total ln p of its text."""
    children: dict[tuple[int, ...], list[BeamNode]] = {}
    for step in seen.tree.steps:
        for node in step:
            children.setdefault(node.ids[:-1], []).append(node)
    indent = max(1, min(3, TREE_WIDTH // len(seen.tree.steps)))

    def below(ids: tuple[int, ...], before: str) -> Iterator[str]:
        nodes = children.get(ids, [])
        for node in nodes:
            last = node is nodes[-1]
            corner = ("└" if last else "├") + "─" * (indent - 2)
            best = tr("  best") if node.ids == seen.best_ids else ""
            token = _quoted(seen.pieces[node.ids[-1]])
            yield f"  {before}{corner:{indent}}{_MARKS[node.status]} {token} {node.logprob:.2f}{best}"
            yield from below(node.ids, before + f"{' ' if last else '│':{indent}}")

    yield from below((), "")


def _quoted(text: str, *, keep_end: bool = False) -> str:
    """In quotes, on one line, cut where it is long."""
    quoted = repr(text)
    if len(quoted) > QUOTE_LENGTH:
        return f"{quoted[0]}…{quoted[-QUOTE_LENGTH:]}" if keep_end else f"{quoted[:QUOTE_LENGTH]}…{quoted[0]}"
    return quoted


# --- as figures ---


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
