"""What keeps a worker's leases alive while it trains."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scaling.sweep.files import StoreError
from scaling.sweep.store import Lease, Store


@dataclass
class Heartbeat:
    """Keeps leases alive from a thread; interrupts the training when one of them was taken over.

    parent: the process that started this one and has to outlive it; when it is gone, the training is interrupted too.
    """

    store: Store
    interval_s: float
    leases: dict[str, tuple[Store, Lease]] = field(default_factory=dict)
    parent: int | None = None
    lost: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        threading.Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    @contextmanager
    def keep(self, store: Store, lease: Lease) -> Iterator[None]:
        """Keep `lease` alive inside the block."""
        key = f"{store.folder}/{lease.run_id}"
        with self._lock:
            self.leases[key] = store, lease
        try:
            yield
        finally:
            with self._lock:
                self.leases.pop(key, None)  # a run of a pack is kept twice when it is tried alone

    def _beat(self) -> None:
        while not self._stop.wait(self.interval_s):
            with self._lock:
                held = list(self.leases.values())
            if self.parent is not None and os.getppid() != self.parent:
                self.parent = None  # said once
                os.kill(os.getpid(), signal.SIGTERM)
            for store, lease in held:
                try:
                    store.heartbeat(lease)
                except StoreError:
                    self.lost = True
                    os.kill(os.getpid(), signal.SIGTERM)  # the trainer checkpoints and returns
                except OSError:
                    continue  # a file system that hiccups; the lease times out if it stays away
