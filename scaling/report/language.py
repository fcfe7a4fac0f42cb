"""The languages of a report: a catalogue from each English sentence to the reader's, kept as JSON in the package."""

from __future__ import annotations

import json
from importlib.resources import files

from scaling.errors import UnknownNameError

LANGUAGES = ("en", "es")


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
