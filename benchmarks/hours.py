"""Printed beside published accelerator-hours of whole runs, and estimated beside measured peaks of memory.

    python benchmarks/hours.py            # both tables
    python benchmarks/hours.py --write    # put them into benchmarks/README.md

Every run of scaling/reference/training_hours.csv is planned from its parameters, tokens, context and devices alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

from scaling.accounting import estimate_memory
from scaling.planning.cost import Budget, Constraints, make_cluster
from scaling.planning.plan import plan_training
from scaling.reference.measured_runs import TrainingRun, measured_peaks, training_runs

README = Path(__file__).with_name("README.md")
START, END = "<!-- hours.py -->", "<!-- /hours.py -->"


def printed_hours(run: TrainingRun) -> tuple[float, float, float]:
    """What `scaling plan` prints for this run: low, middle and high."""
    plan = plan_training(
        Budget(n_params=run.n_params, n_tokens=run.n_tokens),
        cluster=make_cluster(run.accelerator, count=run.n_devices),
        constraints=Constraints(context_length=run.context_length),
    )
    return plan.cost.accelerator_hours


def hours_table() -> Iterator[str]:
    """A row a run, and how well all come out."""
    yield "| run | devices | published hours | printed | range | middle / published | within |"
    yield "|---|---|---|---|---|---|---|"
    ratios, inside, widths = [], [], []
    for run in training_runs():
        low, mid, high = printed_hours(run)
        ratios.append(mid / run.accelerator_hours)
        inside.append(low <= run.accelerator_hours <= high)
        widths.append(high / low)
        devices = f"{run.n_devices or ''} {run.accelerator}"
        yield (
            f"| {run.run} | {devices} | {run.accelerator_hours:,.0f} | {mid:,.0f} | {low:,.0f} to {high:,.0f} "
            f"| {ratios[-1]:.2f} | {'yes' if inside[-1] else 'no'} |"
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    yield ""
    yield (
        f"{len(ratios)} runs: geometric mean of middle / published {mean:.2f}; {sum(inside) / len(inside):.0%} within "
        f"the printed range; its width at most a factor of {max(widths):.2f}."
    )


def memory_table() -> Iterator[str]:
    """A row a measured peak; of the configurations that ran, how full they are said to be."""
    yield "| FSDP, bf16 | recomputation | estimated, GiB | measured | estimated / measured |"
    yield "|---|---|---|---|---|"
    shares = []
    for peak in measured_peaks():
        gib = estimate_memory(peak.architecture, **peak.set_up()).total_bytes / 2**30
        if peak.peak_gib is None:
            shares.append(gib / peak.device_gib)
            continue
        yield f"| {peak.run} | {peak.recomputation} | {gib:.1f} | {peak.peak_gib:.1f} | {gib / peak.peak_gib:.2f} |"
    yield ""
    yield (
        f"{sum(share <= 1 for share in shares)} of {len(shares)} configurations that llm-foundry ran on 80 GB are said "
        f"to fit, the fullest with {max(shares):.0%} of the memory."
    )


def main() -> None:
    text = "\n".join((*hours_table(), "", *memory_table()))
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    README.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
