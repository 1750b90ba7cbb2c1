"""Ctrl-C: what an optimisation that is stopped ends with, and how a request to terminate becomes one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dosecalc.errors import InterruptionError, OptimisationError

from .levels import Feasible, Run
from .reference_caps import held_on_reference

INTERRUPTED = (
    "INTERRUPTED: the optimisation was stopped before its end. The plan is the best of the levels that had ended: it "
    "may have less target dose, and lesser goals less well served, than a run that is left to end."
)


def best_so_far(run: Run) -> Feasible:
    """The last level whose result keeps every mandatory limit and the floor, its limits held on the reference dose.

    What had ended may not have been looked at with the reference yet. Where a limit is exceeded there, the level is
    solved again, as at the end of a run; where no solver can, the plan stays as it is and its judgement says so.

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
    best = run.best
    run.progress(
        f"interrupted: the plan is that of level {best.stage.name!r}, D95 {best.d95_gy:.2f} Gy; its limits are now "
        "checked on the reference dose. Interrupt again to end at once, without a plan."
    )
    try:
        stage, result = held_on_reference(run, best.stage, best.result)
    except OptimisationError as error:
        run.progress(f"its limits could not be held on the reference dose: {error.message}")
        return best
    return Feasible(stage, result.scalars.get("D95", best.d95_gy), result)


def stopped_at(best: Feasible) -> str:
    """Where the escalation was stopped, in words."""
    return (
        f"Interrupted: D95 had reached {best.d95_gy:.1f} Gy at level {best.stage.name!r}; what limits it is not known."
    )


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
