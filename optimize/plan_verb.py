"""What `dosecalc demo` and `dosecalc plan` do with a job: refuse cheaply, run it, print, end with the right code."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from dosecalc.errors import InfeasibleError, InterruptedPlanError, VerificationError

from .console import out_console

if TYPE_CHECKING:
    from .job import Job
    from .planning import Plan


def run_plan(job: Job) -> None:
    """Plan and print: cheap refusals first, heavy imports after them.

    Raises
    ------
    VerificationError
        The plan, or its sum with an earlier one, breaks a mandatory limit.
    InterruptedPlanError
        The plan is written; its optimisation was interrupted.
    """
    begin = time.perf_counter()
    from dosecalc.backend import compiled_here, select_backend

    from .arrangements import parse_beams
    from .interruption import terminated_like_ctrl_c
    from .job import run_job
    from .saving import refuse_outputs
    from .scorecard import print_conflicts, print_scorecard, timing_line
    from .terminal import progress_shown

    refuse_outputs(job.out, overwrite=job.overwrite)
    chosen = select_backend(job.backend)
    if job.beams is not None:
        parse_beams(job.beams)
    try:
        with terminated_like_ctrl_c(), progress_shown() as (progress, on_round):
            plan, folder = run_job(job, progress, on_round)
    except InfeasibleError as error:
        print_conflicts(out_console, error.conflicts)
        raise
    print_scorecard(out_console, plan.evaluation)
    out_console.print(timing_line(plan.provenance), highlight=False)
    start = "cold: kernels compiled" if compiled_here(chosen) else "warm: no kernel compiled"
    seconds = time.perf_counter() - begin
    out_console.print(
        f"written: {folder} ({seconds:.0f} s from reading to report, {start})",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    _refuse(plan, folder)


def _refuse(plan: Plan, folder: Path) -> None:
    """An error for a written plan that is not what was asked for."""
    if plan.evaluation.status != "ok":
        raise VerificationError(
            f"the plan breaks a mandatory limit on the reference dose; it is saved as {folder.name} only.",
            remedy="Look at the scorecard; report this case.",
        )
    if not plan.evaluation.accepted:
        raise VerificationError(
            "the sum with the earlier treatment breaks a mandatory limit, which the optimiser does not plan for; the "
            f"plan is saved as {folder.name} only.",
            remedy="Lower these limits in the protocol to what would suffice (see the scorecard), and plan again.",
        )
    if plan.evaluation.interrupted:
        raise InterruptedPlanError(
            f"the optimisation was interrupted; {folder.name} holds the best plan of the levels that had ended.",
            remedy=f"Plan again with --warm-start {folder} and another --out to go on from it.",
        )
