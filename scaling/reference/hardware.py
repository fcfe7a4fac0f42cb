"""Accelerators: dense peaks, memory, links, power, dated prices. An unknown name is an error, never a default."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from scaling.errors import UnknownNameError
from scaling.reference.tables import aliases_of, find_row, fold, from_row, number, read_table
from scaling.units import format_bytes

TABLE = "accelerators.csv"
INSTANCES = "instances.csv"
# what nvidia-smi, torch and clouds put around the name of an accelerator
MAKERS = ("nvidia", "amd", "google", "tesla", "geforce", "instinct", "radeon", "gpu")
MEBIBYTE = 2**20


class Accelerator(NamedTuple):
    """One accelerator as software sees it. Peaks are dense (no sparsity); None means not known or not supported.

    Example:
        >>> import scaling
        >>> h100 = scaling.find_accelerator("H100")
        >>> h100.peak_flops_per_s, h100.tdp_w
        (989000000000000.0, 700.0)
    """

    id: str
    name: str
    peak_flops_per_s: float | None  # bf16 with fp32 accumulation; fp16 where there is no bf16
    peak_fp8_flops_per_s: float | None
    memory_bytes: (
        float | None
    )  # as its driver prints it, where that is known: a little more or less than its name says
    memory_source: str
    memory_bandwidth_bytes_per_s: float | None
    interconnect: str
    interconnect_bytes_per_s: float | None  # per device, both directions together
    tdp_w: float | None
    price_usd_per_hour_low: float | None
    price_usd_per_hour_high: float | None
    price_date: str
    price_source: str
    mfu_low: float | None  # of tuned benchmarks; what whole runs reach: `scaling.planning.utilisation`
    mfu_mid: float | None
    mfu_high: float | None
    mfu_source: str
    status: str  # verified (the maker's page was read) | agreed by N (public tables) | partly | disputed | unverified
    source: str
    note: str

    def __repr__(self) -> str:
        peak = "" if self.peak_flops_per_s is None else f", {self.peak_flops_per_s / 1e12:.4g} TFLOP/s"
        memory = "" if self.memory_bytes is None else f", {format_bytes(self.memory_bytes)}"
        return f"<Accelerator {self.id}: {self.name}{peak}{memory}>"


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """Every accelerator of the table, in its order."""
    return tuple(_accelerator(row) for row in read_table(TABLE))


def find_accelerator(name: str) -> Accelerator:
    """The accelerator of this id, name or alias, as nvidia-smi, torch and clouds write it too.

    "H100" is the SXM5 module with 80 GB, "A100" the one with 80 GB.

    Raises:
        UnknownNameError: listing near names.
    Example:
        >>> import scaling
        >>> scaling.find_accelerator("NVIDIA H100 80GB HBM3").id
        'h100-sxm'
    """
    for written in (name, _without_maker(name)):
        if row := find_row(TABLE, written, "id", "name"):
            return _accelerator(row)
    known = [row["id"] for row in read_table(TABLE)]
    hint = "`scaling hardware list` shows all; a plan takes any other device with --peak-tflops NUMBER (`scaling "
    hint += "hardware measure` finds it)."
    raise UnknownNameError("accelerator", name, known, aliases=aliases_of(TABLE), hint=hint)


def _without_maker(name: str) -> str:
    words = name.replace("-", " ").replace("_", " ").split() if isinstance(name, str) else []
    return " ".join(word for word in words if word.lower() not in MAKERS)


def find_instance(name: str) -> tuple[int, str] | None:
    """How many accelerators a cloud's instance of this name has, and the id of theirs; None for no instance."""
    for row in read_table(INSTANCES):
        if fold(row["name"]) == fold(name):
            return int(row["n_accelerators"]), row["accelerator"]
    return None


def _accelerator(row: dict[str, str]) -> Accelerator:
    def scaled(column: str, factor: float) -> float | None:
        value = number(row[column])
        return None if value is None else value * factor

    return from_row(
        Accelerator,
        row,
        peak_flops_per_s=scaled("bf16_dense_tflops", 1e12),
        peak_fp8_flops_per_s=scaled("fp8_dense_tflops", 1e12),
        memory_bytes=scaled("memory_mib", MEBIBYTE) or scaled("memory_gb", 1e9),
        memory_bandwidth_bytes_per_s=scaled("memory_bandwidth_tb_per_s", 1e12),
        interconnect_bytes_per_s=scaled("interconnect_gb_per_s", 1e9),
    )
