"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
for said in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):  # tests set what they are about
    os.environ.pop(said, None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine makes examples slow, not wrong; and no folder of examples is shared with other runs of the suite.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None, print_blob=True
)
settings.load_profile("suite")

SHARED_RUNS = Path(__file__).resolve().parents[2] / "shared" / "runs"


@pytest.fixture(scope="session", autouse=True)
def _folders_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches and settings of this run of the suite alone: neither what a user has kept nor what another run writes.

    W&B's helper process is given five minutes to answer; its 30 seconds are not enough beside other work.
    """
    folder = tmp_path_factory.mktemp("caches")
    names = ("SCALING_CACHE", "HF_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("WANDB__SERVICE_WAIT", "300")
        yield


@pytest.fixture(scope="session")
def shared_runs() -> Path:
    """Folder of public run tables that may not be redistributed; tests that need them skip where it is absent."""
    if not SHARED_RUNS.is_dir():
        pytest.skip("the public run tables are not here (../shared/runs); get them with `scaling data get`")
    return SHARED_RUNS
