"""Arguments of public functions, checked where they enter: the name, what it must be, what was given instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from scaling.errors import ScalingError, UnknownNameError, UsageError, shown

LARGEST_WHOLE = 2**63  # what NumPy counts with


def is_number(value: object) -> bool:
    """Whether it is one real number (NumPy's included) that a float can hold, NaN and infinities included."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) < 1e308
    if isinstance(value, float):
        return True
    from numbers import Real

    return isinstance(value, Real)


def require_numbers(
    *,
    above: float = 0.0,
    below: float = math.inf,
    or_none: bool = False,
    error: Callable[[str], ScalingError] = UsageError,
    **values: object,
) -> None:
    """Raise unless each is a number strictly between the two; None passes where it stands for "not given"."""
    for name, value in values.items():
        if value is None and or_none:
            continue
        if not is_number(value) or not above < value < below:  # type: ignore[operator]  # it is a number
            raise error(f"{name} must be {_kind(above, below)}, got {shown(value)}.")


def _kind(above: float, below: float) -> str:
    if math.isinf(below):
        positive = "a positive finite number" if above == 0 else f"a finite number above {above:g}"
        return "a finite number" if math.isinf(above) else positive
    return f"a number between {above:g} and {below:g}"


def require_level(level: object) -> None:
    """Raise unless it is the level of an interval: 0.95."""
    if not is_number(level) or not 0 < level < 1:  # type: ignore[operator]
        raise UsageError(f"the level of an interval lies between 0 and 1; got {shown(level)}.")


def require_whole(*, least: int = 0, or_none: bool = False, **values: object) -> None:
    """Raise unless each is an integer (NumPy's included) of at least `least`; 2.0 is none: ranges do not take it."""
    for name, value in values.items():
        if value is None and or_none:
            continue
        whole = hasattr(value, "__index__") and is_number(value)
        if not whole or not least <= value < LARGEST_WHOLE:  # type: ignore[operator]
            raise UsageError(f"{name} must be a whole number of at least {least}, got {shown(value)}.")


def require_flags(**values: object) -> None:
    """Raise unless each is True or False."""
    for name, value in values.items():
        if not isinstance(value, bool) and type(value).__name__ != "bool_":  # NumPy's
            raise UsageError(f"{name} is True or False, got {shown(value)}.")


def is_one_of(value: object, known: Iterable[str]) -> bool:
    """Whether the value is one of these names; False of what is no text, which no dictionary or array need bear."""
    return isinstance(value, str) and value in known


def require_known(kind: str, name: object, known: Iterable[str]) -> None:
    """Raise unless the name is one of those, with the near ones."""
    names = list(known)
    if not is_one_of(name, names):
        raise UnknownNameError(kind, name, names)  # type: ignore[arg-type]  # it shows any value


def require_kind(name: str, value: object, kind: type | tuple[type, ...], how: str) -> None:
    """Raise unless the value is of this class; `how` says how to get one."""
    if not isinstance(value, kind):
        named = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        article = "an" if named[0] in "AEIOU" else "a"
        raise UsageError(f"{name} must be {article} {named}, got {shown(value)}. {how}")


def require_lists_of_texts(*, or_none: bool = False, **values: object) -> None:
    """Raise unless each is a sequence or set of texts; one text is none."""
    for name, value in values.items():
        if value is None and or_none:
            continue
        if isinstance(value, (str, Mapping)) or not isinstance(value, (Sequence, Set)):
            raise UsageError(f"{name} must be a list of texts, got {shown(value)}.")
        if wrong := [item for item in value if not isinstance(item, str)]:
            raise UsageError(f"{name} must be a list of texts, got {shown(wrong[0])} among them.")


def require_texts(*, or_none: bool = False, **values: object) -> None:
    """Raise unless each is a text."""
    for name, value in values.items():
        if not isinstance(value, str) and not (value is None and or_none):
            raise UsageError(f"{name} must be a text, got {shown(value)}.")


def require_path(name: str, value: object) -> None:
    """Raise unless the value is the path of a file or folder."""
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        raise UsageError(f"{name} must be a path, got {shown(value)}.")
