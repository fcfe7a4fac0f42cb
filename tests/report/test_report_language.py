"""The catalogue has every sentence that the report itself says, and a report lists those of others that it lacks."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest
from report_inputs import planted, write_table

from scaling.errors import UnknownNameError
from scaling.report import compose_report, describe_reproduction, gather_evidence, load_catalogue
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


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="es"):
        load_catalogue("de")
