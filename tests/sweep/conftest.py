"""A tiny sweep: its spec in a file, and all of it trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_sweeps import TINY, tiny_spec, write_toml

from scaling.sweep.design import Design


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisors of this process look at their store as often as `poll_s` says, on a slow disk too: tests that act
    at a look would come too late otherwise."""
    from scaling.sweep import run

    monkeypatch.setattr(run, "POLL_SHARE", 1.0)


@pytest.fixture
def tiny_toml(tmp_path: Path) -> Path:
    return write_toml(tmp_path / "sweep.toml", TINY)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Design, dict[str, float]]:
    """The tiny sweep trained in one go, one run after the other, and the loss of each run."""
    from running import losses, plan, run_inline

    from scaling.sweep.store import Store

    design = plan(tiny_spec(grid={"budgets": [4e7, 8e7, 1.6e8]}))
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    report = run_inline(store, design)
    assert report.status.counts == {"done": len(design.runs)}
    return design, losses(store, design)
