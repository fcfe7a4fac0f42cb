"""List the sentences that a report asks for and its catalogue lacks: python scripts/untranslated.py [es] [SOURCE ...]

As JSON, each sentence with an empty translation: fill in and merge into scaling/translations/LANGUAGE.json.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from scaling.cli import run
from scaling.report import language as languages

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (ROOT / "sweeps" / "quickstart", ROOT / "scaling" / "reference" / "example_runs.csv")


def untranslated(language: str, source: Path) -> dict[str, str]:
    """The sentences of a report of the source that are not in the catalogue."""
    catalogue = languages.load_catalogue(language)
    asked = patch.object(languages, "load_catalogue", lambda _: catalogue)
    with tempfile.TemporaryDirectory() as folder, asked, redirect_stdout(io.StringIO()):
        run(["report", str(source), "--lang", language, "--format", "html", "-o", folder, "--force"])
    return dict.fromkeys(catalogue.untranslated, "")


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "es"
    sources = [Path(path) for path in sys.argv[2:]] or [path for path in SOURCES if path.exists()]
    found: dict[str, str] = {}
    for one in sources:
        found |= untranslated(chosen, one)
    sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
