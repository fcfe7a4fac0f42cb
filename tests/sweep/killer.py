"""A process that kills others: reads process ids, one a line, and sends SIGKILL to each at a random moment of its life.

Half of the moments are a random time; the other half the next look that finds the victim inside a system call. It
holds each victim by a pidfd, so that an id which the system gives away again is never struck. Prints a line a kill.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

LOOKS = 20_000  # at most, for a system call


def in_system_call(pid: int) -> bool:
    """Whether a thread of the process is inside one now: /proc says its number, else "running"."""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            return file.read(7) not in ("running", "")
    except OSError:  # gone, or not ours to look at: then the moment is as random as any
        return True


def strike(pid: int, held: int, delay_s: float, wait_for_call: bool) -> None:
    """Kill the process after the delay, unless it ended first."""
    time.sleep(delay_s)
    if wait_for_call:
        next((look for look in range(LOOKS) if in_system_call(pid)), None)
    try:
        signal.pidfd_send_signal(held, signal.SIGKILL)
        print(pid, flush=True)
    except ProcessLookupError:
        return
    finally:
        os.close(held)


def main(seed: int, longest_s: float) -> None:
    rng = random.Random(seed)
    for line in sys.stdin:
        pid = int(line)
        try:
            held = os.pidfd_open(pid)
        except ProcessLookupError:  # ended and collected before it could be held
            continue
        wait_for_call = rng.random() < 0.5
        arguments = (pid, held, rng.uniform(0, longest_s), wait_for_call)
        threading.Thread(target=strike, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
