"""Parameter counts against checkpoints: numel of the real modules, read once from transformers on the meta device,
and the totals in the safetensors metadata of released weights."""

from __future__ import annotations

import pytest
from architecture_strategy import architectures
from hypothesis import given, settings

from scaling.accounting.params import count_params
from scaling.architecture import PRESETS, Architecture, find_preset

EXACT = {
    "gpt1": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-small": 125_226_240,
    "gpt3-medium": 355_871_744,
    "gpt3-large": 760_300_032,
    "gpt3-xl": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
    "bert-base": 110_106_428,
    "bert-large": 336_226_108,
    "roberta-base": 124_697_433,
    "roberta-large": 355_412_057,
    "electra-small": 13_549_057,
    "electra-base": 109_483_009,
    "electra-large": 335_142_913,
    "electra-small-generator": 13_546_682,
    "electra-base-generator": 33_740_602,
    "electra-large-generator": 51_295_290,
    "minilm-l6": 22_713_216,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-3b": 2_851_598_336,
    "t5-11b": 11_307_321_344,
    "t5.1.1-small": 76_961_152,
    "t5.1.1-base": 247_577_856,
    "t5.1.1-large": 783_150_080,
    "t5.1.1-xl": 2_849_757_184,
    "t5.1.1-xxl": 11_135_332_352,
    "bart-base": 139_420_416,
    "bart-large": 406_291_456,
    "smollm2-135m": 134_515_008,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "mistral-7b": 7_241_732_096,
    "qwen-72b": 72_287_920_128,
    "qwen2.5-7b": 7_615_616_512,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-30b-a3b": 30_532_122_624,
    "olmoe-1b-7b": 6_919_161_856,
    "deepseek-v3": 671_026_404_352,
}


@pytest.mark.parametrize("name", EXACT)
def test_count_equals_the_checkpoint(name: str) -> None:
    assert count_params(find_preset(name)).total == EXACT[name]


@pytest.mark.parametrize(
    ("name", "changes", "total"),
    [
        ("bert-base", {"heads": ("pooler",)}, 109_482_240),  # BertModel, uncased
        ("bert-base-cased", {"heads": ("pooler",)}, 108_310_272),
        ("bert-large", {"heads": ("pooler",)}, 335_141_888),
        ("bert-large-cased", {"heads": ("pooler",)}, 333_579_264),
        ("t5.1.1-small", {"tie_embeddings": True}, 60_511_616),
        ("t5.1.1-base", {"tie_embeddings": True}, 222_903_552),
        ("t5.1.1-large", {"tie_embeddings": True}, 750_251_008),
        ("t5.1.1-xl", {"tie_embeddings": True}, 2_783_959_040),
        ("t5.1.1-xxl", {"tie_embeddings": True}, 11_003_736_064),
    ],
)
def test_count_of_a_variant_equals_the_module(name: str, changes: dict[str, object], total: int) -> None:
    assert count_params(find_preset(name).replace(**changes)).total == total


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("gopher", 279.70),
        ("chinchilla", 70.06),
        ("lamda", 137.70),
        ("jurassic-1", 177.82),
        ("mt-nlg", 529.55),
    ],
)
def test_count_of_a_shape_from_a_paper_is_within_its_unstated_biases(name: str, billions: float) -> None:
    # norms, biases and learned positions of these models are not all published: under 0.1 % of the total
    assert count_params(PRESETS[name]).total == pytest.approx(billions * 1e9, rel=1e-3)


def test_position_projection_of_gopher_and_chinchilla_is_what_makes_up_their_size() -> None:
    # without Transformer-XL's d_model^2 a layer the two would count 258.2B and 64.7B, not 280B and 70B
    without = {
        n: count_params(PRESETS[n].replace(positions="none")).total / 1e9 for n in ("gopher", "chinchilla")
    }
    assert without["gopher"] == pytest.approx(258.2, abs=0.05)
    assert without["chinchilla"] == pytest.approx(64.7, abs=0.05)


def test_non_embedding_leaves_out_both_vocabulary_matrices() -> None:
    llama = count_params(PRESETS["llama-2-7b"])
    assert llama.total - llama.non_embedding == 2 * 32_000 * 4096
    # Kaplan et al. 2020, table 1: N = 12 n_layer d_model^2, without biases and norms
    small = Architecture(
        n_layers=12, d_model=768, n_heads=12, vocab_size=50_257, context_length=1024,
        qkv_bias=False, attention_output_bias=False, mlp_bias=False, norm="rms",
    )  # fmt: skip
    norms = (2 * 12 + 1) * 768
    assert count_params(small).non_embedding == 12 * 12 * 768**2 + norms


def test_shared_stacks_of_t5_have_half_the_block_parameters() -> None:
    # Raffel et al. 2020, table 2: "Enc-dec, shared" has P parameters where the encoder-decoder has 2P
    both = count_params(find_preset("t5-base"))
    shared = count_params(find_preset("t5-base").replace(share_stacks=True))
    assert 2 * shared.attention == both.attention
    assert 2 * shared.mlp == both.mlp
    assert shared.cross_attention == both.cross_attention
    assert shared.matmul == both.matmul


def test_grouped_query_attention_shrinks_only_keys_and_values() -> None:
    full = PRESETS["llama-3-8b"].replace(n_kv_heads=32)
    saved = count_params(full).total - count_params(PRESETS["llama-3-8b"]).total
    assert saved == 32 * 2 * 4096 * (32 - 8) * 128


@settings(max_examples=200, deadline=None)
@given(architectures())
def test_kinds_add_up_and_matmul_weights_are_never_more_than_what_exists(a: Architecture) -> None:
    counts = count_params(a)
    parts = counts.to_dict()
    assert all(v >= 0 for v in parts.values())
    assert parts["total"] == counts.embedding + counts.embedding_projection + counts.attention + (
        counts.cross_attention + counts.mlp + counts.norm + counts.head
    )
    assert counts.non_embedding <= counts.total
    if not a.share_stacks:
        assert counts.matmul <= counts.total


@settings(max_examples=100, deadline=None)
@given(architectures())
def test_a_layer_more_adds_the_same_every_time(a: Architecture) -> None:
    if a.share_stacks:
        return
    sizes = [
        count_params(a.replace(n_layers=n, n_decoder_layers=a.n_decoder_layers)).total for n in (1, 2, 3)
    ]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 0
