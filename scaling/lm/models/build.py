"""Make a model from an `Architecture`; save it to and load it from a folder of safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from scaling.architecture import Architecture
from scaling.errors import DataError, MissingFileError, StorageError, UsageError
from scaling.files import whole_file, write_text
from scaling.lm.models.transformer import Transformer

WEIGHTS_FILE = "model.safetensors"
ARCHITECTURE_FILE = "architecture.json"
GPT_STD = 0.02
_RESIDUAL = ("attention.output.weight", "cross.output.weight", "mlp.down.weight")


def build_model(
    architecture: Architecture,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    init_std: float = GPT_STD,
) -> Transformer:
    """The transformer an architecture describes, with weights drawn from `seed` (see `initialize`).

    On device "meta" nothing is allocated or drawn: enough to count. The same seed gives the same weights everywhere.
    """
    with torch.device("meta"):
        model = Transformer(architecture)
    if torch.device(device).type == "meta":
        return model.to(dtype)
    model = model.to_empty(device=device)
    initialize(model, seed=seed, std=init_std)
    return model.to(dtype)


def load_weights(model: Transformer, tensors: Mapping[str, Tensor], *, source: str = "these weights") -> None:
    """Copy tensors by our names into the model; every name and shape must match.

    Raises:
        DataError: a tensor is missing, left over or of another shape.
    """
    wanted = dict(model.named_parameters())
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing or extra:
        raise DataError(
            f"{source} do not fit the architecture: missing {_some(missing)}; not expected {_some(extra)}."
        )
    for name, parameter in wanted.items():
        got, needed = tuple(tensors[name].shape), tuple(parameter.shape)
        if got != needed:
            raise DataError(f"{source}: {name} has shape {got}, the architecture needs {needed}.")
        with torch.no_grad():
            parameter.copy_(tensors[name])


def save_model(model: Transformer, folder: str | Path) -> Path:
    """Write `model.safetensors` and `architecture.json` into `folder`; a tied or shared weight is written once."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    with whole_file(folder / WEIGHTS_FILE) as temporary:
        write_tensors(weights, temporary)
    architecture = model.architecture.to_dict()
    described = {"schema_version": 1, "kind": "architecture", "architecture": architecture}
    write_text(folder / ARCHITECTURE_FILE, json.dumps(described, indent=2) + "\n")
    return folder


def load_model(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Transformer:
    """Read what `save_model` wrote; `dtype` None keeps the stored one.

    Raises:
        DataError: a file is missing or damaged, or weights and architecture disagree.
    """
    folder = Path(folder)
    architecture = _read_architecture(folder / ARCHITECTURE_FILE)
    tensors = read_safetensors(folder / WEIGHTS_FILE)
    stored = next(iter(tensors.values())).dtype if tensors else torch.float32
    source = str(folder / WEIGHTS_FILE)
    return model_with_weights(architecture, tensors, device=device, dtype=dtype or stored, source=source)


def model_with_weights(
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    source: str,
) -> Transformer:
    """The model of an architecture with these weights, by our names; none is drawn first."""
    model = build_model(architecture, device="meta", dtype=dtype).to_empty(device=device)
    load_weights(model, tensors, source=source)
    return model


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        StorageError: there is no room, or no permission.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        path.touch()
        mode = path.stat().st_mode  # as any new file here; safetensors would leave it to its owner alone
        save_file(dict(tensors), path, metadata=metadata)
        path.chmod(mode)
    except (SafetensorError, OSError) as error:
        why = f"{error.strerror} (os error {error.errno})" if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"{path.parent} could not be written to ({why}). Check its free space and permissions."
        ) from error


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a .safetensors file, on the CPU."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} does not exist; a saved model is a folder with {WEIGHTS_FILE}."
        ) from error
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not a readable safetensors file ({error}); it may be cut short."
        ) from error


def _read_architecture(path: Path) -> Architecture:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["schema_version"] != 1:
            raise DataError(f"{path} has schema version {stored['schema_version']}; this version reads 1.")
        return Architecture.from_dict(stored["architecture"])
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} does not exist; a saved model is a folder with {ARCHITECTURE_FILE}."
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not an architecture file ({error!r}).") from error
    except UsageError as error:
        raise DataError(f"{path} describes no architecture: {error}") from error


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "nothing"


def initialize(model: Transformer, *, seed: int, std: float = GPT_STD) -> None:
    """Draw every weight anew from `seed`, on the CPU, so that a seed gives the same model on every device.

    Set by name so that no parameter keeps a hidden default. Use which when:
        GPT rule, for every architecture that divides its scores by sqrt(d_head): matrices and embeddings N(0, 0.02),
            those that write to the residual stream N(0, 0.02 / sqrt(number of residual additions)) in a pre-norm stack;
            biases 0, norms 1. Source: Radford et al. 2019, section 2.3; the released code uses 0.01 for positions, ours
            and transformers' is 0.02. Post-norm stacks (GPT-1, BERT, BART) take 0.02 throughout (Radford et al. 2018);
            with tied embeddings they start above ln V, since the last state still is the embedding of its own token.
        T5 rule, for `scale_attention` false, whose scores the weights themselves must scale: the query carries the
            missing 1/sqrt(d_head); other matrices N(0, fan_in^-1/2), embeddings N(0, 1). Source: Raffel et al. 2020 and
            the released code. Ours differs: an untied head takes d_model^-1/2 instead of 1, so that the first loss is
            near ln V.
    """
    generator = torch.Generator().manual_seed(seed)
    norm_modules = (m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm))
    norms = {id(p) for m in norm_modules for p in m.parameters()}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.fill_(1.0 if id(weight) in norms and name.endswith("weight") else 0.0)
                continue
            spread = _spread(model.architecture, name, weight, std)
            weight.copy_(torch.randn(weight.shape, generator=generator) * spread)


def _spread(a: Architecture, name: str, weight: Tensor, std: float) -> Tensor | float:
    """Standard deviation of a matrix: one number, or (rows, 1) for the fused query, key and value of T5."""
    if not a.scale_attention:
        return _t5_spread(a, name, weight)
    if a.norm_position == "pre" and name.endswith(_RESIDUAL):
        # a block adds twice to the residual stream, one with cross-attention three times
        has_cross = a.kind == "encoder_decoder" and name.startswith("decoder.")
        return std / math.sqrt(3 * a.n_decoder_layers if has_cross else 2 * a.n_layers)
    return std


def _t5_spread(a: Architecture, name: str, weight: Tensor) -> Tensor | float:
    if name == "tokens.weight":
        return 1.0
    if name.endswith(("positions.weight", "segments.weight", "relative_bias.table.weight")):
        return 1 / math.sqrt(a.d_model)
    spread = 1 / math.sqrt(weight.shape[1])
    if name.endswith("query_key_value.weight"):
        rows = torch.full((weight.shape[0], 1), spread)
        rows[: a.d_attention] /= math.sqrt(a.d_head)
        return rows
    return spread / math.sqrt(a.d_head) if name.endswith("cross.query.weight") else spread
