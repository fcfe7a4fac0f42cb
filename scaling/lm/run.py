"""What a training run is (RunSpec) and what came of it (RunResult). No torch here: a sweep plans with these.

A spec is everything that decides the numbers; its hash is the run's identity. How and where it runs (device,
micro-batch, logging) is `TrainingOptions` and changes nothing but rounding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scaling.accounting import count_params, flops_per_token
from scaling.architecture import Architecture
from scaling.blocks import Blocks, Code, Fields, Record, Shown
from scaling.errors import DataError, UnknownNameError, UsageError
from scaling.jsonable import fields_of
from scaling.lm.recipes import Recipe, Schedule
from scaling.translation import tr
from scaling.units import format_duration, format_params, format_tokens, round_by_error

Status = Literal["done", "diverged", "oom", "preempted"]
Precision = Literal["auto", "float32", "bfloat16"]
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run.

    Args:
        architecture: a decoder; its context length is the window length.
        corpus: a name for `scaling.lm.corpus.load_corpus`.
        n_steps: optimizer steps; the run sees n_steps x batch_size x context_length tokens.
        init_seed, data_seed: of the initial weights and of the order of the data, apart.
        n_eval_windows: size of the validation block, the same windows for every run.
        precision: of the matmuls; "auto" is float32 on a CPU and what a probe finds faster on a GPU.
    """

    architecture: Architecture
    corpus: str
    recipe: Recipe
    schedule: Schedule = field(default_factory=Schedule)
    n_steps: int
    init_seed: int = 0
    data_seed: int = 0
    n_eval_windows: int = 256
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.architecture.kind != "decoder" or "lm" not in self.architecture.heads:
            raise UsageError(
                f"next-token training needs a decoder with an lm head; got {self.architecture.kind}."
            )
        if self.n_steps < 1 or self.n_eval_windows < 2:
            raise UsageError(
                f"a run needs n_steps >= 1 and n_eval_windows >= 2; got {self.n_steps}, {self.n_eval_windows}."
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UsageError(f"precision is auto, float32 or bfloat16; got {self.precision!r}.")

    @property
    def tokens_per_step(self) -> int:
        return self.recipe.batch_size * self.architecture.context_length

    @property
    def n_tokens(self) -> int:
        return self.n_steps * self.tokens_per_step

    @property
    def n_params(self) -> int:
        """Total parameters, embedding included."""
        return count_params(self.architecture).total

    @property
    def flops(self) -> float:
        """Training FLOPs, counted exactly (causal attention), not 6ND."""
        return flops_per_token(self.architecture) * self.n_tokens

    def learning_rate(self, step: int) -> float:
        """Learning rate of step 0 .. n_steps - 1."""
        return self.recipe.learning_rate * self.schedule.factor(step, self.n_steps)

    @property
    def run_id(self) -> str:
        """Hash of the content, 16 hexadecimal digits."""
        return _hash(self.to_dict())

    @property
    def trunk_id(self) -> str:
        """Hash of what runs of several lengths share while their learning rates agree (wsd): all but n_steps."""
        if self.schedule.kind not in ("wsd", "constant"):
            return self.run_id
        shared = {k: v for k, v in self.to_dict().items() if k != "n_steps"}
        shared["schedule"] = {"trunk": True, "warmup_steps": self.schedule.warmup_steps}
        return _hash(shared)

    def replace(self, **changes: Any) -> RunSpec:
        """A variant."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return fields_of(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        try:
            nested = {
                "architecture": Architecture.from_dict(values["architecture"]),
                "recipe": Recipe(**values["recipe"]),
                "schedule": Schedule(**values["schedule"]),
            }
            return cls(**{**values, **nested})
        except (KeyError, TypeError) as error:
            raise DataError(f"this is not the description of a run: {error!r}.") from error


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


LOG_TOOLS = ("tensorboard", "wandb", "mlflow")


@dataclass(frozen=True, kw_only=True)
class LogTo:
    """Live logs beside metrics.jsonl; `scaling.lm.live_logs` writes them.

    Args:
        tools: any of tensorboard, wandb, mlflow.
        folder: where they lie, unless the environment variables of a tool send it elsewhere.
        project: the project of W&B, the experiment of MLflow.
        names: of the runs of a pack, in their order; () takes their run ids.
    """

    tools: tuple[str, ...]
    folder: str
    project: str = "scaling"
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for tool in self.tools:
            if tool not in LOG_TOOLS:
                raise UnknownNameError("log", tool, LOG_TOOLS)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How and where a run is carried out.

    Args:
        device: "auto" is the first GPU, else the CPU.
        micro_batch: windows per forward pass; None is the whole batch (halved when memory runs out).
        compile: None compiles on a GPU only (on a CPU it costs half a minute a shape for little).
        stack: make packed runs one model of larger matmuls; None does so on a GPU only.
        log_every: steps between lines of metrics, and between looks at the loss (a look stalls a GPU).
        eval_every: steps between evaluations; None evaluates at the end only.
        checkpoint_every: steps between checkpoints; None writes one when stopped.
        stop_after_step: checkpoint and return once this many steps are done.
        deadline_s: checkpoint and return after this many seconds.
        shard: with several processes, shard weights and optimizer (FSDP2) instead of copying them (DDP).
        progress: a line on stderr.
        log_to: live logs in other tools.
        stop_on_interrupt: let Ctrl-C checkpoint and stop, as SIGTERM does; a second one interrupts.
        exclusive: refuse a folder that another process is training in; False where the caller sees to that.
    """

    device: str = "auto"
    micro_batch: int | None = None
    compile: bool | None = None
    stack: bool | None = None
    log_every: int = 10
    eval_every: int | None = None
    checkpoint_every: int | None = None
    stop_after_step: int | None = None
    deadline_s: float | None = None
    shard: bool = False
    progress: bool = False
    log_to: LogTo | None = None
    stop_on_interrupt: bool = False
    exclusive: bool = True

    def __post_init__(self) -> None:
        for name in ("micro_batch", "log_every", "eval_every", "checkpoint_every", "stop_after_step"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1; got {value}.")


@dataclass(frozen=True, kw_only=True)
class RunResult(Shown):
    """What came of a run. Losses are nats per token on the validation block."""

    run_id: str
    trunk_id: str
    status: Status
    reason: str | None  # why it is not done
    step: int
    n_params: int
    n_params_non_embedding: int
    n_tokens: int  # trained on so far
    flops: float
    loss: float | None
    loss_standard_error: float | None
    bits_per_byte: float | None
    excess: float | None  # loss minus the true entropy of the same tokens; synthetic corpora only
    excess_standard_error: float | None
    train_loss: float | None  # mean of the last logged steps
    tokens_per_s: float | None
    mfu: float | None
    wall_s: float
    micro_batch: int
    device: str
    precision: str
    corpus: str | None = None  # fingerprint of what it was trained on; None in results of earlier versions
    epochs: float | None = None  # times its source read most was read; None where no source has an end

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "kind": "run_result", **fields_of(self)}

    def records(self) -> list[Record]:
        """One row: the run, its sizes, its losses in nats/token, its speed."""
        return [dict(vars(self))]

    def summary(self, folder: str = "") -> Blocks:
        """The model and where it lies, its loss, its speed."""
        params, tokens = format_params(self.n_params), format_tokens(self.n_tokens)
        model = tr("{params} parameters, {tokens} tokens", params=params, tokens=tokens)
        rows = [(tr("model"), f"{model}, {folder}" if folder else model)]
        if self.loss is not None and self.loss_standard_error is not None:
            error = self.loss_standard_error
            loss = round_by_error(self.loss, error)
            loss = tr("{loss} ± {error:.2g} nats/token on the validation block", loss=loss, error=error)
            bits = tr(", {bits:.3f} bits/byte", bits=self.bits_per_byte) if self.bits_per_byte else ""
            rows.append((tr("loss"), loss + bits))
        if self.excess is not None and self.excess_standard_error is not None:
            error = self.excess_standard_error
            mean = round_by_error(self.excess, error)
            excess = tr("{mean} ± {error:.2g} nats/token above the true entropy", mean=mean, error=error)
            rows.append((tr("excess"), excess))
        speed = tr("{rate} tokens/s", rate=format_tokens(self.tokens_per_s)) if self.tokens_per_s else ""
        mfu = tr(", {mfu:.0%} of the matmul peak", mfu=self.mfu) if self.mfu else ""
        wall = format_duration(self.wall_s)
        took = tr(", {wall} on {result.device}, {result.precision}", wall=wall, result=self)
        rows.append((tr("speed"), (speed or tr("no step was timed")) + mfu + took))
        if not folder or self.status != "done" or self.excess is not None:  # a synthetic corpus has no text
            return (Fields(rows, indent=0, width=7),)
        generate = Code(f"scaling generate {shlex.quote(folder)}", label=tr("next"), indent=2)
        return (Fields(rows, indent=0, width=7), generate)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        if values.get("kind") != "run_result" or values.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                f"this is not a run result of schema version {SCHEMA_VERSION} (kind {values.get('kind')!r}, "
                f"version {values.get('schema_version')!r})."
            )
        fields = dataclasses.fields(cls)
        absent = {f.name for f in fields if f.default is None} - set(values)  # of earlier versions
        return cls(**{f.name: values[f.name] for f in fields if f.name not in absent})
