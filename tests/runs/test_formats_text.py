"""Text tables as tools print them: each gives the cells and the line numbers of the plain CSV it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling.errors import DataError
from scaling.runs import read as reading
from scaling.runs import text_table
from scaling.runs.raw_table import RawTable
from scaling.runs.read import read_table

HEADERS = ("n_params", "n_tokens", "loss")
FRAME = pd.DataFrame({"n_params": [19494255, 38988510], "n_tokens": [8.5e9, 4.25e9], "loss": [3.41, 3.27]})

MARKDOWN = """\
| n_params | n_tokens | loss |
|:---------|:--------:|-----:|
| 19494255 | 8.5e9    | **3.41** |
| 38988510 | `4.25e9` | 3.27 |
"""
MARKDOWN_WITHOUT_FRAME = """\
n_params | n_tokens | loss
--- | --- | ---
19494255 | 8.5e9 | 3.41
38988510 | 4.25e9 | 3.27
"""
NARROW_MARKDOWN = "|n_params|n_tokens|loss|\n|-|-|-|\n|19494255|8.5e9|3.41|\n|38988510|4.25e9|3.27|\n"
POSTGRES = """\
 n_params | n_tokens | loss
----------+----------+------
 19494255 |    8.5e9 | 3.41
 38988510 |   4.25e9 | 3.27
(2 rows)

"""
MYSQL = """\
+----------+----------+------+
| n_params | n_tokens | loss |
+----------+----------+------+
| 19494255 | 8.5e9    | 3.41 |
| 38988510 | 4.25e9   | 3.27 |
+----------+----------+------+
2 rows in set (0.00 sec)
"""
POLARS = """\
shape: (2, 3)
┌──────────┬──────────┬──────┐
│ n_params ┆ n_tokens ┆ loss │
│ ---      ┆ ---      ┆ ---  │
│ i64      ┆ f64      ┆ f64  │
╞══════════╪══════════╪══════╡
│ 19494255 ┆ 8.5e9    ┆ 3.41 │
│ 38988510 ┆ 4.25e9   ┆ 3.27 │
└──────────┴──────────┴──────┘
"""
RST = """\
========  ========  ====
n_params  n_tokens  loss
========  ========  ====
19494255  8.5e9     3.41
38988510  4.25e9    3.27
========  ========  ====
"""
LATEX = r"""\begin{tabular}{lrr}
\toprule
n\_params & n\_tokens & loss \\
\midrule
19494255 & $8.5\times10^{9}$ & \textbf{3.41} \\
38988510 & 4.25e9 & 3.27 \\ \hline
\end{tabular}
"""
COMMENTS = """\
# runs of July
// of the second cluster

