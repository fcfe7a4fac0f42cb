"""Fixed text passes one function, with the English sentence as its key."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from scaling.translation import counted, tr, tr_n, translated

PACKAGE = Path(__file__).resolve().parents[1] / "scaling"
SPANISH = {
    "{n} run": "{n} ejecución",
    "{n} runs": "{n} ejecuciones",
    "{low:.1f} to {high:.1f}": "de {low:.1f} a {high:.1f}",
    "doubts": "dudas",
}


def test_english_without_a_catalogue() -> None:
    assert tr("doubts") == "doubts"
    assert tr("{low:.1f} to {high:.1f}", low=1, high=2.25) == "1.0 to 2.2"
    assert [counted(n, "run") for n in (0, 1, 5)] == ["0 runs", "1 run", "5 runs"]
    assert tr_n("{n} run of {what}", "{n} runs of {what}", 2, what="L") == "2 runs of L"


def test_within_a_catalogue_text_is_in_its_language_and_after_it_english_again() -> None:
    with translated(SPANISH):
        assert tr("doubts") == "dudas"
        assert tr("{low:.1f} to {high:.1f}", low=1, high=2) == "de 1.0 a 2.0"
        assert counted(1, "run") == "1 ejecución"
        assert counted(5, "run") == "5 ejecuciones"
        with translated({}):
            assert tr("doubts") == "doubts"
        assert tr("doubts") == "dudas"
    assert tr("doubts") == "doubts"


def test_a_sentence_that_the_catalogue_lacks_stays_english() -> None:
    with translated(SPANISH):
        assert tr("no optimum") == "no optimum"


def test_the_catalogue_goes_when_the_work_within_it_fails() -> None:
    with pytest.raises(ZeroDivisionError), translated(SPANISH):
        _ = 1 / 0
    assert tr("doubts") == "doubts"


def test_braces_in_a_value_or_in_a_sentence_without_values_stay() -> None:
    assert tr("name {name}", name="{x}") == "name {x}"
    assert tr("a set {1, 2}") == "a set {1, 2}"


def test_a_field_may_have_the_name_of_a_parameter() -> None:
    assert tr("say {sentence}", sentence="this") == "say this"
    assert tr_n("{one}", "{many} of {n}", 2, one="a", many="b") == "b of 2"


def calls() -> list[tuple[str, ast.Call, int]]:
    """Each call of tr and tr_n, where it stands, and how many of its arguments are sentences."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "translation.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("tr", "tr_n")
            ):
                where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                found.append((where, node, 1 if node.func.id == "tr" else 2))
    return found


def test_every_sentence_is_written_out_where_it_is_used() -> None:
    """A catalogue is made by reading the code: a key that is put together while it runs is in none."""
    computed = [
        f"{where}: {ast.unparse(argument)}"
        for where, call, n in calls()
        for argument in call.args[:n]
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str))
    ]
    assert computed == []


def test_every_sentence_names_the_values_it_is_given() -> None:
    wrong = []
    for where, call, n_sentences in calls():
        given = {keyword.arg for keyword in call.keywords} | ({"n"} if n_sentences == 2 else set())
        named = [_fields(a.value) for a in call.args[:n_sentences] if isinstance(a, ast.Constant)]
        # one of the two forms may leave out the number, as in "the run"
        if (given or any(named)) and (
            set().union(*named) != given if n_sentences == 1 else set().union(*named) - given
        ):
            wrong.append(f"{where}: {named} with {sorted(map(str, given))}")
    assert wrong == []


def _fields(sentence: str) -> set[str]:
    """The values a sentence names; of {law.alpha} and {index[source]} the value is the law, the index."""
    named = (name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None)
    return {re.split(r"[.\[]", name)[0] for name in named}


def test_a_translation_that_names_another_field_is_told_in_english() -> None:
    with translated({"{n} runs": "{m} Läufe", "{share:.1f} %": "{share:.1q} %"}):
        assert tr("{n} runs", n=5) == "5 runs"
        assert tr("{share:.1f} %", share=2.0) == "2.0 %"
