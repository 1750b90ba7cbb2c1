"""How many BLAS threads the solvers use.

BLAS threads spin while they wait for each other. On a machine with nothing to spare that costs far more than
the second thread brings: one master problem took 2.9 s with one thread, and 17-33 s with two threads on two
cores that other processes used as well. So the number is stated and recorded, never left to the library.
"""

from __future__ import annotations

import os

MOST_THREADS = 2


def default_threads() -> int:
    """Two threads where that leaves a core free, else one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, cores - 1))
