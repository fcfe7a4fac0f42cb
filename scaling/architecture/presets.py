"""Architectures of published models, by name.

Released checkpoints (GPT-1 and 2, BERT, RoBERTa, ELECTRA, T5, BART, Llama, Mistral, Qwen, SmolLM2, MiniLM, and the
mixtures of experts Mixtral, Qwen 3, OLMoE, DeepSeek-V3) are exact. Shapes known only from papers (GPT-3, LaMDA,
Jurassic-1, Gopher, Chinchilla, MT-NLG) give the published size; their norms and biases are not always stated, which
moves the count by less than 0.1 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scaling.architecture.spec import Architecture
from scaling.errors import UnknownNameError


def _gpt2(n_layers: int, d_model: int, n_heads: int, context_length: int = 1024) -> Architecture:
    """Radford et al. 2019: pre-norm GPT with a final norm. The paper's 117M, 345M, 762M, 1542M are miscounts."""
    return Architecture(
        n_layers=n_layers, d_model=d_model, n_heads=n_heads, vocab_size=50257, context_length=context_length
    )


def _llama(
    n_layers: int,
    d_model: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int,
    vocab_size: int,
    context_length: int,
    *,
    rope_theta: float = 10_000.0,
    tie_embeddings: bool = False,
    qkv_bias: bool = False,
    norm_eps: float = 1e-5,
) -> Architecture:
    """Touvron et al. 2023: RMS pre-norm, SwiGLU, rotary positions, no biases (Qwen has them on q, k and v)."""
    return Architecture(
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        vocab_size=vocab_size,
        context_length=context_length,
        norm="rms",
        norm_eps=norm_eps,
        activation="swiglu",
        positions="rope",
        rope_theta=rope_theta,
        qkv_bias=qkv_bias,
        attention_output_bias=False,
        mlp_bias=False,
        tie_embeddings=tie_embeddings,
    )


def _gopher(n_layers: int, d_model: int, n_heads: int) -> Architecture:
    """Rae et al. 2021, Hoffmann et al. 2022: RMS norm, Transformer-XL relative positions, 32,000 tokens."""
    return Architecture(
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        vocab_size=32_000,
        context_length=2048,
        norm="rms",
        positions="transformer_xl",
        qkv_bias=False,
        attention_output_bias=False,
        mlp_bias=False,
    )


_BERT = Architecture(  # Devlin et al. 2018; the pretraining model, with both heads
    kind="encoder",
    n_layers=12,
    d_model=768,
    n_heads=12,
    vocab_size=30_522,
    context_length=512,
    norm_position="post",
    norm_eps=1e-12,
    embedding_norm=True,
    activation="gelu",
    n_segments=2,
    heads=("mlm", "nsp"),
)
_BERT_LARGE = _BERT.replace(n_layers=24, d_model=1024, n_heads=16)
_ROBERTA = _BERT.replace(vocab_size=50_265, position_offset=2, n_segments=1, norm_eps=1e-5, heads=("mlm",))
_ELECTRA = _BERT.replace(heads=("rtd",))  # Clark et al. 2020, released configurations
_ELECTRA_GENERATOR = _BERT.replace(heads=("mlm",))


def _t5(
    n_layers: int, d_model: int, n_heads: int, d_head: int, d_ff: int, *, v1_1: bool = False
) -> Architecture:
    """Raffel et al. 2020; 1.1 (Shazeer 2020) gates with GELU and unties the head, which is then not scaled."""
    return Architecture(
        kind="encoder_decoder",
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        d_head=d_head,
        d_ff=d_ff,
        vocab_size=32_128,
        context_length=512,
        norm="rms",
        norm_eps=1e-6,
        activation="geglu" if v1_1 else "relu",
        positions="relative_bias",
        qkv_bias=False,
        attention_output_bias=False,
        mlp_bias=False,
        scale_attention=False,
        tie_embeddings=not v1_1,
        scale_logits=not v1_1,
    )


_BART = Architecture(  # Lewis et al. 2019
    kind="encoder_decoder",
    n_layers=6,
    d_model=768,
    n_heads=12,
    vocab_size=50_265,
    context_length=1024,
    norm_position="post",
    embedding_norm=True,
    activation="gelu",
    position_offset=2,
)

