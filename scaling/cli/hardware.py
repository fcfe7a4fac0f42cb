"""`scaling hardware`: accelerators of the packaged table, and what this machine's matrix product reaches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling.blocks import Blocks, Code, Fields, Section, Table, Text, next_step
from scaling.cli.completers import complete_accelerator
from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.cli.progress import waiting_for
from scaling.jsonable import fields_of
from scaling.planning.cost import make_cluster
from scaling.reference.hardware import Accelerator, accelerators, find_accelerator
from scaling.render.terminal import show, show_json, warn
from scaling.translation import tr, tr_n
from scaling.units import format_bytes, format_duration, format_percent

if TYPE_CHECKING:
    from pandas import DataFrame

TERA = 1e12


hardware = Group("hardware", help="List and show accelerators, or measure this machine.")


@hardware.command("list", epilog="Example: scaling hardware list")
@output_options("links")
def list_hardware(output: Output) -> None:
    """List the accelerators with dense peaks, memory, power and dated prices; links and status with --show."""
    give(output, list_summary, lambda: {"accelerators": accelerators()}, accelerators_frame)


@hardware.command("show", epilog="Example: scaling hardware show H100")
@click.argument("name", metavar="NAME", shell_complete=complete_accelerator)
@output_options("source")
def show_hardware(name: str, output: Output) -> None:
    """Show one accelerator; its sources with --show."""
    a = find_accelerator(name)
    give(output, lambda: accelerator_blocks(a), lambda: fields_of(a), lambda: accelerators_frame([a]))


def list_summary() -> Blocks:
    """A row an accelerator."""
    explained = tr(
        "bf16, fp8: dense peak in TFLOP/s (no sparsity). Memory in GB, bandwidth in TB/s, power in W. Names such as "
        "H100 or A100-80GB work too."
    )
    headers = (
        "id", "bf16", "fp8", tr("memory"), tr("bandwidth"), tr("power"), tr("$ per hour"), tr("dated"),
    )  # fmt: skip
    return (
        Table(headers, [_list_row(a) for a in accelerators()], indent=0),
        Text(explained),
        Section("links", tr("Links, and who says so"), _links),
        *next_step("scaling hardware show h100"),
    )


def _links() -> Blocks:
    rows = [(a.id, _in(a.interconnect_bytes_per_s, 1e9), a.interconnect, a.status) for a in accelerators()]
    explained = tr(
        "Links in GB/s both ways per device. Status: the maker's page was read (verified), N public tables carry the "
        "same peak (agreed by N), partly, or not; the sources stand in: scaling hardware show h100 --show source."
    )
    return (Table(("id", tr("links"), "", tr("status")), rows, remarks=2), Text(explained, indent=2))


def accelerators_frame(shown: Sequence[Accelerator] | None = None) -> DataFrame:
    """One row an accelerator."""
    import pandas as pd

    return pd.DataFrame([fields_of(a) for a in (accelerators() if shown is None else shown)])


def accelerator_blocks(a: Accelerator) -> Blocks:
    """What planning needs of it; the sources as a section."""
    return (
        Text(a.name),
        Fields([(label, text) for label, text in _fields(a) if text]),
        Section(
            "source",
            tr("Where it comes from"),
            lambda: (Fields([(label, text) for label, text in _sources(a) if text]),),
        ),
        *next_step(f"scaling plan --hardware 8x{a.id} --time 14d"),
    )


@hardware.command("measure", epilog="Example: scaling hardware measure --seconds 1")
@click.option(
    "--size", type=click.IntRange(16, 32768), metavar="N", help="Rows of the matrices [default: what fits]."
)
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the numbers.",
)
@click.option(
    "--seconds",
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.01, 600),
    help="How long to measure.",
)
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE.json",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep it for `scaling plan --hardware FILE.json`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: flops_per_s, dtype, device, library, ...")
def measure(size: int | None, dtype: str, seconds: float, path: Path | None, as_json: bool) -> None:
    """Time a square matrix product on this machine; -o keeps it for a plan.

    Uses torch (and its first GPU) where torch is installed, else NumPy, which knows float32 only.
    """
    from scaling.reference.measure import ATTAINED, measure_matmul, write_measurement

    with waiting_for(tr("measuring"), seconds):
        try:
            from scaling.lm.device import measure_matmul_torch

            result = measure_matmul_torch(size, dtype=dtype, seconds=seconds)
        except ModuleNotFoundError:
            result = measure_matmul(size, dtype=dtype, seconds=seconds)
    for doubt in result.warnings:
        warn(f"{doubt}.")
    if path is not None:
        write_measurement(result, path)
    if as_json:
        show_json(fields_of(result))
        return
    best, median = _rate(result.best_flops_per_s), _rate(result.median_flops_per_s)
    threads = tr_n("one thread", "{n} threads", result.n_threads)
    using = f"{result.library}, {result.dtype}, {tr('up to {threads}', threads=threads)}"
    duration = format_duration(result.seconds)
    product = tr("{r.size} x {r.size}, {r.n_repeats} times in {duration}", r=result, duration=duration)
    plan = "scaling plan --time 1d --hardware "
    plan += (
        f"measured --peak-tflops {result.best_flops_per_s / ATTAINED / TERA:.3g}"
        if path is None
        else f"{path}"
    )
    show(
        Text(tr("{best}  (median {median})", best=best, median=median)),
        Fields([(tr("device"), result.device), (tr("with"), using), (tr("product"), product)]),
        Text(tr("No peak to plan with: measure again on an idle machine, without --size."))
        if result.warnings
        else Code(plan, label=tr("Plan with it:"), indent=1),
    )


def _rate(flops_per_s: float) -> str:
    unit, name = (TERA, "TFLOP/s") if flops_per_s >= 0.1 * TERA else (1e9, "GFLOP/s")
    return f"{flops_per_s / unit:.3g} {name}"


def _list_row(a: Accelerator) -> list[str]:
    return [
        a.id,
        _in(a.peak_flops_per_s, TERA),
        _in(a.peak_fp8_flops_per_s, TERA),
        _in(a.memory_bytes, 1e9),
        _in(a.memory_bandwidth_bytes_per_s, TERA),
        _in(a.tdp_w, 1),
        _price(a) or "-",
        a.price_date or "-",
    ]


def _fields(a: Accelerator) -> list[tuple[str, str]]:
    fp8, links = _in(a.peak_fp8_flops_per_s, TERA), _in(a.interconnect_bytes_per_s, 1e9)
    price = tr("${price} per hour, {a.price_date}", a=a, price=_price(a))
    tuned = "" if a.mfu_low is None or a.mfu_high is None or a.mfu_mid is None else tr(
        "{low} to {high} of the peak in tuned benchmarks, {mid} as a rule",
        low=format_percent(a.mfu_low), mid=format_percent(a.mfu_mid), high=format_percent(a.mfu_high),
    )  # fmt: skip
    whole = "" if a.peak_flops_per_s is None else _whole_runs(a)
    agreed = a.status.startswith("agreed")
    return [
        (tr("peak, bf16"), tr("{n} TFLOP/s dense", n=_in(a.peak_flops_per_s, TERA))),
        (tr("peak, fp8"), tr("not supported or not known") if fp8 == "-" else f"{fp8} TFLOP/s"),
        (tr("whole runs"), whole),
        (tr("tuned"), tuned),
        (tr("memory"), "" if a.memory_bytes is None else format_bytes(a.memory_bytes)),
        (tr("bandwidth"), f"{_in(a.memory_bandwidth_bytes_per_s, TERA)} TB/s"),
        (tr("links"), tr("{a.interconnect}, {n} GB/s both ways", a=a, n=links)),
        (tr("power"), f"{_in(a.tdp_w, 1)} W"),
        (tr("price"), price if a.price_date else tr("none recorded")),
        (tr("status"), tr("{a.status} public tables", a=a) if agreed else a.status),
    ]


def _whole_runs(a: Accelerator) -> str:
    """What whole runs of a usual model reach."""
    cluster = make_cluster(a)
    low, high = (format_percent(share * cluster.goodput) for share in (cluster.mfu_low, cluster.mfu_high))
    return tr("{low} to {high} of the peak, stops and all (7B parameters on 256)", low=low, high=high)


def _sources(a: Accelerator) -> list[tuple[str, str]]:
    mfu = " / ".join(format_percent(m) for m in (a.mfu_low, a.mfu_mid, a.mfu_high) if m)
    return [
        (tr("source"), a.source),
        (tr("price"), a.price_source if a.price_date else ""),
        (tr("memory"), a.memory_source),
        ("MFU", tr("{mfu} low / mid / high: {a.mfu_source}", a=a, mfu=mfu) if a.mfu_mid else ""),
        (tr("note"), a.note),
    ]


def _price(a: Accelerator) -> str:
    low, high = a.price_usd_per_hour_low, a.price_usd_per_hour_high
    if low is None or high is None:
        return ""
    return f"{low:.2f}" if low == high else f"{low:.2f} - {high:.2f}"


def _in(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.4g}"
