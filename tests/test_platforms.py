"""What other systems lack, taken away from this one: no Mac and no Windows is at hand.

A process in which `sys.platform` says "win32", fcntl is not to be had, and the signals and calls that Windows lacks are
gone, after the libraries that choose their own system code are loaded. It shows that ours asks for none of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
AS_WINDOWS = """
import asyncio, click, matplotlib.pyplot, multiprocessing, numpy, pandas, scipy.optimize, subprocess, sys, os, signal
import scipy.special, shutil, tempfile, rich.console
sys.platform = "win32"
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = None
for name in ("fork", "killpg", "sched_getaffinity", "getuid", "uname", "setsid", "getloadavg"):
    delattr(os, name)
for name in ("SIGKILL", "SIGUSR1", "SIGUSR2", "SIGHUP"):
    delattr(signal, name)
from scaling.cli import main
sys.argv = ["scaling", *sys.argv[1:]]
main()
"""


def as_windows(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", AS_WINDOWS, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="cp1252"
    )


def test_planning_and_fitting_ask_for_nothing_that_windows_lacks(tmp_path: Path) -> None:
    for command in (
        ("plan", "--flops", "1e21"),
        ("plan", "--hardware", "8xH100", "--time", "14d", "--show", "all", "--plot", "plan.png"),
        ("demo", "--write", "runs.csv"),
        ("fit", "runs.csv", "-o", "fit.json", "--plot", "fit.png"),
        ("fit", "runs.csv", "--method", "isoflop", "--show", "all"),
        ("predict", "fit.json", "runs.csv", "--json"),
        ("report", "runs.csv", "--target", "1e22", "--format", "html,md", "-o", "report"),
        ("page", "fit.json", "-o", "page.html"),
        ("laws", "list"),
        ("audit",),
    ):
        done = as_windows(tmp_path, *command)
        assert done.returncode == 0, f"{command}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    assert (tmp_path / "page.html").stat().st_size > 50_000


def test_the_numbers_are_those_of_this_system(tmp_path: Path) -> None:
    arguments = ("plan", "--flops", "1e21", "--json")
    here = subprocess.run(
        [sys.executable, "-m", "scaling", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(as_windows(tmp_path, *arguments).stdout) == json.loads(here.stdout)


def test_a_sweep_is_shown_there_and_its_training_refused_with_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    made = as_windows(tmp_path, "sweep", "init", "first")
    assert made.returncode == 0, made.stderr
    refused = as_windows(tmp_path, "sweep", "run", "first")
    assert refused.returncode == 2
    assert "does not run on Windows" in refused.stderr
    assert "wsl --install" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    restored = as_windows(tmp_path, "sweep", "show", str(ROOT / "sweeps" / "quickstart"))
    assert restored.returncode == 0, restored.stderr


def test_asking_whether_a_process_lives_sends_windows_no_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """os.kill(pid, 0) is Ctrl-C there."""
    pytest.importorskip("torch")
    import ctypes

    from scaling.lm import folder

    alive = {4: 77}
    kernel = SimpleNamespace(
        OpenProcess=lambda _right, _inherit, pid: alive.get(pid, 0), CloseHandle=lambda _: 1
    )
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(folder.sys, "platform", "win32")
    monkeypatch.setattr(folder.os, "kill", lambda *_: pytest.fail("a signal was sent"))
    assert folder._is_alive(4, None)
    assert not folder._is_alive(5, None)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_a_gpu_is_chosen_where_torch_has_one(
    cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from scaling.lm import device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    probe = SimpleNamespace(item=lambda: 0.0)
    asked = []
    monkeypatch.setattr(
        torch,
        "zeros",
        lambda _n, device: asked.append(device) or SimpleNamespace(device=device, item=probe.item),
    )
    assert device.find_device("auto") == chosen
    assert asked == [chosen]


def test_an_apple_gpu_that_is_not_there_is_refused_in_one_sentence() -> None:
    torch = pytest.importorskip("torch")
    if torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    from scaling.errors import UsageError
    from scaling.lm.device import find_device

    with pytest.raises(UsageError, match="'mps' is none that can be used here"):
        find_device("mps")


def test_the_workflow_covers_the_systems_of_the_page_and_runs_commands_of_the_readme() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    systems = workflow["jobs"]["install"]["strategy"]["matrix"]["system"]
    page = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    for system, name in (
        ("ubuntu-latest", "Linux"),
        ("macos-latest", "macOS"),
        ("windows-latest", "Windows"),
    ):
        assert system in systems
        assert name in page
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    (install,) = re.findall(r"<!-- ci: install -->\n```bash\n(.*?) && ", readme)
    assert any(install in step for step in steps)
