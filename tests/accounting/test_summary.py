"""What a model costs describes itself: the blocks say the counts, the JSON is the fields."""

from __future__ import annotations

from scaling.accounting.summary import summarize_cost
from scaling.architecture import find_preset
from scaling.blocks import Heading, Table
from scaling.render.terminal import render_terminal
from scaling.translation import translated


def test_the_summary_has_a_table_for_each_heading_and_the_remarks_are_text() -> None:
    blocks = summarize_cost(find_preset("gpt2"), name="gpt2").summary()
    headings = [b.text for b in blocks if isinstance(b, Heading)]
    assert headings[0] == "Parameters"
    assert headings[1] == "FLOPs per token, context 1,024"
    params = next(b for b in blocks if isinstance(b, Table))
    assert ("total", "124,439,808", "124M", "") in params.rows
    lines = render_terminal([params]).splitlines()
    assert lines[0].index("also the head") == lines[-1].index("multiply every token")  # aligned left


def test_the_words_of_a_summary_can_be_told_in_another_language() -> None:
    cost = summarize_cost(find_preset("gpt2"))
    with translated({"Parameters": "Parámetros"}):
        told = render_terminal(cost.summary())
    assert "Parámetros" in told


def test_notes_and_name_of_a_model_are_in_its_json() -> None:
    cost = summarize_cost(find_preset("gpt2"), name="mine", notes=("a head is not counted",))
    told = cost.to_dict()
    assert (told["name"], told["notes"]) == ("mine", ["a head is not counted"])
    assert told["train_flops_per_token_by_part"]["total"] == cost.train_parts.total
