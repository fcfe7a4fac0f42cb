"""The packaged tables: every row readable, with a source and a status; names found, unknown ones refused."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from scaling.errors import LawError, UnknownNameError
from scaling.laws import ChinchillaLaw
from scaling.reference import (
    accelerators,
    find_accelerator,
    find_law,
    find_model,
    law_names,
    published_laws,
    published_models,
    resolve_law,
    write_law,
)
from scaling.reference.tables import fold, read_table

STATUSES = {"verified", "partly", "disputed", "unverified"}


def test_every_row_has_a_source_and_a_status():
    for law in published_laws():
        assert law.provenance.source
        assert law.provenance.status in STATUSES, law.provenance.name
        assert law.provenance.params_convention
    for row in (*accelerators(), *published_models()):
        assert row.source, row.id
        assert row.status in STATUSES or re.fullmatch(r"agreed by [2-9]", row.status), row.id


def test_a_verified_accelerator_names_the_page_that_was_read_and_no_source_is_shorthand():
    for row in accelerators():
        assert row.status != "verified" or ", read: " in row.source, row.id
        assert "+" not in row.source, row.id


@pytest.mark.parametrize("table", ["published_laws.csv", "accelerators.csv", "published_models.csv"])
def test_no_two_rows_answer_to_one_name(table):
    names = {}
    for row in read_table(table):
        for name in {fold(row["id"]), fold(row.get("name", "")), *map(fold, row["aliases"].split(";"))} - {
            ""
        }:
            assert names.setdefault(name, row["id"]) == row["id"], name


def test_every_law_and_model_is_found_by_its_own_name():
    assert [find_law(name).provenance.name for name in law_names()] == list(law_names())
    assert all(find_model(m.name) == m and find_model(m.id) == m for m in published_models())
    assert all(find_accelerator(a.name) == a and find_accelerator(a.id) == a for a in accelerators())


@pytest.mark.parametrize(
    ("alias", "accelerator"),
    [
        ("H100", "h100-sxm"),
        ("h100 sxm", "h100-sxm"),
        ("A100", "a100-80"),
        ("A100-40GB", "a100-40"),
        ("b200", "b200"),
    ],
)
def test_usual_names_of_accelerators(alias, accelerator):
    assert find_accelerator(alias).id == accelerator


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (find_law, "besirglu", "unknown law 'besirglu'; did you mean: besiroglu"),
        (find_law, "", "unknown law ''"),
        (find_accelerator, "H1000", "unknown accelerator 'H1000'; did you mean"),
        (find_accelerator, "", "unknown accelerator ''"),
        (find_model, "gpt5", "unknown model 'gpt5'; did you mean"),
        (find_model, " ", "unknown model"),
    ],
)
def test_unknown_names_list_near_ones_and_never_fall_back(find, name, message):
    with pytest.raises(UnknownNameError, match=message):
        find(name)


def test_peaks_are_dense():
    # the sparse figures 1979 (H100) and 2615 (MI300X) stand in many tables as bf16
    assert find_accelerator("H100").peak_flops_per_s == 989e12
    assert find_accelerator("MI300X").peak_flops_per_s == 1307e12
    for a in accelerators():
        if a.peak_fp8_flops_per_s is not None:
            assert 1.9 < a.peak_fp8_flops_per_s / a.peak_flops_per_s < 2.1, a.id


def test_prices_carry_a_date_and_mfu_lies_in_0_to_1():
    for a in accelerators():
        if a.price_usd_per_hour_low is not None:
            assert 0 < a.price_usd_per_hour_low <= a.price_usd_per_hour_high
            assert a.price_date, a.id
            assert a.price_source, a.id
        assert 0 < a.mfu_low < a.mfu_mid < a.mfu_high < 1
        assert a.mfu_source


def test_models_have_possible_sizes():
    for m in published_models():
        assert m.n_params > 1e6, m.id
        assert m.n_tokens is None or m.n_tokens > 1e9, m.id
        assert m.n_params_active is None or m.n_params_active < m.n_params, m.id
        assert (m.kind == "decoder-moe") == (m.n_params_active is not None), m.id


def test_a_law_is_resolved_by_name_or_by_file(tmp_path, monkeypatch):
    mine = ChinchillaLaw(E=1.0, A=100.0, B=100.0, alpha=0.3, beta=0.3)
    write_law(mine, tmp_path / "fit.json")
    write_law(mine, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert resolve_law("fit.json") == resolve_law(tmp_path / "fit.json") == resolve_law("mine") == mine
    assert resolve_law("hoffmann") == find_law("chinchilla")
    with pytest.raises(UnknownNameError, match="did you mean: hoffmann"):
        resolve_law("hofman")
    with pytest.raises(LawError, match="there is no law file"):
        resolve_law("none.json")


def test_looking_up_a_law_imports_no_heavy_library():
    code = (
        "import sys; before = set(sys.modules); from scaling.reference import find_law, find_accelerator;"
        "find_law('besiroglu').allocate(1e21); find_law('muennighoff').allocate(1e21, n_tokens_unique=1e10);"
        "find_accelerator('H100');"
        "print([m for m in ('numpy', 'pandas', 'scipy', 'matplotlib', 'torch', 'importlib.resources')"
        " if m in sys.modules and m not in before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_look_at_aliases_and_say_how_many_there_are():
    with pytest.raises(UnknownNameError, match=r"unknown law 'chinchila'; did you mean: hoffmann"):
        find_law("chinchila")
    with pytest.raises(UnknownNameError, match=r"did you mean: .*rtx4090"):
        find_accelerator("geforce 4090")
    with pytest.raises(UnknownNameError, match=rf", … \({len(accelerators())} in all\)\."):
        find_accelerator("qqqqq")
