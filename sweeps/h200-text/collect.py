"""Real text without a network: what this machine has, each text once, as JSONL.

    python sweeps/h200-text/collect.py data/cache/h200-text.jsonl

The standard library with its tests, the Python packages installed beside it (torch alone is some 60 MB), and the
documentation under /usr/share: code and the English prose around it. Files that are not UTF-8, shorter than 200
characters or larger than 2 MB (tables, minified code) are left out. The order is that of a hash, so that a corpus cut
short is a fair sample; it is not the hash by which `scaling corpus prepare` chooses the validation documents.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".py", ".pyi", ".md", ".rst", ".txt")
SHORTEST_CHARACTERS, LONGEST_BYTES = 200, 2_000_000


def folders() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(p) for p in dict.fromkeys((paths["stdlib"], paths["purelib"], "/usr/share"))]


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(origin, text) of the files below a folder; unreadable ones are passed over."""
    for path in (p for p in folder.rglob("*") if p.suffix in SUFFIXES):
        try:
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= LONGEST_BYTES else ""
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) >= SHORTEST_CHARACTERS:
            yield str(path), text


def order_key(text: str) -> str:
    return hashlib.sha256(b"order" + text.encode()).hexdigest()


def main(target: Path) -> None:
    found: dict[str, tuple[str, str]] = {}  # key → origin, text: copies count once
    for folder in folders():
        for origin, text in texts(folder):
            found.setdefault(order_key(text), (origin, text))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as file:
        for key in sorted(found):
            origin, text = found[key]
            file.write(json.dumps({"text": text, "origin": origin}, ensure_ascii=False) + "\n")
    n_bytes = sum(len(text.encode()) for _, text in found.values())
    print(f"{len(found)} texts, {n_bytes / 1e6:.0f} MB → {target}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
