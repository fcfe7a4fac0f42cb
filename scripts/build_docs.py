"""Build the documentation site into build/site: python scripts/build_docs.py [FOLDER instead of build]

The pages are the Markdown files of the checkout, in their places, so that one link leads to the same file there and on
the site. What differs: comments go, but for the reason why a block is not run by the tests, which a reader sees; lists
get the blank line before them that Python-Markdown wants and GitHub does not; and docs/api.md gives way to the
reference that mkdocstrings makes of the same names. The build fails on any warning and on any link into nothing.

By zensical, the successor that the makers of Material for MkDocs announced with its end of life; it reads mkdocs.yml.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
FOLDERS = ("docs", "benchmarks", "reports", "sweeps")
TOPS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff")
PICTURES = {".png", ".svg"}
NOT_RUN = re.compile(r"^<!-- not run: ([^>]*) -->$", re.M)
COMMENT = re.compile(r"^<!--.*?-->\n", re.M | re.S)
FENCE = re.compile(r"^(```.*?^```)$", re.M | re.S)
LIST_ITEM = re.compile(r"(?:[-*+]|\d+\.) ")
CSS = """/* figures are drawn for white paper: they keep it where the page is dark */
.md-typeset img { background: #fff; border-radius: 4px; }
.md-grid { max-width: 68rem; }  /* a screen of 100 columns fits */
.md-typeset table:not([class]) { font-size: .7rem; }
.md-typeset td code { white-space: nowrap; word-break: normal; }
.md-typeset table:not([class]) :is(td, th) { padding: .5em .9em; min-width: 3rem; }
.md-typeset table:not([class]) td:last-child { min-width: 10rem; }
.md-typeset pre > code { font-size: .72rem; }
.md-typeset :is(p, li, td) a { text-decoration: underline; }
/* at least 4.5:1 on the paper of code, as WCAG asks */
[data-md-color-scheme="default"] {
  --md-code-hl-comment-color: #595f67; --md-code-hl-operator-color: #595f67; --md-code-hl-punctuation-color: #595f67;
  --md-code-hl-generic-color: #595f67;
}
[data-md-color-scheme="slate"][data-md-color-primary] {
  --md-typeset-a-color: #7aa5f2;
  --md-code-hl-number-color: #f08070; --md-code-hl-constant-color: #a598ee; --md-code-hl-function-color: #d08fe0;
}
"""


def lay_out(pages: Path) -> None:
    """Copy the pages and pictures of the checkout, and write the reference."""
    from write_api_page import HEAD, SUBJECTS

    shutil.rmtree(pages, ignore_errors=True)
    for source in _sources():
        target = pages / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(for_site(source.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copy(source, target)
    lists = [HEAD.replace("This page is written by `scripts/write_api_page.py` from the docstrings.\n", "")]
    for subject, names in SUBJECTS.items():
        page = f"{subject.lower().replace(' ', '-')}.md"
        links = ", ".join(f"[`{name}`](reference/{page}#scaling.{name})" for name in names)
        lists.append(f"## {subject}\n\n{links}\n")
        (pages / "docs" / "reference").mkdir(exist_ok=True)
        entries = "\n".join(f"::: scaling.{name}\n" for name in names)
        (pages / "docs" / "reference" / page).write_text(f"# {subject}\n\n{entries}", encoding="utf-8")
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    (pages / "docs" / "notebook.md").write_text("\n\n".join(_notebook(notebook)), encoding="utf-8")
    (pages / "docs" / "api.md").write_text("\n".join(lists), encoding="utf-8")
    (pages / "site.css").write_text(CSS, encoding="utf-8")


def _sources() -> Iterator[Path]:
    yield from (ROOT / name for name in TOPS)
    for folder in FOLDERS:
        files = sorted((ROOT / folder).rglob("*"))
        yield from (f for f in files if f.suffix == ".md" or f.suffix in PICTURES)


def _notebook(notebook: dict[str, Any]) -> Iterator[str]:
    """A notebook as Markdown: its text, its code, and what each cell printed or drew."""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                yield f"![{source}](data:image/png;base64,{''.join(data['image/png']).strip()})"
            else:
                told = "".join(output.get("text") or data["text/plain"]).rstrip()
                yield f"```text\n{told}\n```"


def for_site(text: str) -> str:
    """Markdown as GitHub reads it, for Python-Markdown."""
    text = text.replace("notebook.ipynb)", "notebook.md)")
    text = NOT_RUN.sub(r"*Not run by the tests: \1.*\n", text)
    parts = FENCE.split(_without_comments(text))
    return "".join(part if i % 2 else _spaced(part) for i, part in enumerate(parts))


def _without_comments(text: str) -> str:
    """Comments may hold fenced blocks, and stand in none of them."""
    return COMMENT.sub("", text)


def _spaced(text: str) -> str:
    """A blank line before each list that follows a paragraph."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        in_list = before.startswith(" ") or LIST_ITEM.match(before)
        if LIST_ITEM.match(line) and before.strip() and not in_list:
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def build(folder: Path) -> str:
    """Run zensical on folder/pages, into folder/site; what it said."""
    shutil.rmtree(folder / "site", ignore_errors=True)
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for here, there in (
        ("build/", ""),
        ("paths: [.]", f"paths: [{ROOT}]"),
        ("[scripts/", f"[{ROOT}/scripts/"),
    ):
        settings = settings.replace(here, there)
    (folder / "mkdocs.yml").write_text(settings, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--clean",
        "--strict",
        "-f",
        str(folder / "mkdocs.yml"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"zensical failed:\n{said}")
    return said


class _Links(HTMLParser):
    """Of one page: what it links to, what it loads, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.anchors |= {told.get("id", ""), told.get("name", "")}
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        elif tag == "link" and not {"canonical", "next", "prev", "alternate"} & set(
            told.get("rel", "").split()
        ):
            self.loads.append(told.get("href", ""))
        elif tag != "a":
            self.loads += [told[name] for name in ("src", "data", "poster") if told.get(name)]


def problems(site: Path) -> list[str]:
    """Links that lead nowhere, and whatever a page would load from elsewhere."""
    pages = {path.resolve(): _Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        if where.name == "404.html":  # its links are absolute, for wherever it is shown
            continue
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{where} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                found.append(f"{where} links to {link}, which is not there")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where} links to {link}; no such anchor there")
    for sheet in site.rglob("*.css"):
        found += [
            f"{sheet.relative_to(site)} loads {url}"
            for url in re.findall(
                r"(?:url\(|@import )[\"']?(https?:[^\"')]+)", sheet.read_text(encoding="utf-8")
            )
        ]
    return found


def make_site(folder: Path) -> Path:
    """The site, in folder/site.

    Raises:
        SystemExit: with every warning of the build and every link into nothing.
    """
    folder = folder.resolve()
    lay_out(folder / "pages")
    said = build(folder)
    # --strict lets pass what griffe says of a docstring
    wrong = [line for line in said.splitlines() if re.search(r"warning|error|griffe:", line, re.I)]
    wrong += problems(folder / "site")
    if wrong:
        sys.exit("the site is not as it should be:\n" + "\n".join(wrong) + f"\n\n{said}")
    return folder / "site"


if __name__ == "__main__":
    made = make_site(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build")
    print(f"built {made / 'index.html'}, {len(list(made.rglob('*.html')))} pages")
