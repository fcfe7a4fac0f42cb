"""Reports: what runs, fits and a plan say of one target, in HTML, PDF and Markdown, drawn and told once.

`gather_evidence` fits and plans, `compose_report` puts it into blocks, `write_report` writes them in every format.
"""

from __future__ import annotations

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
