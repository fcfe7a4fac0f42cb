"""CPU threads that each take a part of the work through the whole model, and meet once at its end.

Threads inside every operation meet some thousand times a step, and each time wait for the slowest. Lanes meet once.
What a lane computes does not depend on which is first: results come, and are added up, in the order of the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

T = TypeVar("T")

MAX_LANES = 4  # each lane holds a copy of the gradients; threads beyond share the operations of a lane


class Lanes:
    """As many lanes as torch has threads here, at most `MAX_LANES`; the threads end with this object."""

    def __init__(self) -> None:
        self.count = min(torch.get_num_threads(), MAX_LANES)
        self._pool = ThreadPoolExecutor(self.count, "lane") if self.count > 1 else None

    def run(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Results in the order of the tasks; an error is raised once every task has ended.

        Grad mode and autocast are set per thread: a task that needs them sets them itself.
        """
        if self._pool is None or len(tasks) == 1:
            return [task() for task in tasks]
        n_threads = torch.get_num_threads()
        torch.set_num_threads(
            n_threads // self.count
        )  # a lane's thread takes this over at its first operation
        try:
            futures = [self._pool.submit(task) for task in tasks]
            wait(futures)
        finally:
            torch.set_num_threads(n_threads)
        return [future.result() for future in futures]
