"""Rules that the plan and training share, against numbers their papers print; and the word for a model that barely fits."""

from __future__ import annotations

import math

import pytest

from scaling.accounting import flops_per_token
from scaling.architecture import Architecture
from scaling.planning.memory import plan_memory
from scaling.planning.shape import deepseek_law, step_law

# Bi et al. 2024 (DeepSeek LLM), table 2: batch in sequences of 4096 and peak learning rate of the models trained on 2T
# tokens; C is near 6 N D
DEEPSEEK_MODELS = [(6.9e9, 2304, 4.2e-4), (67e9, 4608, 3.2e-4)]


@pytest.mark.parametrize(("n_params", "sequences", "learning_rate"), DEEPSEEK_MODELS)
def test_deepseeks_law_gives_the_settings_of_deepseeks_models(
    n_params: float, sequences: int, learning_rate: float
) -> None:
    advice = deepseek_law(6 * n_params * 2e12)
    assert advice.batch_tokens == pytest.approx(sequences * 4096, rel=0.05)  # they round to 2304 and 4608
    assert advice.learning_rate == pytest.approx(learning_rate, rel=0.02)


@pytest.mark.parametrize("flops", [1e17, 3e18, 1e20])
def test_deepseeks_batch_follows_its_printed_equation(flops: float) -> None:
    """eq. 1: eta = 0.3118 C^-0.1250, B = 0.2920 C^0.3271; taken apart by logarithms"""
    advice = deepseek_law(flops)
    assert advice.batch_tokens is not None
    assert math.log10(advice.batch_tokens) == pytest.approx(-0.534617 + 0.3271 * math.log10(flops), abs=1e-6)
    assert math.log10(advice.learning_rate or 0) == pytest.approx(
        -0.506124 - 0.1250 * math.log10(flops), abs=1e-6
    )


@pytest.mark.parametrize("n_tokens", [1e9, 1e11])
def test_a_recipe_for_training_is_the_advice_of_the_plan(n_tokens: float) -> None:
    from scaling.lm.recipes import choose_recipe

    # wide enough that no cap (.01) and no rounding to whole windows hides a difference
    a = Architecture(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257, context_length=128)
    flops = flops_per_token(a) * n_tokens
    recipe, advice = choose_recipe("deepseek", a, n_tokens=n_tokens), deepseek_law(flops)
    assert recipe.batch_size * 128 == pytest.approx(advice.batch_tokens, rel=1e-3)
    assert recipe.learning_rate == pytest.approx(advice.learning_rate, rel=1e-12)

    from scaling.accounting import count_params

    n_params = count_params(a).non_embedding
    recipe, advice = choose_recipe("steplaw", a, n_tokens=n_tokens), step_law(n_params, n_tokens)
    assert recipe.batch_size * 128 == pytest.approx(advice.batch_tokens, rel=1e-3)
    assert recipe.learning_rate == pytest.approx(min(0.01, advice.learning_rate or 0), rel=1e-12)


@pytest.mark.parametrize(
    ("share", "said"), [(0.85, False), (0.89, False), (0.91, True), (0.99, True)]
)  # allocators fragment 5 to 20 %: above nine tenths is tight
def test_a_model_that_takes_more_than_nine_tenths_of_the_memory_is_called_tight(
    share: float, said: bool
) -> None:
    a = Architecture(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257, context_length=1024)
    needed = plan_memory(a, 1e15, 8, None).rows[0].memory.total_bytes
    hint = plan_memory(a, needed / share, 8, None).hint

    assert hint.startswith("DDP: a whole replica fits on each")
    assert hint.endswith(", tight") == said


def test_what_needs_more_than_all_the_memory_does_not_fit() -> None:
    a = Architecture(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257, context_length=1024)
    rows = plan_memory(a, 1e15, 8, None).rows
    needed = rows[0].memory.total_bytes
    assert plan_memory(a, needed, 8, None).rows[0].fits
    assert not plan_memory(a, 0.999 * needed, 8, None).rows[0].fits
