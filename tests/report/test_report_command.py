"""`scaling report`: from a table, a sweep or a law to pages that answer, whatever the input."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from report_inputs import (
    HEADERS,
    HOSTILE,
    planted,
    planted_optimum,
    training_curves,
    write_table,
)

from scaling.cli import cli, run
from scaling.cli.report_source import read_source
from scaling.cli.tables import TableOptions
from scaling.installing import extra_command
from scaling.report import describe_reproduction
from scaling.translation import tr

ROOT = Path(__file__).resolve().parents[2]
BUDGETS = (1e18, 1e19, 1e20, 1e21)
FEW = (0.3, 0.6, 1.0, 1.7, 3.0)  # times the size of 20 tokens a parameter
SECTIONS = [
    "data", "doubts", "envelope", "valleys", "law", "optimum", "surface", "residuals", "hold-out", "coefficients",
    "agreement", "plan", "explore", "next", "runs", "reproduction",
]  # fmt: skip


def report(source: Path, output: Path, *options: str) -> Result:
    arguments = ["report", str(source), "-o", str(output), "--bootstrap", "100", *options]
    if source.is_dir() or source.suffix == ".json":
        arguments = [a for a in arguments if a not in ("--bootstrap", "100")]
    return CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)


def told(folder: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((folder / "report.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "runs.csv", planted(BUDGETS, FEW))


@pytest.fixture(scope="module")
def folder(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    report(table, out, "--target", "1e22", "--format", "html,md")
    return out


@pytest.fixture(scope="module")
def undemanding(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the screen says, and the folder, of a report without a target over an earlier one, at a stated date."""
    out = tmp_path_factory.mktemp("undemanding")
    (out / "figures").mkdir()
    (out / "figures" / "figure-99-isoflop.svg").write_text("<svg/>")
    (out / "figures" / "notes.txt").write_text("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        return report(table, out, "--format", "md").output, out


@pytest.fixture(scope="module")
def spanish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded quick start in Spanish."""
    out = tmp_path_factory.mktemp("spanish")
    report(ROOT / "sweeps" / "quickstart", out, "--lang", "es", "--format", "html,md")
    return out


class Page(HTMLParser):
    """The tags of a page in order, its ids, and the text of its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.hrefs: list[str] = []
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.attributes.setdefault(tag, []).append(named)
        if named.get("id"):
            self.ids.append(str(named["id"]))
        for name in ("href", "xlink:href", "src"):
            if named.get(name):
                self.hrefs.append(str(named[name]))


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


# --- the answer ---


def test_the_first_words_are_what_to_train_and_the_interval_holds_the_planted_optimum(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    answer = page[page.index('class="answer"') : page.index("<nav")]
    assert re.search(r"Train [\d.]+B parameters on [\d.]+B tokens with 1e22 FLOPs\.", answer)
    assert answer.index("Train ") < answer.index("How sure") < answer.index("Why believe it")
    plan = told(folder)["plan"]
    assert isinstance(plan, dict)
    ends = plan["intervals"]["n_params"]
    assert ends["low"] < planted_optimum(1e22) < ends["high"]


def test_the_distance_of_the_target_is_said(folder: Path, table: Path, tmp_path: Path) -> None:
    assert "near: 10 times the compute of the largest run" in (folder / "report.md").read_text()
    report(table, tmp_path, "--target", "1e24", "--format", "md")
    assert "very far: 1,000 times the compute of the largest run" in (tmp_path / "report.md").read_text()


def test_without_a_target_it_is_ten_times_the_largest_run(undemanding: tuple[str, Path]) -> None:
    assert told(undemanding[1])["target_flops"] == pytest.approx(1e22)


def test_every_section_is_there_and_none_is_empty(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    found = re.findall(r'<section id="([^"]+)">\n<h2>[^<]+</h2>\n(.*?)\n</section>', page, re.DOTALL)
    assert [name for name, _ in found] == SECTIONS
    assert all(inside.strip() for _, inside in found)


def test_a_section_that_is_left_out_says_why(folder: Path) -> None:
    reasons = told(folder)["left_out"]
    assert isinstance(reasons, dict)
    assert "envelope needs the losses along each training curve" in reasons["envelope"]
    assert reasons["envelope"] in (folder / "report.md").read_text()
    assert all(reason.strip() for reason in reasons.values())


def test_the_screen_says_the_answer_and_what_was_written(undemanding: tuple[str, Path]) -> None:
    shown = undemanding[0]
    assert "Train " in shown
    assert "report.md" in shown
    assert len(shown.splitlines()) <= 20


def test_a_target_that_is_no_number_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    assert run(["report", str(tmp_path / "none.csv"), "--target", "big", "-o", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_a_report_is_not_replaced_unasked(
    folder: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "report.html").read_bytes()
    assert run(["report", str(table), "-o", str(folder)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "report.html").read_bytes() == before


def test_a_format_that_is_none_is_refused(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(table), "-o", str(tmp_path), "--format", "html,docx"]) == 2
    assert "html,pdf,md" in capsys.readouterr().err


# --- the page ---


def test_the_page_has_landmarks_one_title_and_contents_that_lead_to_its_sections(folder: Path) -> None:
    page = page_of(folder)
    assert (
        page.tags.count("h1")
        == page.tags.count("main")
        == page.tags.count("nav")
        == page.tags.count("header")
        == 1
    )
    links = [href[1:] for href in page.hrefs if href.startswith("#") and href[1:] in SECTIONS]
    assert links == [SECTIONS[0], *SECTIONS]  # the first leads past the contents
    assert len(page.ids) == len(set(page.ids))


def test_headings_of_the_page_leave_no_level_out(folder: Path) -> None:
    levels = [int(tag[1]) for tag in page_of(folder).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_report_over_an_older_one_leaves_none_of_its_files(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert report(table, out, "--format", "html,md").exit_code == 0
    assert (out / "runs.csv").is_file()
    bare = report(table, out, "--force", "--anonymous", "--no-run-data", "--format", "md")
    assert bare.exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == ["figures", "report.json", "report.md"]
    # what was there before and is no part of a report stays, as does the table it is made of
    (out / "notes.txt").write_text("mine")
    assert report(table, out, "--force", "--format", "md").exit_code == 0
    again = report(out / "runs.csv", out, "--force", "--no-run-data", "--format", "md")
    assert again.exit_code == 0
    assert {"notes.txt", "runs.csv"} <= {p.name for p in out.iterdir()}


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = page_of(folder)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert all(
        "src" not in script for script in page.attributes["script"]
    )  # its own, of the part that computes
    assert all(href.startswith("#") for href in page.hrefs)
    style = (folder / "report.html").read_text().partition("<style>")[2].partition("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style


def test_every_figure_has_a_text_and_every_table_its_headers(folder: Path) -> None:
    page = page_of(folder)
    pictures = [a for a in page.attributes["div"] if a.get("role") == "img"]
    assert pictures
    assert all(str(a["aria-label"]).strip() for a in pictures)
    assert all(a.get("scope") in ("col", "row") for a in page.attributes["th"])
    boxes = [a for a in page.attributes["div"] if "box" in str(a.get("class", "")).split()]
    assert len(boxes) == page.tags.count("table") - 1  # that of the part that computes is never wide
    assert all(a.get("tabindex") == "0" for a in boxes)  # a wide table scrolls by the keyboard


def test_references_inside_a_picture_stay_inside_the_page(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    wanted = set(re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', text))
    assert wanted
    assert wanted <= set(page_of(folder).ids)


def test_figures_are_files_with_their_data(folder: Path) -> None:
    figures = told(folder)["figures"]
    assert isinstance(figures, list)
    names = {f"{f['name']}.{suffix}" for f in figures for suffix in ("svg", "csv")}
    assert names == {path.name for path in (folder / "figures").iterdir()}
    text = (folder / "report.md").read_text()
    assert all(f"](figures/{f['name']}.svg)" in text for f in figures)


def test_figures_and_tables_are_numbered_without_a_gap(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    for word in ("Figure", "Table"):
        numbers = [int(n) for n in re.findall(rf"(?m)^{word} (\d+)\. ", text)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers


def test_an_earlier_reports_figures_go(undemanding: tuple[str, Path]) -> None:
    figures = undemanding[1] / "figures"
    assert not (figures / "figure-99-isoflop.svg").exists()
    assert (figures / "notes.txt").read_text() == "kept"


# --- the same bytes ---


def test_the_date_is_that_of_the_environment(undemanding: tuple[str, Path]) -> None:
    assert "2023-11-14 22:13 UTC" in (undemanding[1] / "report.md").read_text()


# --- degenerate inputs ---


DEGENERATE = {
    "one budget": planted([1e20]),
    "refused valleys": planted([1e19, 3e19, 1e20], (0.05, 0.08, 0.12, 0.17, 0.24, 0.3)),
    "no interval": planted(BUDGETS, FEW, noise=0.0),
    "three runs": planted([1e19])[:3],
    "loss that rises": [(i, n, d, c, 4 + 0.01 * n**0.1) for i, n, d, c, _ in planted(BUDGETS, FEW)],
}


@pytest.fixture(scope="module", params=DEGENERATE)
def degenerate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a degenerate table and the folder of its report."""
    folder = tmp_path_factory.mktemp("degenerate")
    report(write_table(folder / "runs.csv", DEGENERATE[request.param]), folder / "out", "--format", "html,md")
    return request.param, folder / "out"


def test_a_degenerate_table_makes_a_report_that_says_what_is_missing(degenerate: tuple[str, Path]) -> None:
    _, folder = degenerate
    reasons = told(folder)["left_out"]
    assert isinstance(reasons, dict)
    assert reasons
    page = (folder / "report.html").read_text()
    assert [name for name, _ in re.findall(r'<section id="([^"]+)">\n<h2>([^<]+)', page)] == SECTIONS


def test_what_is_no_model_is_not_recommended(degenerate: tuple[str, Path]) -> None:
    name, folder = degenerate
    answer = (folder / "report.md").read_text().partition("\n## The runs")[0]
    assert ("Train " in answer) == (name in ("refused valleys", "no interval"))


def test_no_law_says_so_first_and_shows_its_runs(tmp_path: Path) -> None:
    source = write_table(tmp_path / "runs.csv", DEGENERATE["three runs"])
    report(source, tmp_path / "out", "--format", "md")
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.index("No law could be fitted to these runs") < text.index("## The runs")
    assert "a fit needs at least 6" in text
    assert "| r2 |" in text


@pytest.mark.parametrize("column", ["n_params", "n_tokens", "flops"])
def test_a_law_of_one_quantity_makes_a_report(column: str, tmp_path: Path) -> None:
    at = HEADERS.index(column)
    sizes = [float(row[at]) for row in planted(BUDGETS, FEW)]  # type: ignore[arg-type]
    rows = [(f"r{i}", size, 1.7 + (1e6 / size) ** 0.1) for i, size in enumerate(sizes)]
    source = write_table(tmp_path / "runs.csv", rows, ("run_id", column, "loss"))
    report(source, tmp_path / "out", "--format", "html,md")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "one quantity beside the loss" in text
    assert "Train " not in text.partition("##")[0]


def test_training_curves_that_one_approach_alone_can_use_are_answered_by_it(tmp_path: Path) -> None:
    source = write_table(tmp_path / "curves.csv", training_curves(), (*HEADERS, "step"))
    report(source, tmp_path / "out", "--format", "md")
    found = told(tmp_path / "out")
    fit = found["fit"]
    assert isinstance(fit, dict)
    assert fit["method"] == "envelope"
    assert "Train " in (tmp_path / "out" / "report.md").read_text()


def test_a_law_file_makes_a_report_without_runs(table: Path, tmp_path: Path) -> None:
    fitted = tmp_path / "fit.json"
    assert run(["fit", str(table), "-o", str(fitted)]) == 0
    report(fitted, tmp_path / "out", "--target", "1e22", "--format", "html,md")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "a law file holds the law alone" in text
    assert re.search(r"Train [\d.]+B parameters", text)
    assert not (tmp_path / "out" / "runs.csv").exists()


def test_a_recorded_sweep_is_reported_by_its_valleys(spanish: Path) -> None:
    found = told(spanish)
    fit, made = found["fit"], found["reproduction"]
    assert isinstance(fit, dict)
    assert isinstance(made, dict)
    assert fit["method"] == "isoflop"
    assert set(made["inputs"]) == {"sweep.toml", "runs.csv"}
    assert len(made["spec_hash"]) == 64


def test_a_sweep_on_a_corpus_is_read_as_one_too() -> None:
    source = read_source(TableOptions(table=ROOT / "sweeps" / "cpu-stdlib"), ())
    assert source.kind == "sweep"
    assert set(source.files) == {"sweep.toml", "runs.csv"}
    assert source.table is not None
    assert len(source.table.runs) > 30


def test_a_folder_that_is_no_sweep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path), "-o", str(tmp_path / "out")]) != 0
    assert "neither sweep.toml nor runs/" in " ".join(capsys.readouterr().err.split())


# --- what must not be told ---


def _texts(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".pdf"
    }


def _repository(folder: Path, table: Path) -> Path:
    """A repository with a remote that has a name and a token in it."""
    folder.mkdir()
    shutil.copy(table, folder / "runs.csv")
    address = "https://someone:secret@example.org/lab/private.git"
    for words in (
        ["init", "-q"], ["add", "."], ["remote", "add", "origin", address],
        ["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "runs"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return folder / "runs.csv"


def test_an_anonymous_report_names_no_path_host_or_remote(table: Path, tmp_path: Path) -> None:
    source = _repository(tmp_path / "very-private-lab", table)
    report(source, tmp_path / "out", "--anonymous", "--format", "html,md")
    for name, text in _texts(tmp_path / "out").items():
        for secret in (
            str(tmp_path),
            "very-private-lab",
            "example.org",
            "secret",
            f'"{socket.gethostname()}"',
        ):
            assert secret not in text, f"{secret} in {name}"
    assert "scaling report runs.csv" in (tmp_path / "out" / "report.md").read_text()


def test_a_report_names_its_repository_without_the_token(table: Path, tmp_path: Path) -> None:
    source = _repository(tmp_path / "lab", table)
    made = describe_reproduction("scaling report", {"runs.csv": source}, folder=source.parent)
    assert made.remote == "https://example.org/lab/private.git"
    assert len(made.commit or "") == 40
    assert made.dirty is False
    source.write_text(source.read_text() + "\n")
    again = describe_reproduction("scaling report", {"runs.csv": source}, folder=source.parent)
    assert again.dirty is True


def test_no_run_data_leaves_no_run_in_any_file(tmp_path: Path) -> None:
    rows = [(f"secret-run-{i}", *row[1:]) for i, row in enumerate(planted(BUDGETS, FEW))]
    rows[3] = (*rows[3][:4], 9.0)  # an outlier, which findings and influence name
    source = write_table(tmp_path / "runs.csv", rows)
    left_out = ["--exclude", "line:3", "--exclude", "line:14"]
    report(source, tmp_path / "out", "--no-run-data", "--format", "html,md", *left_out)
    named = [name for name, text in _texts(tmp_path / "out").items() if "secret-run" in text]
    assert named == []


def test_a_report_with_run_data_names_its_runs(folder: Path) -> None:
    assert re.search(r"(?m)^\| r3 \|", (folder / "report.md").read_text())
    assert "r3," in (folder / "runs.csv").read_text()


# --- hostile text ---


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    runs = planted(BUDGETS[:3], FEW)
    rows = [(f"{HOSTILE[i % len(HOSTILE)]}{i}", *row[1:]) for i, row in enumerate(runs)]
    plain = [(f"r{i}", *row[1:]) for i, row in enumerate(runs)]
    pages = []
    for name, table in (("hostile", rows), ("plain", plain)):
        source = write_table(tmp_path / f"{name}.csv", table)
        report(source, tmp_path / name, "--format", "html", "--title", "T" if name == "plain" else HOSTILE[0])
        pages.append([tag for tag in page_of(tmp_path / name).tags if tag != "br"])
    assert pages[0] == pages[1]


# --- languages ---


def test_a_spanish_report_says_its_language_and_its_own_sentences(spanish: Path) -> None:
    page = (spanish / "report.html").read_text()
    assert '<html lang="es">' in page
    assert "Entrene" in page
    assert "<h2>Cómo rehacer este informe</h2>" in page


def test_after_a_spanish_report_text_is_english_again(spanish: Path) -> None:
    assert told(spanish)["language"] == "es"
    assert tr("Contents") == "Contents"


# --- typst ---


def test_without_typst_the_other_formats_are_written_and_the_remedy_is_named(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    assert run(["report", str(table), "-o", str(tmp_path), "--bootstrap", "100"]) == 0
    assert extra_command("report") in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "report.md").exists()
    assert not (tmp_path / "report.pdf").exists()


def test_runs_of_nothing_but_noise_recommend_no_size(tmp_path: Path) -> None:
    """Losses that do not hang on size or data: the first words are no recommendation."""
    noise = np.random.default_rng(3).normal(0, 0.02, 18)
    rows = [
        (*row[:4], 2.5 * float(np.exp(x)))
        for row, x in zip(planted(BUDGETS[:3], FEW * 2), noise, strict=False)
    ]
    out = tmp_path / "out"
    report(write_table(tmp_path / "noise.csv", rows), out, "--format", "md", "--bootstrap", "100")
    first = (out / "report.md").read_text(encoding="utf-8").split("##")[0]
    assert "**Train " not in first
