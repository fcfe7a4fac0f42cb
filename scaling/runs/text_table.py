"""Tables as text: CSV and its kin, Markdown, what databases, pandas and `column -t` print, rows of LaTeX.

Comments, rules and lines about the table are blanked, not removed, so that a row keeps the number of its line. Large
CSV files go through pandas' C reader, a block of rows at a time; the first MiB says how the file is laid out.
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError
from scaling.runs.frames import cells_of
from scaling.runs.grid import (
    empty_table,
    is_number,
    layout_of,
    no_runs,
    ragged,
    separator_note,
    table_of_rows,
    with_notes,
)
from scaling.runs.open_file import PIECE_BYTES, stream_of
from scaling.runs.raw_table import RawTable

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_LINES = 200  # enough to tell the separator by
DELIMITERS = ",\t;|"
LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines would also split at form feeds and separators
_COMMENT = re.compile(r"\s*(?:#|//|%)")
_CELL_HASH = re.compile(r"\s*(?:#|%)\s*[,;\t|]")  # a column named "#", not a comment
_RULE = re.compile(r"^(?=.*(?:---|===|──|══|━━|╌╌|-\+-|\|\s*:?-+:?\s*\|))[\s|+:,;=&\-\u2500-\u257f]+$")
# "(25 rows)", "25 rows in set (0.00 sec)", "│ 25 rows │", "[25 rows x 4 columns]", "shape: (25, 4)"
_ABOUT = re.compile(
    r"^[\s|│]*(?:\(?\d+ rows?\b[^|│,;\t]*|\[\d+ rows x \d+ columns\]|shape: \(\d+, \d+\))[\s|│]*$"
)
_COMMAND = re.compile(  # of LaTeX: \hline, \toprule, \begin{tabular}{lcc}, \cmidrule(lr){1-3}
    r"^\s*(?:\\caption.*|(?:\\[a-z]+\*?(?:\[[^\]]*\]|\{[^{}]*\}|\([^)]*\))*(?:\{.*\})?\s*)+)$"
)
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?(?:\s*\\[a-z]+\*?(?:\([^)]*\)|\{[^}]*\})*)*\s*$")  # \\ \midrule
_SUSPECT = re.compile(r"[#%\\]|//|--|==|\|\s*:?-|[\u2500-\u257f]|^shape: |rows", re.M)
_BOX = str.maketrans("│┃┆║", "||||")
_SEP_LINE = re.compile(r"^sep=(.)$", re.I)  # Excel's own first line
_QUOTED = re.compile(r'"[^"]*"')
_NUMBER_LIKE = re.compile(r"^[-+−]?[\d.,'_\s]*\d(?:[eE][-+]?\d+)?\s?[A-Za-z]{0,2}$")  # 3.41, 3,41, 1'000, 7B
_LATEX = re.compile(r"\\(?:textbf|mathbf|textit|underline|text|mathrm|num)\{([^{}]*)\}")


@dataclass(frozen=True, kw_only=True)
class TextRows:
    """A text taken apart into cells."""

    records: list[list[str]]
    lines: list[int]  # of the file, of each record
    separator: str
    framed: bool  # rows begin and end with "|"
    notes: tuple[str, ...]


def read_text(text: str, source: str, *, names: bool = True) -> RawTable:
    """The table of a text that fits in memory."""
    rows = split_rows(text, source)
    table = table_of_rows(rows.records, rows.lines, source, separator=rows.separator, names=names)
    return with_notes(table, rows.notes)


def split_rows(text: str, source: str) -> TextRows:
    """The cells of each line that is neither blank, comment, rule, nor about the table."""
    lines, notes = _without_noise(text)
    asked = next((i for i, line in enumerate(lines) if line.strip()), None)
    if asked is None:
        raise empty_table(source)
    said = _SEP_LINE.match(lines[asked])
    if said:
        lines[asked] = ""
    block, note = _framed_block(lines, text)
    framed = bool(block)
    if framed:
        inner = (line.strip().removeprefix("|").removesuffix("|") for line in lines)
        lines = [line if i in block else "" for i, line in enumerate(inner)]
    delimiter = said[1] if said else "|" if framed else _delimiter(lines, text)
    if delimiter == " ":
        records, numbers = _aligned(lines)
    else:
        ends = [*LINE_END.findall(text), ""]  # as written: within quotes they belong to a cell
        records, numbers = _delimited(lines, ends, delimiter, source)
    if delimiter in "|&":
        records = [[_unmarked(cell, delimiter) for cell in record] for record in records]
    return TextRows(records=records, lines=numbers, separator=delimiter, framed=framed, notes=(*notes, *note))


def _without_noise(text: str) -> tuple[list[str], tuple[str, ...]]:
    """The lines, with what is no row blanked, and notes; a comment that holds the names takes its place as header."""
    lines = LINE_END.split(text)
    if not _SUSPECT.search(text):
        return lines, ()
    kept, comments, in_quotes = [], [], False
    for number, line in enumerate(lines):
        odd = line.count('"') % 2 == 1
        is_comment = not in_quotes and bool(_COMMENT.match(line)) and not _CELL_HASH.match(line)
        if is_comment:
            comments.append(number)
        about = is_comment or _RULE.match(line) or _ABOUT.match(line) or _COMMAND.match(line)
        noise = not in_quotes and about
        kept.append("" if noise else line)
        in_quotes = in_quotes if noise else in_quotes != odd
    rows = [i for i, line in enumerate(kept) if line.strip()]
    names = _names_in_comment(lines, kept, comments) if rows else None
    if names is None and len(rows) == 1 and comments and comments[-1] > rows[0]:
        return lines, ()  # every row begins so: runs are named #1, #2
    if names is not None:
        comments.remove(names)
        kept[names] = _COMMENT.sub("", lines[names], count=1).strip()
    kept = [line.translate(_BOX) for line in kept]
    if not comments:
        return kept, ()
    n, first = len(comments), comments[0] + 1
    several = f"{n} comment lines were left out (the first is line {first})"
    return kept, (several if n > 1 else f"line {first} is a comment and was left out",)


def _names_in_comment(lines: list[str], kept: list[str], comments: list[int]) -> int | None:
    """The comment that is the header, as numpy.savetxt writes it: above numbers, with as many cells, none a number."""
    first = next(i for i, line in enumerate(kept) if line.strip())
    above = [i for i in comments if i < first]
    if not above:
        return None
    body = _COMMENT.sub("", lines[above[-1]], count=1).strip()
    for delimiter in (*DELIMITERS, None):
        cells, names = ([c.strip() for c in t.strip().split(delimiter)] for t in (kept[first], body))
        n_numbers = sum(bool(_NUMBER_LIKE.match(c)) for c in cells)
        if len(cells) == len(names) > 1 and 2 * n_numbers >= len(cells) and not any(map(is_number, names)):
            return above[-1]
    return None


def _framed_block(lines: Sequence[str], text: str) -> tuple[range, tuple[str, ...]]:
    """The lines of the first table that stands between "|", in a text that may hold others, and what is told of it."""
    framed = [i for i, line in enumerate(lines) if re.fullmatch(r"\s*\|.+\|\s*", line)]
    if len(framed) < 2:
        return range(0), ()
    whole = LINE_END.split(text)
    blocks = [[framed[0]]]
    for before, i in pairwise(framed):
        if all(not lines[j].strip() and whole[j].strip() for j in range(before + 1, i)):  # rules and comments
            blocks[-1].append(i)
        else:
            blocks.append([i])
    first = next((block for block in blocks if len(block) > 1), blocks[0])
    block = range(first[0], first[-1] + 1)
    beside = sum(bool(line.strip()) for i, line in enumerate(lines) if i not in block)
    where = f"lines {first[0] + 1} to {first[-1] + 1} hold the table that was read"
    return block, (f"{where}; {beside} others were left out",) if beside else ()


def _delimiter(lines: Sequence[str], text: str) -> str:
    """What most lines have equally often, outside quotes; a blank where nothing else parts a line in two."""
    sample = [_QUOTED.sub('""', line) for line in lines if line.strip()][:SAMPLE_LINES]
    if sum(bool(_ROW_END.search(line)) and "&" in line for line in sample) * 2 > len(sample):
        return "&"
    best = (0.0, 0, False, "")
    for delimiter in DELIMITERS:
        counts = [line.count(delimiter) for line in sample]
        several = [n for n in counts if n]
        usual = max(set(several), key=lambda n: (several.count(n), n), default=0)
        if usual:
            best = max(best, (several.count(usual) / len(counts), usual, delimiter == ",", delimiter))
    if best[0] > 0.5 and best[3] in sample[0]:
        return best[3]
    if _by_blanks([line.strip() for line in sample]):
        return " "
    return best[3] or (" " if len(sample[0].split()) > 1 else ",")


def _delimited(
    lines: Iterable[str], ends: Iterable[str], delimiter: str, source: str
) -> tuple[list[list[str]], list[int]]:
    records: list[list[str]] = []
    numbers: list[int] = []
    if delimiter == "&":
        lines = [_ROW_END.sub("", line) for line in lines]
    whole = "".join(line + end for line, end in zip(lines, ends, strict=True))
    reader = csv.reader(io.StringIO(whole, newline=""), delimiter=delimiter, skipinitialspace=True)
    start = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append(record)
                numbers.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}, line {reader.line_num}: {error}; look for an unclosed quote.") from error
    return records, numbers


def _aligned(lines: Sequence[str]) -> tuple[list[list[str]], list[int]]:
    """Columns set apart by blanks, or by the places where no line has a letter (an empty cell is blank)."""
    numbers = [i for i, line in enumerate(lines, start=1) if line.strip()]
    rows = [lines[i - 1].expandtabs().rstrip() for i in numbers]
    if any('"' in row for row in rows):  # R's write.table
        # one by one: a quote that never ends takes no other line with it
        readers = (csv.reader([row.strip()], delimiter=" ", skipinitialspace=True) for row in rows)
        return [next(reader) for reader in readers], numbers
    records = _by_blanks(rows)
    if records is None:
        return _by_place(rows), numbers
    if len(records) < len(rows):
        del numbers[1]
    return records, numbers


def _by_blanks(rows: Sequence[str]) -> list[list[str]] | None:
    """Cells set apart by two or more blanks, or else by any, if every row has as many, or one more for an index."""
    for blanks in (r"\s{2,}", r"\s+"):
        records = [re.split(blanks, row.strip()) for row in rows]
        if len(records) > 2 and len(records[1]) == 1 and len(records[2]) == len(records[0]) + 1:
            # pandas writes the name of an index on a line of its own
            records[:2] = [[*records[1], *records[0]]]
        n = len(records[0])
        counts = {len(record) for record in records[1:]} or {n}
        if n > 1 and len(counts) == 1 and counts <= {n, n + 1}:
            return records
    return None


def _by_place(rows: Sequence[str]) -> list[list[str]]:
    width = max(map(len, rows))
    filled = [any(len(row) > i and row[i] != " " for row in rows) for i in range(width)]
    starts = [i for i in range(width) if filled[i] and (i == 0 or not filled[i - 1])]
    return [[row[a:b].strip() for a, b in zip(starts, [*starts[1:], width], strict=True)] for row in rows]


def _unmarked(cell: str, delimiter: str) -> str:
    """A cell without the marks of Markdown (bold, code) or LaTeX (mathematics, bold)."""
    body = cell.strip()
    if delimiter == "|":
        return re.sub(r"^(\*\*|__|`)(.+)\1$", r"\2", body)
    body = body.replace("$", "").replace("\\times", "×").replace("\\,", "").replace("\\pm", "±")
    body = _LATEX.sub(r"\1", body)
    return re.sub(r"\\([%&#_])", r"\1", body).strip()


BLOCK_ROWS = 1 << 16  # at fourteen columns about 20 MB while they are converted
_COMMENT_LINE = re.compile(rb"^(?:#|%|//)[^\r\n]*", re.M)


class Comments:
    """A file whose comment lines are blank: whole lines at a time, those inside a quoted cell left alone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._in_quotes, self.n = file, False, 0

    def pieces(self) -> Iterator[bytes]:
        while piece := self._file.read(PIECE_BYTES):
            yield self._blanked(piece + self._file.readline())

    def _blanked(self, piece: bytes) -> bytes:
        # looking for one byte is ten times as fast as counting
        n_quotes = piece.count(b'"') if b'"' in piece else 0
        if not (b"#" in piece or b"%" in piece or b"/" in piece) or not _COMMENT_LINE.search(piece):
            self._in_quotes ^= n_quotes % 2 == 1
            return piece
        if not n_quotes and not self._in_quotes:
            piece, n = _COMMENT_LINE.subn(b"", piece)
            self.n += n
            return piece
        lines = piece.split(b"\n")
        for i, line in enumerate(lines):
            if not self._in_quotes and _COMMENT_LINE.match(line):
                lines[i] = line[-1:] if line.endswith(b"\r") else b""
                self.n += 1
            else:
                self._in_quotes ^= line.count(b'"') % 2 == 1
        return b"\n".join(lines)


