"""For the documentation site: our docstrings, as griffe reads them.

Ours set no blank line between sections, and head examples `Example:`; griffe wants one, and `Examples:` for code.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"\n(?=(?:Args|Returns|Yields|Raises|Source|Example):)")


class Sections(griffe.Extension):
    """Part them, before docstrings are parsed."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring:
            parted = SECTION.sub("\n\n", obj.docstring.value)
            obj.docstring.value = parted.replace("\nExample:\n", "\nExamples:\n")
