"""Which text goes to validation: by the hash of the text, and of pieces of it where whole documents are too few."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from scaling.errors import DataError, UsageError
from scaling.lm.corpus.documents import Document

MAX_FEW = 10_000  # documents looked at before the work; with more than these a sensible fraction never fails
N_WANTED = 8  # pieces in the smaller split, on average
MIN_PIECE, MAX_PIECE = 512, 4096  # characters: a paragraph or two, up to a page
_FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Long texts were cut into pieces of at most `n_characters`, because there were only `n_texts`."""

    n_characters: int
    n_texts: int


def document_fraction(body: bytes) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(body).digest()[:8], "big") / 2**64


def require_fraction(validation_fraction: float) -> None:
    """Refuse a share that leaves one side nothing."""
    if not 0 < validation_fraction < 1:
        raise UsageError(f"the validation fraction must lie between 0 and 1; got {validation_fraction}.")


def cut_where_few(
    documents: Iterable[Document], validation_fraction: float
) -> tuple[Iterator[Document], Cut | None]:
    """The documents as they are when some fall on either side of the split, else cut into pieces at paragraphs.

    Reads only until both sides have one.

    Raises:
        UsageError: the fraction is not between 0 and 1.
        DataError: even pieces leave one side empty; the message names a fraction that works.
    """
    require_fraction(validation_fraction)
    remaining = iter(documents)
    first: list[Document] = []
    sides: set[bool] = set()
    for document in itertools.islice(remaining, MAX_FEW):
        first.append(document)
        sides |= _sides([document], validation_fraction)
        if len(sides) == 2:
            return itertools.chain(first, remaining), None
    if len(first) == MAX_FEW or not any(d.text for d in first):
        return itertools.chain(first, remaining), None
    pieces, cut = _pieces(first, validation_fraction)
    if not _both(pieces, validation_fraction):
        raise DataError(_advice(first, validation_fraction))
    return iter(pieces), cut


def cut_text(text: str, n_characters: int) -> list[str]:
    """Pieces of at most `n_characters` that join back to `text`, ending at a paragraph, else a line, else a word."""
    pieces, start = [], 0
    while len(text) - start > n_characters:
        end = start + n_characters
        for boundary in ("\n\n", "\n", " "):
            found = text.rfind(boundary, start + n_characters // 2, end)
            if found >= 0:
                end = found + len(boundary)
                break
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _pieces(documents: Sequence[Document], validation_fraction: float) -> tuple[list[Document], Cut]:
    smaller = min(validation_fraction, 1 - validation_fraction)
    n_characters = int(sum(len(d.text) for d in documents) * smaller / N_WANTED)
    n_characters = min(max(n_characters, MIN_PIECE), MAX_PIECE)
    pieces = [
        Document(text=piece, origin=f"{d.origin}, piece {number}")
        for d in documents
        for number, piece in enumerate(cut_text(d.text, n_characters))
    ]
    return pieces, Cut(n_characters=n_characters, n_texts=len(documents))


def _sides(documents: Iterable[Document], validation_fraction: float) -> set[bool]:
    """For which of the sides, validation True, there is a text."""
    bodies = (d.text.encode("utf-8", errors="surrogatepass") for d in documents if d.text)
    return {document_fraction(body) < validation_fraction for body in bodies}


def _both(documents: Iterable[Document], validation_fraction: float) -> bool:
    return len(_sides(documents, validation_fraction)) == 2


def _advice(documents: Sequence[Document], validation_fraction: float) -> str:
    missing = "train" if True in _sides(documents, validation_fraction) else "validation"
    what = (
        f"no document fell into the {missing} split ({len(documents)} documents, "
        f"validation fraction {validation_fraction})"
    )
    for fraction in sorted(_FRACTIONS, key=lambda f: abs(f - validation_fraction)):
        if _both(documents, fraction) or _both(_pieces(documents, fraction)[0], fraction):
            return f"{what}. A validation fraction of {fraction} works: --validation-fraction {fraction}."
    return f"{what}, and no other fraction helps: give more text."
