"""The notebook of the documents says what it says when it is run again, and shows every picture."""

from __future__ import annotations

import base64
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    """The notebook as committed, and run again."""
    nbformat = pytest.importorskip(
        "nbformat", reason="needs nbclient and ipykernel: pip install -e '.[test]'"
    )
    pytest.importorskip("ipykernel")
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "scripts" / "run_notebook.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return nbformat.read(script.NOTEBOOK, as_version=4), script.executed(script.NOTEBOOK)


def _outputs(notebook: Any) -> list[list[Any]]:
    return [cell.get("outputs", []) for cell in notebook.cells]


def _text(output: Any) -> str:
    told = output["text"] if output.output_type == "stream" else output.data.get("text/plain", "")
    return re.sub(r"\s+", " ", told)  # pandas' columns are as wide as it likes


def test_every_cell_says_what_is_committed(both: tuple[Any, Any]) -> None:
    committed, again = ([[_text(o) for o in cell] for cell in _outputs(notebook)] for notebook in both)
    assert committed == again, "docs/notebook.ipynb is stale: python scripts/run_notebook.py"


def test_every_plot_of_the_session_is_shown(both: tuple[Any, Any]) -> None:
    """A backend of pyplot's turns itself on when it is loaded; our settings must not turn it off again."""
    for notebook in both:
        drawn = 0
        for cell in notebook.cells:
            pictures = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
            assert len(pictures) == cell.source.count(".plot()"), cell.source
            for picture in pictures:
                assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")
            drawn += len(pictures)
        assert drawn == 3


def test_it_is_small(both: tuple[Any, Any]) -> None:
    assert (ROOT / "docs" / "notebook.ipynb").stat().st_size < 300_000
    assert not any(o.output_type == "error" for cell in _outputs(both[0]) for o in cell)
