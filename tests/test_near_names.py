"""Names that a message proposes are near by what they mean, not by their letters."""

from __future__ import annotations

import pytest

from scaling.cli import run
from scaling.errors import near_names


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("h1000", ["a100-80", "a100-40", "h100-sxm", "b200"], ["h100-sxm"]),
        ("train_loss", ["train_tokens", "val_loss_mean", "lr"], []),
        ("val_los", ["train_tokens", "val_loss"], ["val_loss"]),
        ("chinchila", ["epoch-chinchilla", "llama3-isoflop"], ["epoch-chinchilla"]),
        ("lama-3-8b", ["Llama 3 8B", "BLOOM 3B"], ["Llama 3 8B"]),
        ("r99", ["r00", "r01"], []),
        ("flop", ["flops", "plot", "help"], ["flops"]),
    ],
)
def test_a_near_name_shares_its_words(name: str, known: list[str], near: list[str]) -> None:
    assert near_names(name, known) == near


def test_an_unknown_option_is_answered_with_one_of_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--flop", "1e21"]) == 2
    error = capsys.readouterr().err
    assert "--flops" in error
    assert "--plot" not in error
