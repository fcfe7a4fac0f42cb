"""The `scaling` command. Each subcommand is a file of this folder, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import click

from scaling.cli.help import Group
from scaling.errors import Exit, ScalingError, UnitError, near_names
from scaling.lazy import lazy_call

try:
    from scaling import __version__
except ImportError as error:  # PyPI has another package of this name, whose __init__.py lies over ours
    from scaling.installing import repair_command

    intruder = "another package named scaling has overwritten files of this one; to get them back"
    raise SystemExit(f"error: {intruder}: {repair_command('scaling')}") from error

say = lazy_call("scaling.render.terminal", "say")  # `scaling --help` says nothing by blocks
print_what_it_can = lazy_call("scaling.render.lookalikes", "print_what_it_can")
show_error = lazy_call("scaling.render.terminal", "show_error")

# name → (module, attribute, one line of help); the help stands here so that `scaling --help` imports no command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "plan": ("plan", "plan", "Turn a budget into parameters, tokens, loss, shape, memory, time and money."),
    "fit": ("fit", "fit", "Fit a scaling law to a table of runs, with intervals."),
    "predict": ("predict", "predict", "Predict the loss of runs from a fitted or published law."),
    "report": ("report", "report", "Report on runs, a sweep or a fit: HTML, PDF and Markdown."),
    "page": ("page", "page", "Write a page to explore plans in a browser, offline."),
    "audit": ("audit", "audit", "Compare trained models with compute-optimal ones."),
    "count": ("count", "count", "Count parameters, FLOPs and memory of a model shape."),
    "laws": ("laws", "laws", "List and show published scaling laws."),
    "hardware": ("hardware", "hardware", "List and show accelerators, or measure this machine."),
    "data": ("data", "data", "List and download public tables of training runs."),
    "sweep": ("sweep", "sweep", "Design, run, watch and export a sweep of training runs."),
    "tokenize": ("tokenize", "tokenize", "Train tokenizers, encode text, and see every merge."),
    "corpus": ("corpus", "corpus", "Prepare, check and describe training corpora."),
    "train": ("train", "train", "Train a small language model on this machine."),
    "generate": ("generate", "generate", "Continue a text with a trained model."),
    "decode": ("decode", "decode", "See what sampling and beam search see."),
    "demo": ("demo", "demo", "Fit and plan on example runs whose true law is known."),
    "doctor": ("doctor", "doctor", "Check this installation and say what is missing."),
    "completion": ("completion", "completion", "Complete names of laws, files, columns with the Tab key."),
}
HEADINGS = {
    "From runs to a law": ("fit", "predict", "laws", "data", "demo"),
    "From a law to a plan": ("plan", "page", "audit", "count", "hardware", "report"),
    "Sweeps": ("sweep",),
    "Models and text": ("train", "generate", "decode", "tokenize", "corpus"),
    "This installation": ("doctor", "completion"),
}
# what else a number alone may mean, and what then belongs to it
OTHER_BUDGETS = {"--params": "", "--tokens": "", "--time": " --hardware 8xH100"}
COMPLETE_VARIABLE = "_SCALING_COMPLETE"  # set by the shell's script while it asks what could stand there


class LazyGroup(Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, help_text = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"scaling.cli.{module}"), attribute)
        command.help = command.help or help_text
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name[:1].isdigit() or name.startswith((".", "$")):  # no command begins so: a budget
            return "plan", self.get_command(ctx, "plan"), _plan_arguments(args)
        if name and not name.startswith("-") and name not in COMMANDS:
            near = near_names(name, COMMANDS)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`scaling --help` lists the commands."
            raise click.UsageError(f"no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def one_liners(self, ctx: click.Context) -> dict[str, str]:
        return {name: text for name, (_, _, text) in COMMANDS.items()}


def _plan_arguments(args: list[str]) -> list[str]:
    """The arguments of `plan` for a budget without its name: 1e21; '11574 PF-days', unquoted too; 8xH100 --time 14d."""
    from scaling.cli.plan import QUANTITIES
    from scaling.units import parse_flops, parse_hardware

    def reads(parse: Callable[[str], object], text: str) -> bool:
        with suppress(UnitError):
            parse(text)
            return True
        return False

    for n_words in (2, 1):
        if reads(parse_flops, budget := " ".join(args[:n_words])):
            return ["--flops", budget, *args[n_words:]]
    if reads(parse_hardware, args[0]):
        return ["--hardware", *args]
    others = {"--dollars": " --hardware 8xH100"} if args[0].startswith("$") else OTHER_BUDGETS
    read = [q.name for q in QUANTITIES if q.name in others and reads(q.parse, args[0])]
    meant = " or ".join(f"`scaling plan {shlex.join([name, args[0]])}{others[name]}`" for name in read)
    raise UnitError(
        f"--flops: {args[0]!r} is no number of FLOPs, as in `scaling 1e21`, which is `scaling plan --flops 1e21`."
        + (f" If it is another quantity: {meant}." if meant else "")
    )


@click.group(
    cls=LazyGroup,
    headings=HEADINGS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try: scaling 1e21, which is scaling plan --flops 1e21",
)
@click.option("--verbose", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="scaling")
@click.pass_context
def cli(ctx: click.Context, verbose: bool) -> None:
    """Scaling laws from training runs, with honest error bars, and compute plans from them."""
    ctx.obj = {"verbose": verbose}


def main() -> NoReturn:
    """Entry point. Errors are one line on stderr; exit codes are `scaling.errors.Exit`."""
    for stream in (sys.stdout, sys.stderr):  # None under pythonw
        if stream and (stream.encoding or "").lower().replace("-", "") != "utf8":
            print_what_it_can(stream)
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run one command line and return its exit code."""
    verbose = "--verbose" in args
    if COMPLETE_VARIABLE in os.environ:
        importlib.import_module("scaling.cli.completion")  # teaches click our bash
    try:
        result = cli.main(
            args=args, prog_name="scaling", complete_var=COMPLETE_VARIABLE, standalone_mode=False
        )
        return result if isinstance(result, int) else Exit.DONE
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        _show_usage(error, args)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", error=True)
        return Exit.INTERRUPTED
    except ScalingError as error:
        if verbose:
            raise
        show_error(str(error), try_=[f"scaling {shlex.join(args)} {remedy}" for remedy in error.remedies])
        return error.exit_code
    except BrokenPipeError:  # `scaling ... | head`: the reader has what it wants
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the interpreter flushes stdout once more at exit
        return Exit.DONE
    except OSError as error:
        if verbose:
            raise
        where = f" {error.filename!r}" if error.filename else ""
        show_error(f"{error.strerror or error}{where}. Check the path, its permissions and the free space.")
        return Exit.CANNOT
    except Exception as error:
        if verbose:
            raise
        what = f"{type(error).__name__}: {error}"
        show_error(f"a fault of scaling, not of yours ({what}). Run `scaling --verbose ...` and report it.")
        return Exit.CANNOT


def _show_usage(error: click.ClickException, args: list[str]) -> None:
    """What click says of a wrong command, in the voice of every other error; its help where that was asked for."""
    from scaling.cli.usage import told

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    message, commands = told(error, args)
    show_error(message, try_=commands)
