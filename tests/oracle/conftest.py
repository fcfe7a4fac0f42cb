"""One thread: on a shared machine two are several times slower than one, and results must not depend on it."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

if os.environ.get("CI") == "true":  # there a comparison that does not run is a failure, not a skip
    import accelerate  # noqa: F401
    import datasets  # noqa: F401
    import gguf  # noqa: F401
    import transformers  # noqa: F401
