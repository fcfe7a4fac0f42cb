"""The packaged tables hold the values that are typed here a second time, each with its source, and hang together.

held_*.csv are written as people write them (300B, 6.31e+23): a slip in one of the two places shows. Who corrects a
row corrects both, with the source that says so.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scaling.reference import find_accelerator, find_law, find_model, published_models
from scaling.reference.tables import read_table

HERE = Path(__file__).parent
FACTOR = {"T": 1e12, "B": 1e9, "M": 1e6}


def held(name: str) -> list[dict[str, str]]:
    with (HERE / f"held_{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read(text: str) -> float | None:
    """300B, 6.31e+23, 1.99; None where nothing is printed."""
    if not text:
        return None
    return float(text[:-1]) * FACTOR[text[-1]] if text[-1] in FACTOR else float(text)


@pytest.mark.parametrize("table", ["models", "accelerators", "laws"])
def test_every_row_is_held(table: str) -> None:
    packaged = {"models": "published_models", "accelerators": "accelerators", "laws": "published_laws"}[table]
    assert [row["id"] for row in held(table)] == [row["id"] for row in read_table(f"{packaged}.csv")]
    for wanted, row in zip(held(table), read_table(f"{packaged}.csv")):
        for column, text in wanted.items():
            if column in ("source", "price_source", "price_date", "params_convention"):
                assert row[column] == text, (row["id"], column)
            elif column == "coefficients":
                found = json.loads(row[column])
                printed = dict(part.split(" ") for part in text.split("; "))
                assert list(found) == list(printed), row["id"]
                assert found == pytest.approx({k: float(v) for k, v in printed.items()}, rel=1e-9), row["id"]
            elif column != "id":
                value = read(text)
                assert read(row[column]) == (None if value is None else pytest.approx(value, rel=1e-9)), (
                    row["id"],
                    column,
                )


# as printed; the names are those that people type
PAPERS = [
    ("GPT-3", 174.6e9, 300e9, 3.14e23),  # Brown et al. 2020, table D.1
    ("Gopher", 280e9, 300e9, 6.31e23),  # Rae et al. 2021, table 1; Hoffmann et al. 2022, table 1
    ("Chinchilla", 70e9, 1.4e12, 5.76e23),  # Hoffmann et al. 2022, table 1; 5.76e23 is Gopher's budget
    ("MT-NLG", 530e9, 270e9, None),  # Smith et al. 2022
    ("LaMDA", 137e9, 168e9, 3.55e23),  # tokens: Hoffmann et al. 2022, table 1; FLOPs: Thoppilan et al. 2022
    ("PaLM", 540.35e9, 780e9, 2.5272e24),  # Chowdhery et al. 2022, table 1
    ("LLaMA 65B", 65.2e9, 1.4e12, None),  # Touvron et al. 2023, table 2
    ("Llama 3.1 405B", 405e9, 15.6e12, 3.8e25),  # Grattafiori et al. 2024, section 1
    ("BLOOM", 176.247e9, 366e9, None),  # Scao et al. 2022
]


@pytest.mark.parametrize(("name", "n_params", "n_tokens", "flops"), PAPERS)
def test_a_model_has_the_size_and_tokens_of_its_paper(
    name: str, n_params: float, n_tokens: float, flops: float | None
) -> None:
    model = find_model(name)
    assert (model.n_params, model.n_tokens, model.flops) == (n_params, n_tokens, flops)


def test_a_price_reaches_who_asks_for_it() -> None:
    h100, a100 = find_accelerator("H100"), find_accelerator("A100")
    # mercatus-ai.com, May 2026
    assert (h100.price_usd_per_hour_low, h100.price_usd_per_hour_high, h100.price_date) == (
        1.99,
        5.00,
        "2026-05",
    )
    assert (a100.price_usd_per_hour_low, a100.price_usd_per_hour_high, a100.price_date) == (
        0.80,
        3.00,
        "2026-05",
    )


def test_a_law_reaches_who_asks_for_it() -> None:
    # Hoffmann et al. 2022, eq. 10, as printed; Besiroglu et al. 2024, table 1
    assert find_law("hoffmann-printed").coefficients == {
        "E": 1.69,
        "A": 406.4,
        "B": 410.7,
        "alpha": 0.34,
        "beta": 0.28,
    }
    printed = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
    assert find_law("besiroglu-printed").coefficients == printed


LAMDA = 2.571  # its tokens are as Hoffmann et al. list them, its FLOPs as Thoppilan et al. print them


def test_published_flops_are_near_6_n_d_where_all_three_are_there() -> None:
    told = [m for m in published_models() if m.flops and m.n_tokens and not m.n_params_active]
    ratios = {m.id: m.flops / (6 * m.n_params * m.n_tokens) for m in told}
    assert len(ratios) >= 40
    assert ratios.pop("lamda-137b") == pytest.approx(LAMDA, abs=0.01)
    for name, ratio in ratios.items():
        # half: an encoder-decoder spends half its weights on a token; 1.76: attention and vocabulary of small models
        assert 0.45 < ratio < 1.8, (name, ratio)
