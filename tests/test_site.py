"""The documentation site: built without a warning, whole, and read without a network."""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from browser import chromium

ROOT = Path(__file__).resolve().parents[1]


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_page_of_laws_is_written_from_what_the_package_holds() -> None:
    said = "docs/laws.md is stale: python scripts/write_laws_page.py"
    assert (ROOT / "docs" / "laws.md").read_text(encoding="utf-8") == _script("write_laws_page").page(), said


def test_every_document_is_in_the_navigation() -> None:
    named = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    documents = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
    assert documents <= named
    assert {name for name in named if not (ROOT / name).exists()} <= {
        "docs/notebook.md"
    }  # made of the notebook


def test_github_markdown_becomes_what_the_site_reads() -> None:
    for_site = _script("build_docs").for_site
    assert for_site("Words:\n- one\n- two\n") == "Words:\n\n- one\n- two\n"
    assert for_site("- one\n  more\n- two\n") == "- one\n  more\n- two\n"
    fenced = "```text\nWords:\n- one\n```\n"
    assert for_site(fenced) == fenced
    assert for_site("<!-- a\n```bash\nx\n```\n-->\nWords\n") == "Words\n"
    assert for_site("<!-- not run: needs a GPU -->\n") == "*Not run by the tests: needs a GPU.*\n\n"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="gone.html">x</a>', "which is not there"),
        ('<a href="#gone">x</a>', "no such anchor"),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org"),
        ('<img src="https://example.org/a.png">', "loads https://example.org"),
    ],
)
def test_what_is_wrong_with_a_site_is_found(body: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    (found,) = _script("build_docs").problems(tmp_path)
    assert problem in found


def test_a_whole_site_has_no_problem(tmp_path: Path) -> None:
    page = '<h1 id="a b">x</h1><a href="#a%20b">x</a><a href="https://arxiv.org">x</a><img src="data:image/gif;,">'
    (tmp_path / "index.html").write_text(page)
    assert _script("build_docs").problems(tmp_path) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="needs zensical and mkdocstrings: pip install '.[docs]'")
    made: Path = _script("build_docs").make_site(
        tmp_path_factory.mktemp("site")
    )  # ends the test on any warning
    return made


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.slow
def test_every_public_name_has_an_entry(site: Path) -> None:
    subjects = _script("write_api_page").SUBJECTS
    shown = "".join(page.read_text(encoding="utf-8") for page in (site / "docs" / "reference").glob("*.html"))
    missing = [n for names in subjects.values() for n in names if f'id="scaling.{n}"' not in shown]
    assert missing == []


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("width", [1280, 390])
def test_a_reader_walks_every_page_and_nothing_is_asked_of_anywhere_else(
    site: Path, address: str, width: int
) -> None:
    """In a real browser: no request elsewhere, no error, nothing wider than the screen, and the search finds."""
    elsewhere: list[str] = []
    errors: list[str] = []
    with chromium() as browser:
        page: Any = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or elsewhere.append(r.url))
        page.on("console", lambda m: errors.append(f"{page.url}: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(f"{page.url}: {e}"))
        wide = []
        for path in sorted(site.rglob("*.html")):
            if path.name != "404.html":
                page.goto(address + str(path.relative_to(site)))
                if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    wide.append(str(path.relative_to(site)))
                assert page.evaluate("[...document.images].every(i => !i.complete || i.naturalWidth)"), path
        page.goto(address)
        page.keyboard.press("/")
        page.keyboard.type("jackknife")
        page.get_by_text("How an interval is made").last.wait_for()
    assert elsewhere == []
    assert errors == []
    assert wide == []


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_reader_with_weak_eyes_can_read_it(address: str, scheme: str) -> None:
    """axe-core on pages with code, tables and pictures: contrast, and links that are not told by colour alone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = []
    with chromium() as browser:
        page: Any = browser.new_page(color_scheme=scheme)
        for name in ("index", "docs/intervals", "docs/notebook", "docs/reference/fits"):
            page.goto(f"{address}{name}.html")
            page.locator(
                f"[data-md-color-scheme={'slate' if scheme == 'dark' else 'default'}]"
            ).first.wait_for()
            found += [
                (name, v["id"], v["nodes"][0]["html"])
                for v in axe.run(page).response["violations"]
                if v["id"] in ("color-contrast", "link-in-text-block", "image-alt", "heading-order")
            ]
    assert found == []