n_params,n_tokens,loss
19494255,8.5e9,3.41
# 1e8,1e9,9.99 was a mistake
% so was another
38988510,4.25e9,3.27
"""
SAVETXT = "# n_params n_tokens loss\n19494255 8.5e9 3.41\n38988510 4.25e9 3.27\n"
SHAPES = {
    "markdown": (MARKDOWN, [3, 4]),
    "markdown without a frame": (MARKDOWN_WITHOUT_FRAME, [3, 4]),
    "narrow markdown": (NARROW_MARKDOWN, [3, 4]),
    "psql": (POSTGRES, [3, 4]),
    "mysql": (MYSQL, [4, 5]),
    "polars": (POLARS, [7, 8]),
    "rst": (RST, [4, 5]),
    "latex": (LATEX, [5, 6]),
    "comments": (COMMENTS, [5, 8]),
    "numpy.savetxt": (SAVETXT, [2, 3]),
    "to_string": (FRAME.to_string(), [2, 3]),
    "to_string without index": (FRAME.to_string(index=False), [2, 3]),
    "to_string with a named index": (FRAME.set_index("n_params").to_string(), [3, 4]),
    "to_csv with its index": (FRAME.to_csv(), [2, 3]),
    "tabs": (FRAME.to_csv(sep="\t", index=False), [2, 3]),
    "sep=": ("sep=;\n" + FRAME.to_csv(sep=";", index=False), [3, 4]),
    "carriage returns": (FRAME.to_csv(index=False).replace("\n", "\r"), [2, 3]),
    "trailing separators": (FRAME.to_csv(index=False).replace("\n", ",\n"), [2, 3]),
    "trailing separators but of the names": (
        FRAME.to_csv(index=False).replace("\n", ",\n").replace("loss,", "loss"),
        [2, 3],
    ),
    "write.table of R": ('"n_params" "n_tokens" "loss"\n"1" 19494255 8.5e9 3.41\n"2" 38988510 4.25e9 3.27\n', [2, 3]),
    "a title": ("Runs of July\n\n" + FRAME.to_csv(index=False), [4, 5]),
    "a title of a spreadsheet": ("Runs of July,,\n" + FRAME.to_csv(index=False), [3, 4]),
    "names again": (FRAME.to_csv(index=False) + "n_params,n_tokens,loss\n", [2, 3]),
    "a mark of bytes": ("\ufeff" + FRAME.to_csv(index=False), [2, 3]),
    "quoted names": ('"n_params","n_tokens","loss"\n19494255,8.5e9,3.41\n38988510,4.25e9,3.27\n', [2, 3]),
}  # fmt: skip


def read(folder: Path, content: str | bytes, **options: Any) -> RawTable:
    path = folder / "runs.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, **options)


def numbers(table: RawTable) -> dict[str, list[float]]:
    """The columns with a name, as numbers; 8.5×10^{9} is how LaTeX writes 8.5e9."""
    as_number = lambda cell: float(str(cell).replace("×10^{9}", "e9"))  # noqa: E731
    return {h: [as_number(c) for c in v] for h, v in zip(table.headers, table.values, strict=True) if h}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_printed_table_is_read_like_its_csv(tmp_path, shape):
    text, lines = SHAPES[shape]
    table = read(tmp_path, text)
    assert numbers(table) == FRAME.to_dict("list")
    assert table.row.tolist() == lines


@pytest.mark.parametrize(
    "shape", ["comments", "psql", "mysql", "tabs", "trailing separators", "a title", "names"]
)
def test_a_large_file_is_read_like_a_small_one(tmp_path, monkeypatch, shape):
    """Through pandas' reader: the same names, cells, lines; comments also between blocks and inside a quoted cell."""
    rows = [(10**7 + i, 10**9 + 7 * i, 3 + i / 1000) for i in range(700)]
    line = {"psql": " {} |  {} | {:.3f}", "mysql": "| {} | {} | {:.3f} |", "tabs": "{}\t{}\t{:.3f}"}.get(
        shape, "{},{},{:.3f}," if shape == "trailing separators" else "{},{},{:.3f}"
    )
    head = {
        "psql": " n_params | n_tokens | loss\n---+---+---",
        "mysql": "+---+---+---+\n| n_params | n_tokens | loss |\n+---+---+---+",
        "tabs": "n_params\tn_tokens\tloss",
        "a title": "Runs\n\nn_params,n_tokens,loss",
        "names": "n_params,n_tokens,loss\n(M),(B),(nats)",
    }.get(shape, "n_params,n_tokens,loss")
    body = [line.format(*row) for row in rows]
    if shape == "comments":
        body[100] = "# gone\n" + body[100]
        body[600] = "// gone too\n% and this\n" + body[600]
    if shape == "mysql":
        body.append("+---+---+---+")
    text = head + "\n" + "\n".join(body) + "\n"
    small = read(tmp_path, text)
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 12)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1 << 11)
    monkeypatch.setattr(text_table, "BLOCK_ROWS", 100)
    large = read(tmp_path, text)
    assert isinstance(large.values[0], np.ndarray)  # it did take the other way
    assert large.headers == small.headers
    assert numbers(large) == numbers(small)
    assert large.row.tolist() == small.row.tolist()
    assert len(small) == 700


def test_a_line_inside_a_quoted_cell_is_no_comment(tmp_path, monkeypatch):
    text = "n_params,loss,note\n" + '1e8,3.5,"first\n# second"\n# gone\n' * 200
    notes = [read(tmp_path, text).values[2]]
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 11)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1 << 10)
    notes.append(read(tmp_path, text).values[2])
    assert notes == [["first\n# second"] * 200] * 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_text_of_windows_is_decoded(tmp_path, encoding):
    text = "Parámetros,loss\r\n19494255,3.41\r\n38988510,3.27\r\n"
    table = read(tmp_path, text.encode(encoding))
    assert table.headers == ("Parámetros", "loss")
    assert table.values[1] == ["3.41", "3.27"]


def test_a_large_file_of_windows_is_read_to_its_end(tmp_path, monkeypatch):
    """Characters of one to four bytes: more of them than asked for, read by read."""
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 12)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1001)
    text = "N,loss,name\n" + "".join(f"{i},3.5,größe 大 \U0001f600 {i}\n" for i in range(1, 40_000))
    table = read(tmp_path, text.encode("utf-16"))
    assert table.values[2] == [f"größe 大 \U0001f600 {i}" for i in range(1, 40_000)]
    with pytest.raises(DataError, match="is not UTF-16 text"):
        read(tmp_path, text.encode("utf-16")[:-1])


