"""scaling train: one training run from its options."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from scaling.cli.completers import complete_preset
from scaling.cli.corpus import tell_preparation
from scaling.cli.help import Command
from scaling.errors import DataError, Exit, MissingFileError, UsageError, of_option
from scaling.installing import extra_command
from scaling.render.terminal import note, say, show, show_json, warn

REMEDIES = {
    "diverged": "Start again with a lower --learning-rate",
    "oom": "Start again with a smaller --preset",
}

HEADINGS = {
    "Model and text": ("--preset", "--corpus", "--context"),
    "How long": ("--minutes", "--tokens", "--resume"),
    "Recipe": (
        "--recipe", "--learning-rate", "--batch-size", "--optimizer", "--schedule", "--warmup", "--weight-decay",
        "--seed",
    ),
    "Machine": ("--device", "--precision", "--threads", "--shard"),
    "Watching": ("--eval-every", "--checkpoint-every", "--log"),
}  # fmt: skip


@click.command(
    cls=Command,
    headings=HEADINGS,
    epilog="Example: scaling train --preset tiny --corpus stdlib --minutes 2 --out runs/tiny",
    context_settings={"show_default": True},
)
@click.option(
    "--preset",
    default="tiny",
    metavar="MODEL",
    shell_complete=complete_preset,
    help="tiny (1.3M with 4096 token ids), mini (6M), or a published shape (gpt2).",
)
@click.option(
    "--corpus",
    default="synthetic",
    metavar="CORPUS",
    help="synthetic[:bits=7,seed=0], stdlib, a prepared folder, tokens:FOLDER, or 0.7*A+0.3*B.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(max=1e6),
    metavar="MINUTES",
    help="Train for about this long on this machine.",
)
@click.option("--tokens", metavar="TOKENS", help="Train on this many tokens: 5M.")
@click.option(
    "--recipe",
    metavar="RULE",
    default="steplaw",
    help="Rule for learning rate and batch: steplaw, deepseek, marin.",
)
@click.option(
    "--learning-rate", type=float, metavar="RATE", help="Peak learning rate instead of the recipe's."
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(max=10**6),
    help="Windows per step instead of the recipe's.",
)
@click.option("--optimizer", type=click.Choice(["adamw", "muon"]), default="adamw", help="Of the matrices.")
@click.option(
    "--schedule",
    type=click.Choice(["wsd", "cosine", "linear", "constant"]),
    default="wsd",
    help="Of the learning rate.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(max=2**63 - 1),
    default=0,
    help="Of the initial weights and of the data order.",
)
@click.option(
    "--context",
    metavar="N",
    type=click.IntRange(max=10**6),
    help="Tokens of a window instead of the preset's.",
)
@click.option(
    "--warmup", type=int, metavar="STEPS", help="Steps of warm-up.  [default: a twentieth of the run]"
)
@click.option("--weight-decay", type=float, metavar="X", help="Of AdamW and Muon instead of the recipe's.")
@click.option(
    "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", help="Of the matmuls."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the run; default runs/<preset>-<run id>.",
)
@click.option(
    "--resume", metavar="FOLDER", type=click.Path(path_type=Path), help="Go on with the run in this folder."
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Choice(["tensorboard", "wandb", "mlflow"]),
    help="Follow it live there too, beside OUT; may be repeated.",
)
@click.option(
    "--eval-every",
    type=int,
    metavar="STEPS",
    help="Steps between looks at the validation loss, beside the one at the end.",
)
@click.option(
    "--checkpoint-every",
    type=int,
    metavar="STEPS",
    default=200,
    help="Steps between checkpoints: what a kill can lose.",
)
@click.option("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(max=1024),
    help="CPU threads; a run repeats to the last bit with as many.",
)
@click.option(
    "--shard", is_flag=True, help="Under torchrun: share the weights out (FSDP2), do not copy them."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    resume: Path | None,
    out: Path | None,
    logs: tuple[str, ...],
    as_json: bool,
    threads: int | None,
    shard: bool,
    device: str,
    eval_every: int | None,
    checkpoint_every: int,
    **run_options: Any,
) -> None:
    """Train a small language model and report its loss with its standard error.

    Interrupt it (Ctrl-C, SIGTERM, SIGUSR2) and it writes a checkpoint; --resume goes on, number for number with as
    many threads. On several devices: torchrun --nproc-per-node 2 -m scaling train ...
    """
    try:
        from scaling.lm.device import use_threads
        from scaling.lm.distributed import launched
    except ImportError as error:
        raise UsageError(f"training needs torch: {extra_command('train')}") from error
    from scaling.lm.run import LogTo, TrainingOptions
    from scaling.lm.training import train as run_training

    if resume:
        _refuse_plan_with_resume(resume)
    _check_numbers({**run_options, "threads": threads})
    if threads:
        use_threads(threads)
    options = TrainingOptions(
        device=device,
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
        progress=True,
        stop_on_interrupt=True,
        shard=shard,
    )
    spec = _read_spec(resume) if resume else _plan(run_options, options)
    folder = resume or out or Path("runs") / f"{run_options['preset']}-{spec.run_id}"
    is_first = launched()[0] == 0  # of several processes, the one that speaks and writes
    if is_first:
        if resume:
            _tell_other_threads(resume)
        else:
            _check_free(folder)
        _tell_plan(spec, folder)
    if logs:
        place = folder.resolve()
        options = replace(options, log_to=LogTo(tools=logs, folder=str(place.parent), names=(place.name,)))
    result = run_training(spec, folder, options=options)
    if is_first:
        if as_json:
            show_json(result.to_dict() | {"folder": folder})
        else:
            show(*result.summary(str(folder)))
        _tell_end(result, folder, logs)
    if result.status != "done":
        raise click.exceptions.Exit(Exit.INTERRUPTED if result.status == "preempted" else Exit.CANNOT)


# what says how a run is carried out; all else says which run it is
CARRIED_OUT = ("resume", "logs", "device", "threads", "shard", "as_json", "eval_every", "checkpoint_every")


def _refuse_plan_with_resume(folder: Path) -> None:
    """A run goes on as it was planned: an option that would change it is not passed over."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in CARRIED_OUT
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot be changed: the run in {folder} goes on as it was planned. Leave "
            f"{'it' if len(given) == 1 else 'them'} out, or start another run without --resume."
        )


