"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_RUNS = Path(__file__).resolve().parents[2] / "shared" / "runs"


@pytest.fixture(scope="session")
def shared_runs() -> Path:
    """Folder of public run tables that may not be redistributed; tests that need them skip where it is absent."""
    if not SHARED_RUNS.is_dir():
        pytest.skip("the public run tables are not here (../shared/runs); get them with `scaling data get`")
    return SHARED_RUNS
