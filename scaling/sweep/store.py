"""The store of a sweep: one directory a run, named by the hash of what the run is; nothing lost, nothing twice.

    STORE/runs/<run_id>/config.json         what is trained (its hash is the name)
                        training/           the trainer's checkpoint and metrics; a run resumes from it
                        lease-<k>.json      the k-th lease; its mtime is the heartbeat
                        result.json         written once, by hard link: the run is done
                        failure-<k>.json    why lease k ended without a result
    STORE/trunks/<trunk_id>/                the same for the trunks that runs share, which are never done;
                            step-<n>.safetensors  the trainer's state after n steps

Three rules keep it right on a laptop and on NFS, with workers killed at any moment and clocks that differ:

1. **Whoever links `lease-<k+1>.json` into place first owns the run.** It appears with its owner's name in it, so
   that a worker killed at any moment leaves no lease that nobody can give back. A stale lease is never deleted or
   renamed, only succeeded, so two workers that both see it stale cannot both win, and a worker that slept through
   its own succession finds a higher lease and stops.
2. **A result appears whole or not at all, and once:** it is written beside and hard-linked into place, which fails
   if the name exists.
3. **Time is the file system's:** "now" is the mtime of a file just touched in the store, never the local clock.
   A lease says after how long a silence it is stale, so that two sweeps of one store may use different timeouts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from scaling.arguments import require_path
from scaling.errors import ScalingError, is_fault_of_storage
from scaling.files import link_text, write_text

State = Literal["pending", "running", "stale", "done", "diverged", "failed", "oom", "preempted"]

FREE: tuple[State, ...] = ("pending", "stale", "preempted")
FINISHED: tuple[State, ...] = ("done", "diverged")
FAILED: tuple[State, ...] = ("failed", "oom")
DO_AGAIN = "Move it away; the run will be done again."  # what to do about a file that cannot be used
TAIL_BYTES = 4000  # of what a worker said, or of its metrics
LEASE_TIMEOUT_S = 60.0  # four missed heartbeats
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # what os.link then says
ID_DIGITS = 16  # 64 bits: a collision among 10^5 runs has probability 3e-10


class StoreError(ScalingError):
    """The store cannot be read or written, or holds something else than its rules allow."""


class LeaseLostError(StoreError):
    """Another worker has taken this run over, since our heartbeat stopped for too long."""


def run_id_of(config: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of the configuration as canonical JSON.

    Numbers equal in value hash equal: 1e9 and 1000000000 are the same budget.
    """
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:ID_DIGITS]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, whole floats as integers, and no NaN."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int)):  # most values; the test for a mapping is slow
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to work on one run: the `number`-th lease of it, held under `token`."""

    run_id: str
    number: int
    token: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run as the store has it. `attempts` counts its leases.

    is_broken: its own files cannot be read or written, which only a person can mend; its state is then failed.
    """

    run_id: str
    config: Mapping[str, Any] = field(default_factory=dict)  # empty where it is not there, or broken
    state: State = "pending"
    attempts: int = 0
    result: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    owner: str | None = None
    is_broken: bool = False


