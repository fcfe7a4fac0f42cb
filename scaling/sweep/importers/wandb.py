"""Weights & Biases (extra `wandb`): offline runs, CSV files that the web page exports, or runs of its API.

A run has its id; launches of one id are parts of one run. One that was cut and launched anew under another id has the
same name and configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

from scaling.errors import DataError
from scaling.runs import Runs
from scaling.sweep.importers.logged import NO_LOSS, LeftOut
from scaling.sweep.importers.moments import at_last_row, of_the_end
from scaling.sweep.importers.sizes import Log, Sizes, Told, listed
from scaling.sweep.importers.wandb_files import (
    OWN_COUNTER,
    ask_of_other_launches,
    flat,
    identity,
    of_calls,
    offline_logs,
)  # fmt: skip
from scaling.sweep.importers.wandb_tables import csv_logs

FIRST_ROWS = 100  # of a history, to see how it counts
CALLS = (
    "steps are calls of log(), counted by W&B itself: where a training step makes several, --step-key names a counter "
    "of steps"
)


def from_wandb(
    source: str | Path | Iterable[Any],
    *,
    loss_key: str,
    step_key: str = OWN_COUNTER,
    **told: Unpack[Told],
) -> Runs:
    """Runs from W&B: the last `loss_key` of each run that finished.

    Args:
        source: a folder with offline runs anywhere below it; a CSV exported from the table of runs or from a panel
            with lines; or runs of the API, `wandb.Api().runs("entity/project")`.
        told: n_params, params_convention and the other fields of `Sizes`; a name is that of a configuration value
            ("model.n_params" for nested ones) or of a logged one.
        step_key: what counts steps, where it is not W&B's own counter ("train/global_step" of transformers). A panel
            has its x axis.
    """
    sizes = Sizes(**told)
    notes: tuple[str, ...] = ()
    found: set[str] = set()
    where = str(source) if isinstance(source, str | Path) else "the W&B API"
    if not isinstance(source, str | Path):
        logs = [_from_api(run, loss_key, step_key, sizes, found) for run in source]
    elif Path(source).is_dir():
        logs = offline_logs(Path(source), loss_key, step_key, sizes, found)
    else:
        logs, notes = csv_logs(Path(source), loss_key, step_key, sizes)
    if all(isinstance(log, LeftOut) and log.why == NO_LOSS for log in logs):
        names = listed(name for name in found if not name.startswith("_"))
        raise DataError(
            f"{where}: none of {len(logs)} runs has logged {loss_key!r}"
            + (f"; they have {names}. Say which is the loss: --loss." if found else ".")
        )
    logs = ask_of_other_launches(logs, sizes)
    if sizes.tokens_per_step is not None and any(isinstance(log, Log) and log.counts_calls for log in logs):
        notes += (CALLS,)
    return sizes.runs(logs, loss_key=loss_key, source=where, notes=notes)


def _from_api(run: Any, loss_key: str, step_key: str, sizes: Sizes, found: set[str]) -> Log | LeftOut:
    """A run of wandb.Api(): id, name, state, config, summary, scan_history."""
    name, summary = str(run.name), flat(dict(run.summary))
    settings = flat({k: v for k, v in dict(run.config).items() if not k.startswith("_")})
    rows = list(_api_rows(run, loss_key, {step_key, *sizes.growing}))
    moment, last = at_last_row(
        rows, loss_key, step_key=step_key, growing=sizes.growing, constant=sizes.constant
    )
    found |= last.keys() | summary.keys()
    if moment is None:
        return LeftOut(name=name)
    if step_key in moment.unsure:
        return LeftOut(name=name, why=f"{step_key} {moment.unsure[step_key]}")
    calls = step_key == OWN_COUNTER and _counts_calls(run)
    if why := of_calls(calls, int(calls), {**summary, **last}, step_key, sizes):
        return LeftOut(name=name, why=why)
    return Log(
        name=name,
        identity=identity(name, settings),
        tool_id=str(run.id),
        values={**summary, **last, **settings, **moment.values},
        unsure={**moment.unsure, **of_the_end(moment, sizes.growing, last, {**summary, **settings})},
        step=moment.step + calls,
        loss=moment.loss,
        last_step=moment.last_step + calls if moment.went_on else None,
        is_finished=run.state == "finished",
        counts_calls=calls,
    )


def _counts_calls(run: Any) -> bool:
    """Whether the first rows stand at steps 0, 1, 2 ...: calls of log(), where no step was given."""
    own = [int(row[OWN_COUNTER]) for row in islice(run.scan_history(keys=[OWN_COUNTER]), FIRST_ROWS)]
    return len(own) > 1 and own == list(range(len(own)))


def _api_rows(run: Any, loss_key: str, wanted: set[str]) -> Iterator[dict[str, Any]]:
    """The history in order of W&B's own counter: the rows with the loss, those with the wanted values, and whole ones
    from the last of these before the last loss on.

    The server gives only rows that hold every key asked for, and what is logged in calls of its own shares none: so
    each key is asked for by itself. A long history is not asked for whole.
    """
    rows: dict[int, dict[str, Any]] = {}
    latest: dict[str, list[int]] = {}
    for key in (loss_key, *sorted(wanted - {OWN_COUNTER, loss_key})):
        for row in run.scan_history(keys=[key, OWN_COUNTER]):
            if row.get(key) is not None:
                step = int(row[OWN_COUNTER])
                rows.setdefault(step, {OWN_COUNTER: step})[key] = row[key]
                latest.setdefault(key, []).append(step)
    if loss_key not in latest:
        return
    end = max(latest[loss_key])
    before = [max((s for s in steps if s <= end), default=end) for steps in latest.values()]
    whole_from = min(before)
    ends_there = (run.summary.get(OWN_COUNTER) or end) <= end
    if whole_from < end or not ends_there:
        for row in run.scan_history(keys=None, min_step=whole_from):
            if row[OWN_COUNTER] >= whole_from:
                rows.setdefault(int(row[OWN_COUNTER]), {}).update(
                    {k: v for k, v in row.items() if v is not None}
                )
    yield from (rows[step] for step in sorted(rows))
