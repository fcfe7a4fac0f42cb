"""`scaling count`: parameters, FLOPs and memory of a model shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.accounting import count_params
from scaling.accounting.summary import sizes_row, summarize_cost
from scaling.architecture import PRESETS, Architecture, describe_architecture, find_preset
from scaling.blocks import Block, Blocks, Code, Table, Text
from scaling.cli.completers import complete_architecture
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.errors import UnitError, UsageError, of_option
from scaling.render.terminal import note
from scaling.translation import tr
from scaling.units import format_params, parse_number, parse_tokens

if TYPE_CHECKING:
    from pandas import DataFrame

SIZES = {  # option → help; each sets the field of that name
    "n_layers": "Blocks of the stack; of the encoder in an encoder_decoder.",
    "d_model": "Width.",
    "n_heads": "Attention heads.",
    "n_kv_heads": "Key and value heads; default as many as heads.",
    "d_ff": "Width of the MLP; default 4 x width without a gate.",
    "vocab_size": "Tokens in the vocabulary.",
    "n_decoder_layers": "Blocks of the decoder of an encoder_decoder.",
    "n_experts": "Experts of a layer; makes a mixture of experts.",
    "n_experts_per_token": "Experts that a token passes.",
    "d_ff_expert": "Width of an expert; default that of the MLP.",
    "n_shared_experts": "Further experts that every token passes.",
    "d_ff_shared": "Width of a shared expert; default that of an expert.",
    "n_dense_layers": "Layers of a mixture with an MLP instead of experts.",
}
HEADINGS = {
    "Shape": (*(f"--{name.replace('_', '-')}" for name in SIZES), "--set"),
    "Training": (
        "--context",
        "--batch",
        "--tokens",
        "--devices",
        "--tensor-parallel",
        "--precision",
        "--compiled",
        "--fused-loss",
    ),
}


def _size_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(SIZES.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, metavar="N", help=text)(command)
    return command


@click.command(cls=Command, headings=HEADINGS, epilog="Example: scaling count gpt2 --tokens 300B")
@click.argument(
    "model", required=False, metavar="[PRESET|FILE.json|FOLDER]", shell_complete=complete_architecture
)
@_size_options
@click.option(
    "--set", "fields", multiple=True, metavar="FIELD=VALUE", help="Any other field of the architecture."
)
@click.option("--context", metavar="TOKENS", help="Tokens of a sequence; default the model's context length.")
@click.option("--batch", metavar="N", help="Sequences in a micro-batch of one replica; default 1.")
@click.option("--tokens", metavar="TOKENS", help="Tokens of a training run: adds its FLOPs.")
@click.option("--devices", metavar="N", help="Devices of the sharded rows; default 8.")
@click.option("--tensor-parallel", metavar="N", help="Devices that split each layer; default 1.")
@click.option(
    "--precision",
    default="bf16_mixed",
    show_default=True,
    metavar="TYPE",
    help="bf16_mixed, bf16_autocast, bf16 or fp32.",
)
@click.option("--compiled", is_flag=True, help="Memory as under torch.compile.")
@click.option("--fused-loss", is_flag=True, help="A loss kernel that keeps 16-bit logits and no softmax.")
@click.option("--list", "list_presets", is_flag=True, help="List the presets.")
@output_options("parameters", "flops", "training", "inference", "doubts")
def count(
    model: str | None,
    fields: tuple[str, ...],
    context: str | None,
    batch: str | None,
    tokens: str | None,
    devices: str | None,
    tensor_parallel: str | None,
    precision: str,
    compiled: bool,
    fused_loss: bool,
    list_presets: bool,
    output: Output,
    **sizes: str | None,
) -> None:
    """Count parameters, FLOPs per token and memory of a model.

    The model is a preset, a JSON file (the config.json of a Hugging Face model, a saved model's, or of `plan --json`)
    or its folder, or given by its sizes, which make a GPT-2-like decoder; --set changes anything else (kind, norm,
    activation, positions, heads, biases, tying). Sizes beside a preset change the preset. Of a mixture of experts the
    parameters in all are counted, which memory holds, and the active ones, which FLOPs are of.
    """
    if list_presets:
        give(output, _preset_blocks, _preset_payload, _preset_frame)
        return
    changes: dict[str, Any] = {k: _whole(k, v) for k, v in sizes.items() if v is not None}
    changes |= dict(_field(text) for text in fields)
    if model is None and context is not None:
        changes.setdefault("context_length", _whole("context", context))
    architecture, notes = _architecture(model, changes)
    cost = summarize_cost(
        architecture,
        context_length=None if context is None else _whole("context", context),
        batch_size=_whole("batch", batch or "1"),
        n_tokens=None if tokens is None else of_option("--tokens", parse_tokens, tokens),
        n_devices=_whole("devices", devices or "8"),
        precision=precision,
        tensor_parallel=_whole("tensor-parallel", tensor_parallel or "1"),
        compiled=compiled,
        fused_loss=fused_loss,
        name=model,
        notes=notes,
    )
    give(output, cost.summary, cost.to_dict, cost.to_frame)
    for text in notes if not output.is_screen else ():
        note(f"{text}.")


def _preset_blocks() -> Blocks:
    """A table a kind of model; the exact counts are in the JSON and the table formats."""
    titles = {
        "decoder": tr("Decoders"),
        "encoder": tr("Encoders"),
        "encoder_decoder": tr("Encoder-decoders"),
    }
    headers = (tr("preset"), "N", tr("layers"), tr("width"), "d_ff", tr("vocab"), tr("context"))
    tables = {kind: [(n, a) for n, a in PRESETS.items() if a.kind == kind] for kind in titles}
    blocks: list[Block] = []
    for kind, presets in tables.items():
        rows = [
            (
                name, format_params(count_params(a).total),
                f"{a.n_layers}+{a.n_decoder_layers}" if a.n_decoder_layers else f"{a.n_layers}",
                f"{a.d_model:,}", f"{a.n_experts}x{a.d_ff_expert}" if a.n_experts else f"{a.d_ff:,}",
                f"{a.vocab_size:,}", f"{a.context_length:,}",
            )
            for name, a in presets
        ]  # fmt: skip
        blocks += [Text(titles[kind], "strong"), Table(headers, rows, indent=0), Text("")]
    return (*blocks, Code("scaling count gpt2", label=tr("one of them:"), indent=2))


def _preset_payload() -> dict[str, Any]:
    counts = {name: count_params(a) for name, a in PRESETS.items()}
    rows = [
        {"name": n, **a.to_dict(), "n_params": counts[n].total, "n_params_active": counts[n].active}
        for n, a in PRESETS.items()
    ]
    return {"presets": rows}


def _preset_frame() -> DataFrame:
    """One row a preset."""
    import pandas as pd

    return pd.DataFrame([{"name": n, **sizes_row(a, count_params(a))} for n, a in PRESETS.items()])


def _architecture(model: str | None, changes: dict[str, Any]) -> tuple[Architecture, tuple[str, ...]]:
    """The model, and what its file leaves out or leaves to be known."""
    if model is None and not changes:
        raise UsageError(
            "give a preset (`scaling count --list`), a JSON file, or sizes: "
            "--n-layers 12 --d-model 768 --n-heads 12 --vocab-size 50257 --context 1024."
        )
    if model is None:
        return Architecture.from_dict(changes), ()
    is_file = model.endswith(".json") or Path(model).exists()
    if not is_file and "/" in model:
        raise UsageError(
            f"{model!r} is no file or folder here, and names on a hub are not looked up; fetch its config.json and "
            "give that file."
        )
    stored, notes = describe_architecture(model) if is_file else (find_preset(model), ())
    return stored.replace(**changes), notes


def _whole(name: str, text: str) -> int:
    """A whole number as a person writes it: 50257, 50,257, 32k."""
    try:
        value = parse_number(text, example="12, 4096 or 32k", whole=True)
    except UnitError as error:
        raise UsageError(f"--{name.replace('_', '-')}: {error}") from error
    if not value.is_integer():
        raise UsageError(f"--{name.replace('_', '-')} must be a whole number, got {text!r}.")
    return int(value)


def _field(text: str) -> tuple[str, Any]:
    """`field=value` with true, false, a number, a list (a,b) or a word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set takes FIELD=VALUE, got {text!r}; for example --set tie_embeddings=false.")
    name, value = name.strip().replace("-", "_"), value.strip()
    if name == "heads":
        return name, tuple(h.strip() for h in value.split(",") if h.strip())
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    try:
        number = float(value.replace("_", ""))
    except ValueError:
        return name, value
    return name, int(number) if number.is_integer() and name not in ("norm_eps", "rope_theta") else number