@dataclass(frozen=True)
class Store:
    """A directory of runs. Safe for any number of processes and hosts at once."""

    root: Path
    lease_timeout_s: float = LEASE_TIMEOUT_S
    folder: Literal["runs", "trunks"] = "runs"

    @property
    def runs_dir(self) -> Path:
        return self.root / self.folder

    @property
    def trunks(self) -> Store:
        """The trunks of this store: claimed as runs are, and free again when released."""
        return replace(self, folder="trunks")

    def run_dir(self, run_id: str) -> Path:
        return self.runs_dir / run_id

    def add(self, config: Mapping[str, Any]) -> str:
        """Record a run to be done and return its id; a run already there is left as it is."""
        run_id = run_id_of(config)
        path = self.run_dir(run_id) / "config.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(_plain(config), sort_keys=True, indent=1) + "\n")
        return run_id

    def run_ids(self) -> list[str]:
        """Ids of all runs, sorted."""
        if not self.runs_dir.is_dir():
            return []
        with os.scandir(self.runs_dir) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def now(self) -> float:
        """The file system's time: the mtime of a file just touched here."""
        path = self.root / ".clock"  # one file for all, never removed: a full disk can still touch it
        path.touch()
        return path.stat().st_mtime

    def is_writable(self) -> bool:
        """Whether files may be put into the store; it may also be one that can only be read."""
        return os.access(self.root, os.W_OK)

    def require_writable(self) -> None:
        """Refuse a store that can only be read: time stands still there, so leases of dead workers would never end."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.now()
        except OSError as error:
            raise StoreError(
                f"{self.root} cannot be written ({error.strerror}), and a sweep writes there. Give another --store, or "
                "only look: `scaling sweep status`, `show` and `export` read."
            ) from error
        self._require_hard_links()

    def _require_hard_links(self) -> None:
        """Refuse a file system on which no lease could ever be taken."""
        tried = self.root / f".link.{uuid.uuid4().hex}"
        try:
            link_text(tried, "")
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            raise StoreError(
                f"{self.root}: this file system has no hard links ({error.strerror}), and a sweep's store needs them; "
                "give --store on another."
            ) from error
        finally:
            tried.unlink(missing_ok=True)

    def reading_time(self) -> float:
        """`now`, or a lower bound of it on a store one may only read."""
        try:
            return self.now()
        except OSError:
            return _newest_mtime(self.runs_dir)

    def record(self, run_id: str, *, now: float | None = None) -> RunRecord:
        """The state of one run, read from its files."""
        folder = self.run_dir(run_id)
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        if "config.json" not in names:
            raise StoreError(
                f"{folder} has no config.json: not a run of this store. Delete the folder if it is a leftover."
            )
        config, number = read_json(folder / "config.json"), _highest(names, "lease-")
        if "result.json" in names:
            return _finished(run_id, config, read_result(folder / "result.json"), attempts=number)
        known = RunRecord(run_id=run_id, config=config, attempts=number)
        if number == 0:
            return known
        if f"failure-{number}.json" in names:
            failure = read_json(folder / f"failure-{number}.json")
            return replace(known, state=failure["state"], failure=failure)
        lease = folder / f"lease-{number}.json"
        age = (self.reading_time() if now is None else now) - lease.stat().st_mtime
        body = _lease_body(lease)
        stale = age > body.get("timeout_s", self.lease_timeout_s)
        return replace(known, state="stale" if stale else "running", owner=body.get("owner", "unknown"))

    def inspect(self, run_id: str, *, now: float | None = None) -> RunRecord:
        """`record`, where a run that is not there yet is pending, and one with broken files has failed and says why.

        So that one folder that cannot be used stops no other run. Faults of the disk itself are raised.
        """
        folder = self.run_dir(run_id)
        try:
            if os.path.lexists(folder):
                self._check_usable(folder)
            if not os.path.lexists(folder / "config.json"):  # not there, or being added just now
                return RunRecord(run_id=run_id)
            return self.record(run_id, now=now)
        except (StoreError, OSError) as error:
            if is_fault_of_storage(error):
                raise
            failure = {"state": "failed", "reason": str(error)}
            return RunRecord(run_id=run_id, state="failed", failure=failure, is_broken=True)

    def _check_usable(self, folder: Path) -> None:
        """A folder of its own, which one may write where one may write at all (a read-only store is read)."""
        needed = os.R_OK | os.X_OK | (os.W_OK if os.access(self.runs_dir, os.W_OK) else 0)
        if not folder.is_dir():
            raise StoreError(f"{folder} is not a folder. {DO_AGAIN}")
        if not os.access(folder, needed):
            raise StoreError(f"{folder} may not be read and written. Mend its permissions, or move it away.")

    def finished(self, run_id: str) -> RunRecord | None:
        """The record of a run that has a result, else None; its attempts are not counted.

        Opens two files and lists nothing: an index reads 10^5 of them.
        """
        folder = f"{self.runs_dir}{os.sep}{run_id}{os.sep}"
        if not os.path.exists(f"{folder}result.json"):
            return None
        return _finished(run_id, read_json(f"{folder}config.json"), read_result(f"{folder}result.json"))

    def records(self) -> Iterator[RunRecord]:
        """All runs with their states."""
        if not self.root.is_dir():
            raise StoreError(
                f"there is no store at {self.root}. Make one with `scaling sweep run SPEC --store {self.root}`."
            )
        now = self.reading_time()
        for run_id in self.run_ids():
            record = self.inspect(run_id, now=now)
            if record.config or record.is_broken:  # else another process is adding it just now
                yield record

    def claim(self, run_id: str, *, retry_failed: bool = False, owner: str | None = None) -> Lease | None:
        """Take the run if it is free: pending, stale, or preempted (or failed, when asked). None if it is not.

        owner: the name of the worker, host:pid unless given.
        """
        record = self.inspect(run_id)
        free = FREE + (FAILED if retry_failed else ())
        if record.is_broken or not record.config or record.state not in free:
            return None
        number = record.attempts + 1
        path = self.run_dir(run_id) / f"lease-{number}.json"
        lease = Lease(run_id=run_id, number=number, token=uuid.uuid4().hex, path=path)
        owner = owner or f"{socket.gethostname()}:{os.getpid()}"
        body = {"token": lease.token, "owner": owner, "timeout_s": self.lease_timeout_s}
        if not link_text(lease.path, json.dumps(body)):
            return None  # another worker was faster
        if (self.run_dir(run_id) / "result.json").exists():  # finished between our look and our lease
            return None
        return lease

    def holds(self, lease: Lease) -> bool:
        """Whether no later lease exists. Looks at one name, so it is cheap."""
        return not (self.run_dir(lease.run_id) / f"lease-{lease.number + 1}.json").exists()

    def heartbeat(self, lease: Lease) -> None:
        """Say that we are alive. Raises LeaseLostError when another worker has taken over."""
        if not self.holds(lease):
            raise LeaseLostError(f"run {lease.run_id} was taken over by another worker; this one stops.")
        os.utime(lease.path)

    def finish(self, lease: Lease, result: Mapping[str, Any]) -> bool:
        """Put the result in place, once. False when it was there already (the same run done by another worker)."""
        text = json.dumps(_plain(result), sort_keys=True, indent=1, allow_nan=False) + "\n"
        return link_text(self.run_dir(lease.run_id) / "result.json", text)

    def fail(
        self, lease: Lease, state: Literal["failed", "oom", "preempted"], reason: str, stderr_tail: str = ""
    ) -> None:
        """Record why this lease ended without a result; a preempted run is free to be claimed again."""
        body = {"state": state, "reason": reason, "stderr_tail": stderr_tail, "lease": lease.number}
        path = self.run_dir(lease.run_id) / f"failure-{lease.number}.json"
        try:
            write_text(path, json.dumps(body, indent=1) + "\n")
        except OSError as error:
            if is_fault_of_storage(error):
                raise
            # else its folder is gone or closed to us: `inspect` says so

    def release(self, lease: Lease, reason: str) -> None:
        """Give a lease back so that the next worker need not wait for its heartbeat to go stale."""
        if self.holds(lease):
            self.fail(lease, "preempted", reason)

    def free_failed(self, run_ids: Iterable[str]) -> list[str]:
        """Make failed and oom runs claimable again; the ids of those freed."""
        freed = []
        for run_id in run_ids:
            is_failed = self.inspect(run_id).state in FAILED
            if is_failed and (lease := self.claim(run_id, retry_failed=True, owner="retry")) is not None:
                self.fail(lease, "preempted", "freed by retry")
                freed.append(run_id)
        return freed

    def release_dead(
        self, owner: str, reason: str, stderr_tail: str = "", *, run_ids: Iterable[str] | None = None
    ) -> list[str]:
        """Give back what a worker held (of `run_ids`, or at all) that is known to be dead; the ids of the runs."""
        released = []
        for run_id in self.run_ids() if run_ids is None else run_ids:
            try:
                names = set(os.listdir(self.run_dir(run_id)))
            except OSError as error:
                if is_fault_of_storage(error):
                    raise
                continue  # gone, or closed to us: `inspect` says so
            number = _highest(names, "lease-")
            if number == 0 or "result.json" in names or f"failure-{number}.json" in names:
                continue
            path = self.run_dir(run_id) / f"lease-{number}.json"
            if _lease_body(path).get("owner") == owner:
                lease = Lease(run_id=run_id, number=number, token="", path=path)
                self.fail(lease, "preempted", reason, stderr_tail)
                released.append(run_id)
        return released


def read_json(path: Path | str) -> dict[str, Any]:
    """A JSON object from a file of the store."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}. {DO_AGAIN}") from error
    return value


