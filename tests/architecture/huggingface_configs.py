"""Small configs of every family that is read, with the options that change a count: type → changes to a base."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, Any] = {
    "num_hidden_layers": 4, "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6, "vocab_size": 101,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 2}
_GPT = {
    "n_layer": 4, "n_embd": 48, "n_head": 6, "vocab_size": 101, "n_positions": 64, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_EXPERTS = {**GROUPED, "num_local_experts": 6, "num_experts_per_tok": 2}
_OLMO_EXPERTS = {**GROUPED, "num_experts": 6, "num_experts_per_tok": 2}
_OPT = {
    **{k: v for k, v in SIZES.items() if k != "intermediate_size"},
    "ffn_dim": 80,
    "word_embed_proj_dim": 48,
}
_QWEN_EXPERTS = {**GROUPED, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_DEEPSEEK = {
    **SIZES, "num_key_value_heads": 6, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "n_shared_experts": 2, "first_k_dense_replace": 1, "q_lora_rank": 20, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 10, "n_group": 1, "topk_group": 1,
}  # fmt: skip
_BART = {
    "encoder_layers": 3, "decoder_layers": 2, "d_model": 48, "encoder_attention_heads": 6, "decoder_attention_heads": 6,
    "encoder_ffn_dim": 80, "decoder_ffn_dim": 80, "vocab_size": 101, "max_position_embeddings": 64, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_T5 = {"num_layers": 3, "num_decoder_layers": 2, "d_model": 48, "d_kv": 6, "d_ff": 80, "num_heads": 4, "vocab_size": 101,
       "relative_attention_num_buckets": 8}  # fmt: skip

CONFIGS: dict[str, list[dict[str, Any]]] = {
    "llama": [GROUPED, {**GROUPED, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
              {**GROUPED, "head_dim": 16}],
    "mistral": [GROUPED, {**GROUPED, "sliding_window": 8, "head_dim": 12}],
    "granite": [GROUPED, {**GROUPED, "attention_bias": True}],
    "smollm3": [GROUPED, {**GROUPED, "tie_word_embeddings": False, "mlp_bias": True}],
    "qwen2": [GROUPED, {**GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}],
    "qwen3": [GROUPED, {**GROUPED, "head_dim": 16, "attention_bias": True, "tie_word_embeddings": True}],
    "gemma": [GROUPED, {**GROUPED, "head_dim": 16, "attention_bias": True}],
    "gemma2": [{**GROUPED, "head_dim": 16}, {**GROUPED, "head_dim": 16, "num_hidden_layers": 5}],
    "gemma3_text": [{**GROUPED, "head_dim": 16}, {**GROUPED, "head_dim": 16, "num_hidden_layers": 7}],
    "phi": [GROUPED, {**SIZES, "tie_word_embeddings": False}, {**SIZES, "tie_word_embeddings": True}],
    "phi3": [GROUPED, {**GROUPED, "tie_word_embeddings": True, "sliding_window": 8}],
    "olmo": [GROUPED, {**GROUPED, "attention_bias": True, "tie_word_embeddings": True}],
    "olmo2": [GROUPED, {**GROUPED, "attention_bias": True}],
    "olmo3": [GROUPED, {**GROUPED, "num_hidden_layers": 7, "sliding_window": 8}],
    "stablelm": [GROUPED, {**GROUPED, "use_qkv_bias": True}, {**GROUPED, "use_parallel_residual": True}],
    "cohere": [GROUPED, {**GROUPED, "attention_bias": True}],
    "openai-gpt": [_GPT],
    "gpt2": [_GPT, {**_GPT, "n_inner": 80}, {**_GPT, "tie_word_embeddings": False}],
    "gpt_bigcode": [_GPT, {**_GPT, "multi_query": False, "n_inner": 80}],
    "gpt_neo": [{"num_layers": 4, "hidden_size": 48, "num_heads": 6, "vocab_size": 101, "max_position_embeddings": 64,
                 "attention_types": [[["global", "local"], 2]], "window_size": 8}],
    "gptj": [{**_GPT, "rotary_dim": 4}, {**_GPT, "rotary_dim": 4, "n_inner": 80},
             {**_GPT, "rotary_dim": 4, "tie_word_embeddings": True}],
    "gpt_neox": [SIZES, {**SIZES, "use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True}],
    "opt": [_OPT,
            {**_OPT, "do_layer_norm_before": False},
            {**_OPT, "enable_bias": False,
             "layer_norm_elementwise_affine": False, "tie_word_embeddings": False}],
    "bloom": [{"n_layer": 4, "hidden_size": 48, "n_head": 6, "vocab_size": 101}],
    "falcon": [{**SIZES, "ffn_hidden_size": 80},
               {**SIZES, "ffn_hidden_size": 80, "multi_query": False, "bias": True, "parallel_attn": False, "alibi": True},
               {**SIZES, "ffn_hidden_size": 80, "new_decoder_architecture": True, "num_kv_heads": 2},
               {**SIZES, "ffn_hidden_size": 80, "new_decoder_architecture": True, "num_kv_heads": 2,
                "num_ln_in_parallel_attn": 1},
               {**SIZES, "ffn_hidden_size": 80, "new_decoder_architecture": True, "num_kv_heads": 2,
                "num_ln_in_parallel_attn": 1, "parallel_attn": False},
               {**SIZES, "ffn_hidden_size": 80, "num_ln_in_parallel_attn": 2}],
    "starcoder2": [GROUPED, {**GROUPED, "use_bias": False, "tie_word_embeddings": False, "sliding_window": 8}],
    "mixtral": [_EXPERTS, {**_EXPERTS, "tie_word_embeddings": True, "sliding_window": 8, "head_dim": 12}],
    "phimoe": [_EXPERTS, {**_EXPERTS, "attention_bias": True, "lm_head_bias": True},
               {**_EXPERTS, "lm_head_bias": True, "tie_word_embeddings": True}],
    "granitemoe": [_EXPERTS, {**_EXPERTS, "attention_bias": True}],
    "granitemoeshared": [_EXPERTS, {**_EXPERTS, "shared_intermediate_size": 40}],
    "olmoe": [_OLMO_EXPERTS, {**_OLMO_EXPERTS, "attention_bias": True}],
    "qwen2_moe": [{**_QWEN_EXPERTS, "shared_expert_intermediate_size": 56},
                  {**_QWEN_EXPERTS, "shared_expert_intermediate_size": 56, "decoder_sparse_step": 2, "qkv_bias": False},
                  {**_QWEN_EXPERTS, "shared_expert_intermediate_size": 56, "mlp_only_layers": [0, 2]},
                  {**_QWEN_EXPERTS, "shared_expert_intermediate_size": 56, "decoder_sparse_step": 2,
                   "num_hidden_layers": 5}],
    "qwen3_moe": [_QWEN_EXPERTS, {**_QWEN_EXPERTS, "mlp_only_layers": [1], "head_dim": 16, "attention_bias": True}],
    "deepseek_v2": [_DEEPSEEK, {**_DEEPSEEK, "q_lora_rank": None, "attention_bias": True}],
    "deepseek_v3": [_DEEPSEEK, {**_DEEPSEEK, "n_shared_experts": 1, "first_k_dense_replace": 2, "attention_bias": True}],
    "glm4_moe": [{**_DEEPSEEK, "num_key_value_heads": 2, "head_dim": 12},
                 {**_DEEPSEEK, "num_key_value_heads": 2, "head_dim": 12, "use_qk_norm": True, "attention_bias": True}],
    "gpt_oss": [{**_EXPERTS, "head_dim": 16}, {**_EXPERTS, "attention_bias": False, "num_hidden_layers": 3}],
    "dbrx": [{"d_model": 48, "n_heads": 6, "n_layers": 4, "max_seq_len": 64, "vocab_size": 101,
              "attn_config": {"kv_n_heads": 2, "rope_theta": 5e5}, "tie_word_embeddings": False,
              "ffn_config": {"ffn_hidden_size": 80, "moe_num_experts": 6, "moe_top_k": 2}}],
    "bert": [SIZES, {**SIZES, "type_vocab_size": 3}],
    "roberta": [{**SIZES, "pad_token_id": 1, "type_vocab_size": 1}],
    "xlm-roberta": [{**SIZES, "pad_token_id": 1, "type_vocab_size": 1}],
    "camembert": [{**SIZES, "pad_token_id": 1, "type_vocab_size": 1}],
    "electra": [{**SIZES, "embedding_size": 48}, {**SIZES, "embedding_size": 24}],
    "distilbert": [{"n_layers": 3, "dim": 48, "n_heads": 6, "hidden_dim": 80, "vocab_size": 101,
                    "max_position_embeddings": 64}],
    "t5": [_T5, {**_T5, "feed_forward_proj": "gated-gelu"}],
    "mt5": [_T5],
    "bart": [_BART],
    "mbart": [_BART],
}  # fmt: skip
