"""What a model costs describes itself: the blocks say the counts, the JSON is the fields."""

from __future__ import annotations

import pytest

from scaling.accounting import count_params
from scaling.accounting.summary import summarize_cost
from scaling.architecture import PRESETS, find_preset
from scaling.blocks import Section, Table, screen
from scaling.render.terminal import render_terminal
from scaling.translation import translated
from scaling.units import format_bytes, format_flops

WIDTHS = (72, 80, 100, 140)
LONG_NOTES = tuple(f"note {i} of a file " + "that goes on for long and " * 5 for i in range(4))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("notes", [(), LONG_NOTES], ids=["plain", "doubted"])
def test_the_first_screen_of_every_preset_has_at_most_twenty_lines(
    width: int, notes: tuple[str, ...]
) -> None:
    for name, architecture in PRESETS.items():
        for n_tokens in (None, 3e11):
            cost = summarize_cost(architecture, name=name, notes=notes, n_tokens=n_tokens)
            lines = render_terminal(screen(cost.summary()), width=width).splitlines()
            assert len(lines) <= 20, name
            assert max(map(len, lines)) <= width, name


def test_the_first_screen_says_what_the_sections_count() -> None:
    cost = summarize_cost(find_preset("gpt2"), name="gpt2", n_tokens=3e11)
    told = render_terminal(screen(cost.summary()))
    assert told.startswith("gpt2: 124M parameters (124,439,808); 85.1M without the embeddings.")
    assert "MLP 46 %, token embedding 31 %, attention 23 %" in told
    assert f"{format_flops(cost.flops['exact_causal'])} FLOPs for 300B tokens" in told
    assert f"6ND: {format_flops(6 * 124439808 * 3e11)}" in told
    assert f"{format_bytes(cost.training[0].memory.total_bytes)} on one device for 1 x 1,024 tokens" in told
    assert format_bytes(cost.inference.total_bytes) in told
    assert told.endswith("next  scaling audit --params 124M --tokens 300B")


def test_a_mixture_of_experts_says_its_active_parameters_and_plans_with_them() -> None:
    told = render_terminal(screen(summarize_cost(find_preset("mixtral-8x7b"), name="m").summary()))
    assert "46.7B parameters (46,702,792,704), 12.9B of them active" in told
    assert told.endswith("next  scaling plan --params 12.9B")


def test_no_law_is_offered_for_an_encoder() -> None:
    assert "next" not in render_terminal(screen(summarize_cost(find_preset("bert")).summary()))


def test_each_section_has_a_table_or_names_and_the_remarks_are_text() -> None:
    blocks = summarize_cost(find_preset("gpt2"), name="gpt2").summary()
    sections = {b.name: b for b in blocks if isinstance(b, Section)}
    assert list(sections) == ["parameters", "flops", "training", "inference"]
    assert sections["flops"].title == "FLOPs per token, context 1,024"
    params = sections["parameters"].blocks()[0]
    assert isinstance(params, Table)
    assert ("total", "124,439,808", "124M", "") in params.rows
    lines = render_terminal([params]).splitlines()
    assert lines[-2].index("Kaplan") == lines[-1].index("multiply every token")  # aligned left


def test_parameters_are_shown_by_themselves_with_shares_that_add_up() -> None:
    counts = count_params(find_preset("t5-base"))
    assert counts[0] == counts.token_embedding  # still a tuple
    assert sum(counts.parts().values()) == counts.total
    told = render_terminal(counts.summary())
    assert told.startswith("222,903,552 parameters")
    assert "cross-attention" in told
    assert "<table" in counts._repr_html_()


def test_a_table_has_one_row_with_every_number_unrounded() -> None:
    cost = summarize_cost(find_preset("mixtral-8x7b"), name="m", n_tokens=1e12)
    frame = cost.to_frame()
    assert len(frame) == 1
    row = frame.iloc[0]
    assert row["n_params"] == cost.params.total
    assert row["n_params_active"] == cost.params.active
    assert row["train_flops_six_n"] == 6 * cost.params.active * 1e12
    assert row["training_memory_bytes_fsdp_full_8"] == cost.training[-1].memory.total_bytes


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
