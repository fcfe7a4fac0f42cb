"""The store under processes that race, clocks that differ, disks that fill and files that are torn."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.sweep.store import LeaseLostError, Store, StoreError, canonical_json, read_json, run_id_of

CONFIG = {"n": 1, "rate": 0.5}
fork = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def age(store: Store, seconds: float, number: int = 1) -> None:
    """Make the lease look as if its last heartbeat were that long ago."""
    path = store.run_dir(run_id_of(CONFIG)) / f"lease-{number}.json"
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_run_goes_from_pending_to_done(store: Store) -> None:
    run_id = store.add(CONFIG)
    assert store.record(run_id).state == "pending"
    lease = store.claim(run_id, owner="me")
    assert lease is not None
    assert store.record(run_id).state == "running"
    assert store.record(run_id).owner == "me"
    assert store.claim(run_id) is None
    assert store.finish(lease, {"status": "done", "loss": 1.5})
    record = store.record(run_id)
    assert (record.state, record.result) == ("done", {"status": "done", "loss": 1.5})
    assert store.claim(run_id) is None


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_equal_configurations_have_one_id_in_any_order(config: dict[str, float]) -> None:
    shuffled = dict(reversed(list(config.items())))
    assert run_id_of(config) == run_id_of(shuffled)
    assert run_id_of(config) == run_id_of(json.loads(canonical_json(config)))


def test_whole_floats_and_integers_are_one_number() -> None:
    assert run_id_of({"budget": 1e9}) == run_id_of({"budget": 1000000000})
    assert run_id_of({"budget": 1e9}) != run_id_of({"budget": 1e9 + 1})


def _claim(root: Path, run_id: str, barrier: object, winners: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    lease = Store(root).claim(run_id)
    if lease is not None:
        winners.put(lease.number)  # type: ignore[attr-defined]


@pytest.mark.parametrize("stale", [False, True])
def test_of_eight_processes_that_claim_at_once_exactly_one_wins(store: Store, stale: bool) -> None:
    run_id = store.add(CONFIG)
    if stale:
        assert store.claim(run_id) is not None
        age(store, 1000)
    for _ in range(5):
        barrier, winners = fork.Barrier(8), fork.Queue()
        processes = [
            fork.Process(target=_claim, args=(store.root, run_id, barrier, winners)) for _ in range(8)
        ]
        for p in processes:
            p.start()
        for p in processes:
            p.join()
        number = winners.get(timeout=300)
        assert winners.empty()
        age(store, 1000, number)  # stale again, for the next round


def _finish(root: Path, run_id: str, value: int, barrier: object) -> None:
    from scaling.sweep.store import Lease

    store = Store(root)
    lease = Lease(run_id=run_id, number=1, token="", path=store.run_dir(run_id) / "lease-1.json")
    barrier.wait()  # type: ignore[attr-defined]
    store.finish(lease, {"status": "done", "loss": 1 + value, "padding": "x" * 100_000})


def test_two_results_at_once_leave_one_whole_result(store: Store) -> None:
    run_id = store.add(CONFIG)
    barrier = fork.Barrier(4)
    processes = [fork.Process(target=_finish, args=(store.root, run_id, i, barrier)) for i in range(4)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    assert store.record(run_id).state == "done"
    assert [p.name for p in store.run_dir(run_id).iterdir() if p.name.startswith(".")] == []


def test_a_worker_that_slept_through_its_succession_stops(store: Store) -> None:
    run_id = store.add(CONFIG)
    sleeper = store.claim(run_id)
    assert sleeper is not None
    age(store, 61)
    assert store.record(run_id).state == "stale"
    heir = store.claim(run_id)
    assert heir is not None
    with pytest.raises(LeaseLostError, match="taken over"):
        store.heartbeat(sleeper)
    store.fail(sleeper, "failed", "too late to matter")
    assert store.record(run_id).state == "running"
    store.heartbeat(heir)


def test_a_local_clock_hours_off_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.add(CONFIG)
    store.claim(run_id)
    for shift in (-7200.0, 7200.0):
        now = time.time() + shift
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert store.record(run_id).state == "running"
        assert store.claim(run_id) is None


def test_failed_runs_are_claimed_only_when_asked(store: Store) -> None:
    run_id = store.add(CONFIG)
    lease = store.claim(run_id)
    assert lease is not None
    store.fail(lease, "failed", "ValueError: no", "Traceback ...")
    assert store.claim(run_id) is None
    assert store.record(run_id).failure == {
        "state": "failed", "reason": "ValueError: no", "stderr_tail": "Traceback ...", "lease": 1,
    }  # fmt: skip
    assert store.free_failed([run_id]) == [run_id]
    assert store.record(run_id).state == "preempted"
    again = store.claim(run_id)
    assert again is not None
    assert again.number == 3


def test_what_a_dead_worker_held_is_free_at_once(store: Store) -> None:
    run_id, other = store.add(CONFIG), store.add({"n": 2})
    store.claim(run_id, owner="dead")
    store.claim(other, owner="alive")
    assert store.release_dead("dead", "killed") == [run_id]
    assert store.record(run_id).state == "preempted"
    assert store.record(other).state == "running"


def test_trunks_are_claimed_beside_the_runs_and_free_again_when_released(store: Store) -> None:
    trunk_id = store.trunks.add(CONFIG)
    lease = store.trunks.claim(trunk_id)
    assert lease is not None
    assert store.trunks.claim(trunk_id) is None
    assert store.run_ids() == []
    store.trunks.release(lease, "done for now")
    assert store.trunks.claim(trunk_id) is not None


def test_damaged_files_are_named(store: Store) -> None:
    run_id = store.add(CONFIG)
    for text in ("{", "[1]", ""):
        (store.run_dir(run_id) / "result.json").write_text(text)
        with pytest.raises(StoreError, match=r"result\.json is damaged.*Move it away"):
            store.record(run_id)
    with pytest.raises(StoreError, match=r"no config\.json"):
        store.record("0" * 16)
    with pytest.raises(StoreError, match="there is no store"):
        list(Store(store.root / "absent").records())


@pytest.mark.parametrize(
    "text", ["{}", '{"status": "done", "loss": NaN}', '{"status": "done", "loss": "3.2"}', '{"loss": 3.2}']
)
def test_what_is_no_result_is_named_as_a_damaged_one_is(store: Store, text: str) -> None:
    run_id = store.add(CONFIG)
    (store.run_dir(run_id) / "result.json").write_text(text)
    with pytest.raises(StoreError, match=r"result\.json is no result.*Move it away"):
        store.record(run_id)
    assert (store.inspect(run_id).state, store.inspect(run_id).is_broken) == ("failed", True)


def test_a_lease_is_judged_by_the_timeout_it_was_taken_with(store: Store) -> None:
    """Two sweeps of one store with other --lease-timeouts once took each other's live runs over."""
    hasty = Store(store.root, lease_timeout_s=4)
    run_id = store.add(CONFIG)
    assert store.claim(run_id) is not None  # says that it is alive every 15 s
    age(store, 14)
    assert hasty.record(run_id).state == "running"
    assert hasty.claim(run_id) is None
    age(store, 61)
    assert hasty.claim(run_id) is not None
    age(store, 5, number=2)
    assert store.record(run_id).state == "stale"