def read_result(path: Path | str) -> dict[str, Any]:
    """The result of a run: a status, and a loss where it is done."""
    result = read_json(path)
    check_result(result, path)
    return result


def check_result(result: Mapping[str, Any], path: Path | str) -> None:
    """Refuse what is no result of a finished run."""
    status, loss = result.get("status"), result.get("loss")
    is_number = isinstance(loss, (int, float)) and math.isfinite(loss) and loss > 0
    if status != "diverged" and not (status == "done" and is_number):
        raise StoreError(f"{path} is no result: status {status!r}, loss {loss!r}. {DO_AGAIN}")


def read_tail(path: Path, n_bytes: int = TAIL_BYTES) -> str:
    """The end of a log; nothing where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - n_bytes))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def as_store(store: Store | Path | str) -> Store:
    """A store, or the one in a folder, by its absolute path."""
    if isinstance(store, Store):
        return store
    require_path("store", store)
    return Store(Path(store).expanduser().resolve())


def _finished(
    run_id: str, config: Mapping[str, Any], result: Mapping[str, Any], *, attempts: int = 0
) -> RunRecord:
    state: State = "diverged" if result.get("status") == "diverged" else "done"
    return RunRecord(run_id=run_id, config=config, state=state, attempts=attempts, result=result)


def _highest(names: set[str], prefix: str) -> int:
    numbers = (n[len(prefix) : -len(".json")] for n in names if n.startswith(prefix) and n.endswith(".json"))
    return max((int(n) for n in numbers if n.isdigit()), default=0)


def _lease_body(lease: Path) -> dict[str, Any]:
    """Whose lease it is and its timeout; empty where it is damaged or gone."""
    try:
        return read_json(lease)
    except (StoreError, OSError):
        return {}


def _newest_mtime(root: Path) -> float:
    """A lower bound of the file system's time on a read-only store: the newest thing in it."""
    if not root.is_dir():
        return 0.0
    with os.scandir(root) as entries:
        return max((e.stat().st_mtime for e in entries), default=root.stat().st_mtime)
