"""`scaling count config.json`: published models by their config.json, and what is refused with words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scaling.accounting import count_kv_cache, count_params
from scaling.architecture import find_preset, load_architecture
from scaling.architecture.huggingface import read_huggingface
from scaling.cli import run
from scaling.cli.count import count
from scaling.errors import DataError, MissingFileError, UsageError

CASE = Path(__file__).resolve().parents[1] / "cases" / "tables-24-hugging-face-config"

LLAMA_3_8B: dict[str, Any] = json.loads((CASE / "config.json").read_text())
MIXTRAL: dict[str, Any] = json.loads((CASE / "config-moe.json").read_text())
QWEN_3_30B = {
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "decoder_sparse_step": 1, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
    "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
    "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
    "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": None,
    "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
QWEN_1_5_MOE = {
    "model_type": "qwen2_moe", "decoder_sparse_step": 1, "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21, "moe_intermediate_size": 1408,
    "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24,
    "num_key_value_heads": 16, "shared_expert_intermediate_size": 5632, "sliding_window": 32768,
    "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "attention_bias": False, "first_k_dense_replace": 3, "hidden_act": "silu",
    "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "rope_theta": 10000, "tie_word_embeddings": False, "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip
OLMOE = {
    "model_type": "olmoe", "attention_bias": False, "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 1024, "max_position_embeddings": 4096, "num_attention_heads": 16, "num_experts": 64,
    "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "tie_word_embeddings": False,
    "vocab_size": 50304,
}  # fmt: skip
BART = {
    "model_type": "bart", "encoder_layers": 6, "decoder_layers": 6, "d_model": 768, "encoder_attention_heads": 12,
    "decoder_attention_heads": 12, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072, "vocab_size": 50265,
    "max_position_embeddings": 1024,
}  # fmt: skip
LLAMA_3_70B = {**LLAMA_3_8B, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
               "num_attention_heads": 64}  # fmt: skip

PUBLISHED = {  # config, parameters of the released weights in all (safetensors), billions active as the authors say
    "Llama 3 8B": (LLAMA_3_8B, 8_030_261_248, 8.03),
    "Llama 3 70B": (LLAMA_3_70B, 70_553_706_496, 70.55),
    "Mixtral 8x7B": (MIXTRAL, 46_702_792_704, 12.9),
    "Qwen1.5-MoE-A2.7B": (QWEN_1_5_MOE, 14_315_784_192, 2.7),
    "Qwen3-30B-A3B": (QWEN_3_30B, 30_532_122_624, 3.3),
    "DeepSeek-V3": (DEEPSEEK_V3, 671_026_404_352, 37),
    "OLMoE-1B-7B": (OLMOE, 6_919_161_856, 1.3),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_count_as_published(name: str) -> None:
    config, total, active = PUBLISHED[name]
    counts = count_params(read_huggingface(config).architecture)
    assert counts.total == total
    # two digits are told; DeepSeek and Qwen 1.5 leave out one of the two vocabulary matrices or both
    vocabulary = 2 * config["vocab_size"] * config["hidden_size"]
    assert counts.active - vocabulary <= (active + 0.06) * 1e9
    assert counts.active >= (active - 0.06) * 1e9


def test_the_two_configs_of_the_case_count_exactly() -> None:
    for name, total, active in (
        ("config.json", 8_030_261_248, 8_030_261_248),
        ("config-moe.json", 46_702_792_704, 12_879_925_248),
    ):
        result = CliRunner().invoke(count, [str(CASE / name), "--json"])
        assert result.exit_code == 0, result.output
        params = json.loads(result.output)["params"]
        assert (params["total"], params["active"]) == (total, active)
    text = CliRunner().invoke(count, [str(CASE / "config-moe.json"), "--show", "all"]).output
    assert "46,702,792,704" in text
    assert "12,879,925,248" in text
    assert max(map(len, text.splitlines()[1:])) <= 100  # the first line is the path as given


def test_presets_and_configs_of_the_same_model_agree() -> None:
    assert read_huggingface(LLAMA_3_8B).architecture == find_preset("llama-3-8b")
    for name, config in (("mixtral-8x7b", MIXTRAL), ("qwen3-30b-a3b", QWEN_3_30B), ("olmoe-1b-7b", OLMOE),
                         ("deepseek-v3", DEEPSEEK_V3)):  # fmt: skip
        same = {
            "rope_theta": find_preset(name).rope_theta,
            "norm_eps": find_preset(name).norm_eps,
        }  # not all say them
        assert read_huggingface(config).architecture.replace(**same) == find_preset(name)


def test_deepseek_caches_its_latent_and_the_shared_rotary_key() -> None:
    # DeepSeek-V2, arXiv:2405.04434, table 1: (d_c + d_h^R) l numbers a token
    assert count_kv_cache(read_huggingface(DEEPSEEK_V3).architecture, context_length=1) == (512 + 64) * 61


def _write(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)


def test_a_folder_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    _write(tmp_path, MIXTRAL)
    assert count_params(load_architecture(tmp_path)).total == 46_702_792_704
    (tmp_path / "config.json").unlink()
    with pytest.raises(MissingFileError, match=r"holds no architecture\.json or config\.json"):
        load_architecture(tmp_path)


def test_text_part_of_a_model_that_sees_is_counted_with_words(tmp_path: Path) -> None:
    # google/gemma-3-4b-it: what its text_config leaves out is the class's default
    inner = {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
             "sliding_window": 1024}  # fmt: skip
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": inner,
              "vision_config": {"hidden_size": 1152}}  # fmt: skip
    result = CliRunner().invoke(count, [_write(tmp_path, config), "--json"])
    payload = json.loads(result.stdout)
    assert (
        payload["params"]["total"] == 3_880_263_168
    )  # 4,300,079,472 of the checkpoint less its vision tower
    assert "only the text part is counted (text_config: gemma3_text)" in payload["notes"][0]
    assert "num_attention_heads 8" in payload["notes"][1]
    assert "only the text part" in " ".join(result.stderr.split())


def test_a_layer_that_predicts_further_tokens_is_named() -> None:
    assert "num_nextn_predict_layers" in read_huggingface(DEEPSEEK_V3).notes[0]
    classified = {**LLAMA_3_8B, "architectures": ["LlamaForSequenceClassification"]}
    body = read_huggingface(classified)
    assert count_params(body.architecture).total == 8_030_261_248 - 128_256 * 4096
    assert body.notes == ("the head of LlamaForSequenceClassification is not counted, only the body",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba2"}, "is a Hugging Face config of the family 'mamba2', which is not counted; known:"),
        ({"model_type": "mamba2"}, "Give the sizes by hand"),
        ({"model_type": None, "architectures": None}, 'names no model_type; add it, for example "model_type": "llama"'),
        ({"hidden_act": "relu2"}, "a Hugging Face config of type 'llama': hidden_act 'relu2' is not understood"),
        ({"num_attention_heads": 0}, "of type 'llama' with a wrong value: n_heads must be a whole number >= 1, got 0"),
        ({"hidden_size": "4096"}, "d_model must be a whole number >= 1, got '4096'"),
        ({"model_type": "stablelm", "qk_layernorm": True}, "qk_layernorm True is not understood; it would change"),
        ({"model_type": "opt", "ffn_dim": 80, "word_embed_proj_dim": 512}, "word_embed_proj_dim 512 other than"),
        ({"model_type": "mistral", "sliding_window": 4096, "layer_types": ["linear_attention"]}, "linear_attention"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"], "tie_word_embeddings": False, "hidden_act": "gelu"}, "tie_word_embeddings false"),
        ({**BART, "tie_word_embeddings": False}, "tie_word_embeddings false is not understood (a table for each stack)"),
        ({**DEEPSEEK_V3, "model_type": "deepseek_v2", "mlp_bias": True}, "mlp_bias True is not understood"),
        ({**OLMOE, "hidden_size": 2049}, "hidden_size 2049 other than 16 heads of 128 is not understood"),
        ({**QWEN_3_30B, "decoder_sparse_step": 0}, "of type 'qwen3_moe' with a wrong value: integer modulo by zero"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false, got 'no'"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_one_sentence_that_names_it(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {k: v for k, v in {**LLAMA_3_8B, **changes}.items() if v is not None}
    assert run(["count", _write(tmp_path, config)]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "config.json" in error


def test_a_missing_size_is_named_with_what_to_do(tmp_path: Path) -> None:
    config = {k: v for k, v in LLAMA_3_8B.items() if k != "intermediate_size"}
    with pytest.raises(
        DataError, match=r"config\.json has no 'intermediate_size', which a model of type 'llama' needs"
    ):
        load_architecture(_write(tmp_path, config))
    with pytest.raises(DataError, match="has no 'num_key_value_heads', which a model of type 'mixtral'"):
        read_huggingface({k: v for k, v in MIXTRAL.items() if k != "num_key_value_heads"})


def test_a_window_shortens_attention_and_the_cache() -> None:
    full = {**MIXTRAL, "sliding_window": None}
    half = {**MIXTRAL, "sliding_window": 4096}
    caches = [count_kv_cache(read_huggingface(c).architecture, context_length=32_768) for c in (full, half)]
    assert caches[0] == 8 * caches[1]


@pytest.mark.parametrize(
    ("n_layers", "step", "named", "n_dense"),
    [
        (4, 2, [], 2),
        (5, 2, [], 3),
        (5, 3, [], 4),
        (7, 3, [], 5),
        (5, 2, [1], 4),
        (5, 2, [0], 3),
        (5, 1, [4], 1),
    ],
)
def test_experts_stand_in_every_nth_layer_counted_from_one(
    n_layers: int, step: int, named: list[int], n_dense: int
) -> None:
    """with step 2 in the second and fourth of five layers, so that three are dense"""
    for base in (QWEN_3_30B, {**QWEN_1_5_MOE, "max_window_layers": n_layers}):
        config = {
            **base,
            "num_hidden_layers": n_layers,
            "decoder_sparse_step": step,
            "mlp_only_layers": named,
        }
        assert read_huggingface(config).architecture.n_dense_layers == n_dense


def test_the_bias_of_a_head_is_counted_where_its_matrix_is_that_of_the_embedding() -> None:
    # GPT-J-6B has 6,050,882,784 parameters: matrix and bias of the head are its own
    gptj = {
        "model_type": "gptj",
        "n_layer": 28,
        "n_embd": 4096,
        "n_head": 16,
        "n_positions": 2048,
        "vocab_size": 50400,
    }
    own, tied = (
        count_params(read_huggingface({**gptj, "tie_word_embeddings": t}).architecture) for t in (False, True)
    )
    assert own.total == 6_050_882_784
    assert tied.total == own.total - 50_400 * 4096
    assert tied.vocabulary_head == 50_400
    assert tied.non_embedding == own.non_embedding


# meta-llama/Llama-4-Scout-17B-16E and Maverick-17B-128E: the text part of their config.json
SCOUT = {
    "model_type": "llama4_text", "attention_bias": False, "attention_chunk_size": 8192, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 5120, "interleave_moe_layer_step": 1, "intermediate_size": 8192,
    "intermediate_size_mlp": 16384, "max_position_embeddings": 10485760, "num_attention_heads": 40,
    "num_experts_per_tok": 1, "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": 16,
    "vocab_size": 202048,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "total"),
    [({}, 107.8e9), ({"interleave_moe_layer_step": 2, "num_local_experts": 128}, 400.7e9)],
)  # Meta says 109B and 400B in all with what sees (0.8B), 17B active
def test_text_part_of_llama_4_has_the_sizes_that_are_told(
    changes: dict[str, Any], total: float, tmp_path: Path
) -> None:
    config = {
        "model_type": "llama4",
        "text_config": {**SCOUT, **changes},
        "vision_config": {"hidden_size": 1408},
    }
    result = CliRunner().invoke(count, [_write(tmp_path, config), "--json"], catch_exceptions=False)
    payload = json.loads(result.stdout)
    assert payload["params"]["total"] == pytest.approx(total, rel=2e-3)
    assert payload["params"]["active"] == pytest.approx(17.17e9, rel=2e-2)
    assert any("attention in chunks of 8192 tokens" in text for text in payload["notes"])


@pytest.mark.parametrize("family", ["qwen3_next", "ernie4_5_moe", "minimax", "nemotron", "nanochat"])
def test_a_family_with_parts_that_no_architecture_has_is_refused_by_its_name(family: str) -> None:
    with pytest.raises(
        UsageError, match=f"of the family '{family}', which is not counted; known: .*llama4_text"
    ):
        read_huggingface({**LLAMA_3_8B, "model_type": family})
