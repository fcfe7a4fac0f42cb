"""A packed PDF holds every object of the plain one, found by its own cross-reference stream."""

from __future__ import annotations

import re
import zlib

import pytest

from scaling.render.pdf import PER_STREAM, packed

STREAM = b"<</Length 5>>\nstream\nq 1 Q\nendstream"


def plain_pdf(bodies: list[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1, as typst writes one; the first is the root."""
    written, starts = bytearray(b"%PDF-1.7\n%\x80\x80\x80\x80\n"), []
    for number, body in enumerate(bodies, 1):
        starts.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    at, size = len(written), len(bodies) + 1
    written += b"xref\n0 %d\n0000000000 65535 f\r\n" % size
    written += b"".join(b"%010d 00000 n\r\n" % start for start in starts)
    written += b"trailer\n<</Size %d/Root 1 0 R/ID[(a)(b)]>>\nstartxref\n%d\n%%%%EOF" % (size, at)
    return bytes(written)


def unpressed(pdf: bytes, at: int) -> tuple[bytes, bytes]:
    """The entries and the content of the compressed stream at a place."""
    match = re.compile(rb"\d+ 0 obj\n<<(.*?)>>\nstream\n", re.DOTALL).match(pdf, at)
    assert match is not None
    length = int(re.search(rb"/Length (\d+)", match[1])[1])  # type: ignore[index]
    return match[1], zlib.decompress(pdf[match.end() : match.end() + length])


def read_back(pdf: bytes) -> tuple[dict[int, bytes], bytes]:
    """Every object that the cross-reference stream leads to, and its entries, as ISO 32000-1, 7.5.8 says."""
    entries, rows = unpressed(pdf, int(re.search(rb"startxref\n(\d+)", pdf)[1]))  # type: ignore[index]
    found: dict[int, bytes] = {}
    table = [rows[i : i + 7] for i in range(0, len(rows), 7)]
    for number, row in enumerate(table):
        kind, place, index = row[0], int.from_bytes(row[1:5], "big"), int.from_bytes(row[5:], "big")
        if kind == 1:
            body = pdf[place : pdf.index(b"\nendobj", place)]
            assert body.startswith(b"%d 0 obj\n" % number)
            found[number] = body.partition(b"\n")[2]
        elif kind == 2:
            about, data = unpressed(pdf, int.from_bytes(table[place][1:5], "big"))
            first = int(re.search(rb"/First (\d+)", about)[1])  # type: ignore[index]
            numbers = [int(v) for v in data[:first].split()]
            assert numbers[2 * index] == number
            starts = [*numbers[1::2], len(data) - first + 1]
            found[number] = data[first + starts[index] : first + starts[index + 1] - 1]
    return found, entries


@pytest.mark.parametrize("n_cells", [0, 3, PER_STREAM + 7])
def test_every_object_is_found_again(n_cells: int) -> None:
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>", STREAM, *(b"<</S/TD/K %d>>" % i for i in range(n_cells))]
    found, entries = read_back(packed(plain_pdf(bodies)))
    assert [found[i] for i in range(1, len(bodies) + 1)] == bodies
    assert b"/Root 1 0 R" in entries
    assert b"/ID[(a)(b)]" in entries


def test_many_like_objects_take_a_fraction() -> None:
    cells = [b"<</Type/StructElem/S/TD/P 2 0 R/K[%d]>>" % i for i in range(2000)]
    pdf = plain_pdf([b"<</Type/Catalog>>", *cells])
    assert len(packed(pdf)) < len(pdf) / 4


@pytest.mark.parametrize("pdf", [b"", b"%PDF-1.7\n", plain_pdf([STREAM])[:-40], b"no document"])
def test_a_file_of_another_form_stays_as_it_is(pdf: bytes) -> None:
    assert packed(pdf) == pdf


def test_the_same_document_is_packed_into_the_same_bytes() -> None:
    pdf = plain_pdf([b"<</Type/Catalog>>", STREAM])
    assert packed(pdf) == packed(pdf)
