"""The folder of a run: whose it is, which process may work in it, and what is left in it at the end."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from scaling.errors import DataError, ScalingError, UsageError
from scaling.files import write_text
from scaling.lm.checkpoint import remove_leftovers
from scaling.lm.corpus import Corpus, load_corpus
from scaling.lm.corpus.corpora import stdlib_folder
from scaling.lm.models import Transformer, save_model
from scaling.lm.run import RunResult, RunSpec
from scaling.lm.tokenization import save_tokenizer

CONFIG_FILE, RESULT_FILE, METRICS_FILE = "config.json", "result.json", "metrics.jsonl"
LOCK_FILE = "train.lock"  # names the process and the machine that hold the folder
_SYNCHRONIZE = 0x00100000  # Windows: the least right to ask for a process with


def read_result(path: Path | None, spec: RunSpec) -> RunResult | None:
    """The result of a finished run in this folder, None when there is none."""
    if path is None or not (path / RESULT_FILE).exists():
        return None
    try:
        result = RunResult.from_dict(json.loads((path / RESULT_FILE).read_text(encoding="utf-8")))
    except (ValueError, KeyError) as error:
        raise DataError(f"{path / RESULT_FILE} is damaged ({error!r}). Delete it to run again.") from error
    if result.run_id != spec.run_id:
        raise UsageError(
            f"{path} holds the finished run {result.run_id}, not {spec.run_id}. Use another folder."
        )
    _check_corpus(path, result, spec)
    return result


def _check_corpus(path: Path, result: RunResult, spec: RunSpec) -> None:
    """Refuse a result whose corpus has changed since under its name; a corpus that is gone is not asked for."""
    if result.corpus is None or (spec.corpus == "stdlib" and not stdlib_folder().exists()):
        return
    try:
        now = load_corpus(spec.corpus).fingerprint
    except ScalingError:
        return
    if now != result.corpus:
        raise DataError(
            f"{path} holds a run that was trained on another corpus {spec.corpus}: it was prepared anew since. Use "
            "another folder, or bring that corpus back."
        )


def take_folder(path: Path, spec: RunSpec) -> None:
    """Make the folder this run's, and clear away what a killed process was writing; refuse that of another run."""
    if (path / CONFIG_FILE).exists():
        try:
            values = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
            described = {k: v for k, v in values.items() if k not in ("schema_version", "kind")}
            owner = RunSpec.from_dict(described)
        except ValueError as error:
            raise DataError(f"{path / CONFIG_FILE} is damaged ({error}). Use another folder.") from error
        if owner.run_id != spec.run_id:
            raise UsageError(
                f"{path} holds the unfinished run {owner.run_id}, not {spec.run_id}. Use another folder."
            )
    path.mkdir(parents=True, exist_ok=True)
    _write_json(path / CONFIG_FILE, {"schema_version": 1, "kind": "run", **spec.to_dict()})
    remove_leftovers(path)


def write_end(path: Path, result: RunResult, model: Transformer | None, corpus: Corpus) -> None:
    """The model with its tokenizer, then the result, whose presence says that all is there."""
    if model is not None:
        save_model(model, path)
        if corpus.tokenizer is not None:
            save_tokenizer(corpus.tokenizer, path / "tokenizer.json")
    _write_json(path / RESULT_FILE, result.to_dict())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=1) + "\n")


@contextmanager
def hold_folders(folders: Sequence[Path]) -> Iterator[None]:
    """Hold the lock of every folder, which is made where it is missing.

    Raises:
        UsageError: a living process holds one, or a process of another machine, which cannot be looked at from here.
    """
    with ExitStack() as held:
        for folder in folders:
            _take_lock(folder)
            held.callback((folder / LOCK_FILE).unlink, missing_ok=True)
        yield


def _take_lock(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": _start_time(os.getpid())}
    if path.exists():
        _remove_if_stale(path)
    try:
        with path.open("x") as file:
            json.dump(holder, file)
    except FileExistsError as error:  # another process was quicker
        raise UsageError(f"{folder} was just taken by another process; use another folder.") from error


def _remove_if_stale(path: Path) -> None:
    """Remove the lock of a process of this machine that is gone; raise for any other."""
    try:
        holder: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        pid, host, started = int(holder["pid"]), holder["host"], holder["started"]
    except FileNotFoundError:
        return  # given back meanwhile
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} names no process; delete it if no other process trains in this folder."
        ) from error
    if host == socket.gethostname() and not _is_alive(pid, started):
        path.unlink(missing_ok=True)
        return
    elsewhere = "" if host == socket.gethostname() else f" If that process is gone, delete {path}."
    raise UsageError(
        f"{path.parent} is being trained by process {pid} on {host}; wait for it or use another folder.{elsewhere}"
    )


def _is_alive(pid: int, started: str | None) -> bool:
    """Whether the process that took the lock still runs: a number may have gone to another process since."""
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user's
    now = _start_time(pid)
    return started is None or now is None or now == started


def _is_alive_on_windows(pid: int) -> bool:
    """Ask for the process by its number; os.kill(pid, 0) would send it Ctrl-C."""
    import ctypes

    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]  # Windows alone has it
    process = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
    return bool(process and kernel.CloseHandle(process))


def _start_time(pid: int) -> str | None:
    """Clock ticks from boot to the start of a process (Linux, proc(5) field 22); None where that is not told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
