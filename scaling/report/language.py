"""The languages of a report: a catalogue from each English sentence to the reader's, kept as JSON in the package."""

from __future__ import annotations

import json
import re
import string
from functools import cache
from importlib.resources import files

from scaling.errors import UnknownNameError
from scaling.translation import catalogue_in_use

LANGUAGES = ("en", "es")
LEAST_WORDS = 2  # of a sentence's own, for its fields to hold any text


class Catalogue(dict[str, str]):
    """English sentence → sentence; `untranslated` are those that were asked for and are not in it, in that order."""

    def __init__(self, sentences: dict[str, str]) -> None:
        super().__init__(sentences)
        self.untranslated: dict[str, None] = {}

    def get(self, sentence: str, default: str | None = None) -> str:  # type: ignore[override]  # never None
        if sentence in self:
            return self[sentence]
        self.untranslated[sentence] = None
        return sentence if default is None else default


def load_catalogue(language: str) -> Catalogue:
    """The catalogue of a language; of English an empty one, for its sentences are the keys.

    Raises:
        UnknownNameError: a language that we have no catalogue of.
    Example:
        >>> load_catalogue("es")["Contents"]
        'Contenido'
    """
    if language not in LANGUAGES:
        raise UnknownNameError("language of a report", language, LANGUAGES)
    if language == "en":
        return Catalogue({})
    text = files("scaling").joinpath("translations", f"{language}.json").read_text(encoding="utf-8")
    return Catalogue(json.loads(text))


def told_again(text: str) -> str:
    """A sentence that was written in English and kept, in a file of a fit say, in the language of the catalogue in use.

    It is found by the sentence it was made from, the one with the most words of its own, and what stood in its fields
    is told again in turn; one that begins the text is told, then the rest. English where no sentence fits.
    """
    catalogue = catalogue_in_use()
    if text in catalogue:
        return catalogue[text]
    for whole in (True, False):
        fitting = [(key, found) for key in catalogue if (found := _made_from(key, text, whole=whole))]
        if fitting:
            key, found = max(fitting, key=lambda pair: (_own_words(pair[0]), pair[1].end()))
            values = dict(zip(_field_names(key), map(_list_told_again, found.groups()), strict=True))
            parts = string.Formatter().parse(catalogue[key])
            said = "".join(said + (values.get(name, "") if name else "") for said, name, _, _ in parts)
            return said + told_again(text[found.end() :]) if found.end() < len(text) else said
    return text


def _made_from(sentence: str, text: str, *, whole: bool) -> re.Match[str] | None:
    """How the text, or its beginning, is the sentence with its fields filled in."""
    form = _pattern(sentence)
    if form is None or not text:
        return None
    if whole:
        return form.fullmatch(text)
    return form.match(text) if _own_words(sentence) >= LEAST_WORDS else None


def _list_told_again(value: str) -> str:
    """What stood in a field: a sentence, or several joined to a list."""
    if (whole := told_again(value)) != value:
        return whole
    for joint in ("; ", ", "):
        parts = value.split(joint)
        told = [_list_told_again(part) for part in parts] if len(parts) > 1 else parts
        if told != parts:
            return joint.join(told)
    return value


@cache
def _pattern(sentence: str) -> re.Pattern[str] | None:
    """What a sentence with its {fields} filled in looks like; None for one without a word of its own."""
    n_words = _own_words(sentence)
    if not n_words:
        return None
    free = "(.*?)" if n_words >= LEAST_WORDS else r"(\S*?)"  # "{n} runs" is not to swallow a sentence
    pattern = ""
    for said, name, spec, _ in string.Formatter().parse(sentence):
        pattern += re.escape(said)
        if name:
            pattern += r"([-+\d.,e]*\d|inf|nan)" if spec else free
    return re.compile(pattern, re.S)


def _own_words(sentence: str) -> int:
    return sum(len(re.findall(r"[^\W\d]{2,}", said)) for said, _, _, _ in string.Formatter().parse(sentence))


def _field_names(sentence: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(sentence) if name]
