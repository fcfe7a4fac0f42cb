"""The page to explore: one static file, or a part of a report's page. Everything is in it, and it asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from scaling.errors import UsageError
from scaling.files import write_text
from scaling.laws.base import Law
from scaling.laws.methods import method_in_words
from scaling.page.data import page_data
from scaling.planning.plan import DEFAULT_ACCELERATOR
from scaling.reference.hardware import find_accelerator
from scaling.reference.published import DEFAULT_LAW
from scaling.runs import Runs
from scaling.translation import tr

FIRST_FLOPS = 1e21
MOST_RUNS = 500  # dots of a map: more only darken it
LEAST_LOG, MOST_LOG = 15, 30  # of the slider, in log10 FLOPs


def write_page(
    path: str | Path,
    law: Law | None = None,
    *,
    flops: float = FIRST_FLOPS,
    runs: Runs | None = None,
    law_file: str = "",
    law_command: str = "",
    language: str = "en",
) -> Path:
    """Write the page as one file, with the published laws and `law` before them.

    Args:
        law: of a fit of yours, say; it is the one shown first.
        flops: the budget shown first.
        runs: behind the law, as dots on its map.
        law_file: what the page's command calls the law.
        law_command: what writes that file first, such as `scaling fit runs.csv -o fit.json`.
        language: of the catalogue in use, for the page's own mark.
    Raises:
        UsageError: a law of a form that the page cannot compute.
    Example:
        >>> import scaling
        >>> write_page("page.html", scaling.find_law("hoffmann"), flops=1e22).name
        'page.html'
    """
    title = tr("How large a model, on how many tokens")
    fragment = _fragment(law, flops, runs, law_file, law_command)
    write_text(
        Path(path),
        f'<!DOCTYPE html>\n<html lang="{html.escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{content_policy()}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        "<style>:root{color-scheme:light dark}body{margin:0 auto;max-width:64rem;padding:1rem;"
        "font:16px/1.5 system-ui,sans-serif;background:Canvas}</style>\n"
        f"</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n{fragment}</main>\n"
        f"<script>{_script()}</script>\n</body>\n</html>\n",
    )
    return Path(path)


def content_policy() -> str:
    """What a page with this script may do: run it, use styles of its own, and ask for nothing."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def page_fragment(
    law: Law, *, flops: float, runs: Runs | None = None, law_file: str = "", law_command: str = ""
) -> str:
    """The page as the inside of a section of another: its own style, data and script.

    Raises:
        UsageError: a law of a form that the page cannot compute.
    """
    return f"{_fragment(law, flops, runs, law_file, law_command)}<script>{_script()}</script>\n"


def _script() -> str:
    return _asset("planner.js") + _asset("page.js")


def _asset(name: str) -> str:
    return files("scaling").joinpath("page", name).read_text(encoding="utf-8")


def _fragment(law: Law | None, flops: float, runs: Runs | None, law_file: str, law_command: str) -> str:
    data = page_data(law)
    for known in (one["uncertainty"] for one in data["laws"] if one["uncertainty"]):
        known["methodText"] = method_in_words(known["method"])
    first = data["laws"][0]["name"] if law is not None else DEFAULT_LAW
    state = dict.fromkeys(("nAccelerators", "pricePerHour", "mfu", "servedTokens"))
    state |= {"flops": flops, "lawName": first, "accelerator": find_accelerator(DEFAULT_ACCELERATOR).name}
    data |= {
        "state": state,
        "texts": _words(),
        "runs": _dots(runs),
        "lawFile": law_file or None,
        "lawCommand": law_command,
    }
    told = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # a name may hold </script>: inside JSON the escape says the same
    told = told.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return (
        f'<div class="explore" id="explore-page">\n<style>{_asset("page.css")}</style>\n'
        f"<noscript><p>{html.escape(tr('This part computes in the page and needs JavaScript.'))}</p></noscript>\n"
        '<div class="needs-script" hidden>\n<p class="link-note" role="alert"></p>\n'
        '<div class="said" role="status" aria-live="polite"></div>\n'
        f'<p class="stale-note" role="alert"></p>\n{_form()}'
        f'<div class="pictures">\n{_figure("map", _map_caption())}{_figure("valleys", _valleys_caption())}</div>\n'
        '<p class="unit no-valleys"></p>\n'
        f'<table><caption class="unit">{html.escape(tr("More of this plan"))}</caption><tbody></tbody></table>\n'
        f"<p>{html.escape(tr('The same plan with its shape, memory and recipe:'))}</p>\n"
        '<pre tabindex="0"><code class="command"></code></pre>\n'
        f'<button type="button" class="copy">{html.escape(tr("Copy the command"))}</button>\n'
        f"<p class='unit'>{html.escape(_left_out())}</p>\n</div>\n"
        f'<script type="application/json" id="explore-data">{told}</script>\n</div>\n'
    )


