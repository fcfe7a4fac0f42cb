"""The names of corpora: mixtures of several, and token files made elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from scaling.errors import DataError, UsageError

TOKENS = "tokens:"
TOKENS_FORM = "tokens:DIR,dtype=uint16,vocab=50257"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WEIGHT = re.compile(rf"{_NUMBER}(?=\*)")
_NEXT = re.compile(rf"\+(?={_NUMBER}\*)")  # a + that no weight follows belongs to the name of a folder
_OPTIONS = re.compile(r"(?:,[a-z]+=[^,/]*)*$")
# train.bin and val.bin (nanoGPT), fineweb_train_000001.bin (llm.c), .npy
_SPLIT_FILES = {
    "train": re.compile(r"(.*_)?train(_.*)?"),
    "validation": re.compile(r"(.*_)?val(idation)?(_.*)?"),
}


def split_mixture(name: str) -> list[tuple[float, str]] | None:
    """Weights and names of "0.7*folder_a+0.3*folder_b"; None when `name` is one corpus.

    Raises:
        UsageError: it has the form of a mixture, but a weight is missing or is no number.
    """
    if "*" not in name or Path(name).is_dir():
        return None
    parts, rest = [], name
    while rest:
        weight = _WEIGHT.match(rest)
        if weight is None:
            raise UsageError(
                f"a mixture reads weight*corpus+weight*corpus; {rest!r} has no weight in {name!r}."
            )
        after = rest[weight.end() + 1 :]
        following = _NEXT.search(after)
        part, rest = (after[: following.start()], after[following.end() :]) if following else (after, "")
        if "+" in part and not part.startswith(TOKENS) and not Path(part).is_dir():
            raise UsageError(
                f"a mixture reads weight*corpus+weight*corpus; {part!r} is no folder, and what follows its + "
                f"has no weight in {name!r}."
            )
        parts.append((float(weight.group()), part))
    if min(weight for weight, _ in parts) < 0:
        raise UsageError(f"the weights of a mixture must not be negative; got {name!r}.")
    return parts


def parse_token_files(name: str) -> tuple[Path, str, int]:
    """Folder, dtype and vocabulary of "tokens:DIR,dtype=uint16,vocab=50257", the defaults being nanoGPT's."""
    body = name.removeprefix(TOKENS)
    options = _OPTIONS.search(body)
    assert options is not None  # it matches the empty text
    values = {"dtype": "uint16", "vocab": "50257"}
    for option in filter(None, options.group().split(",")):
        key, _, value = option.partition("=")
        if key not in values:
            raise UsageError(f"token files read {TOKENS_FORM}; got the option {key!r} in {name!r}.")
        values[key] = value
    if values["dtype"] not in ("uint16", "uint32"):
        raise UsageError(
            f"the dtype of token files is uint16 or uint32; got {values['dtype']!r} in {name!r}."
        )
    if not re.fullmatch(r"[1-9]\d*", values["vocab"]):
        raise UsageError(
            f"the vocab of token files is a positive number; got {values['vocab']!r} in {name!r}."
        )
    return Path(body[: options.start()]), values["dtype"], int(values["vocab"])


def find_token_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The .bin and .npy files of the two splits, in name order."""
    files = sorted(p for p in folder.glob("*") if p.suffix in (".bin", ".npy")) if folder.is_dir() else []
    return {
        split: tuple(p for p in files if pattern.fullmatch(p.stem)) for split, pattern in _SPLIT_FILES.items()
    }


def require_token_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The token files of both splits.

    Raises:
        DataError: one of them has none.
    """
    found = find_token_files(folder)
    for split, files in found.items():
        twice = {p.stem for p in files if p.suffix == ".bin"} & {p.stem for p in files if p.suffix == ".npy"}
        if twice:
            name = min(twice)
            raise DataError(
                f"{folder} holds {name}.bin and {name}.npy: the same tokens twice? Move one away."
            )
        if not files:
            short = "val" if split == "validation" else split
            raise DataError(
                f"{folder} holds no token file of the {split} split; it is to be named like {short}.bin or {short}.npy."
            )
    return found
