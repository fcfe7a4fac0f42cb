"""Tables whose sizes, curves or losses stand in unusual words: read, or refused with an option that works."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from scaling import load_runs
from scaling.errors import DataError, UsageError
from scaling.runs.names import meaning_of

GRID = [(n, d) for n in (19.5e6, 51e6, 134e6, 350e6, 918e6) for d in (1e9, 2e9, 4e9, 8e9, 16e9)]


def loss(n: float, d: float) -> float:
    return 1.7 + 380 * n**-0.34 + 1700 * d**-0.36


def table(head: str, rows: Iterable[tuple[object, ...]]) -> dict[str, list[str]]:
    names = head.split(",")
    return dict(zip(names, (list(map(str, c)) for c in zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize(
    ("head", "write", "remedy"),
    [
        ("size,tokens,loss", lambda n, d: (f"{n / 1e6:g}M", f"{d / 1e9:g}B"), "--column n_params=size"),
        ("model,tokens,loss", lambda n, d: (f"pythia-{n / 1e6:g}m", d), "--method parametric"),
        ("params,amount,loss", lambda n, d: (n, d), "--column n_tokens=amount"),
        ("params,lr,loss", lambda n, d: (n, 1 / d), "--method parametric"),
    ],
)
def test_a_table_that_shows_another_size_is_not_fitted_without_it(head: str, write, remedy: str) -> None:
    with pytest.raises(DataError, match="no column for n_") as caught:
        load_runs(table(head, ((*write(n, d), loss(n, d)) for n, d in GRID)), inputs=())
    assert any(r.startswith(remedy) for r in caught.value.remedies)


def test_sizes_that_name_the_column_that_is_read_are_no_other_size() -> None:
    rows = [(f"m-{n / 1e6:g}M", n * 1.01, loss(n, 2e9)) for n, _ in GRID[::5]]
    assert load_runs(table("model,params,loss", rows), inputs=()).absent


def test_rows_of_one_size_with_rising_steps_are_one_curve() -> None:
    rows = [
        (n, round(d / 524288 * k / 5), 256, 2048, loss(n, d * k / 5)) for n, d in GRID for k in range(1, 6)
    ]
    runs = load_runs(table("params,step,batch_size,seq_len,val_loss", rows), final=True)
    assert len(runs) == 25
    assert any("one training curve" in note for note in runs.notes)


@pytest.mark.parametrize(
    "head", ["params,steps,batch_size,seq_len,loss", "params,step,batch_size,seq_len,loss"]
)
def test_a_grid_of_sizes_and_steps_stays_one_row_a_run(head: str) -> None:
    rows = [(n, round(d / 524288), 256, 2048, loss(n, d)) for n, d in GRID]
    assert len(load_runs(table(head, rows), final=True)) == 25


@pytest.mark.parametrize(
    ("header", "name", "scale", "unit"),
    [
        ("PPL (wikitext)", "loss", 1, "perplexity"),
        ("Tokens (Mrd.)", "n_tokens", 1e9, ""),
        ("N/1e6", "n_params", 1e6, ""),
        ("D/1e9", "n_tokens", 1e9, ""),
        ("D_in_B", "n_tokens", 1e9, ""),
    ],
)
def test_labels_and_scales(header: str, name: str, scale: float, unit: str) -> None:
    meaning = meaning_of(header)
    assert meaning is not None
    assert (meaning.name, meaning.scale, meaning.unit) == (name, scale, unit)
    assert meaning_of("D/N") is None


def test_a_failed_run_whose_loss_is_a_word_is_left_out() -> None:
    rows = [
        (n, d, "FAILED" if i % 8 == 4 else "FINISHED", "diverged" if i % 8 == 4 else loss(n, d))
        for i, (n, d) in enumerate(GRID)
    ]
    assert len(load_runs(table("params,tokens,status,loss", rows))) == 22


def test_many_losses_of_a_word_are_excluded_at_once() -> None:
    rows = [(n, d + k, "oom" if i < 8 else loss(n, d)) for k in (0, 1) for i, (n, d) in enumerate(GRID)]
    rows = rows[:25] + [(n, d, loss(n, d)) for n, d, _ in rows[25:]]
    with pytest.raises(DataError, match="not a number") as caught:
        load_runs(table("params,tokens,loss", rows))
    assert caught.value.remedies == ("--exclude loss=oom",)
    assert len(load_runs(table("params,tokens,loss", rows), exclude=["loss=oom"])) == 42


def test_wide_columns_of_bare_numbers_are_not_taken_in_part() -> None:
    sizes = (20, 50, 100, 300, 1000)
    wide = {"tokens": [1e9, 4e9], **{str(n): [loss(n * 1e6, d) for d in (1e9, 4e9)] for n in sizes}}
    with pytest.raises(UsageError, match="too small") as caught:
        load_runs(wide, wide="n_params")
    assert caught.value.remedies == ("--wide 'params (M)'",)
    assert math.isclose(np.max(load_runs(wide, wide="params (M)").n_params), 1e9)
