"""A real headless Chromium for tests, driven by Playwright: Debian's, which scripts/install_chromium.sh installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

INSTALL = Path(__file__).resolve().parents[1] / "scripts" / "install_chromium.sh"
# no sandbox: CI runs as root; no network: a page that asks for one is at fault
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-dev-shm-usage",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; skipped with the reason where there is none, which is a failure under CI."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _lacking("playwright is not installed: pip install -e '.[test]'")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None and os.environ.get("CI"):
        subprocess.run([str(INSTALL)], check=True)
        program = shutil.which("chromium")
    if program is None:
        _lacking("no chromium is installed; scripts/install_chromium.sh installs Debian's")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(SWITCHES), timeout=120_000)
        yield browser
        browser.close()


def _lacking(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
