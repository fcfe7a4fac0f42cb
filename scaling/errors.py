"""The errors a user can meet, and the exit codes of the command line.

Each error is one sentence: the rule, the value, where it came from, what to do next.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

MOST_LISTED = 12  # names in a message
LONGEST_SHOWN = 60  # characters of a wrong value


class Exit(IntEnum):
    """What every command returns; the class of an error says which.

    | code | when |
    | --- | --- |
    | DONE 0 | it is done |
    | CANNOT 1 | it cannot be done: a file that is not there or cannot be written, no plan, a diverged run, a fault |
    | USAGE 2 | the command is wrong: an option, a unit, a name, two budgets |
    | CONTENT 3 | what a file holds is damaged, or not good enough for what was asked |
    | PARTLY 4 | a sweep is done in part: some of its runs failed |
    | INTERRUPTED 130 | stopped by a signal (128 + SIGINT, as shells say); --resume goes on |
    """

    DONE = 0
    CANNOT = 1
    USAGE = 2
    CONTENT = 3
    PARTLY = 4
    INTERRUPTED = 130


class ScalingError(Exception):
    """Base of every error this package raises on purpose.

    `remedies` are the options, as the command line takes them, of which each would mend it: the command line prints
    them behind the command that was given.
    Example:
        >>> import scaling
        >>> try:
        ...     scaling.find_law("chinchila")
        ... except scaling.ScalingError as error:
        ...     print(str(error).split(";")[0])
        unknown law 'chinchila'
    """

    exit_code = Exit.CANNOT

    def __init__(self, message: str = "", *, remedies: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.remedies = tuple(remedies)


class UsageError(ScalingError):
    """An argument or option is wrong: a unit of another kind, two budgets, an unknown name."""

    exit_code = Exit.USAGE


class UnitError(UsageError):
    """A quantity could not be read, or is of another kind than the one asked for."""


def of_option(option: str, parse: Callable[[str], float], text: str) -> float:
    """What `parse` reads of the text of an option; its error names the option."""
    try:
        return parse(text)
    except UnitError as error:
        raise UnitError(f"{option}: {error}") from error


class UnknownNameError(UsageError):
    """A name is not in a table. The message lists the near names.

    `aliases` are other names and the known one each stands for; they are searched too, and told by the known one.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        hint: str = "",
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        name = name if isinstance(name, str) else shown(name)
        self.kind, self.name, self.known = kind, name, sorted(known)
        stands_for = {**(aliases or {}), **{k: k for k in self.known}}
        near = list(dict.fromkeys(stands_for[n] for n in near_names(name, stands_for)))
        more = f", … ({len(self.known)} in all)" if len(self.known) > MOST_LISTED else ""
        listed = ", ".join(near) if near else ", ".join(self.known[:MOST_LISTED]) + more
        choices = f"{'did you mean' if near else 'known'}: {listed}" if self.known else "there are none"
        super().__init__(f"unknown {kind} {name!r}; {choices}.{' ' + hint if hint else ''}")


class DataError(ScalingError):
    """A table of runs cannot be read or holds impossible values."""

    exit_code = Exit.CONTENT


class MissingFileError(DataError):
    """There is no such file, folder or address, or it may not be opened or written: nothing was read or damaged.

    A DataError still, for whoever catches what cannot be read.
    """

    exit_code = Exit.CANNOT


class ChangedCorpusError(DataError):
    """A run was begun on another text than is there now: to go on would mix them, to start over would lose it."""


class FitError(DataError):
    """The runs are readable but cannot determine what was asked."""


class StorageError(ScalingError):
    """A file cannot be written: no room, no permission, a file system that went away. No fault of what was written."""


_STORAGE_FAULTS = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "ENOLCK", "EMFILE",
        "ENFILE", "ENOMEM", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip


def is_fault_of_storage(error: BaseException) -> bool:
    """Whether every file there would meet this error (no room, read-only, a mount or server that is gone).

    False for what ails one file: it is missing, a folder, another user's.
    """
    if isinstance(error, StorageError):  # safetensors: "No space left on device (os error 28)"
        told = re.search(r"os error (\d+)", str(error))
        return told is None or int(told[1]) in _STORAGE_FAULTS
    return isinstance(error, OSError) and error.errno in _STORAGE_FAULTS


class LawError(ScalingError):
    """A law cannot answer: no interior optimum, a loss below its floor, no such law file."""


class DamagedLawError(LawError):
    """A law file holds no law that this version can read."""

    exit_code = Exit.CONTENT


class PlanError(ScalingError):
    """No plan satisfies the budget and the constraints."""


def shown(value: object) -> str:
    """The value for a message; of a long one its kind."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN and "\n" not in text else f"a {type(value).__name__}"


def near_names(name: str, known: Iterable[str], n: int = 4) -> list[str]:
    """Names that `name` may mean, the nearest spelling first: they share its words, whatever else they have.

    Letters alone do not make a name near: an h1000 is no a100, and `train_loss` no `train_tokens`.
    """
    from difflib import SequenceMatcher  # 5 ms: only when something went wrong

    key = _fold(name)
    near = []
    for other in known:
        folded = _fold(other)
        inside = min(len(key), len(folded)) > 2 and (key in folded or folded in key)
        ratio = SequenceMatcher(None, key, folded).ratio()
        if inside or (ratio > 0.5 and _share_words(name, other)):
            near.append((-ratio, other))
    return list(dict.fromkeys(other for _, other in sorted(near, key=lambda pair: pair[0])))[:n]


def _share_words(name: str, other: str) -> bool:
    """Whether every word of the one stands in the other, a slip in its spelling apart; of short words the first."""
    from difflib import get_close_matches

    ours, theirs = (re.findall(r"[a-z]+", text.lower()) for text in (name, other))
    if any(w != like and sorted(w) == sorted(like) for w in ours for like in theirs if len(w) > 2):
        return True  # two letters exchanged: gtp2
    long = [[w for w in words if len(w) > 2] for words in (ours, theirs)]
    if not all(long):
        return ours[:1] == theirs[:1] and bool(ours)
    return any(
        all(get_close_matches(word, among, n=1, cutoff=0.75) for word in words)
        for words, among in (long, long[::-1])
    )


def _fold(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
