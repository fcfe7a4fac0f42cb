"""Reports: what runs, fits and a plan say of one target, in HTML, PDF and Markdown, drawn and told once.

`gather_evidence` fits and plans, `compose_report` puts it into blocks, `write_report` writes them in every format.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

_MODULES = {
    "compose": ("Report", "compose_report"),
    "evidence": ("Evidence", "gather_evidence"),
    "language": ("LANGUAGES", "load_catalogue"),
    "reproduction": ("Reproduction", "describe_reproduction"),
    "write": ("FORMATS", "Written", "write_report"),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)