def _dots(runs: Runs | None) -> list[list[float]]:
    if runs is None or runs.absent:
        return []
    step = -(-len(runs) // MOST_RUNS)
    columns = (runs.n_params, runs.n_tokens, runs.loss)
    rows = zip(*(column[::step].tolist() for column in columns), strict=True)
    return [[float(f"{value:.4g}") for value in row] for row in rows]


def _form() -> str:
    budget = html.escape(tr("Training budget"))
    slider = (
        f'<div class="wide"><label for="explore-flops">{budget} <span class="unit">FLOPs</span></label>'
        f'<input type="range" name="slider" min="{LEAST_LOG}" max="{MOST_LOG}" step="0.01" '
        f'aria-label="{html.escape(tr("Training budget, powers of ten of FLOPs"))}">'
        '<div><input id="explore-flops" name="flops" inputmode="text" autocomplete="off" '
        'aria-describedby="explore-flops-fault"></div><p class="fault wide" id="explore-flops-fault"></p></div>\n'
    )
    return (
        f'<form autocomplete="off">\n{slider}'
        + _select("lawName", tr("Law"))
        + _select("accelerator", tr("Accelerator"))
        + _number("nAccelerators", tr("How many"), "")
        + _number("pricePerHour", tr("Price"), tr("$ an hour each"))
        + _number("mfu", tr("Utilization (MFU)"), tr("0.4 or 40 %"))
        + _number("servedTokens", tr("Tokens to serve"), tr("as 2T"))
        + "</form>\n"
    )


def _select(name: str, label: str) -> str:
    said = html.escape(label)
    return f'<div><label for="explore-{name}">{said}</label><select id="explore-{name}" name="{name}"></select></div>\n'


def _number(name: str, label: str, unit: str) -> str:
    named = f'{html.escape(label)} <span class="unit">{html.escape(unit)}</span>'
    return (
        f'<div><label for="explore-{name}">{named}</label><input id="explore-{name}" name="{name}" '
        f'aria-describedby="explore-{name}-fault"><p class="fault" id="explore-{name}-fault"></p></div>\n'
    )


def _figure(kind: str, caption: str) -> str:
    return (
        f'<figure><svg class="{kind}" viewBox="0 0 480 340" role="img" aria-label=""></svg>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>\n"
    )


def _map_caption() -> str:
    return tr(
        "Lines of equal loss over parameters and tokens; blue the optimal size of every budget, dashed all that this "
        "budget can train, orange its optimum with the interval."
    )


def _valleys_caption() -> str:
    return tr(
        "Loss over the size of the model at a tenth, once and ten times the budget; below, where other published laws "
        "put the optimum."
    )


def _left_out() -> str:
    return tr(
        "Not computed here: tokens that must repeat, shape and memory (the number of accelerators is that of the time "
        "alone), a target loss, time or money as the budget. The command above does."
    )


def _words() -> Mapping[str, Any]:
    """What the script says; each {field} stays as it is, to be filled in the page."""
    return {
        "train": tr(
            "Train {n} parameters on {d} tokens with {flops} FLOPs.", n="{n}", d="{d}", flops="{flops}"
        ),
        "trainAndServe": tr(
            "Train {n} parameters on {d} tokens: {flops} FLOPs, serving included.",
            n="{n}",
            d="{d}",
            flops="{flops}",
        ),
        "noModel": tr(
            "That means {n} parameters on {d} tokens, which is no language model.", n="{n}", d="{d}"
        ),
        "comma": tr("Write a decimal point, 1.5; a comma parts thousands."),
        "interval": tr("{level} % interval: {n} parameters, {d} tokens.", level="{level}", n="{n}", d="{d}"),
        "noInterval": tr("No interval is published for this law: go by what the other papers say."),
        "loss": tr(
            "Loss {loss}{range} {unit} on {corpus}; yours will differ.",
            loss="{loss}",
            range="{range}",
            unit="{unit}",
            corpus="{corpus}",
        ),
        "cost": tr("{n} x {name}: {time}, {money}.", n="{n}", name="{name}", time="{time}", money="{money}"),
        "beyond": tr(
            "That is {times} times the compute of the largest run behind this law.", times="{times}"
        ),
        "ownCorpus": tr("the corpus of its runs"),
        "stale": tr("Not of what the marked field holds: mend it, and the plan follows."),
        "tooMany": tr("More than the {n} accelerators of the largest cluster known.", n="{n}"),
        "noValleys": tr("This law knows the optimum of a budget alone, so it has no valleys to draw."),
        "eachLaw": tr("each law"),
        "copy": tr("Copy the command"),
        "copied": tr("Copied"),
        "marked": tr("Marked: copy it by the keys of your system"),
        "below": tr(
            "That is {times} times below the compute of the smallest run behind this law.", times="{times}"
        ),
        "notHere": tr("The link asked for {name}, which this page does not have.", name="{name}"),
        "endless": tr("No run lasts that long: more accelerators, or a smaller budget."),
        "noAnswer": tr("This law has no answer to that."),
        "noPrice": tr("price not known"),
        "range": tr("{low} to {high}", low="{low}", high="{high}"),
        "unbounded": tr("unbounded"),
        "unknown": tr("not known"),
        "chosen": tr("done in 30 days"),
        "none": tr("none"),
        "notServed": tr("not by this law here"),
        "needed": tr("Give a budget, as 1e21."),
        "limits": tr("Give a number from {low} to {high}.", low="{low}", high="{high}"),
        "whole": tr("Give a whole number."),
        "ratio": tr("tokens per parameter"),
        "others": tr("{n} other papers", n="{n}"),
        "othersSay": tr(
            "half of them {n} parameters; all {least} ({leastName}) to {most} ({mostName}), for training alone",
            n="{n}",
            least="{least}",
            leastName="{leastName}",
            most="{most}",
            mostName="{mostName}",
        ),
        "asGood": tr("as good"),
        "valley": tr("{n} parameters waste under {worst} of the compute", n="{n}", worst="{worst}"),
        "smaller": tr("half the size"),
        "smallerSays": tr(
            "{n} on {d} tokens: +{extra} compute, repaid by serving {served}",
            n="{n}",
            d="{d}",
            extra="{extra}",
            served="{served}",
        ),
        "served": tr("served"),
        "servedSays": tr(
            "{flops} FLOPs in all, {saved} less than the training optimum of this loss",
            flops="{flops}",
            saved="{saved}",
        ),
        "hours": tr("accelerator-hours"),
        "hoursSay": tr(
            "{hours} at {mfu} of the dense peak, {goodput} of the time",
            hours="{hours}",
            mfu="{mfu}",
            goodput="{goodput}",
        ),
        "energy": tr("energy, boards alone"),
        "lawName": tr("law"),
        "source": tr("source"),
        "intervalOf": tr("interval"),
        "params": tr("parameters"),
        "tokens": tr("tokens"),
        "lossAxis": tr("loss"),
        "mapSays": tr(
            "Map of the loss: at {flops} FLOPs the optimum is {n} parameters on {d} tokens",
            flops="{flops}",
            n="{n}",
            d="{d}",
        ),
        "valleysSay": tr(
            "Valleys of equal compute: at {flops} FLOPs the least loss is {loss}, at {n} parameters",
            flops="{flops}",
            loss="{loss}",
            n="{n}",
        ),
        "years": tr("years"),
        "days": tr("days"),
        "hours_": tr("hours"),
        "minutes": tr("minutes"),
        "seconds": tr("seconds"),
    }


def checked_flops(flops: float) -> float:
    """A budget that the page can show.

    Raises:
        UsageError: outside of what its field takes.
    """
    if not 1e15 <= flops <= 1e30:
        raise UsageError(f"the page shows budgets from 1e15 to 1e30 FLOPs, got {flops:g}.")
    return flops
