"""A PDF in less room: the objects that typst writes one by one, packed into compressed object streams.

A tagged PDF has an object for each cell of each table, a hundred bytes of text that differ from their neighbours in a
number; PDF 1.5 packs such objects (ISO 32000-1, 7.5.7 and 7.5.8), typst does not yet. No other byte changes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

PER_STREAM = 500  # objects: a reader unpacks one stream to reach an object in it
ENTRY = 20  # bytes of a line of a plain cross-reference table
_END = re.compile(rb"startxref\s+(\d+)\s+%%EOF\s*$")
_TABLE = re.compile(rb"xref\s+0 (\d+)\r?\n")
_OBJECT = re.compile(rb"(\d+) 0 obj\s*(.*?)\s*endobj\s*$", re.DOTALL)


def packed(pdf: bytes) -> bytes:
    """The same document with its objects packed; as it is, where it is not of the plain form that typst writes."""
    objects, trailer = _objects(pdf)
    if not objects:
        return pdf
    header = pdf[: pdf.index(b"\n", pdf.index(b"\n") + 1) + 1]
    streams = {n: body for n, body in objects.items() if body.endswith(b"endstream")}
    plain = sorted(objects.keys() - streams.keys())
    written, places = (
        bytearray(header),
        {0: (0, 0, 65535)},
    )  # number → kind, place, index: as the table has them
    last = max(objects)
    for start in range(0, len(plain), PER_STREAM):
        last += 1
        group = plain[start : start + PER_STREAM]
        streams[last] = _object_stream({n: objects[n] for n in group})
        places |= {n: (2, last, i) for i, n in enumerate(group)}
    for number, body in streams.items():
        places[number] = (1, len(written), 0)
        written += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    at, last = len(written), last + 1
    places[last] = (1, at, 0)
    rows = b"".join(
        kind.to_bytes(1, "big") + place.to_bytes(4, "big") + index.to_bytes(2, "big")
        for kind, place, index in (places[n] for n in range(last + 1))
    )
    named = re.sub(rb"/Size \d+", b"/Type/XRef/W[1 4 2]/Size %d" % (last + 1), trailer)
    written += b"%d 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (last, _stream(named, rows), at)
    return bytes(written)


def _objects(pdf: bytes) -> tuple[dict[int, bytes], bytes]:
    """The objects by number, and the entries of the trailer; none where the file has another form."""
    end = _END.search(pdf)
    table = _TABLE.match(pdf, int(end[1])) if end else None
    if end is None or table is None:
        return {}, b""
    n, first = int(table[1]), table.end()
    entries = [pdf[first + ENTRY * i : first + ENTRY * (i + 1)] for i in range(1, n)]
    starts = [int(entry[:10]) for entry in entries]
    ends = dict(zip(sorted(starts), [*sorted(starts)[1:], int(end[1])], strict=True))
    found = [_OBJECT.match(pdf[start : ends[start]]) for start in starts]
    trailer = re.match(rb"\s*trailer\s*<<(.*?)>>\s*startxref", pdf[first + ENTRY * n :], re.DOTALL)
    objects = {int(match[1]): match[2] for match in found if match is not None}
    if trailer is None or list(objects) != list(range(1, n)) or b"/Encrypt" in trailer[1]:
        return {}, b""
    return objects, trailer[1]


def _object_stream(objects: Mapping[int, bytes]) -> bytes:
    """Numbers and places first, then the objects, compressed together."""
    places, at = [], 0
    for number, body in objects.items():
        places.append(b"%d %d" % (number, at))
        at += len(body) + 1
    index = b" ".join(places) + b"\n"
    entries = b"/Type/ObjStm/N %d/First %d" % (len(objects), len(index))
    return _stream(entries, index + b"\n".join(objects.values()))


def _stream(entries: bytes, data: bytes) -> bytes:
    pressed = zlib.compress(data, 9)
    return b"<<%b/Length %d/Filter/FlateDecode>>\nstream\n%b\nendstream" % (entries, len(pressed), pressed)
