"""MLflow (extra `mlflow`): a tracking store, local (a folder or an SQLite file) or on a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.installing import extra_command
from scaling.runs import Runs
from scaling.sweep.importers.logged import NO_LOSS, LeftOut
from scaling.sweep.importers.moments import Point
from scaling.sweep.importers.sizes import Log, SizeOptions, Sizes, listed
from scaling.sweep.store import canonical_json

PAGE = 1000  # runs asked for at once
SQLITE_HEADER = b"SQLite format 3\0"


def from_mlflow(
    source: str | Path | Any,
    *,
    loss_key: str,
    experiment: str | None = None,
    **options: Unpack[SizeOptions],
) -> Runs:
    """Runs from MLflow: the last `loss_key` of each run whose status is FINISHED.

    Args:
        source: a folder (mlruns), an SQLite file, a tracking URI, or an MlflowClient.
        experiment: its name; None takes all.
        options: n_params, params_convention and the other fields of `Sizes`; a name is that of a parameter or metric.
            The metric of n_tokens must have been logged at the step of the loss, or once for the whole run.
    A run has its run ID. One that was cut and launched anew has another ID, but the same name and parameters.
    """
    sizes = Sizes(**options)
    client, where = (connect(source), str(source)) if isinstance(source, str | Path) else (source, "MLflow")
    found: set[str] = set()
    again: list[str] = []
    runs = _runs(client, experiment, where)
    logs = [_log(client, run, loss_key, sizes, found, where, again) for run in runs]
    if all(isinstance(log, LeftOut) and log.why == NO_LOSS for log in logs):
        raise DataError(f"{where}: no run has logged the metric {loss_key!r}; there is {listed(found)}.")
    notes = (f"steps begin again, what stood before is taken for lost: {', '.join(again)}",) if again else ()
    return sizes.runs(logs, loss_key=loss_key, source=where, notes=notes)


def connect(source: str | Path) -> Any:
    """A client of a tracking store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # old stores are folders; we only read
    uri = tracking_uri(source)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise UsageError(f"reading MLflow needs mlflow: {extra_command('mlflow')}") from error
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        raise DataError(f"{source} cannot be read as an MLflow store: {_first_line(error)}") from error


def tracking_uri(source: str | Path) -> str:
    """The URI of a folder, an SQLite file, or what is a URI already."""
    if "://" in str(source):
        return str(source)
    path = Path(source)
    if not path.exists():
        raise MissingFileError(
            f"there is no MLflow store at {path}: give a folder, an SQLite file or a tracking URI."
        )
    if path.is_dir():
        return path.resolve().as_uri()
    with path.open("rb") as file:
        if file.read(len(SQLITE_HEADER)) != SQLITE_HEADER:  # MLflow would make a database of an empty file
            what = "it is neither a folder nor an SQLite file"
            raise DataError(f"{path} cannot be read as an MLflow store: {what}.")
    return f"sqlite:///{path.resolve()}"


def _runs(client: Any, experiment: str | None, where: str) -> Iterator[Any]:
    """Runs that are not deleted, oldest first."""
    try:
        found = client.search_experiments()
    except Exception as error:  # a server that is not there, an old database: MLflow raises many kinds
        raise DataError(f"{where} does not answer as an MLflow store: {_first_line(error)}") from error
    if not found:
        raise DataError(f"{where} holds no MLflow experiment; give the folder mlruns itself.")
    chosen = [e.experiment_id for e in found if experiment is None or e.name == experiment]
    if not chosen:
        names = ", ".join(sorted(e.name for e in found))
        raise DataError(f"{where} has no experiment {experiment!r}; it has {names}.")
    token = None
    while True:
        page = client.search_runs(
            chosen, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _log(
    client: Any, run: Any, loss_key: str, sizes: Sizes, found: set[str], where: str, again: list[str]
) -> Log | LeftOut:
    """The run; where it has logged no loss, its name.

    `found` takes in the names of its metrics, `again` the run itself where its steps begin again.
    """
    name, run_id = str(run.info.run_name or run.info.run_id), run.info.run_id
    metrics, parameters = dict(run.data.metrics), dict(run.data.params)
    found |= set(metrics)
    if loss_key not in metrics:
        return LeftOut(name=name)
    # the last point of every metric comes with the run; system metrics count samples instead of steps
    last = {m.key: m for m in run.data.to_proto().metrics if not m.key.startswith("system/")}
    history = {key: [Point(m.step, m.timestamp, m.value)] for key, m in last.items()}
    for key in {loss_key, *sizes.growing, *sizes.constant} & set(metrics):
        try:
            points = client.get_metric_history(run_id, key)
        except (
            Exception
        ) as error:  # a damaged file of a store, a server that is gone: MLflow raises many kinds
            raise DataError(f"{where}, run {name!r}: {key} cannot be read: {_first_line(error)}") from error
        history[key] = [Point(int(m.step), m.timestamp, float(m.value)) for m in points]
    return sizes.log_of_points(
        history, loss_key, again, name=name, identity=f"{name} {canonical_json(parameters)}", beside=parameters,
        tool_id=run_id, is_finished=run.info.status == "FINISHED",
    )  # fmt: skip


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)
