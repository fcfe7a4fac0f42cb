"""Execute docs/notebook.ipynb and write its outputs into it: python scripts/run_notebook.py"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"
KEPT = ("text/plain", "text/html", "image/png", "image/svg+xml")


def executed(path: Path) -> Any:
    """The notebook with the outputs of a fresh kernel, in an empty folder; what only a machine knows is left out."""
    notebook: Any = nbformat.read(path, as_version=4)
    environment = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "COLUMNS")}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute(env=environment)
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i}", {}
        for output in cell.get("outputs", ()):
            if "data" in output:
                output.data = {kind: output.data[kind] for kind in KEPT if kind in output.data}
                output.metadata = {}
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(NOTEBOOK), NOTEBOOK)
