"""`scaling completion`: the script that teaches a shell to ask what the Tab key offers, and how to install it."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

from scaling.blocks import Code, Text
from scaling.cli.help import Command
from scaling.errors import ScalingError
from scaling.render.terminal import say, show
from scaling.translation import tr

TYPING = re.compile(r"[\s<>&|;()$'\"\\*?!]")  # what a shell takes for more than itself

# shell → (its start-up file or folder of completions, the command to paste)
INSTALL = {
    "bash": (
        "~/.bashrc",
        "scaling completion bash > ~/.scaling-completion.bash && echo '. ~/.scaling-completion.bash' >> ~/.bashrc",
    ),
    "zsh": (
        "~/.zshrc",
        "scaling completion zsh > ~/.scaling-completion.zsh && echo '. ~/.scaling-completion.zsh' >> ~/.zshrc",
    ),
    "fish": (
        "~/.config/fish/completions/scaling.fish",
        "mkdir -p ~/.config/fish/completions && scaling completion fish > ~/.config/fish/completions/scaling.fish",
    ),
}


@click.command(cls=Command, epilog="Example: scaling completion bash")
@click.argument("shell", type=click.Choice(list(INSTALL)), required=False, metavar="[bash|zsh|fish]")
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script of a shell; without one, say how to install it."""
    if shell is None:
        commands = [Code(command, label=f"{name:<4}", indent=2) for name, (_, command) in INSTALL.items()]
        show(
            Text(tr("Paste the line of your shell, then open a new one. {here}", here=_said_of_here())),
            *commands,
        )
        return
    script = get_completion_class(shell)
    if script is None:
        raise ScalingError(f"this click has no completion for {shell}; upgrade click.")
    say(script(ctx.find_root().command, {}, "scaling", "_SCALING_COMPLETE").source())


def _said_of_here() -> str:
    shell = shell_here()
    if shell is None:
        return ""
    return tr("Here it is installed already.") if is_installed(shell) else tr("Here it is not yet.")


def shell_here() -> str | None:
    """The user's shell, by SHELL, if it is one that completes."""
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in INSTALL else None


def is_installed(shell: str) -> bool:
    """Whether the shell's own file loads our script."""
    path = Path(INSTALL[shell][0]).expanduser()
    with suppress(OSError):
        return re.search("scaling.completion|_SCALING_COMPLETE", path.read_text(errors="replace")) is not None
    return False


@add_completion_class
class _Bash(BashComplete):
    """Bash parts words at "=" and puts in what it is given as it stands: corpus=c4, a name with blanks."""

    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        if incomplete == "=" and args:
            self._before, incomplete = f"{args.pop()}=", ""
        elif args[-1:] == ["="] and len(args) > 1:
            self._before, args = f"{args[-2]}=", args[:-2]
        return args, self._before + incomplete

    def format_completion(self, item: CompletionItem) -> str:
        value = str(item.value).removeprefix(self._before)
        return f"{item.type},{shlex.quote(value) if TYPING.search(value) else value}"
