"""Ctrl-C: what an optimisation that is stopped ends with, and how a request to terminate becomes one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dosecalc.errors import InterruptionError

from .levels import Feasible, Run

INTERRUPTED = (
    "INTERRUPTED: the optimisation was stopped before its end. The plan is the best of the levels that had ended: it "
    "may have less target dose, and lesser goals less well served, than a run that is left to end."
)


def best_so_far(run: Run) -> Feasible:
    """The last level whose result keeps every mandatory limit and the floor on every voxel.

    Raises
    ------
    InterruptionError
        There is none yet.
    """
    if run.best is None:
        raise InterruptionError(
            f"interrupted before any fluence had {run.goals.target.name} D95 at the floor of {run.goals.floor_gy:g} Gy "
            "within the mandatory limits.",
            remedy="Let it run longer, or start from an earlier plan.",
        )
    run.progress(
        f"interrupted: the plan is that of level {run.best.level!r}, D95 {run.best.d95_gy:.2f} Gy; it is now judged on "
        "the reference dose. Interrupt again to end at once, without a plan."
    )
    return run.best


def stopped_at(best: Feasible) -> str:
    """Where the escalation was stopped, in words."""
    return f"Interrupted: D95 had reached {best.d95_gy:.1f} Gy at level {best.level!r}; what limits it is not known."


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM interrupts the body as Ctrl-C does; not outside the main thread, where Python sets no handler."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