PRESETS: Mapping[str, Architecture] = MappingProxyType(
    {
        # small Llama-style decoders for a laptop; the vocabulary is that of a tokenizer trained on the corpus
        "tiny": _llama(4, 128, 4, 4, 352, 4096, 256, tie_embeddings=True),
        "mini": _llama(6, 256, 4, 4, 704, 4096, 256, tie_embeddings=True),
        # Radford et al. 2018: post-norm, no final norm
        "gpt1": Architecture(
            n_layers=12, d_model=768, n_heads=12, vocab_size=40_478, context_length=512, norm_position="post"
        ),
        "gpt2": _gpt2(12, 768, 12),
        "gpt2-medium": _gpt2(24, 1024, 16),
        "gpt2-large": _gpt2(36, 1280, 20),
        "gpt2-xl": _gpt2(48, 1600, 25),
        # Brown et al. 2020, table 2.1. XL is printed with 24 heads and 13B with d_model 5140: neither gives heads
        # of 128 that fill d_model, nor the printed sizes 1.3B and 13.0B more closely; the consistent values are used.
        "gpt3-small": _gpt2(12, 768, 12, 2048),
        "gpt3-medium": _gpt2(24, 1024, 16, 2048),
        "gpt3-large": _gpt2(24, 1536, 16, 2048),
        "gpt3-xl": _gpt2(24, 2048, 16, 2048),
        "gpt3-2.7b": _gpt2(32, 2560, 32, 2048),
        "gpt3-6.7b": _gpt2(32, 4096, 32, 2048),
        "gpt3-13b": _gpt2(40, 5120, 40, 2048),
        "gpt3-175b": _gpt2(96, 12288, 96, 2048),
        "gopher": _gopher(80, 16384, 128),
        "chinchilla": _gopher(80, 8192, 64),
        # Thoppilan et al. 2022, section 3; the context length is not stated there, 2048 is ours
        "lamda": Architecture(
            n_layers=64,
            d_model=8192,
            n_heads=128,
            d_head=128,
            d_ff=65_536,
            vocab_size=32_000,
            context_length=2048,
            norm="rms",
            activation="geglu",
            positions="relative_bias",
            qkv_bias=False,
            attention_output_bias=False,
            mlp_bias=False,
        ),
        # Lieber et al. 2021
        "jurassic-1": Architecture(
            n_layers=76, d_model=13_824, n_heads=96, vocab_size=256_000, context_length=2048
        ),
        # Smith et al. 2022
        "mt-nlg": Architecture(
            n_layers=105, d_model=20_480, n_heads=128, vocab_size=50_257, context_length=2048
        ),
        "llama-2-7b": _llama(32, 4096, 32, 32, 11_008, 32_000, 4096),
        "llama-2-13b": _llama(40, 5120, 40, 40, 13_824, 32_000, 4096),
        "llama-2-70b": _llama(80, 8192, 64, 8, 28_672, 32_000, 4096),
        "llama-3-8b": _llama(32, 4096, 32, 8, 14_336, 128_256, 8192, rope_theta=500_000.0),
        "llama-3-70b": _llama(80, 8192, 64, 8, 28_672, 128_256, 8192, rope_theta=500_000.0),
        "llama-3.1-405b": _llama(126, 16_384, 128, 8, 53_248, 128_256, 131_072, rope_theta=500_000.0),
        "mistral-7b": _llama(32, 4096, 32, 8, 14_336, 32_000, 8192),
        "qwen-72b": _llama(
            80, 8192, 64, 64, 24_576, 152_064, 32_768, rope_theta=1e6, qkv_bias=True, norm_eps=1e-6
        ),
        "qwen2.5-7b": _llama(
            28, 3584, 28, 4, 18_944, 152_064, 131_072, rope_theta=1e6, qkv_bias=True, norm_eps=1e-6
        ),
        "smollm2-135m": _llama(30, 576, 9, 3, 1536, 49_152, 8192, rope_theta=100_000.0, tie_embeddings=True),
        # mixtures of experts: their config.json; counted, not built
        "mixtral-8x7b": _llama(32, 4096, 32, 8, 14_336, 32_000, 32_768, rope_theta=1e6).replace(
            n_experts=8, n_experts_per_token=2
        ),
        "qwen3-30b-a3b": _llama(
            48, 2048, 32, 4, 6144, 151_936, 40_960, rope_theta=1e6, norm_eps=1e-6
        ).replace(d_head=128, qk_norm="head", n_experts=128, n_experts_per_token=8, d_ff_expert=768),
        "olmoe-1b-7b": _llama(16, 2048, 16, 16, 1024, 50_304, 4096).replace(
            qk_norm="width", n_experts=64, n_experts_per_token=8
        ),
        "deepseek-v3": _llama(61, 7168, 128, 128, 18_432, 129_280, 163_840, norm_eps=1e-6).replace(
            d_head=192,
            d_head_value=128,
            d_head_rope=64,
            d_latent_q=1536,
            d_latent_kv=512,
            n_experts=256,
            n_experts_per_token=8,
            d_ff_expert=2048,
            n_shared_experts=1,
            n_dense_layers=3,
        ),
        "bert-base": _BERT,
        "bert-base-cased": _BERT.replace(vocab_size=28_996),
        "bert-large": _BERT_LARGE,
        "bert-large-cased": _BERT_LARGE.replace(vocab_size=28_996),
        "minilm-l6": _BERT.replace(n_layers=6, d_model=384, n_heads=12, heads=("pooler",)),
        "roberta-base": _ROBERTA,
        "roberta-large": _ROBERTA.replace(n_layers=24, d_model=1024, n_heads=16),
        "electra-small": _ELECTRA.replace(n_layers=12, d_model=256, n_heads=4, d_embedding=128),
        "electra-base": _ELECTRA,
        "electra-large": _ELECTRA.replace(n_layers=24, d_model=1024, n_heads=16),
        "electra-small-generator": _ELECTRA_GENERATOR.replace(
            n_layers=12, d_model=256, n_heads=4, d_embedding=128
        ),
        "electra-base-generator": _ELECTRA_GENERATOR.replace(
            n_layers=12, d_model=256, n_heads=4, d_embedding=768
        ),
        "electra-large-generator": _ELECTRA_GENERATOR.replace(
            n_layers=24, d_model=256, n_heads=4, d_embedding=1024
        ),
        "t5-small": _t5(6, 512, 8, 64, 2048),
        "t5-base": _t5(12, 768, 12, 64, 3072),
        "t5-large": _t5(24, 1024, 16, 64, 4096),
        "t5-3b": _t5(24, 1024, 32, 128, 16_384),
        "t5-11b": _t5(24, 1024, 128, 128, 65_536),
        "t5.1.1-small": _t5(8, 512, 6, 64, 1024, v1_1=True),
        "t5.1.1-base": _t5(12, 768, 12, 64, 2048, v1_1=True),
        "t5.1.1-large": _t5(24, 1024, 16, 64, 2816, v1_1=True),
        "t5.1.1-xl": _t5(24, 2048, 32, 64, 5120, v1_1=True),
        "t5.1.1-xxl": _t5(24, 4096, 64, 64, 10_240, v1_1=True),
        "bart-base": _BART,
        "bart-large": _BART.replace(n_layers=12, d_model=1024, n_heads=16),
    }
)

_ALIASES = MappingProxyType(
    {
        "gpt": "gpt1",
        "gpt2-small": "gpt2",
        "gpt3": "gpt3-175b",
        "bert": "bert-base",
        "roberta": "roberta-base",
        "jurassic": "jurassic-1",
        "t0": "t5.1.1-xxl",
        "t0-3b": "t5.1.1-xl",
    }
)


def find_preset(name: str) -> Architecture:
    """The preset of that name; case, spaces, dots and dashes do not matter ("GPT-2 XL" is gpt2-xl).

    Raises:
        UnknownNameError: lists the near names.
    """
    folded = {_fold(known): known for known in PRESETS}
    folded.update({_fold(alias): known for alias, known in _ALIASES.items()})
    if _fold(name) not in folded:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[folded[_fold(name)]]


def _fold(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
