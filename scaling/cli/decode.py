"""scaling decode explain: see what sampling and beam search see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.cli.progress import waiting_for
from scaling.errors import UsageError
from scaling.installing import extra_command
from scaling.translation import tr

_EXAMPLE = "Example: scaling decode explain 'Me gusta correr' --model runs/tiny --plot decode.png"
_COUNT = click.IntRange(min=1)


@click.group(cls=Group, epilog=_EXAMPLE)
def decode() -> None:
    """Look inside decoding: temperatures, cuts, beams."""


@decode.command("explain", epilog=_EXAMPLE)
@click.argument("prompt")
@click.option(
    "--model",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default="smollm2",
    show_default=True,
    help="A folder of a model, a .gguf file, or smollm2.",
)
@click.option(
    "--temperature",
    "temperatures",
    type=float,
    multiple=True,
    default=(0.5, 1.0, 4.0),
    show_default=True,
    metavar="T",
    help="Below 1 sharper, above 1 flatter; repeatable.",
)
@click.option(
    "--top-k", type=int, default=5, show_default=True, metavar="K", help="Cut: the K most probable tokens."
)
@click.option(
    "--top-p", type=float, default=0.9, show_default=True, metavar="P", help="Cut: the nucleus of this mass."
)
@click.option(
    "--beams", "n_beams", type=_COUNT, default=2, show_default=True, metavar="N", help="Of beam search."
)
@click.option(
    "--steps", "n_steps", metavar="N", type=_COUNT, default=3, show_default=True, help="Steps of beam search."
)
@click.option(
    "--bars", "n_bars", metavar="N", type=_COUNT, default=12, show_default=True, help="Tokens to show."
)
@picture_options("the distributions and the search")
@output_options("temperatures", "beams")
def explain(
    prompt: str, folder: Path, picture: Path | None, size: str, force: bool, output: Output, **options: Any
) -> None:  # fmt: skip
    """Show the next-token distribution after PROMPT at several temperatures, its cuts, and a beam search."""
    try:
        from scaling.lm.explain import explain_decoding
        from scaling.lm.pretrained import load_language_model
        from scaling.lm.tokenization import require_utf8
    except ImportError as error:
        raise UsageError(f"this needs torch: {extra_command('train')}") from error
    require_utf8(prompt)
    refuse_picture(picture, force)
    with waiting_for(tr("loading {model}", model=folder)):
        model, tokenizer = load_language_model(folder)
    if tokenizer is None:
        raise UsageError(f"{folder} has no tokenizer.json; explain needs a model of text.")
    seen = explain_decoding(model, tokenizer, prompt, **options)
    if picture is not None:
        write_picture(seen.figures(), picture, size)
    give(output, seen.summary, seen.to_dict, seen.to_frame)
