"""transformers' Trainer: folders with a trainer_state.json, also in checkpoint-*/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from scaling.errors import DataError
from scaling.runs import Runs
from scaling.sweep.importers.logged import ConventionError, LoggedRun, Params, of_run, to_runs

FLOPS_PER_PARAM_TOKEN = 6.0  # what transformers' Trainer counts: 6 x tokens x non-embedding parameters


def from_hf_trainer(
    folder: str | Path,
    *,
    n_params: float | Mapping[str, float] | None = None,
    params_convention: Params | None = None,
    tokens_per_step: float | None = None,
) -> Runs:
    """Runs of transformers' Trainer: every folder below `folder` that holds a trainer_state.json.

    Args:
        n_params: of all runs, or by run (the folder's name); None takes total_flos / (6 tokens), which is
            non-embedding, from the log.
        params_convention: what n_params counts; must be given with it.
        tokens_per_step: where the log has no num_input_tokens_seen (include_num_input_tokens_seen=True records it).
    The loss is the last eval_loss; a run without evaluation is left out, since its training loss is an average.
    """
    folder = Path(folder)
    if n_params is not None and params_convention is None:
        raise ConventionError(
            "say what n_params counts: params_convention (--params-convention) 'total' or 'non_embedding'."
        )
    paths = sorted(folder.rglob("trainer_state.json"))
    if not paths:
        raise DataError(f"no trainer_state.json below {folder}; give the output folder of a Trainer.")
    logged = [_run(p, folder, n_params, tokens_per_step) for p in paths]
    if all(isinstance(run, str) for run in logged):
        raise DataError(f"{paths[0]} has no eval_loss; evaluate at the end (eval_strategy) and import again.")
    return to_runs(logged, source=str(folder), params_convention=params_convention or "non_embedding")


def _run(
    path: Path, folder: Path, n_params: float | Mapping[str, float] | None, tokens_per_step: float | None
) -> LoggedRun | str:
    """The run, or its name where it was never evaluated."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        history, step = state["log_history"], int(state["global_step"])
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is not a Trainer's state ({error!r}).") from error
    run_id = _run_name(path.parent, folder)
    evaluations = [e for e in history if "eval_loss" in e]
    if not evaluations:
        return run_id
    seen = state.get("num_input_tokens_seen") or 0
    n_tokens = float(seen) if seen else (tokens_per_step or 0.0) * step
    if not n_tokens > 0:
        raise DataError(
            f"{path} does not record tokens (num_input_tokens_seen is 0); give tokens_per_step (--tokens-per-step)."
        )
    if n_params is None:
        N = float(state.get("total_flos") or 0.0) / (FLOPS_PER_PARAM_TOKEN * n_tokens)
        if not N > 0:
            raise DataError(f"{path} has no total_flos; give n_params (--params) and params_convention.")
    else:
        N = of_run(n_params, run_id, "n_params")
    return LoggedRun(
        run_id=run_id,
        n_params=N,
        n_tokens=n_tokens,
        loss=float(evaluations[-1]["eval_loss"]),
        step=step,
        n_steps_planned=int(state["max_steps"]) if state.get("max_steps") else None,
    )


def _run_name(folder: Path, root: Path) -> str:
    """The run of a folder: checkpoints belong to the run above them."""
    if folder.name.startswith("checkpoint-"):
        folder = folder.parent
    return folder.name if folder == root else folder.relative_to(root).as_posix()
