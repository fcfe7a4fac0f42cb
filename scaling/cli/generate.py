"""scaling generate: text from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.errors import UsageError
from scaling.installing import extra_command
from scaling.jsonable import fields_of
from scaling.render.terminal import note, say, show_json, stream
from scaling.translation import tr

HEADINGS = {
    "Text": ("--ids", "--max-new-tokens", "-n", "--stop"),
    "Drawing a token": (
        "--repetition-penalty", "--temperature", "--top-k", "--top-p", "--min-p", "--typical", "--seed",
    ),
    "Without drawing": ("--greedy", "--beams", "--length-penalty"),
    "Machine": ("--device",),
}  # fmt: skip


@click.command(
    cls=Command,
    headings=HEADINGS,
    epilog="Example: scaling generate runs/tiny 'def read_file(' --temperature 0.8 --top-p 0.9 --max-new-tokens 100",
)
@click.argument("folder", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@click.option("--ids", metavar="IDS", help="Token ids to continue instead of a text: '12 5 7'.")
@click.option(
    "--max-new-tokens", type=int, default=64, show_default=True, metavar="N", help="Tokens at most."
)
@click.option("--greedy", is_flag=True, help="The most probable token at each step.")
@click.option("--beams", type=int, metavar="N", help="Beam search with this many beams.")
@click.option(
    "--length-penalty",
    type=float,
    metavar="X",
    help="Of beam search; 0 (its default) ranks by total probability.",
)
@click.option(
    "--repetition-penalty", type=float, metavar="X", help="Above 1 discourages tokens already there."
)
@click.option("--temperature", type=float, metavar="T", help="Below 1 sharper, above 1 flatter.")
@click.option("--top-k", type=int, metavar="K", help="Sample from the k most probable tokens.")
@click.option("--top-p", type=float, metavar="P", help="Sample from the nucleus of this mass.")
@click.option("--min-p", type=float, metavar="P", help="Keep tokens this many times as probable as the best.")
@click.option("--typical", type=float, metavar="P", help="Keep the typical set of this mass.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of the draws.")
@click.option("-n", "n", type=int, metavar="N", default=1, show_default=True, help="Texts to make.")
@click.option(
    "--stop", multiple=True, metavar="TEXT", help="Stop at this string; may be given several times."
)
@click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda, cuda:1, mps.")
@click.option("--json", "as_json", is_flag=True, help="Print texts, ids and log-probabilities as JSON.")
def generate(
    folder: Path, prompt: str | None, ids: str | None, n: int, as_json: bool, **options: Any
) -> None:
    """Continue PROMPT with MODEL (a folder from `scaling train`, a Hugging Face folder, a
    .gguf file, or the name smollm2).

    Without further options each token is drawn from the model's own distribution. The filters act in the order they
    are listed here: penalty, temperature, top-k, top-p, min-p, typical. Without PROMPT a new text begins. Where the
    model's tokenizer puts a start token before every text (Llama's <s>), it is put there.
    """
    try:
        from scaling.lm import load_language_model
        from scaling.lm.tokenization import require_utf8
    except ImportError as error:
        raise UsageError(f"generating text needs torch: {extra_command('train')}") from error
    for text in (prompt or "", *options["stop"]):
        require_utf8(text)
    strategy = _strategy(options)
    with waiting_for(tr("loading {model}", model=folder)):
        model, tokenizer = load_language_model(folder, device=options["device"])
    start = _start(prompt, ids, tokenizer, folder)
    note(f"strategy: {strategy}")
    limits = {"max_new_tokens": options["max_new_tokens"], "stop": options["stop"]}
    if n == 1 and not as_json and tokenizer is not None and not options["beams"]:
        _print_stream(model, start, tokenizer, strategy, prompt or "", limits)
        return
    from scaling.lm import generate as continue_texts
    from scaling.lm.request import joint

    generations = continue_texts(model, [start], tokenizer, strategy, n=n, **limits)
    if as_json:
        texts = [fields_of(g, leave_out=("prompt_index", "sample_index", "tree")) for g in generations]
        show_json({"kind": "generations", "strategy": repr(strategy), "generations": texts})
        return
    for g in generations:
        say(tr("--- {g.sample_index}  ln p {g.logprob:.2f}  {g.finish_reason}", g=g))
        before = prompt + joint(tokenizer, start, g.ids) if prompt else ""
        stream(before + g.text if g.text is not None else " ".join(map(str, g.ids)), end="\n")


def _strategy(options: dict[str, Any]) -> Any:
    from scaling.lm import Beam, Greedy, MinP, RepetitionPenalty, Sample, Temperature, TopK, TopP, Typical

    makers = {
        "repetition_penalty": RepetitionPenalty, "temperature": Temperature, "top_k": TopK, "top_p": TopP,
        "min_p": MinP, "typical": Typical,
    }  # fmt: skip
    transforms: list[Any] = [
        make(options[name]) for name, make in makers.items() if options[name] is not None
    ]
    if options["greedy"] and options["beams"] is not None:
        raise UsageError("--greedy and --beams contradict each other; choose one.")
    if options["length_penalty"] is not None and options["beams"] is None:
        raise UsageError("--length-penalty belongs to beam search; add --beams 4.")
    seeded = click.get_current_context().get_parameter_source("seed") is ParameterSource.COMMANDLINE
    if seeded and (options["greedy"] or options["beams"] is not None):
        raise UsageError("--seed belongs to sampling; --greedy and --beams draw nothing.")
    if options["greedy"]:
        return Greedy(*transforms)
    if options["beams"] is not None:
        return Beam(options["beams"], *transforms, length_penalty=options["length_penalty"] or 0.0)
    return Sample(*transforms, seed=options["seed"])


def _start(prompt: str | None, ids: str | None, tokenizer: Any, folder: Path) -> list[int]:
    """Token ids to begin with."""
    if ids is not None:
        if prompt:
            raise UsageError("a text and --ids contradict each other; give one.")
        try:
            start = [int(word) for word in ids.replace(",", " ").split()]
        except ValueError:
            start = []
        if not start:
            raise UsageError(f"--ids takes whole numbers, as in '12 5 7'; got {ids!r}.")
        return start
    if tokenizer is None:
        raise UsageError(
            f"{folder} has no tokenizer.json (a synthetic corpus has no text); pass --ids '0 130'."
        )
    from scaling.lm.request import encode_prompt, first_ids

    return encode_prompt(tokenizer, prompt) if prompt else first_ids(tokenizer)


def _print_stream(
    model: Any, start: Any, tokenizer: Any, strategy: Any, prompt: str, limits: dict[str, Any]
) -> None:
    from scaling.lm import stream as stream_pieces
    from scaling.lm.request import joint

    pieces = stream_pieces(model, start, tokenizer, strategy, **limits)
    first = next(pieces)  # whatever is wrong with the options or the model is told before anything is printed
    before = prompt + joint(tokenizer, start, [first.id]) if prompt else ""
    stream(before + first.text)
    for piece in pieces:
        stream(piece.text)
    stream("", end="\n")