def read_large_text(
    file: IO[bytes], sample: TextRows, source: str, text_headers: Sequence[str], *, names: bool
) -> RawTable:
    """The table of a file that begins with `sample`: columns of numbers as float arrays, others as lists of cells."""
    import pandas as pd

    marked = any(_COMMENT_LINE.match(record[0].lstrip().encode()) for record in sample.records if record[0])
    comments = None if marked else Comments(file)  # where cells begin so, no line is known to be a comment
    layout = layout_of(sample.records, sample.lines, source, names=names)
    if len(sample.records) == layout.first:
        raise no_runs(source)
    frame = 1 if sample.framed else 0
    first_line = sample.lines[layout.first]
    used = [i + frame for i in layout.positions]
    texts = [i for i, h in zip(used, layout.headers, strict=True) if h in text_headers]
    columns = [_Column() for _ in used]
    lines: list[NDArray[np.int64]] = []
    try:
        with pd.read_csv(
            file if comments is None else stream_of(comments.pieces()),
            header=None,
            names=list(range(layout.width + 2 * frame)),
            index_col=False,
            skiprows=first_line - 1,
            sep=sample.separator,
            skipinitialspace=True,
            dtype=dict.fromkeys(texts, str),
            encoding="utf-8-sig",
            skip_blank_lines=False,  # so that the position of a record is its line
            chunksize=BLOCK_ROWS,
        ) as blocks:
            for block in blocks:
                if block[used[0]].isna().any():
                    block = block.dropna(how="all", subset=used)  # blank lines and rules
                lines.append(block.index.to_numpy(dtype=np.int64) + first_line)
                for i, column in zip(used, columns, strict=True):
                    padded = frame and block[i].dtype.kind not in "iufb"
                    column.add(block[i].str.rstrip() if padded else block[i])
    except pd.errors.ParserError as error:
        if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            raise ragged(f"{source}, line {match[2]}", int(match[3]), int(match[1])) from error
        raise DataError(f"{source}: {str(error).strip()}; look for an unclosed quote.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    left_out = (f"{comments.n} comment lines were left out",) if comments is not None and comments.n else ()
    return RawTable(
        source=source,
        headers=layout.headers,
        values=tuple(column.join() for column in columns),
        row=np.concatenate(lines),
        separator=sample.separator,
        notes=(*separator_note(sample.separator), *layout.notes, *left_out),
    )


class _Column:
    """The cells of one column, grown block by block in place; a name that recurs is held once."""

    def __init__(self) -> None:
        self._pieces: list[array[float] | list[Any]] = []  # one, unless numbers give way to text
        self._names: dict[Any, Any] = {}

    def add(self, block: pd.Series[Any]) -> None:
        cells = cells_of(block)
        kind = array if isinstance(cells, np.ndarray) else list
        if not self._pieces or not isinstance(self._pieces[-1], kind):
            self._pieces.append(array("d") if kind is array else [])
        last = self._pieces[-1]
        if isinstance(last, array):
            last.frombytes(cells.tobytes())
        elif len(distinct := set(cells)) <= len(cells) / 2:
            held = {name: self._names.setdefault(name, name) for name in distinct}
            last.extend([held[name] for name in cells])
        else:
            last.extend(cells)

    def join(self) -> Any:
        if len(self._pieces) == 1:
            only = self._pieces[0]
            return np.frombuffer(only) if isinstance(only, array) else only
        return [cell for piece in self._pieces for cell in piece]
