"""load_runs reads what people have: aliases, units, several formats, curves; and tells back what it assumed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import DataError, UsageError
from scaling.runs import Convention, Runs, load_runs

CSV = "run_id,n_params,n_tokens,loss\na,1e8,2e9,3.1\nb,2e8,4e9,2.9\n"


def write(folder: Path, text: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_become_arrays_with_the_line_of_each_run(tmp_path):
    runs = load_runs(write(tmp_path, CSV))
    assert runs.run_id == ("a", "b")
    assert runs.n_params.tolist() == [1e8, 2e8]
    assert runs.row.tolist() == [2, 3]
    assert len(runs) == 2


def test_flops_follow_from_6nd_and_the_note_says_so(tmp_path):
    runs = load_runs(write(tmp_path, CSV))
    assert runs.flops.tolist() == [6 * 1e8 * 2e9, 6 * 2e8 * 4e9]
    assert runs.convention == Convention(params="total", flops="6ND", loss_unit="nats/token")
    assert any("flops = 6 n_params n_tokens" in note for note in runs.notes)


def test_tokens_follow_from_flops(tmp_path):
    runs = load_runs(write(tmp_path, "n_params,flops,loss\n1e8,1.2e18,3.1\n2e8,4.8e18,2.9\n"))
    assert runs.n_tokens.tolist() == pytest.approx([2e9, 4e9])
    assert any("n_tokens = flops / (6 n_params)" in note for note in runs.notes)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Model Size", "n_params"),
        ("num_params", "n_params"),
        ("N", "n_params"),
        ("parameters", "n_params"),
    ],
)
def test_an_alias_is_read_and_told_back(tmp_path, header, name):
    runs = load_runs(write(tmp_path, f"{header},D,L\n1e8,2e9,3.1\n2e8,4e9,2.9\n"))
    assert f"read {header} as {name}" in runs.notes
    assert runs.convention.params == "unknown"  # such a name says nothing about embeddings
    assert any("params_convention" in note for note in runs.notes)


def test_the_canonical_name_wins_over_an_alias(tmp_path):
    runs = load_runs(write(tmp_path, "n_params,params,n_tokens,loss\n1e8,5,2e9,3.1\n2e8,6,4e9,2.9\n"))
    assert runs.n_params.tolist() == [1e8, 2e8]
    assert runs.extras["params"].tolist() == [5, 6]


def test_two_aliases_of_one_quantity_are_asked_about(tmp_path):
    path = write(tmp_path, "n_params,n_tokens,val_loss,train_loss\n1e8,2e9,3.1,3.0\n2e8,4e9,2.9,2.8\n")
    with pytest.raises(DataError, match=r"'val_loss' and 'train_loss' can each be read as loss.*columns="):
        load_runs(path)
    assert load_runs(path, columns={"loss": "train_loss"}).loss.tolist() == [3.0, 2.8]


def test_columns_may_name_a_header_no_alias_knows(tmp_path):
    path = write(tmp_path, "size_of_it,n_tokens,loss\n1e8,2e9,3.1\n2e8,4e9,2.9\n")
    assert load_runs(path, columns={"n_params": "size_of_it"}).n_params[0] == 1e8
    with pytest.raises(UsageError, match=r"no column 'sizeofit'.*size_of_it"):
        load_runs(path, columns={"n_params": "sizeofit"})
    with pytest.raises(UsageError, match=r"no quantity 'n_param'.*n_params"):
        load_runs(path, columns={"n_param": "size_of_it"})


def test_units_in_cells(tmp_path):
    runs = load_runs(
        write(tmp_path, 'params,tokens,flops,loss\n100M,2B,1.2 EFLOPs,3.1\n0.2B,"4B tokens",4.8e18,2.9\n')
    )
    assert runs.n_params.tolist() == [1e8, 2e8]
    assert runs.n_tokens.tolist() == [2e9, 4e9]
    assert runs.flops.tolist() == pytest.approx([1.2e18, 4.8e18])


@pytest.mark.parametrize(
    "header", ["params (M)", "n_params [1e6]", "params_millions", "Params (millions)", "params_m"]
)
def test_units_in_headers(tmp_path, header):
    runs = load_runs(write(tmp_path, f"{header},tokens (B),loss (nats/token)\n100,2,3.1\n200,4,2.9\n"))
    assert runs.n_params.tolist() == [1e8, 2e8]
    assert runs.n_tokens.tolist() == [2e9, 4e9]
    assert any("times 1e+06" in note for note in runs.notes)


def test_a_unit_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"runs\.csv, line 3, column n_params: .*unit of tokens"):
        load_runs(write(tmp_path, "n_params,n_tokens,loss\n1e8,2e9,3.1\n7B tokens,4e9,2.9\n"))


def test_non_embedding_parameters_carry_their_convention(tmp_path):
    text = "n_params,n_params_nonemb,n_tokens,loss\n1e8,6e7,2e9,3.1\n2e8,1.5e8,4e9,2.9\n"
    total = load_runs(write(tmp_path, text))
    assert (total.convention.params, total.extras["n_params_nonemb"].tolist()) == ("total", [6e7, 1.5e8])
    body = load_runs(write(tmp_path, text), params_convention="non_embedding")
    assert (body.convention.params, body.n_params.tolist()) == ("non_embedding", [6e7, 1.5e8])
    assert body.extras["n_params_total"].tolist() == [1e8, 2e8]
    assert body.flops[0] == 6 * 6e7 * 2e9  # 6ND with this table's own N


def test_a_table_of_non_embedding_counts_cannot_give_totals(tmp_path):
    path = write(tmp_path, "n_params_nonemb,n_tokens,loss\n6e7,2e9,3.1\n2e8,4e9,2.9\n")
    assert load_runs(path).convention.params == "non_embedding"
    with pytest.raises(UsageError, match="without embeddings only"):
        load_runs(path, params_convention="total")


def test_an_unfinished_non_embedding_column_is_refused_when_asked_for(tmp_path):
    path = write(tmp_path, "n_params,n_params_nonemb,n_tokens,loss\n1e8,6e7,2e9,3.1\n2e8,,4e9,2.9\n")
    assert np.isnan(load_runs(path).extras["n_params_nonemb"][1])
    with pytest.raises(DataError, match=r"line 3, column n_params_nonemb: is empty"):
        load_runs(path, params_convention="non_embedding")


def test_flops_of_another_count_are_not_called_6nd(tmp_path):
    text = "n_params,n_tokens,flops,flops_source,loss\n1e8,2e9,1.5e18,source: own count,3.1\n2e8,4e9,6e18,source,2.9\n"
    assert load_runs(write(tmp_path, text)).convention.flops == "source"
    assert load_runs(write(tmp_path, text), flops_convention="exact").convention.flops == "exact"
    plain = "n_params,n_tokens,flops,loss\n1e8,2e9,1.5e18,3.1\n2e8,4e9,6e18,2.9\n"
    assert load_runs(write(tmp_path, plain)).convention.flops == "unknown"


def test_an_unknown_convention_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="total, active, non_embedding"):
        load_runs(write(tmp_path, CSV), params_convention="totl")


# --- loss units ---


@pytest.mark.parametrize("header", ["bits_per_byte", "loss (bits/byte)", "bpb"])
def test_bits_per_byte_are_refused_with_the_conversion(tmp_path, header):
    path = write(tmp_path, f"n_params,n_tokens,{header}\n1e8,2e9,1.1\n2e8,4e9,1.0\n")
    with pytest.raises(DataError, match=r"bits/byte.*ln 2.*--loss-unit bits/byte.*--bytes-per-token"):
        load_runs(path)
    with pytest.raises(UsageError, match="needs --bytes-per-token"):
        load_runs(path, loss_unit="bits/byte")
    runs = load_runs(path, loss_unit="bits/byte", bytes_per_token=4.0)
    assert runs.loss.tolist() == pytest.approx([1.1 * np.log(2) * 4, np.log(2) * 4])
    assert runs.convention.loss_unit == "nats/token"


def test_bits_and_perplexity_are_converted_on_request(tmp_path):
    path = write(tmp_path, "n_params,n_tokens,loss\n1e8,2e9,4.0\n2e8,4e9,3.5\n")
    assert load_runs(path, loss_unit="bits/token").loss[0] == pytest.approx(4 * np.log(2))
    assert load_runs(path, loss_unit="perplexity").loss[0] == pytest.approx(np.log(4))
    assert load_runs(path, loss_unit="other").convention.loss_unit == "other"
    with pytest.raises(UsageError, match=r"\(loss_unit\) is one of"):
        load_runs(path, loss_unit="furlongs")


def test_the_header_and_the_caller_must_agree_on_the_unit(tmp_path):
    path = write(tmp_path, "n_params,n_tokens,loss (bits/token)\n1e8,2e9,4.0\n2e8,4e9,3.5\n")
    with pytest.raises(UsageError, match="bits/token, and you say nats/token"):
        load_runs(path, loss_unit="nats/token")


def test_rows_that_state_different_conventions():
    table = {"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.0, 2.9]}
    with pytest.raises(DataError, match="loss is in more than one unit"):
        load_runs({**table, "loss_unit": ["nats/token", "bits/token"]})
    assert load_runs({**table, "params_convention": ["total", "non_embedding"]}).convention.params == "mixed"
    with pytest.raises(DataError, match="'all' is not one of total"):
        load_runs({**table, "params_convention": ["all", "all"]})


# --- formats ---


def test_json_lines_frames_mappings_and_parquet_agree_with_csv(tmp_path):
    want = load_runs(write(tmp_path, CSV))
    rows = [{"run_id": "a", "n_params": 1e8, "n_tokens": 2e9, "loss": 3.1}]
    rows.append({"run_id": "b", "n_params": "200M", "n_tokens": 4_000_000_000, "loss": 2.9})
    lines = write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n", "runs.jsonl")
    frame = pd.read_csv(tmp_path / "runs.csv")
    zipped = tmp_path / "runs.csv.gz"
    zipped.write_bytes(gzip.compress(CSV.encode()))
    tabs = write(tmp_path, CSV.replace(",", "\t"), "runs.tsv")
    given = [lines, frame, {k: frame[k].to_numpy() for k in frame}, zipped, tabs]
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "runs.parquet")
    for table in [*given, tmp_path / "runs.parquet"]:
        runs = load_runs(table)
        assert runs.run_id == want.run_id
        assert runs.flops.tolist() == want.flops.tolist()
        assert runs.convention == want.convention


def test_a_torn_last_json_line_is_left_out_and_noted(tmp_path):
    whole = '{"n_params": 1e8, "n_tokens": 2e9, "loss": 3.1}\n'
    runs = load_runs(
        write(tmp_path, whole + whole.replace("3.1", "3.0") + '{"n_params": 1e8, "n_to', "m.jsonl")
    )
    assert len(runs) == 2
    assert any("line 3 is cut off" in note for note in runs.notes)


def test_missing_values_of_a_frame_are_not_known(tmp_path):
    frame = pd.DataFrame({"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.1, 2.9]})
    frame["budget"] = pd.array([1_200_000_000, None], dtype="Int64")
    frame["corpus"] = pd.Categorical(["c4", None])
    runs = Runs.from_frame(frame)
    assert runs.budget is not None
    assert np.isnan(runs.budget[1])
    assert runs.extras["corpus"].tolist() == ["c4", ""]


def test_blank_lines_and_a_byte_order_mark_are_nothing(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + CSV.replace("b,2e8", "\n,,,\nb,2e8").encode())
    runs = load_runs(path)
    assert runs.run_id == ("a", "b")
    assert runs.row.tolist() == [2, 5]  # the line numbers an editor shows


def test_extras_are_numbers_booleans_or_text(tmp_path):
    text = "n_params,n_tokens,loss,lr,ok,corpus\n1e8,2e9,3.1,,True,c4\n2e8,4e9,2.9,1e-3,False,\n"
    extras = load_runs(write(tmp_path, text)).extras
    assert np.isnan(extras["lr"][0])
    assert extras["ok"].tolist() == [True, False]
    assert extras["corpus"].tolist() == ["c4", ""]


# --- curves and selection ---


def test_final_takes_the_last_row_of_each_run(tmp_path):
    text = "run_id,step,n_params,n_tokens,loss\n" + "".join(
        f"{r},{s},1e8,{s}e6,{4 - s / 10}\n" for r in ("b", "a") for s in (3, 1, 2)
    )
    runs = load_runs(write(tmp_path, text))
    assert runs.is_curves
    final = runs.final()
    assert final.run_id == ("b", "a")
    assert final.step is not None
    assert final.step.tolist() == [3, 3]
    assert not final.is_curves


def test_a_table_of_final_losses_is_not_curves(tmp_path):
    assert not load_runs(write(tmp_path, CSV)).is_curves


def test_select_keeps_every_column_and_its_lines(tmp_path):
    runs = load_runs(
        write(tmp_path, "n_params,n_tokens,loss,trunk_id,lr\n1e8,2e9,3.1,t,1\n2e8,4e9,2.9,u,2\n")
    )
    kept = runs.select(runs.n_params > 1e8)
    assert (kept.row.tolist(), kept.trunk_id, kept.extras["lr"].tolist()) == ([3], ("u",), [2])
    with pytest.raises(DataError, match="no run is left"):
        runs.select(runs.n_params > 1e9)
    with pytest.raises(UsageError, match="one bool a row"):
        runs.select([True])


def test_arrays_are_read_only_and_copied_from_nowhere_else(tmp_path):
    runs = load_runs(write(tmp_path, CSV))
    with pytest.raises(ValueError, match="read-only"):
        runs.loss[0] = 1.0


def test_from_arrays_names_the_bad_value():
    with pytest.raises(DataError, match=r"row 2, column loss.*nan"):
        Runs.from_arrays(n_params=[1e8, 2e8], n_tokens=[2e9, 4e9], loss=[3.1, np.nan])
    with pytest.raises(DataError, match=r"2 values for 1 runs|1 values for 2 runs|loss has 1 values"):
        Runs.from_arrays(n_params=[1e8, 2e8], n_tokens=[2e9, 4e9], loss=[3.1])
    with pytest.raises(DataError, match="give n_params, n_tokens or flops"):
        Runs.from_arrays(loss=[3.1, 2.9])


def test_reading_a_small_csv_does_not_import_pandas(tmp_path):
    path = write(tmp_path, CSV)
    code = f"import sys; from scaling.runs import load_runs; load_runs({str(path)!r}); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ROWS = {"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.1, 2.9]}


def told(table, **options):
    return [note for note in load_runs(table, **options).notes if "convention" in note]


def test_a_bare_n_params_is_told_to_be_read_as_the_total():
    assert [n[:49] for n in told(ROWS)] == ["n_params is read as total parameters, embedding i"]
    assert told(ROWS, params_convention="total") == []
    assert told({**ROWS, "params_convention": ["total"] * 2}) == []
    assert told({**ROWS, "total_params": ROWS["n_params"]}, columns={"n_params": "total_params"}) == []


def test_a_convention_that_overrules_the_table_is_told():
    table = {**ROWS, "params_convention": ["total"] * 2, "flops_convention": ["6ND"] * 2}
    assert told(table, params_convention="non_embedding", flops_convention="exact") == [
        "params_convention = non_embedding as asked, though the table says total",
        "flops_convention = exact as asked, though the table says 6ND",
    ]
    assert told(table, params_convention="total", flops_convention="6ND") == []


def test_a_loss_per_byte_names_the_argument_and_the_option():
    with pytest.raises(UsageError, match=r"needs --bytes-per-token NUMBER \(in Python bytes_per_token=\)"):
        load_runs(ROWS, loss_unit="bits/byte")


def test_a_fit_refuses_planned_runs_and_names_the_row():
    from scaling.fitting.envelope.fit import fit_envelope
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.surface.fit import fit_parametric
    from scaling.fitting.surface.general_fit import fit_law

    runs = load_runs({"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.0, np.nan]}, planned=True)
    assert runs.measured.tolist() == [True, False]
    for fit in (fit_parametric, fit_isoflop, fit_envelope, lambda r: fit_law(r, "kaplan")):
        with pytest.raises(DataError, match="row 2: no loss"):
            fit(runs)
    with pytest.raises(DataError, match="column loss"):
        load_runs({"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.0, np.nan]})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "csv.gz"])
def test_a_pipe_is_read_in_one_pass(tmp_path, kind):
    """A pipe opened twice gives its second reader nothing; its writer may be slow, too."""
    import gzip
    import os
    import threading
    import time

    text = {
        "csv": "n_params,n_tokens,loss\n1e8,2e9,3.0\n2e8,4e9,2.8\n",
        "jsonl": '{"n_params": 1e8, "n_tokens": 2e9, "loss": 3.0}\n{"n_params": 2e8, "n_tokens": 4e9, "loss": 2.8}\n',
    }[kind.split(".")[0]].encode()
    data = gzip.compress(text) if kind.endswith("gz") else text
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write():
        with pipe.open("wb", buffering=0) as file:
            file.write(data[:30])
            time.sleep(0.05)
            file.write(data[30:])

    writer = threading.Thread(target=write)
    writer.start()
    assert load_runs(pipe).loss.tolist() == [3.0, 2.8]
    writer.join()