def _write_on_full_disk(root: Path, lease: object, codes: object) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    import signal

    signal.signal(
        signal.SIGXFSZ, signal.SIG_IGN
    )  # then write() fails with EFBIG, as a full disk fails with ENOSPC
    try:
        Store(root).finish(lease, {"status": "done", "padding": "x" * 5000})  # type: ignore[arg-type]
    except OSError as error:
        codes.put(error.errno)  # type: ignore[attr-defined]


def test_a_full_disk_leaves_no_partial_result(store: Store) -> None:
    run_id = store.add(CONFIG)
    lease = store.claim(run_id)
    codes = fork.Queue()
    process = fork.Process(target=_write_on_full_disk, args=(store.root, lease, codes))
    process.start()
    process.join()
    assert codes.get(timeout=300) > 0
    assert sorted(p.name for p in store.run_dir(run_id).iterdir()) == ["config.json", "lease-1.json"]
    assert store.record(run_id).state == "running"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_store_made_read_only_can_still_be_read(store: Store) -> None:
    run_id = store.add(CONFIG)
    lease = store.claim(run_id)
    assert lease is not None
    store.finish(lease, {"status": "done", "loss": 1.0})
    other = store.add({"n": 2})

    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    patch = pytest.MonkeyPatch()  # root may write anywhere, so the file system's answer is imitated
    patch.setattr(Path, "touch", refuse)
    try:
        assert {r.run_id: r.state for r in store.records()} == {run_id: "done", other: "pending"}
    finally:
        patch.undo()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_without_permission_to_write_nothing_is_claimed(store: Store) -> None:
    run_id = store.add(CONFIG)
    folder = store.run_dir(run_id)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(PermissionError):
            store.claim(run_id)
    finally:
        folder.chmod(stat.S_IRWXU)


def test_configurations_keep_their_numbers(store: Store) -> None:
    run_id = store.add({"budget": 1e18, "rate": 0.1, "layers": 3})
    assert read_json(store.run_dir(run_id) / "config.json") == {"budget": 1e18, "rate": 0.1, "layers": 3}
    assert store.add({"layers": 3, "rate": 0.1, "budget": 1e18}) == run_id
    assert store.run_ids() == [run_id]
