"""Commas in cells: decimal signs or thousands, decided for the whole table, or asked; never another number in silence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scaling.errors import DataError, UsageError
from scaling.fitting.surface.fit import fit_parametric
from scaling.runs import load_runs, text_table
from scaling.runs import read as reading
from scaling.runs.commas import resolve_commas
from scaling.runs.raw_table import RawTable

CASES = Path(__file__).parents[1] / "cases"


def table(separator: str, text: str) -> RawTable:
    """A table as the reader of text files hands it over; cells may be quoted by single words of the text."""
    headers, *rows = (line.split("¦") for line in text.replace(separator, "¦").splitlines())
    columns = tuple(list(c) for c in zip(*rows, strict=True))
    return RawTable(
        source="t.csv",
        headers=tuple(headers),
        values=columns,
        row=np.arange(2, len(rows) + 2),
        separator=separator,
    )


def written(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_three_decimals_behind_commas_give_the_planted_law():
    runs = load_runs(CASES / "tables-01-decimal-comma-three-digits" / "input.csv")
    assert runs.n_params[0] == pytest.approx(19.494e6, rel=1e-12)
    assert runs.n_tokens[0] == pytest.approx(8.550e9, rel=1e-12)
    assert runs.loss[0] == 3.413
    assert "commas are decimal signs: 19,494 is 19.494" in runs.notes
    fit = fit_parametric(runs)
    for name, planted in {"E": 1.7, "A": 380, "B": 1700, "alpha": 0.34, "beta": 0.36}.items():
        estimate = fit.estimates[name]
        assert abs(estimate.value - planted) < 4 * estimate.standard_error  # the noise of 0.1 %
        assert planted / 2 < estimate.value < 2 * planted
    assert fit.params_exponent.value == pytest.approx(0.5143, abs=0.01)


COMMA = [  # the first row of a table of decimal commas, what tells it, and N, D, L
    ("params (M);tokens (B);loss", "19,494;8,550;3,413", "loss"),
    ("Params (M);Tokens (B);Perda;loss", "19,494;8,550;3,413;3,413", "perda"),
    ("params (M);tokens (B);loss", "19,494;8,55;3,413", "two decimals"),
    ("params (M)\ttokens (B)\tloss", "19,494\t8,550\t3,413", "tab"),
    ("params (M)|tokens (B)|loss", "19,494|8,550|3,413", "bar"),
    ("params (M) | tokens (B) | loss", "19,494 | 8,550 | 3,413", "spaces around the bar"),
    ("params;tokens;loss", "19,494M;8,550B;3,413", "units in cells"),
    ("params;tokens;loss", "19,494 M;8,550 B tokens;3,413", "words in cells"),
    ("params;tokens;loss", "19,494 million;8,550 billion;3,413", "scale words"),
    ("params;tokens;loss", "1,9494e7;8,55e9;3,413", "exponents"),
    ("params;tokens;loss", "1,9494E+07;8,550E+09;3,413", "a spreadsheet's exponents"),
    ("params;tokens;loss", "1,9494·10^7;8,55 x 10^9;3,413", "powers of ten"),
    ("params;tokens;loss", "1,9494×10⁷;8,55×10⁹;3,413", "raised powers"),
    ("params;tokens;loss", "19.494.000;8.550.000.000;3,413", "points for thousands"),
    ("params;tokens;loss", "19 494 000;8 550 000 000;3,413", "spaces for thousands"),
    ("params;tokens;loss", "19\u202f494\u202f000;8\u202f550\u202f000\u202f000;3,413", "narrow spaces"),
    ("params;tokens;loss", "19\u00a0494\u00a0000;8\u00a0550\u00a0000\u00a0000;3,413", "spaces that do not break"),
    ("params;tokens;loss", "19'494'000;8'550'000'000;3,413", "apostrophes"),
    ("params;tokens;loss", "19’494’000;8’550’000’000;3,413", "typographic apostrophes"),
    ("params;tokens;loss", "１９４９４０００;８５５０００００００;３，４１３", "full-width digits"),
    ("params;tokens;loss", "+19494000;+8550000000;+3,413", "leading plus"),
    ("params (M);tokens (B);loss;lr", "19,494;8,550;3,413;3,0e-4", "negative exponent"),
    ("params (M);tokens (B);loss;lr", "19,494;8,550;3,413;0,001", "leading zero elsewhere"),
    ("params (M);tokens (B);loss;change", "19,494;8,550;3,413;−0,5 %", "Unicode minus and percent"),
    ("params (B);tokens (T);loss", "0,019494;0,00855;3,413", "long decimals"),
    ("params;tokens (M);loss", "19494000;8.550;3,413", "one group of thousands"),
    ("params (K);tokens (M);loss", "19.494;8.550,0;3,413", "both signs"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "row", "tells"), COMMA, ids=[c[2] for c in COMMA])
def test_decimal_commas_are_read(tmp_path, header, row, tells):
    columns = {"loss": "loss"} if "Perda" in header else None
    runs = load_runs(written(tmp_path, f"{header}\n{row}\n{row}\n"), columns=columns)
    assert runs.n_params.tolist() == pytest.approx([19.494e6] * 2, rel=1e-12)
    assert runs.n_tokens.tolist() == pytest.approx([8.55e9] * 2, rel=1e-12)
    assert runs.loss.tolist() == [3.413] * 2
    assert any("commas are decimal signs" in note for note in runs.notes)


POINT = [
    ("params\ttokens\tloss", "30,000,000\t600,000,000\t3.413", "groups in a tab table"),
    ("params (k)\ttokens (k)\tloss", "30,000\t600,000\t3.413", "one group, losses with points"),
    ("params (k)\ttokens (k)\tloss", "30,000\t600,000\t3.41", "one group, losses of two decimals"),
    ("params (k),tokens (k),loss", '"30,000","600,000",3', "quoted in a file of commas"),
    ("params (k),tokens (k),loss", '"30,000","600,000",3.413', "quoted beside points"),
    ("params (k);tokens (k);loss", "30,000;600,000;3.413", "semicolons, points in the loss"),
    ("params,tokens,loss", '"30,000,000.0","600,000,000",3.413', "point behind groups"),
    ("params;tokens;loss", "30 000 000;600 000 000;3.413", "spaces"),
    ("params;tokens;loss", "30'000'000;600'000'000;3.413", "apostrophes"),
    ("params;tokens;loss", "30_000_000;600_000_000;3.413", "underscores"),
    ("params (k)\ttokens (k)\tloss\tstep", "30,000\t600,000\t3\t16,307", "steps are whole"),
    ("params,tokens,loss,layers", '3e7,6e8,3.413,"12,24"', "a list in a column of its own"),
    ("params,tokens,loss,when", '3e7,6e8,3.413,"Mon, 5 May"', "a date with a comma"),
    ("params,tokens,loss,price", '3e7,6e8,3.413,"€1,50"', "another currency"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "row", "tells"), POINT, ids=[c[2] for c in POINT])
def test_thousands_are_read(tmp_path, header, row, tells):
    runs = load_runs(written(tmp_path, f"{header}\n{row}\n{row}\n"))
    assert runs.n_params.tolist() == pytest.approx([3e7] * 2, rel=1e-12)
    assert runs.n_tokens.tolist() == pytest.approx([6e8] * 2, rel=1e-12)
    assert runs.loss.tolist() in ([3.413] * 2, [3.41] * 2, [3.0] * 2)
    assert not any("decimal signs" in note for note in runs.notes)


@pytest.mark.parametrize(
    "word", ["Pérdida", "Perte", "Verlust", "perda", "Perdita", "val PPL", "bpb", "val_nll"]
)
def test_a_loss_in_any_language_tells_that_the_comma_is_decimal(word):
    settled = resolve_commas(table(";", f"Parámetros (M);Tokens (B);{word}\n30,000;5,556;3,408"))
    assert settled.values == (["30.000"], ["5.556"], ["3.408"])
    assert settled.notes == ("commas are decimal signs: 30,000 is 30.000",)


def test_perplexities_in_the_thousands_are_none_of_finished_runs_but_hundreds_may_be():
    assert resolve_commas(table(";", "params;ppl\n1,400;30,412")).values == (["1.400"], ["30.412"])
    assert resolve_commas(table(",", "ppl\n345.2\n210.4")).values == (["345.2", "210.4"],)
    with pytest.raises(DataError, match="'1,020' could be"):
        resolve_commas(table("\t", "ppl\n1,020\n345\n210\n190"))  # median 277 or 200: either is possible


def test_sizes_across_and_budgets_down_hold_losses():
    settled = resolve_commas(table(";", "dim;1e18;3e18\nd512;3,408;3,301"))
    assert settled.values == (["d512"], ["3.408"], ["3.301"])


@pytest.mark.parametrize(
    ("separator", "text"),
    [
        (";", "params;tokens\n1,400;20,000"),
        ("\t", "params\ttokens\n1,400\t20,000"),
        ("\t", "params\ttokens\n1,400\t20,000\n2,800\t500"),  # 500 speaks for thousands, the tab against
        ("|", "params|tokens\n1,400|20,000"),
        (";", "params;score\n1,400;7"),
    ],
)
def test_a_comma_that_could_be_either_is_asked_and_the_option_settles_it(separator, text):
    asked = table(separator, text)
    with pytest.raises(
        DataError, match=r"'1,400' could be 1\.400 .* or 1400 .*--decimal comma or --decimal point"
    ):
        resolve_commas(asked)
    assert resolve_commas(asked, decimal="comma").values[0][0] == "1.400"
    assert resolve_commas(asked, decimal="point").values[0][0] == "1400"


def test_whole_numbers_of_four_digits_without_a_comma_tell_that_commas_are_decimal():
    settled = resolve_commas(table(";", "params;tokens\n1,400;20,500\n2,800;1500"))
    assert settled.values == (["1.400", "2.800"], ["20.500", "1500"])


def test_cells_of_a_mapping_are_asked_too():
    data = {"params": ["1,400M", "2,800M"], "tokens": [2e10, 4e10], "loss": [3.1, 2.9]}
    with pytest.raises(DataError, match=r"arrays, row 1, column params: '1,400M' could be 1\.400M"):
        load_runs(data)


def test_signs_that_contradict_each_other_are_refused_by_two_cells(tmp_path):
    path = written(tmp_path, "params;tokens;loss\n7,5M;1,400B;3.2\n")
    with pytest.raises(
        DataError, match=r"line 2, column params: '7,5M' has a decimal comma, and line 2, column loss: '3\.2'"
    ):
        load_runs(path)
    mixed = table(";", "params (M);tokens (B);loss\n7,5;1,400;3.2")
    assert resolve_commas(mixed, decimal="comma").values == (["7.5"], ["1.400"], ["3.2"])
    assert resolve_commas(mixed, decimal="point").values == (["7.5"], ["1400"], ["3.2"])


def test_losses_of_three_decimals_beside_a_decimal_comma_are_losses():
    settled = resolve_commas(table(";", "params (M);tokens (B);loss\n7,5;1,4;3.413"))
    assert settled.values == (["7.5"], ["1.4"], ["3.413"])


@pytest.mark.parametrize(
    "word", ["n/a", "k.A.", "—", "–", "#N/A", "?", "null", "NaN", "-", "#NV", "<NA>", " "]
)
def test_words_for_not_known_are_empty_cells(tmp_path, word):
    path = written(tmp_path, f"params;tokens;loss;budget\n7,5M;1,4B;3,2;{word}\n7,5M;1,4B;3,1;1,5e18\n")
    runs = load_runs(path)
    assert math.isnan(runs.budget[0])
    assert runs.budget[1] == 1.5e18


@pytest.mark.parametrize(
    "cell", ["~7B", "≈ 7B", "7B*", "7B†", "ca. 7B", "7–8B", "7½B", "7①", "7B²", "1,00,000", "1,5,5"]
)
def test_what_is_no_plain_number_is_refused_with_words(tmp_path, cell):
    path = written(tmp_path, f'params,tokens,loss\n"{cell}",1e9,3.2\n8e9,1e9,3.1\n')
    with pytest.raises(DataError, match=r"line 2, column params: .*(write|Write)"):
        load_runs(path)


def test_names_ids_dates_and_paths_stay_as_they_stand():
    text = (
        "name;loss;model;date;path;tag\n1,234;3,41;7,5-lr3;12.05.2024;a/1,5/x;v1.2.345\n"
        "1,235;3,42;7,5-lr4;13.05.2024;b,5;v1.2.346"
    )
    before, after = table(";", text), resolve_commas(table(";", text))
    assert after.values[1] == ["3.41", "3.42"]
    for i in (0, 2, 3, 4, 5):
        assert after.values[i] == before.values[i]


def test_a_column_given_as_names_stays_and_one_given_as_a_quantity_counts():
    text = "Lauf;Menge;loss\n1,234;1,400;3,41"
    settled = resolve_commas(table(";", text), columns={"run_id": "Lauf", "n_tokens": "Menge"})
    assert settled.values == (["1,234"], ["1.400"], ["3.41"])


def test_plain_tables_come_back_themselves():
    plain = table(",", "params,tokens,loss\n7B,1.4T,3.413\n8B,2T,3.2")
    assert resolve_commas(plain) is plain


def test_the_option_is_one_of_two_words():
    with pytest.raises(UsageError, match="decimal is one of comma, point; got ';'"):
        resolve_commas(table(";", "params;loss\n1,5;3,4"), decimal=";")


def test_large_files_are_read_as_small_ones_points_for_thousands_too(tmp_path, monkeypatch):
    rows = "".join(f"run {i};{i + 1}.000;{30 + i % 7}.000;3,{400 + i % 90}\n" for i in range(900))
    path = written(tmp_path, "name;step;params;loss;\n".replace("loss;", "loss") + rows)
    path.write_text(
        path.read_text().replace("params", "n_params").replace("step", "n_tokens"), encoding="utf-8"
    )
    small = load_runs(path)
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 13)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1 << 12)
    monkeypatch.setattr(text_table, "BLOCK_ROWS", 100)
    large = load_runs(path)
    assert small.n_tokens[:2].tolist() == [1000.0, 2000.0]
    for name in ("n_params", "n_tokens", "loss", "row"):
        assert getattr(large, name).tolist() == getattr(small, name).tolist()


# --- any numbers under any locale ---

WRITINGS = [  # decimal sign, sign of thousands
    (".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"),
    (",", "\u202f"), (".", "\u00a0"), (",", "’"),
]  # fmt: skip


def as_written(value: float, decimals: int, decimal: str, thousands: str) -> str:
    text = f"{value:,.{decimals}f}"
    return text.replace(",", "t").replace(".", decimal).replace("t", thousands)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.05, 5e5), st.floats(0.05, 5e5), st.floats(0.5, 12.0), st.integers(1, 500_000)),
        min_size=1,
        max_size=8,
    ),
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 4)),
    st.sampled_from(WRITINGS),
    st.sampled_from(",;\t|"),
    st.sampled_from(["csv", "frame", "json"]),
    st.sampled_from(["loss", "Pérdida", "Wert"]),
)
def test_planted_numbers_read_back_or_are_refused_with_words(
    tmp_path_factory, rows, decimals, writing, separator, form, loss
):
    decimal, thousands = writing
    planted = [[float(f"{v:.{d}f}") for v, d in zip(row, decimals, strict=False)] + [row[3]] for row in rows]
    assume(all(v > 0 for row in planted for v in row))
    cells = [
        [as_written(v, d, decimal, thousands) for v, d in zip(row, (*decimals, 0), strict=True)]
        for row in planted
    ]
    headers = ["params (M)", "tokens (M)", loss, "step"]
    folder = tmp_path_factory.mktemp("planted")
    if form == "frame":
        data = pd.DataFrame(cells, columns=headers)
    else:
        data = folder / f"t.{'jsonl' if form == 'json' else 'csv'}"
        lines = [separator.join(f'"{c}"' if separator in c else c for c in row) for row in [headers, *cells]]
        if form == "json":
            lines = [json.dumps(dict(zip(headers, row, strict=True))) for row in cells]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        runs = load_runs(data, columns={"loss": loss})
    except DataError as error:
        assert "--decimal" in str(error)
        return
    N, D, L, step = zip(*planted, strict=True)
    assert runs.n_params.tolist() == pytest.approx([n * 1e6 for n in N], rel=1e-12)
    assert runs.n_tokens.tolist() == pytest.approx([d * 1e6 for d in D], rel=1e-12)
    assert runs.loss.tolist() == pytest.approx(L, rel=1e-12)
    assert runs.step.tolist() == pytest.approx(step, rel=1e-12)
