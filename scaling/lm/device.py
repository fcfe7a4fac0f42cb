"""What this device can do: which dtype is faster, how fast a matmul can be, and memory that is not given back."""

from __future__ import annotations

import ctypes
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from scaling.errors import UsageError
from scaling.lm.run import Precision

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # glibc malloc.h
_TOP_PAD_BYTES = 2**28
BFLOAT16_MUST_GAIN = 1.2  # bf16 rounds: take it only where it is clearly faster
_GPU_PROBE_SIZE = 4096  # smaller products time the launch of the kernel


@dataclass(frozen=True, kw_only=True)
class Device:
    """A torch device, the dtype of its matmuls, and its peak (datasheet on a GPU, measured on a CPU)."""

    device: torch.device
    dtype: torch.dtype
    name: str
    peak_flops_per_s: float | None

    @property
    def precision(self) -> str:
        return "bfloat16" if self.dtype == torch.bfloat16 else "float32"


def choose_device(name: str = "auto", precision: Precision = "auto") -> Device:
    """The device to train on; precision "auto" is float32 on a CPU and what a probe finds faster on a GPU."""
    device = find_device(name)
    if precision == "auto":
        # a CPU is not asked: a probe on a busy one could answer otherwise when the run is resumed
        dtype = torch.float32 if device.type == "cpu" else _faster_dtype(str(device))
    else:
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    label = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads"
    )
    return Device(device=device, dtype=dtype, name=label, peak_flops_per_s=_peak(device, dtype))


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        UsageError: torch knows no such device, or sees none here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"device {name!r}: this torch sees no GPU. Use --device cpu, or install a CUDA build of torch."
        )
    try:
        probe = torch.zeros(1, device=name)
        probe.item()  # the meta device makes tensors, but has no numbers
        return probe.device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"device {name!r} is none that can be used here; try cpu, cuda or cuda:1."
        ) from error


@lru_cache(maxsize=8)
def _faster_dtype(device: str) -> torch.dtype:
    rate = {
        dtype: measure_matmul(device, dtype, n=_GPU_PROBE_SIZE) for dtype in (torch.float32, torch.bfloat16)
    }
    faster = rate[torch.bfloat16] > BFLOAT16_MUST_GAIN * rate[torch.float32]
    return torch.bfloat16 if faster else torch.float32


def measure_matmul(
    device: torch.device | str, dtype: torch.dtype, *, n: int = 1024, budget_s: float = 0.05
) -> float:
    """FLOP/s of an n x n matmul: the best of a few within `budget_s` (at least five)."""
    device = torch.device(device)
    a = torch.randn(n, n, device=device).to(dtype)
    best, spent, rounds = 0.0, 0.0, 0
    while rounds < 5 or (spent < budget_s and rounds < 50):
        start = time.perf_counter()
        _ = a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed = time.perf_counter() - start
        best, spent, rounds = max(best, 2 * n**3 / elapsed), spent + elapsed, rounds + 1
    return best


@lru_cache(maxsize=8)
def _peak(device: torch.device, dtype: torch.dtype) -> float | None:
    if device.type != "cuda":
        return measure_matmul(device, dtype)
    if dtype != torch.bfloat16:
        return None
    from scaling.reference.hardware import find_accelerator

    name = torch.cuda.get_device_name(device)
    try:
        return find_accelerator(name.removeprefix("NVIDIA ").removeprefix("AMD Instinct ")).peak_flops_per_s
    except UsageError:  # a GPU the table does not list has no MFU; its throughput is still reported
        return None


def free_memory_bytes(device: torch.device) -> int | None:
    """What can still be allocated there; None where the system does not say."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def keep_memory() -> bool:
    """Let glibc keep freed memory for the next step instead of giving it back to the system.

    Every step allocates the same large tensors; by default each is a fresh mapping whose pages the kernel must clear
    again. Kept pages made training at 1.3M parameters 1.2 to 1.3 times faster (CPU time). Returns whether it applied.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library (musl)
        return False
    # one arena for all threads: those of threads give memory back whatever the threshold says
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: _TOP_PAD_BYTES, _M_ARENA_MAX: 1}
    applied = [mallopt(option, value) for option, value in settings.items()]
    return all(applied)


def use_threads(n_threads: int) -> None:
    """Let torch use this many CPU threads from here on."""
    torch.set_num_threads(n_threads)