def test_units_under_the_names_go_into_them(tmp_path):
    for units in ("(M),(B),(nats)", "M,B,nats/token", "[M],[B],"):
        table = read(tmp_path, f"Params,Tokens,Loss\n{units}\n19,8.5,3.41\n38,4.2,3.27\n")
        assert table.headers[:2] == ("Params (M)", "Tokens (B)")
        assert table.values[0] == ["19", "38"]
        assert table.row.tolist() == [3, 4]
        assert any("line 2 holds units" in note for note in table.notes)


def test_names_in_two_rows_are_no_units(tmp_path):
    table = read(tmp_path, ",Model,,Loss\n,N,D,val\n1,2,3,4.5\n2,3,4,4.4\n")
    assert table.headers == ("", "Model", "", "Loss")
    assert table.row.tolist() == [2, 3, 4]  # and the cell 'val' is refused where the loss is read


def test_the_first_table_of_a_page_is_read_and_its_lines_told(tmp_path):
    page = f"# Results\n\nLosses:\n\n{MARKDOWN}\nTimes, in hours:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    table = read(tmp_path, page)
    assert numbers(table) == FRAME.to_dict("list")
    assert table.row.tolist() == [7, 8]
    assert "lines 5 to 8 hold the table that was read; 4 others were left out" in table.notes


@pytest.mark.parametrize("first", ["a,1e8,2e9,diverged", "a,,,nan", "a,1e8,nan,nan"])
def test_a_first_run_that_failed_is_no_row_of_units(tmp_path, first):
    table = read(tmp_path, f"name,N,D,loss\n{first}\nb,2e8,4e9,3.1\nc,3e8,4e9,3.1\n")
    assert table.row.tolist() == [2, 3, 4]


def test_cells_may_be_blank_where_columns_are_aligned(tmp_path):
    table = read(tmp_path, "run  n_params  loss\na    1e8       3.1\nb              3.2\nc    2e8\n")
    assert table.values == (["a", "b", "c"], ["1e8", "", "2e8"], ["3.1", "3.2", ""])


def test_names_of_several_words_stay_whole(tmp_path):
    table = read(tmp_path, "Model params   Dataset tokens   Test loss\n7 B   1.5 T   3.1\n8 B   4 T   3.2\n")
    assert table.headers == ("Model params", "Dataset tokens", "Test loss")
    assert table.values[1] == ["1.5 T", "4 T"]


def test_commas_of_thousands_part_no_columns(tmp_path):
    table = read(tmp_path, "N  D  loss\n19,494,255  8,549,527,438  3.41\n38,988,510  4,274,763,719  3.27\n")
    assert table.values[1] == ["8,549,527,438", "4,274,763,719"]


@pytest.mark.parametrize(
    "text",
    ["N;D;loss\n1,5;2,5;3,41\n", "a;b\n1,5;2,5\n1,6;2,7\n", "N\tD (B, raw)\tloss, nats\n1,5\t2,5\t3,41\n"],
)
def test_decimal_commas_do_not_hide_the_separator(tmp_path, text):
    table = read(tmp_path, text)
    assert table.separator in ";\t"
    assert table.values[0][0] == "1,5"


@pytest.mark.parametrize(
    "rows", ["1,2,3,41\n2,4,3,27\n", "19,8,3,41\n38,4,3,27\n", "a,19,8,3,41\nb,38,4,3,27\n"]
)
def test_a_decimal_comma_between_commas_is_no_index(tmp_path, rows):
    """Read as an index and shifted by one cell, L would be 41."""
    names = "name,N,D,loss" if rows[0] == "a" else "N,D,loss"
    with pytest.raises(DataError, match=r"line 2: \d cells under \d column names"):
        read(tmp_path, f"{names}\n{rows}")


def test_a_truncated_print_says_that_runs_are_missing(tmp_path):
    frame = pd.DataFrame({"n_params": range(10**7, 10**7 + 99), "loss": np.linspace(4, 2, 99)})
    table = read(tmp_path, frame.to_string(max_rows=10))
    assert len(table) == 10
    assert any("runs are missing" in note for note in table.notes)


def test_a_column_may_be_named_by_a_hash(tmp_path):
    table = read(tmp_path, "#,N,loss\n1,1e8,3.1\n2,2e8,3.0\n")
    assert table.headers == ("#", "N", "loss")
    named = read(tmp_path, "run,N,loss\n#1,1e8,3.1\n#2,2e8,3.0\n")
    assert named.values[0] == ["#1", "#2"]


def test_a_quote_that_never_ends_is_no_fault_of_ours(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('n_params\n"\n0 0\n')
    with pytest.raises(DataError):
        read_table(path)
