"""Where metrics go live beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow (extras `logs`, `wandb`, `mlflow`).

A log that fails (no package, no server, a full quota) is said once on stderr and left aside: the run goes on. Names
are those that `scaling sweep import` reads back: eval/loss, train/loss, n_tokens, n_params, n_steps.

Everything lies in one folder: tensorboard/<run>, wandb/ (offline; `wandb sync` sends it), mlflow.db. The tools' own
environment variables overrule that: WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from scaling.lazy import RENDERERS
from scaling.lm.evaluation import EVALUATED
from scaling.lm.run import LogTo, RunSpec

TRAINED = ("loss", "learning_rate", "gradient_norm", "tokens_per_s", "mfu")
ENDED_AS = {"done": "FINISHED", "preempted": "KILLED"}  # MLflow's names
# else a server that does not answer costs minutes a line
MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class LiveLogs:
    """The logs of one run in all its tools. One that fails is said once, and from then on nothing is logged there."""

    def __init__(self, log_to: LogTo | None, k: int, spec: RunSpec, *, resume_step: int) -> None:
        """Of the k-th run of a pack; in no tool where `log_to` is None."""
        self.spec = spec
        self._open: dict[str, Any] = {}  # by the name of the tool
        kinds = {"tensorboard": TensorBoardLog, "wandb": WandbLog, "mlflow": MlflowLog}
        if log_to is None:
            return
        name = log_to.names[k] if log_to.names else spec.run_id
        for tool in log_to.tools:
            begin = partial(kinds[tool], Path(log_to.folder), log_to.project, name, spec, resume_step)
            if (log := self._try(tool, begin)) is not None:
                self._open[tool] = log

    def log(self, line: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""
        values = metric_values(line, self.spec)
        for tool, log in list(self._open.items()) if values else ():
            self._try(tool, partial(log.log, values, line["step"]))

    def close(self, status: str) -> None:
        """status: of the run's result (done, diverged, preempted, oom), or failed. Closing again does nothing."""
        closing, self._open = self._open, {}
        for tool, log in closing.items():
            self._try(tool, partial(log.close, status))

    def _try(self, tool: str, action: Callable[[], Any]) -> Any | None:
        try:
            return action()
        except Exception as error:  # whatever a logging tool raises, the run is worth more
            self._open.pop(tool, None)
            said = str(error).strip().splitlines() or [type(error).__name__]
            RENDERERS["note"](f"logging to {tool} failed ({said[0]}); the run goes on without it.")
            return None


def metric_values(line: Mapping[str, Any], spec: RunSpec) -> dict[str, float]:
    """A line of metrics.jsonl under the names of the live logs; empty for lines that hold no metrics."""
    groups = {"train": ("train", TRAINED), "evaluation": ("eval", EVALUATED)}
    if line["kind"] not in groups:
        return {}
    group, names = groups[line["kind"]]
    values = {f"{group}/{name}": float(line[name]) for name in names if line.get(name) is not None}
    return {**values, "n_tokens": float(line["step"] * spec.tokens_per_step)}


def run_settings(spec: RunSpec) -> dict[str, Any]:
    """What a run is, flat: its sizes, then every field of its description."""
    described = spec.to_dict()
    nested = {
        f"{section}.{name}": value
        for section in ("architecture", "recipe", "schedule")
        for name, value in described.pop(section).items()
    }
    sizes = {"n_params": spec.n_params, "flops": spec.flops, "tokens_per_step": spec.tokens_per_step}
    return {**sizes, **described, **nested}


def _identity(name: str, spec: RunSpec) -> str:
    """The same for a run that is resumed, another for a later run of the same name."""
    return name if spec.run_id in name else f"{name}-{spec.run_id}"


class TensorBoardLog:
    """Event files in FOLDER/tensorboard/NAME."""

    def __init__(self, folder: Path, project: str, name: str, spec: RunSpec, resume_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = resume_step + 1 if resume_step else None  # events of steps that are now done again
        self.writer: Any = SummaryWriter(str(folder / "tensorboard" / name), purge_step=purge)
        settings = run_settings(spec)
        self.writer.add_text("settings", "\n".join(f"    {k}: {v}" for k, v in settings.items()), resume_step)
        for key in ("n_params", "n_steps"):
            self.writer.add_scalar(key, settings[key], resume_step)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self, status: str) -> None:
        self.writer.close()


class WandbLog:
    """An offline run in FOLDER/wandb, online where WANDB_MODE says so. A run that is resumed keeps its id."""

    def __init__(self, folder: Path, project: str, name: str, spec: RunSpec, resume_step: int) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE", "offline")  # wandb names the modes it knows
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", project),
            name=name,
            id=re.sub(r"[^\w-]", "-", _identity(name, spec)),
            resume="allow",
            mode=mode,
            dir=str(folder),
            config=run_settings(spec),
            reinit="create_new",  # runs of a pack are open side by side
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self, status: str) -> None:
        self.run.finish(exit_code=0 if status == "done" else 1)


class MlflowLog:
    """A run of the tracking server, or in FOLDER/mlflow.db. A run that is resumed goes on under its tag."""

    TAG = "scaling.run"

    def __init__(self, folder: Path, project: str, name: str, spec: RunSpec, resume_step: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for key, value in MLFLOW_PATIENCE.items():
            os.environ.setdefault(key, value)
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        with _one_at_a_time(folder / ".mlflow.lock"):  # two that create the tables at once would clash
            self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", project), folder)
            self.run_id, is_new = self._run(experiment, name, _identity(name, spec))
        if is_new:
            from mlflow.entities import Param

            params = [Param(k, str(v)) for k, v in run_settings(spec).items() if v is not None]
            self.client.log_batch(self.run_id, params=params)

    def _experiment(self, name: str, folder: Path) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = (folder / "mlflow").resolve().as_uri()
        return str(self.client.create_experiment(name, artifact_location=artifacts))

    def _run(self, experiment: str, name: str, identity: str) -> tuple[str, bool]:
        found = self.client.search_runs([experiment], f"tags.`{self.TAG}` = '{identity}'", max_results=1)
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id, False
        return self.client.create_run(experiment, run_name=name, tags={self.TAG: identity}).info.run_id, True

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(k, v, now, step) for k, v in values.items()])

    def close(self, status: str) -> None:
        self.client.set_terminated(self.run_id, ENDED_AS.get(status, "FAILED"))


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file, where the system has locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
