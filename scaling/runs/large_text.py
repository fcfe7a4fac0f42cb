"""Large CSV files through pandas' C reader, a block of rows at a time; the first MiB says how the file is laid out."""

from __future__ import annotations

import io
import re
from array import array
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError
from scaling.runs.frames import cells_of
from scaling.runs.grid import layout_of, no_runs, ragged, separator_note
from scaling.runs.raw_table import RawTable
from scaling.runs.text_table import TextRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

BLOCK_ROWS = 1 << 16  # at fourteen columns about 20 MB while they are converted
_COMMENT_LINE = re.compile(rb"^(?:#|%|//)[^\r\n]*", re.M)


class Comments(io.RawIOBase):
    """A file whose comment lines are blank: whole lines at a time, those inside a quoted cell left alone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._ready, self._file = b"", file
        self._in_quotes, self.n = False, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ready:
            piece = self._file.read(len(buffer))
            self._ready = self._blanked(piece + self._file.readline() if piece else b"")
        piece, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _blanked(self, piece: bytes) -> bytes:
        n_quotes = (
            piece.count(b'"') if b'"' in piece else 0
        )  # looking for one byte is ten times as fast as counting
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
            file if comments is None else io.BufferedReader(comments, 1 << 20),
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
                    column.add(
                        block[i].str.rstrip() if frame and block[i].dtype.kind not in "iufb" else block[i]
                    )
    except pd.errors.ParserError as error:
        if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            raise ragged(f"{source}, line {match[2]}", int(match[3]), int(match[1])) from error
        raise DataError(f"{source}: {str(error).strip()}; look for an unclosed quote.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    return RawTable(
        source=source,
        headers=layout.headers,
        values=tuple(column.join() for column in columns),
        row=np.concatenate(lines),
        separator=sample.separator,
        notes=(*separator_note(sample.separator), *layout.notes, *_told(comments)),
    )


def _told(comments: Comments | None) -> tuple[str, ...]:
    return (f"{comments.n} comment lines were left out",) if comments is not None and comments.n else ()


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
