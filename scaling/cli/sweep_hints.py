"""Commands that `scaling sweep` tells the user to type next: quoted for a shell, with the spec and store as they were
given."""

from __future__ import annotations

import shlex

import click
from click.core import ParameterSource


def command_line(verb: str, *words: object) -> str:
    """`scaling sweep VERB WORDS`, as one pastes it."""
    return shlex.join(["scaling", "sweep", verb, *(str(word) for word in words)])


def typed(verb: str, *more: object) -> str:
    """Another command on the spec and store of the one that is running."""
    given = click.get_current_context().params
    store = ["--store", given["store"]] if given.get("store") is not None else []
    return command_line(verb, given["spec"], *store, *more)


def typed_again() -> str:
    """The command that is running, with every option that was given, as one types it to go on."""
    context = click.get_current_context()
    words, options = context.command_path.split(), []
    for parameter in context.command.params:
        value = context.params[str(parameter.name)]
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            options.append((parameter.opts if value else parameter.secondary_opts)[-1])
        else:
            for item in value if parameter.multiple else [value]:
                options += [parameter.opts[-1], str(item)]
    return shlex.join(["scaling", *words[1:], *options])
