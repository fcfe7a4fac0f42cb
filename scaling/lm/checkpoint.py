"""Checkpoints: one safetensors file with weights, optimizer state and the step, replaced atomically. Never a pickle.

The checkpoint before is kept beside it: a damaged file then costs one interval, and a pack killed between the saves
of two members still has a step that all of them hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scaling.errors import DataError
from scaling.files import whole_file
from scaling.lm.models.build import write_tensors
from scaling.lm.optim import parameters_of
from scaling.lm.run import RunSpec

CHECKPOINT_FILE, PREVIOUS_FILE = "checkpoint.safetensors", "checkpoint.previous.safetensors"
FORMAT = "1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was read: tensors by name and the state of the run."""

    path: Path
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    @property
    def step(self) -> int:
        return int(self.state["step"])


def collect_tensors(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Weights ("model.<name>") and optimizer state ("optimizer.<name>.<key>"), whole, on the CPU."""
    names = {id(p): name for name, p in model.named_parameters()}
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                tensors[f"optimizer.{names[id(parameter)]}.{key}"] = torch.as_tensor(value)
    return {name: _whole(t).cpu().contiguous() for name, t in tensors.items()}


def restore_tensors(model: nn.Module, optimizers: Sequence[Optimizer], checkpoint: Checkpoint) -> None:
    """Put a checkpoint back into a freshly built model and its optimizers."""
    owners = {id(p): o for o in optimizers for p in parameters_of(o)}
    missing = sorted({f"model.{name}" for name, _ in model.named_parameters()} - set(checkpoint.tensors))
    if missing:
        raise DataError(f"{checkpoint.path} lacks {missing[0]}; it belongs to another architecture.")
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(_like(checkpoint.tensors[f"model.{name}"], parameter))
        prefix = f"optimizer.{name}."
        found = {k.removeprefix(prefix): t for k, t in checkpoint.tensors.items() if k.startswith(prefix)}
        owner = owners.get(id(parameter))
        if found and owner is not None:
            # Adam's step counter is a scalar: on the CPU unless the step is fused or captured on the device
            counts_on_device = owner.defaults.get("capturable") or owner.defaults.get("fused")
            state = owner.state[parameter]
            for key, value in found.items():
                on_device = value.ndim > 0 or counts_on_device
                state[key] = _like(value, parameter) if on_device else value.clone()


def write_checkpoint(
    folder: Path, tensors: Mapping[str, Tensor], spec: RunSpec, *, step: int, micro_batch: int, corpus: str
) -> None:
    """Write folder/checkpoint.safetensors: complete and flushed to disk before it gets its name.

    Args:
        corpus: the fingerprint of what the run trains on.
    """
    threads, ids = torch.get_num_threads(), {"run_id": spec.run_id, "trunk_id": spec.trunk_id}
    now = {"step": step, "micro_batch": micro_batch, "corpus": corpus, "threads": threads}
    state = json.dumps(now | ids)
    metadata = {"format": FORMAT, "state": state, "sha256": _digest(tensors, state)}
    with whole_file(folder / CHECKPOINT_FILE) as temporary:
        write_tensors(tensors, temporary, metadata)
        current = checkpoint_steps(folder).get(CHECKPOINT_FILE)
        # one of this step or a later one was left by a pack that went back
        if current is not None and current < step:
            os.replace(folder / CHECKPOINT_FILE, folder / PREVIOUS_FILE)


def checkpoint_steps(folder: Path) -> dict[str, int]:
    """The step of each checkpoint file of a folder; files that cannot be read are left out."""
    states = {name: _read_state(folder / name) for name in (CHECKPOINT_FILE, PREVIOUS_FILE)}
    return {name: int(state["step"]) for name, state in states.items() if "step" in state}


def other_threads(folder: Path) -> tuple[int, int] | None:
    """CPU threads that wrote the newest checkpoint and those here, where they differ; None too where nobody says."""
    now = torch.get_num_threads()
    before = int(_read_state(folder / CHECKPOINT_FILE).get("threads", now))
    return None if before == now else (before, now)


def _read_state(path: Path) -> dict[str, Any]:
    """The state of the run in a checkpoint, without its tensors; empty where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})["state"]))
    except (SafetensorError, OSError, KeyError, ValueError):
        return {}  # read_checkpoint tells what is wrong with it


def copy_checkpoint(source: Path, target: Path, *, last_step: int) -> None:
    """Copy the newest checkpoint of folder `source` up to last_step, if there is one, under its name at once."""
    steps = {name: step for name, step in checkpoint_steps(source).items() if step <= last_step}
    if not steps:
        return
    with whole_file(target / CHECKPOINT_FILE) as temporary:
        shutil.copy(source / max(steps, key=steps.__getitem__), temporary)


def remove_checkpoints(folder: Path) -> None:
    """Remove both checkpoints of a finished run."""
    for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
        (folder / name).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while writing has left; only for the process that holds the folder."""
    for path in folder.glob(".*.tmp*"):
        path.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    """SHA-256 of the state and of every name, shape, kind and byte of the tensors."""
    total = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def read_checkpoint(folder: Path, spec: RunSpec, *, step: int | None = None) -> Checkpoint | None:
    """The checkpoint of a run, None when there is none: the newest, or that of `step`.

    A checkpoint of the same trunk is accepted up to the step where the learning rates part: that is how decay
    branches start.
    """
    from safetensors import SafetensorError, safe_open

    if step is None:
        present = [n for n in (CHECKPOINT_FILE, PREVIOUS_FILE) if (folder / n).exists()]
    else:
        present = [n for n, at in checkpoint_steps(folder).items() if at == step]
    if not present:
        return None
    path = folder / present[0]
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        state = json.loads(metadata["state"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is not a readable checkpoint ({error!r}). Delete it; {_then(folder, path)}."
        ) from error
    if metadata.get("sha256") != _digest(tensors, metadata["state"]):
        raise DataError(
            f"{path} is damaged: its SHA-256 is not that of its content. Delete it; {_then(folder, path)}."
        )
    shared = state["trunk_id"] == spec.trunk_id and state["step"] <= spec.schedule.decay_start(spec.n_steps)
    if state["run_id"] != spec.run_id and not shared:
        raise DataError(
            f"{path} belongs to run {state['run_id']} at step {state['step']}, not to {spec.run_id}. "
            "Use another folder, or delete it to start over."
        )
    return Checkpoint(path=path, tensors=tensors, state=state)


def _then(folder: Path, damaged: Path) -> str:
    """What happens without the damaged checkpoint."""
    left = [step for name, step in checkpoint_steps(folder).items() if folder / name != damaged]
    return f"the run then goes on from step {left[0]}" if left else "the run then starts over"


def _whole(tensor: Tensor) -> Tensor:
    """A sharded tensor gathered; others as they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _like(value: Tensor, parameter: Any) -> Tensor:
    """`value` on the parameter's device, sharded as it is when it has its shape."""
    moved = value.to(parameter.device, copy=True)
    if hasattr(parameter, "full_tensor") and value.shape == parameter.shape:
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(moved, parameter.device_mesh, parameter.placements)
    return moved
