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
from scaling.report.answer import _for_a_reader
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
    page = (out / "report.html").read_text(encoding="utf-8")
    # what the part that computes reads: names and sources of published laws, which are quoted as they are
    page = re.sub(r"<script.*?</script>", " ", page, flags=re.DOTALL)
    page = re.sub(r"<[^>]+>", " ", page)
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


def test_a_kept_sentence_is_told_again_from_the_sentence_it_was_made_from() -> None:
    catalogue = load_catalogue("es")

    def filled(sentence: str) -> str:
        return "".join(
            said + ("7" if name else "") for said, name, _, _ in string.Formatter().parse(sentence)
        )

    long = [
        key for key in sorted(catalogue) if len(re.findall(r"[a-z]{2,}", re.sub(r"{[^}]*}", "", key))) > 2
    ]
    with translated(catalogue):
        assert len(long) > 500
        for key in long[::8]:
            assert language.told_again(filled(key)) == filled(catalogue[key])
        joined = "5 of 9 runs lie 3 robust standard deviations off the law: a (row 3), b (row 2). Without them the exponent of "
        joined += "N* moves from 0.571 to 0.519; 5 more lie beyond 5, and without all 10 it is 0.508. Check these runs; none was dropped"
        assert not {"the", "of", "row", "lie"} & set(re.findall(r"\w+", language.told_again(joined)))
        assert language.told_again("no such sentence") == "no such sentence"
    assert language.told_again("Contents") == "Contents"


def test_a_spanish_report_of_a_law_file_tells_its_findings_in_spanish(tmp_path: Path) -> None:
    table, law = (
        write_table(tmp_path / "runs.csv", planted([1e18, 1e19, 1e20], noise=0.02)),
        tmp_path / "law.json",
    )
    assert run(["fit", str(table), "-o", str(law)]) == 0
    messages = [finding["message"] for finding in json.loads(law.read_text())["findings"]]
    assert messages
    assert run(["report", str(law), "--lang", "es", "--format", "md", "-o", str(tmp_path / "out")]) == 0
    told = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert [message for message in messages if message[:40] in told] == []


@pytest.mark.parametrize(
    ("short", "shown"),
    [
        (
            "losses 2.3 times Chinchilla's: perplexities? See --loss-unit",
            "losses 2.3 times Chinchilla's: perplexities?",
        ),
        ("fit each on its own (--by corpus)", "fit each on its own"),
        (
            "3 of 5 rows are checkpoints, not independent: --final",
            "3 of 5 rows are checkpoints, not independent",
        ),
        ("a parabola is biased on these sizes: take another --valley", "a parabola is biased on these sizes"),
        ("el 3 % repite sus datos: véase --law data_constrained", "el 3 % repite sus datos"),
        ("runs of one budget move together (p = 7e-14)", "runs of one budget move together (p = 7e-14)"),
    ],
)
def test_the_first_page_names_no_option_of_a_command(short: str, shown: str) -> None:
    assert _for_a_reader(short) == shown
