"""Every family that `scaling count config.json` reads, against the parameters of transformers' own modules."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from huggingface_configs import CONFIGS

from scaling.accounting import count_params
from scaling.architecture import Architecture
from scaling.architecture.huggingface import FAMILIES, read_huggingface
from scaling.architecture.huggingface.encoders import ENCODER_DECODERS, ENCODERS
from scaling.errors import ScalingError

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_CASES = [(kind, i) for kind, changes in CONFIGS.items() for i in range(len(changes))]


def _module(kind: str, changes: dict[str, Any]) -> Any:
    config = transformers.AutoConfig.for_model(kind, **copy.deepcopy(changes))
    if (
        kind == "dbrx"
    ):  # transformers 5.23 reads the base of the rotation from the outer config, which has none
        config.rope_theta = 5e5
        config.rope_parameters = {"rope_type": "default", "rope_theta": 5e5}
    auto = "MaskedLM" if kind in ENCODERS else "Seq2SeqLM" if kind in ENCODER_DECODERS else "CausalLM"
    with torch.device("meta"):
        return getattr(transformers, f"AutoModelFor{auto}").from_config(config)


def _read(kind: str, config: dict[str, Any]) -> Architecture:
    return read_huggingface({"model_type": kind, **json.loads(json.dumps(config))}).architecture


def test_every_family_is_compared() -> None:
    assert set(FAMILIES) - set(CONFIGS) == {"kimi_k2"}  # DeepSeek-V3 under another name, not in transformers


@pytest.mark.parametrize(("kind", "case"), _CASES)
def test_count_of_a_config_equals_the_module(kind: str, case: int) -> None:
    changes = CONFIGS[kind][case]
    model = _module(kind, changes)
    expected = sum(p.numel() for p in model.parameters())
    # as a person writes it, with what the class leaves to its defaults, and as transformers writes it
    assert count_params(_read(kind, changes)).total == expected
    written = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    assert count_params(_read(kind, written)).total == expected


@pytest.mark.parametrize(("kind", "case"), _CASES)
def test_windows_are_those_of_the_layers(kind: str, case: int) -> None:
    model = _module(kind, CONFIGS[kind][case])
    types = getattr(model.config, "layer_types", None) or getattr(model.config, "attention_layers", None)
    read = _read(kind, CONFIGS[kind][case])
    if types is not None:
        assert read.n_window_layers == sum(t in ("sliding_attention", "local") for t in types)
    elif read.n_window_layers:
        assert (read.n_window_layers, read.attention_window) == (read.n_layers, model.config.sliding_window)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("bert", "BertForPreTraining"), ("bert", "BertModel"), ("roberta", "RobertaForMaskedLM"), ("electra", "ElectraModel"),
     ("electra", "ElectraForPreTraining"), ("distilbert", "DistilBertModel"), ("llama", "LlamaModel"),
     ("gpt2", "GPT2Model"), ("bart", "BartModel"), ("mixtral", "MixtralModel")],
)  # fmt: skip
def test_the_class_of_a_config_says_its_heads(kind: str, name: str) -> None:
    config = transformers.AutoConfig.for_model(kind, **CONFIGS[kind][0])
    with torch.device("meta"):
        model = getattr(transformers, name)(config)
    read = _read(kind, {**config.to_dict(), "architectures": [name]})
    assert count_params(read).total == sum(p.numel() for p in model.parameters())
    without_type = {k: v for k, v in config.to_dict().items() if k != "model_type"} | {
        "architectures": [name]
    }
    assert read_huggingface(without_type).architecture == read


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_key_left_out_is_asked_for_or_what_transformers_takes(kind: str) -> None:
    for left_out in CONFIGS[kind][0]:
        config = {k: v for k, v in CONFIGS[kind][0].items() if k != left_out}
        try:
            read = count_params(_read(kind, config)).total
        except ScalingError:
            continue
        try:
            model = _module(kind, config)
        except Exception:  # the class itself cannot be built from what is left
            continue
        assert read == sum(p.numel() for p in model.parameters()), f"{left_out} of {kind}"


# Of the machinery, not of the shape; T5 works out is_gated_act from feed_forward_proj
_NO_OPTIONS = {"return_dict", "output_hidden_states", "output_attentions", "use_cache", "is_encoder_decoder",
               "is_decoder", "torchscript", "add_cross_attention", "is_gated_act", "chunk_size_feed_forward"}  # fmt: skip

_OF_T5 = {
    "tie_word_embeddings"
}  # T5 1.1 has weights of its head in the checkpoint, which transformers 5 passes over


def _changed(base: dict[str, Any], written: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The config with up to two options turned over and up to two sizes off by one or doubled."""
    left = _NO_OPTIONS | (_OF_T5 if written["model_type"] in ("t5", "mt5") else set())
    flags = [k for k, v in written.items() if isinstance(v, bool) and k not in left]
    whole = [k for k, v in written.items() if type(v) is int and v >= 0 and not k.endswith("token_id")]
    sizes = [k for k in whole if k not in _NO_OPTIONS]
    turned = {k: not written[k] for k in chance.sample(flags, min(len(flags), chance.randint(0, 2)))}
    moved = {
        k: chance.choice([written[k] + 1, max(0, written[k] - 1), 2 * written[k]])
        for k in chance.sample(sizes, min(len(sizes), chance.randint(0, 2)))
    }
    return {**base, **turned, **moved}


@pytest.mark.parametrize("kind", CONFIGS)
def test_any_option_turned_over_is_counted_exactly_or_refused(kind: str) -> None:
    chance = random.Random(f"{kind} 7")
    n_compared = 0
    for _ in range(20):
        if n_compared == 6:
            break
        base = chance.choice(CONFIGS[kind])
        written = transformers.AutoConfig.for_model(kind, **copy.deepcopy(base)).to_dict()
        changes = _changed(base, written, chance)
        try:
            model = _module(kind, changes)
            expected = sum(p.numel() for p in model.parameters())
            written = {**model.config.to_dict(), "architectures": None}
        except Exception:  # the class itself refuses the change
            continue
        try:
            found = {count_params(_read(kind, c)).total for c in (changes, written)}
        except ScalingError:
            continue
        assert found == {expected}, changes
        n_compared += 1
    assert n_compared