def _check_numbers(run_options: dict[str, Any]) -> None:
    """Numbers that no run can have, told by the name of their option."""
    for name in ("minutes", "learning_rate", "batch_size", "threads", "context"):
        value = run_options[name]
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} must be a number above 0; got {value:g}.")
    for name in ("seed", "warmup", "weight_decay"):
        value = run_options[name]
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"--{name.replace('_', '-')} must be 0 or more; got {value:g}.")


def _plan(run_options: dict[str, Any], options: Any) -> Any:
    from scaling.lm.budget import choose_shape, plan_run
    from scaling.lm.corpus import load_corpus
    from scaling.units import parse_tokens

    preset, context = run_options["preset"], run_options["context"]
    choose_shape(preset, vocab_size=256, context_length=context)  # a wrong name is told first
    if (run_options["minutes"] is None) == (run_options["tokens"] is None):
        raise UsageError("say how long to train: --minutes 2 or --tokens 5M (one of them).")
    tell_preparation(run_options["corpus"])
    corpus = load_corpus(run_options["corpus"])
    architecture = choose_shape(preset, vocab_size=corpus.vocab_size, context_length=context)
    given = {k: run_options[k] for k in ("weight_decay", "learning_rate", "batch_size", "optimizer")}
    return plan_run(
        architecture,
        run_options["corpus"],
        n_tokens=of_option("--tokens", parse_tokens, run_options["tokens"])
        if run_options["tokens"]
        else None,
        seconds=run_options["minutes"] * 60 if run_options["minutes"] else None,
        recipe=run_options["recipe"],
        schedule=run_options["schedule"],
        changes={k: v for k, v in given.items() if v is not None},
        warmup_steps=run_options["warmup"],
        precision=run_options["precision"],
        seed=run_options["seed"],
        options=options,
    )


def _tell_other_threads(folder: Path) -> None:
    from scaling.lm.checkpoint import other_threads

    threads = other_threads(folder)
    if threads is not None:
        before, now = threads
        note(
            f"begun with {before} CPU threads, going on with {now}: sums are added in another order, so the numbers "
            f"differ in their last digits. --threads {before} repeats them."
        )


def _check_free(folder: Path) -> None:
    """Refuse a folder that is not empty."""
    from scaling.lm.folder import LOCK_FILE

    if (folder / "config.json").exists():
        raise UsageError(f"{folder} already holds a run. Go on with it: scaling train --resume {folder}")
    if folder.exists() and any(p.name != LOCK_FILE for p in folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no run; choose another --out.")


def _read_spec(folder: Path) -> Any:
    from scaling.lm.run import RunSpec

    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no run was begun in {folder}: start it without --resume, with --out {folder}."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no run to go on with (config.json: {error}).") from error
    return RunSpec.from_dict({k: v for k, v in values.items() if k not in ("schema_version", "kind")})


def _tell_plan(spec: Any, folder: Path) -> None:
    from scaling.lm.corpus import load_corpus
    from scaling.lm.corpus.corpora import CHEAP_EPOCHS, epochs_of
    from scaling.units import format_params, format_tokens

    note(
        f"{format_params(spec.n_params)} parameters, {spec.n_tokens:,} tokens in {spec.n_steps} steps of "
        f"{spec.tokens_per_step:,}, learning rate {spec.recipe.learning_rate:.2g} ({spec.recipe.name}) → {folder}"
    )
    for share in epochs_of(load_corpus(spec.corpus), spec.n_tokens):
        if share.epochs <= 1:
            continue
        tell = warn if share.epochs > CHEAP_EPOCHS else note
        tell(
            f"{share.name} has {format_tokens(share.n_tokens_unique)} tokens and is read {share.epochs:.3g} times"
            + (f"; beyond {CHEAP_EPOCHS:g} a repeated token teaches visibly less." if tell is warn else ".")
        )


def _tell_end(result: Any, folder: Path, logs: tuple[str, ...]) -> None:
    """What to do about a run that is not done."""
    if result.status == "preempted":
        warn(f"stopped at step {result.step} by {result.reason}; go on with:")
        again = " ".join([f"scaling train --resume {folder}", *(f"--log {tool}" for tool in logs)])
        say(again, error=True)  # never wrapped: made to be copied
    elif result.status != "done":
        warn(f"{result.status}: {result.reason}. {REMEDIES[result.status]} and another --out.")
