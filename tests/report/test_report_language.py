"""The catalogue has every sentence that the report itself says, and a report lists those of others that it lacks."""

from __future__ import annotations

import ast
import json
import re
import string
from pathlib import Path

import pytest
from report_inputs import planted, write_table

from scaling.cli import run
from scaling.errors import UnknownNameError
from scaling.report import compose_report, describe_reproduction, gather_evidence, language, load_catalogue
from scaling.runs import load_runs
from scaling.translation import tr, translated

PACKAGE = Path(__file__).resolve().parents[2] / "scaling"
OWN = [
    *sorted((PACKAGE / "report").glob("*.py")),
    *(PACKAGE / "render" / name for name in ("html.py", "typst.py", "markdown.py")),
    *(PACKAGE / "cli" / name for name in ("report.py", "report_source.py")),
]


def own_sentences() -> set[str]:
    """The keys of every call of `tr` and `counted` in the report's own files."""
    found = set()
    for path in OWN:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "tr" and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
            if node.func.id == "counted" and isinstance(node.args[1], ast.Constant):
                found |= {f"{{n}} {node.args[1].value}", f"{{n}} {node.args[1].value}s"}
    return found


def fields_of_sentence(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_every_sentence_of_the_report_is_in_spanish() -> None:
    assert own_sentences() - load_catalogue("es").keys() == set()


def test_a_translation_keeps_the_fields_of_its_sentence() -> None:
    # formats of numbers stay, and a field that a translation named otherwise could not be filled in
    wrong = {
        sentence
        for sentence, told in load_catalogue("es").items()
        if fields_of_sentence(sentence) != fields_of_sentence(told) or not told.strip()
    }
    assert wrong == set()


def test_a_sentence_keeps_the_blanks_and_marks_that_join_it_to_others() -> None:
    wrong = {
        sentence
        for sentence, told in load_catalogue("es").items()
        if sentence[0] in " ;," and told[0] != sentence[0]
    }
    assert wrong == set()


def test_a_catalogue_lists_what_was_asked_for_and_is_not_in_it() -> None:
    catalogue = load_catalogue("es")
    with translated(catalogue):
        assert tr("Contents") == "Contenido"
        assert tr("a sentence that nobody translated") == "a sentence that nobody translated"
    assert list(catalogue.untranslated) == ["a sentence that nobody translated"]


def test_a_spanish_report_uses_no_untranslated_sentence_of_its_own(tmp_path: Path) -> None:
    path = write_table(tmp_path / "runs.csv", planted((1e18, 1e19, 1e20), (0.3, 0.6, 1.0, 1.7, 3.0)))
    catalogue = load_catalogue("es")
    with translated(catalogue):
        evidence = gather_evidence(load_runs(path))
        made = describe_reproduction("scaling report runs.csv", {path.name: path}, folder=tmp_path)
        report = compose_report(evidence, made, language="es")
    assert report.title.startswith("Qué entrenar con")
    assert own_sentences() & catalogue.untranslated.keys() == set()


def small_table(tmp_path: Path, kind: str) -> Path:
    rows = planted((1e18, 1e19, 1e20), (0.3, 0.6, 1.0, 1.7, 3.0), noise=0.004)
    rows[2] = (*rows[2][:4], 1.3 * float(str(rows[2][4])))  # far off the law, for a finding that names it
    if kind == "one quantity":
        alone = [(f"r{i}", 10 ** (18 + i / 4), 1.7 + 3.0 * 10 ** (-i / 25)) for i in range(12)]
        return write_table(tmp_path / "runs.csv", alone, ("run_id", "flops", "loss"))
    return write_table(tmp_path / "runs.csv", rows)


@pytest.mark.parametrize("kind", ["law", "valleys", "one quantity"])
def test_a_spanish_report_and_its_figures_leave_no_sentence_in_english(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = load_catalogue("es")
    monkeypatch.setattr(language, "load_catalogue", lambda _: catalogue)
    how = ["--method", "isoflop"] if kind == "valleys" else []
    out = tmp_path / "report"
    table = str(small_table(tmp_path, kind))
    assert run(["report", table, *how, "--lang", "es", "--format", "html", "-o", str(out)]) == 0
    assert list(catalogue.untranslated) == []
    page = re.sub(r"<[^>]+>", " ", (out / "report.html").read_text(encoding="utf-8"))
    assert not re.search(r"\b(the|runs|with|without|intervals?) (of|law|runs|are|is)\b", page)


def test_what_programs_read_stays_english_in_a_spanish_report(tmp_path: Path) -> None:
    out = tmp_path / "report"
    table = str(small_table(tmp_path, "law"))
    assert run(["report", table, "--lang", "es", "--format", "md", "-o", str(out)]) == 0
    told = (out / "report.json").read_text(encoding="utf-8")
    codes = set(re.findall(r'"code": "([^"]+)"', told))
    assert codes >= {"far-off-runs"}
    assert json.loads(told)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="es"):
        load_catalogue("de")
