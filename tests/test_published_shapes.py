"""Layers, width and heads of every preset as their papers and released configurations print them: counts see no heads."""

from __future__ import annotations

import pytest

from scaling.architecture import find_preset
from scaling.architecture.presets import PRESETS

# name: layers (of each side in an encoder-decoder), d_model, query heads, key and value heads
PRINTED = {
    # Radford et al. 2018, section 4.1; Radford et al. 2019, table 2, heads from the released hparams.json
    "gpt1": (12, 768, 12, 12), "gpt2": (12, 768, 12, 12), "gpt2-medium": (24, 1024, 16, 16),
    "gpt2-large": (36, 1280, 20, 20), "gpt2-xl": (48, 1600, 25, 25),
    # Brown et al. 2020, table 2.1, with the two corrections that the presets state (XL: 24 heads, 13B: 5140 wide)
    "gpt3-small": (12, 768, 12, 12), "gpt3-medium": (24, 1024, 16, 16), "gpt3-large": (24, 1536, 16, 16),
    "gpt3-xl": (24, 2048, 16, 16), "gpt3-2.7b": (32, 2560, 32, 32), "gpt3-6.7b": (32, 4096, 32, 32),
    "gpt3-13b": (40, 5120, 40, 40), "gpt3-175b": (96, 12288, 96, 96),
    # Rae et al. 2021, table 1; Hoffmann et al. 2022, table 4; Thoppilan et al. 2022, section 3; Lieber et al. 2021,
    # table 1; Smith et al. 2022, section 2
    "gopher": (80, 16384, 128, 128), "chinchilla": (80, 8192, 64, 64), "lamda": (64, 8192, 128, 128),
    "jurassic-1": (76, 13824, 96, 96), "mt-nlg": (105, 20480, 128, 128),
    # config.json of the releases; Touvron et al. 2023, Grattafiori et al. 2024, table 3; Jiang et al. 2023, table 1
    "llama-2-7b": (32, 4096, 32, 32), "llama-2-13b": (40, 5120, 40, 40), "llama-2-70b": (80, 8192, 64, 8),
    "llama-3-8b": (32, 4096, 32, 8), "llama-3-70b": (80, 8192, 64, 8), "llama-3.1-405b": (126, 16384, 128, 8),
    "mistral-7b": (32, 4096, 32, 8), "qwen-72b": (80, 8192, 64, 64), "qwen2.5-7b": (28, 3584, 28, 4),
    "smollm2-135m": (30, 576, 9, 3), "mixtral-8x7b": (32, 4096, 32, 8), "qwen3-30b-a3b": (48, 2048, 32, 4),
    "olmoe-1b-7b": (16, 2048, 16, 16), "deepseek-v3": (61, 7168, 128, 128),
    # Devlin et al. 2019, section 3: L=12, H=768, A=12 and L=24, H=1024, A=16; Liu et al. 2019, table 9; MiniLM: Wang
    # et al. 2020, 12 heads as its teacher
    "bert-base": (12, 768, 12, 12), "bert-base-cased": (12, 768, 12, 12), "bert-large": (24, 1024, 16, 16),
    "bert-large-cased": (24, 1024, 16, 16), "roberta-base": (12, 768, 12, 12), "roberta-large": (24, 1024, 16, 16),
    "minilm-l6": (6, 384, 12, 12),
    # Clark et al. 2020, table 6 and the released configurations
    "electra-small": (12, 256, 4, 4), "electra-base": (12, 768, 12, 12), "electra-large": (24, 1024, 16, 16),
    "electra-small-generator": (12, 256, 4, 4), "electra-base-generator": (12, 256, 4, 4),
    "electra-large-generator": (24, 256, 4, 4),
    # Raffel et al. 2020, section 3.7; 1.1: the released configurations; Lewis et al. 2020, section 2.2
    "t5-small": (6, 512, 8, 8), "t5-base": (12, 768, 12, 12), "t5-large": (24, 1024, 16, 16),
    "t5-3b": (24, 1024, 32, 32), "t5-11b": (24, 1024, 128, 128), "t5.1.1-small": (8, 512, 6, 6),
    "t5.1.1-base": (12, 768, 12, 12), "t5.1.1-large": (24, 1024, 16, 16), "t5.1.1-xl": (24, 2048, 32, 32),
    "t5.1.1-xxl": (24, 4096, 64, 64), "bart-base": (6, 768, 12, 12), "bart-large": (12, 1024, 16, 16),
    # ours
    "tiny": (4, 128, 4, 4), "mini": (6, 256, 4, 4),
}  # fmt: skip
OWN_HEAD_SIZE = {
    "lamda": 128,
    "t5-3b": 128,
    "t5-11b": 128,
    "t5.1.1-small": 64,
    "minilm-l6": 32,
    "qwen3-30b-a3b": 128,  # config.json of the release
    "deepseek-v3": 192,  # DeepSeek-AI 2024, section 4.2: 128 without and 64 with positions
}  # else d_model / heads


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_shape_that_is_printed(name: str) -> None:
    a = find_preset(name)
    assert (a.n_layers, a.d_model, a.n_heads, a.n_kv_heads) == PRINTED[name]
    if a.kind == "encoder_decoder":
        assert a.n_decoder_layers == a.n_layers
    assert a.d_head == OWN_HEAD_SIZE.get(name, a.d_model // a.n_heads)
