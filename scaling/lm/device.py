"""What this device can do: which dtype is faster, how fast a matmul is, its memory, threads that share the work."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch

from scaling.errors import UsageError
from scaling.lm.run import Precision
from scaling.reference.measure import Measurement, timed, usable_threads

T = TypeVar("T")

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # glibc malloc.h
_TOP_PAD_BYTES = 2**28
BFLOAT16_MUST_GAIN = 1.2  # bf16 rounds: take it only where it is clearly faster
MAX_TASK_THREADS = 4  # each holds a copy of the gradients; torch's threads beyond share its operations
_GPU_PROBE_SIZE = 4096  # smaller products time the launch of the kernel


@dataclass(frozen=True, kw_only=True)
class Device:
    """A torch device, the dtype of its matmuls, and its peak (datasheet on a GPU, measured on a CPU)."""

    device: torch.device
    dtype: torch.dtype
    name: str
    peak_flops_per_s: float | None

    def autocast(self) -> torch.autocast:
        """Matmuls in its dtype."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

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
    label = _gpu_name(device) or f"cpu, {torch.get_num_threads()} threads"
    return Device(device=device, dtype=dtype, name=label, peak_flops_per_s=_peak(device, dtype))


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one, an Apple GPU (mps) among them.

    Raises:
        UsageError: torch knows no such device, or sees none here.
    """
    if name == "auto":
        has_gpu = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind, there in has_gpu.items() if there), "cpu")
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
            f"device {name!r} is none that can be used here; try cpu, cuda, cuda:1 or mps."
        ) from error


@lru_cache(maxsize=8)
def _faster_dtype(device: str) -> torch.dtype:
    float32, bfloat16 = torch.float32, torch.bfloat16
    before, after = (measure_matmul(device, dtype, n=_GPU_PROBE_SIZE) for dtype in (float32, bfloat16))
    return bfloat16 if after > BFLOAT16_MUST_GAIN * before else float32


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
        _wait(device)
        elapsed = time.perf_counter() - start
        best, spent, rounds = max(best, 2 * n**3 / elapsed), spent + elapsed, rounds + 1
    return best


def measure_matmul_torch(
    size: int | None = None, *, dtype: str = "float32", seconds: float = 2.0
) -> Measurement:
    """Time torch's matrix product of this dtype; float32 is computed in float32 (no TF32)."""
    device = find_device("auto")
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)

    def make_product(n: int) -> Callable[[], None]:
        a, b = (torch.randn(n, n, generator=generator).to(device, kind) for _ in range(2))
        out = torch.empty_like(a)

        def product() -> None:
            torch.mm(a, b, out=out)
            _wait(device)

        return product

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        return timed(
            make_product,
            size=size,
            seconds=seconds,
            device=_gpu_name(device) or device.type.upper(),
            library=f"torch {torch.__version__}",
            dtype=dtype,
            n_threads=torch.get_num_threads() if device.type == "cpu" else usable_threads(),
        )
    finally:
        torch.set_float32_matmul_precision(before)


def _wait(device: torch.device) -> None:
    """GPUs return before they are done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _gpu_name(device: torch.device) -> str:
    return {"cuda": torch.cuda.get_device_name, "mps": lambda _: "Apple GPU"}.get(device.type, lambda _: "")(
        device
    )


@lru_cache(maxsize=8)
def _peak(device: torch.device, dtype: torch.dtype) -> float | None:
    if device.type != "cuda":
        return measure_matmul(device, dtype)
    if dtype != torch.bfloat16:
        return None
    from scaling.reference.hardware import find_accelerator

    name = _gpu_name(device).removeprefix("NVIDIA ").removeprefix("AMD Instinct ")
    try:
        return find_accelerator(name).peak_flops_per_s
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


class TaskThreads:
    """CPU threads that each take a part of the work through the whole model, and meet once at its end.

    Threads inside every operation meet some thousand times a step, and each time wait for the slowest. These meet once.
    What one computes does not depend on which is first: results come, and are added up, in the order of the tasks.
    There are as many as torch has threads here, at most `MAX_TASK_THREADS`; they end with this object.
    """

    def __init__(self) -> None:
        self.count = min(torch.get_num_threads(), MAX_TASK_THREADS)
        self._pool = ThreadPoolExecutor(self.count, "task") if self.count > 1 else None

    def run(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Results in the order of the tasks; an error is raised once every task has ended.

        Grad mode and autocast are set per thread: a task that needs them sets them itself.
        """
        if self._pool is None or len(tasks) == 1:
            return [task() for task in tasks]
        n_threads = torch.get_num_threads()
        torch.set_num_threads(n_threads // self.count)  # a thread takes this over at its first operation
        try:
            futures = [self._pool.submit(task) for task in tasks]
            wait(futures)
        finally:
            torch.set_num_threads(n_threads)
        return [future.result() for future in futures]
