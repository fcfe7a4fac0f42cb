"""Make a model from an `Architecture`; save it to and load it from a folder of safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from scaling.architecture import Architecture
from scaling.errors import DataError, MissingFileError, UsageError
from scaling.files import whole_file, write_text
from scaling.lm.files import write_tensors
from scaling.lm.models.init import GPT_STD, initialize
from scaling.lm.models.transformer import Transformer

WEIGHTS_FILE = "model.safetensors"
ARCHITECTURE_FILE = "architecture.json"


def build_model(
    architecture: Architecture,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    init_std: float = GPT_STD,
) -> Transformer:
    """The transformer an architecture describes, with weights drawn from `seed` (see `scaling.lm.models.init`).

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
        if parameter.shape != tensors[name].shape:
            raise DataError(
                f"{source}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the architecture needs {tuple(parameter.shape)}."
            )
        with torch.no_grad():
            parameter.copy_(tensors[name])


def save_model(model: Transformer, folder: str | Path) -> Path:
    """Write `model.safetensors` and `architecture.json` into `folder`; a tied or shared weight is written once."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    with whole_file(folder / WEIGHTS_FILE) as temporary:
        write_tensors(weights, temporary)
    described = {
        "schema_version": 1,
        "kind": "architecture",
        "architecture": model.architecture.to_dict(),
    }
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
    with torch.device("meta"):
        model = Transformer(architecture)
    model = model.to(dtype or stored).to_empty(device=device)
    load_weights(model, tensors, source=str(folder / WEIGHTS_FILE))
    return model


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
    return (
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        if names
        else "nothing"
    )
