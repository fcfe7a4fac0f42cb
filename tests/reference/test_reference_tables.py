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
from scaling.reference.hardware import find_instance
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
            assert a.peak_flops_per_s is not None
            assert 1.9 < a.peak_fp8_flops_per_s / a.peak_flops_per_s < 2.1, a.id


def test_prices_carry_a_date_and_mfu_lies_in_0_to_1():
    for a in accelerators():
        if a.price_usd_per_hour_low is not None:
            assert 0 < a.price_usd_per_hour_low <= a.price_usd_per_hour_high
            assert a.price_date, a.id
            assert a.price_source, a.id
        if a.mfu_mid is not None:  # a tuned benchmark was measured on it
            assert 0 < a.mfu_low < a.mfu_mid < a.mfu_high < 1
            assert a.mfu_source.startswith("llm-foundry"), a.id


def test_memory_is_what_the_driver_prints_and_near_what_the_name_says():
    told = {row["id"]: row for row in read_table("accelerators.csv")}
    # thundergolfer.com/blog/nvidia-gpu-memory-capacity: nvidia-smi beside the data sheet
    printed = {
        "h200-sxm": 143771,
        "h100-sxm": 81559,
        "a100-80": 81920,
        "a100-40": 40960,
        "a10": 23028,
        "l40s": 46068,
    }
    for name, mebibytes in printed.items():
        assert find_accelerator(name).memory_bytes == mebibytes * 2**20
    for a in accelerators():
        row = told[a.id]
        if row["memory_mib"]:
            assert row["memory_source"], a.id
            assert 0.97 < int(row["memory_mib"]) * 2**20 / (float(row["memory_gb"]) * 1e9) < 1.08, a.id


def test_geforce_peaks_are_twice_the_fp32_rate():
    """Tensor cores of GeForce cards accumulate in fp32 at twice the rate of the shaders (71 = 2 x 35.6 of the RTX 3090)."""
    fp32 = {  # TFLOP/s: 2 x shaders x boost clock, as NVIDIA's pages print shaders and clocks
        "rtx3060": 2 * 3584 * 1.777, "rtx3070": 2 * 5888 * 1.725, "rtx3080": 2 * 8704 * 1.71, "rtx3090": 2 * 10496 * 1.695,
        "rtx3090ti": 2 * 10752 * 1.86, "rtx4060": 2 * 3072 * 2.46, "rtx4060ti": 2 * 4352 * 2.535,
        "rtx4070": 2 * 5888 * 2.475, "rtx4080": 2 * 9728 * 2.505, "rtx4090": 2 * 16384 * 2.52,
        "rtx5070": 2 * 6144 * 2.512, "rtx5070ti": 2 * 8960 * 2.452, "rtx5080": 2 * 10752 * 2.617,
        "rtx5090": 2 * 21760 * 2.407,
    }  # fmt: skip
    for name, rate in fp32.items():
        assert find_accelerator(name).peak_flops_per_s / 1e12 == pytest.approx(2 * rate / 1e3, rel=0.01), name


@pytest.mark.parametrize(
    ("printed", "accelerator"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),  # nvidia-smi and torch
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA B300 SXM6 AC", "b300"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 3090 Ti", "rtx3090ti"),
        ("NVIDIA RTX A6000", "a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000-ada"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100-16"),
        ("Tesla V100-SXM2-32GB", "v100-sxm"),
        ("AMD Instinct MI300X", "mi300x"),
        ("AMD Instinct MI355X", "mi355x"),
        ("Apple M3 Max", "m3-max"),
        ("nvidia-tesla-t4", "t4"),  # Google Cloud
        ("nvidia-h100-80gb", "h100-sxm"),
        ("A100-80GB", "a100-80"),  # SkyPilot
        ("RTX-PRO-6000", "rtx-pro-6000"),
        ("CPU (x86_64)", "cpu"),  # scaling hardware measure
    ],
)
def test_names_as_software_and_clouds_print_them(printed, accelerator):
    assert find_accelerator(printed).id == accelerator


def test_a_laptop_is_no_desktop():
    with pytest.raises(UnknownNameError, match="did you mean: rtx4090"):
        find_accelerator("NVIDIA GeForce RTX 4090 Laptop GPU")


def test_instances_of_clouds_name_accelerators_of_the_table():
    assert find_instance("p5.48xlarge") == (8, "h100-sxm")
    assert find_instance("standard_nd96isr_h100_v5") == (8, "h100-sxm")
    assert find_instance("H100") is None
    for row in read_table("instances.csv"):
        assert find_accelerator(row["accelerator"]).id == row["accelerator"]
        assert row["source"]


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
        find_accelerator("geforce 4091")
    with pytest.raises(UnknownNameError, match=rf", … \({len(accelerators())} in all\)\."):
        find_accelerator("qqqqq")
