"""How many BLAS threads the solvers use.

BLAS threads spin while they wait: under contention two threads burn three times the processor time of one for
the same work, so the number is stated and recorded, never left to the library.
"""

from __future__ import annotations

import os

MOST_THREADS = 2


def default_threads() -> int:
    """Two threads, or as many as there are cores for this process."""
    if hasattr(os, "sched_getaffinity"):
        return min(MOST_THREADS, len(os.sched_getaffinity(0)))
    return min(MOST_THREADS, os.cpu_count() or 1)
