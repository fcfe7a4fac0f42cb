"""`scaling hardware`: accelerators of the packaged table, and what this machine's matrix product reaches."""

from __future__ import annotations

from dataclasses import asdict

import click

from scaling.cli.output import paragraph, print_fields, print_json, print_table, warn
from scaling.reference.hardware import Accelerator, accelerators, find_accelerator
from scaling.units import format_bytes, format_duration, format_percent

TERA = 1e12


@click.group()
def hardware() -> None:
    """List and show accelerators, or measure this machine."""


@hardware.command("list", epilog="Example: scaling hardware list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: FLOP/s, bytes, watts, dollars, sources.")
def list_hardware(as_json: bool) -> None:
    """List the accelerators with dense peaks, memory, links, power and dated prices."""
    if as_json:
        print_json({"accelerators": [a._asdict() for a in accelerators()]})
        return
    print_table(
        ["id", "status", "bf16", "fp8", "memory", "bandwidth", "links", "power", "$ per hour", "dated"],
        [_list_row(a) for a in accelerators()],
        left=2,
    )
    click.echo()
    paragraph(
        "bf16, fp8: dense peak in TFLOP/s (no sparsity). Memory in GB, bandwidth in TB/s, links in GB/s both ways per "
        "device, power in W. Names such as H100 or A100-80GB work too; the sources stand in: scaling hardware show "
        "h100. Status: the maker's page was read (verified), N public tables carry the same peak (agreed by N), "
        "partly, or not."
    )


@hardware.command("show", epilog="Example: scaling hardware show H100")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: FLOP/s, bytes, watts, dollars, source.")
def show_hardware(name: str, as_json: bool) -> None:
    """Show one accelerator with its source."""
    a = find_accelerator(name)
    if as_json:
        print_json(a._asdict())
        return
    click.echo(a.name)
    print_fields([(label, text) for label, text in _fields(a) if text])


@hardware.command("measure", epilog="Example: scaling hardware measure --seconds 1")
@click.option(
    "--size", type=click.IntRange(16, 32768), metavar="N", help="Rows of the matrices [default: what fits]."
)
@click.option(
    "--dtype", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16", "float16"])
)
@click.option(
    "--seconds", default=2.0, show_default=True, type=click.FloatRange(0.01, 600), help="How long to measure."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: flops_per_s, dtype, device, library, ...")
def measure(size: int | None, dtype: str, seconds: float, as_json: bool) -> None:
    """Time a square matrix product on this machine; nothing is stored.

    Uses torch (and its first GPU) where torch is installed, else NumPy, which knows float32 only.
    """
    from scaling.reference.measure import measure_matmul

    try:
        from scaling.lm.device import measure_matmul_torch

        result = measure_matmul_torch(size, dtype=dtype, seconds=seconds)
    except ModuleNotFoundError:
        result = measure_matmul(size, dtype=dtype, seconds=seconds)
    for doubt in result.warnings:
        warn(f"{doubt}.")
    if as_json:
        print_json(asdict(result))
        return
    n, threads = result.size, "one thread" if result.n_threads == 1 else f"{result.n_threads} threads"
    click.echo(f"{_rate(result.best_flops_per_s)}  (median {_rate(result.median_flops_per_s)})")
    print_fields(
        [
            ("device", result.device),
            (
                "with",
                f"{result.library}, {result.dtype}, up to {threads}",
            ),
            ("product", f"{n} x {n}, {result.n_repeats} times in {format_duration(result.seconds)}"),
        ]
    )
    if result.warnings:
        paragraph("No peak to plan with: measure again on an idle machine, without --size.")
        return
    peak = f"{result.best_flops_per_s / TERA:.3g}"
    paragraph(f"Plan with it: scaling plan --hardware measured --time 1d --peak-tflops {peak}")


def _rate(flops_per_s: float) -> str:
    unit, name = (TERA, "TFLOP/s") if flops_per_s >= 0.1 * TERA else (1e9, "GFLOP/s")
    return f"{flops_per_s / unit:.3g} {name}"


def _list_row(a: Accelerator) -> list[str]:
    return [
        a.id,
        a.status,
        _in(a.peak_flops_per_s, TERA),
        _in(a.peak_fp8_flops_per_s, TERA),
        _in(a.memory_bytes, 1e9),
        _in(a.memory_bandwidth_bytes_per_s, TERA),
        _in(a.interconnect_bytes_per_s, 1e9),
        _in(a.tdp_w, 1),
        _price(a) or "-",
        a.price_date or "-",
    ]


def _fields(a: Accelerator) -> list[tuple[str, str]]:
    fp8 = (
        "not supported or not known"
        if a.peak_fp8_flops_per_s is None
        else _in(a.peak_fp8_flops_per_s, TERA) + " TFLOP/s"
    )
    mfu = (
        ""
        if a.mfu_mid is None
        else " / ".join(format_percent(m) for m in (a.mfu_low, a.mfu_mid, a.mfu_high) if m)
    )
    return [
        ("peak, bf16", f"{_in(a.peak_flops_per_s, TERA)} TFLOP/s dense"),
        ("peak, fp8", fp8),
        ("memory", "" if a.memory_bytes is None else format_bytes(a.memory_bytes)),
        ("bandwidth", f"{_in(a.memory_bandwidth_bytes_per_s, TERA)} TB/s"),
        ("links", f"{a.interconnect}, {_in(a.interconnect_bytes_per_s, 1e9)} GB/s both ways"),
        ("power", f"{_in(a.tdp_w, 1)} W"),
        (
            "price",
            f"${_price(a)} per hour, {a.price_date}: {a.price_source}" if a.price_date else "none recorded",
        ),
        ("MFU", f"{mfu} low / mid / high: {a.mfu_source}" if mfu else ""),
        ("status", a.status + (" public tables" if a.status.startswith("agreed") else "")),
        ("source", a.source),
        ("note", a.note),
    ]


def _price(a: Accelerator) -> str:
    low, high = a.price_usd_per_hour_low, a.price_usd_per_hour_high
    if low is None or high is None:
        return ""
    return f"{low:.2f}" if low == high else f"{low:.2f} - {high:.2f}"


def _in(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.4g}"
