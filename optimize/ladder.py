"""The highest rung of a published ladder at which every mandatory limit holds.

The dose is first raised continuously, up to the highest rung: rungs above what that reaches are out of reach. The one
below is planned by itself to the end. A D95 that is reached can be undercut by less fluence, which keeps every upper
limit, so each lower rung can be held; the plan is optimised at the rung nevertheless, never scaled to it.

A rung on the mean dose of the PTV is held where that mean can be reached with the target at its floor at least; the
D95 is then raised as far as that mean lets it.
"""

from __future__ import annotations

import dataclasses

from dosecalc.errors import InfeasibleError
from protocols.errors import ProtocolError
from protocols.escalation import LadderRung

from .bounds import PTV_MEAN_MIN
from .escalation_results import LadderEnd
from .goals import PlanGoals
from .levels import LEVEL_TOLERANCE, Kept, Raised, Run, mean_row, raise_dose
from .prices import Stop, stop_at, what_stopped
from .problem import PTV_MEAN_DOSE, StageResult
from .relaxation import REACHED, d95_bound
from .stages import prescription_stage
from .voxel_bounds import MeanBound

WITHIN_GY = 0.1
"""The mean of the PTV ends no more than this below a rung that is stated as a mean, and never above it."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Climbed:
    """The result at the rung that was taken, and what stops the next rung; without a ladder as it was."""

    raised: StageResult
    end: LadderEnd | None = None
    stop: Stop | None = None


def asked_of(goals: PlanGoals) -> PlanGoals:
    """The goals of the continuous rise that comes first: up to the highest rung, with the lowest usable as the floor.

    Raises
    ------
    ProtocolError
        Every rung lies below the floor.
    """
    if not goals.rungs or _on_mean(goals.rungs):
        return goals
    usable = [rung.dose_gy for rung in goals.rungs if rung.dose_gy >= goals.floor_gy]
    if not usable:
        raise ProtocolError(
            f"every rung lies below the floor of {goals.floor_gy:g} Gy, the highest at {goals.rungs[-1].dose_gy:g} Gy.",
            where="prescription.rungs",
            remedy="Lower the floor, or that of a lesion of its own, or add a rung.",
        )
    return dataclasses.replace(goals, floor_gy=usable[0], target_gy=usable[-1], cap_gy=usable[-1])


def take_rung(run: Run, raised: StageResult) -> Climbed:
    """Plan the highest rung that holds, from where the continuous rise ended; without rungs that is the answer."""
    if not run.goals.rungs:
        return Climbed(raised)
    return _take_mean_rung(run, raised) if _on_mean(run.goals.rungs) else _take_edge_rung(run, raised)


def stop_of(run: Run, climbed: Climbed) -> Stop:
    """What stopped the escalation: on a ladder, what stops the next rung, if there is one."""
    stop = climbed.stop or what_stopped(run)
    if climbed.end is None or climbed.stop is not None:
        return stop
    return dataclasses.replace(stop, says=f"The highest rung, {climbed.end.rung_gy:g} Gy, is planned. {stop.says}")


def _on_mean(rungs: tuple[LadderRung, ...]) -> bool:
    return any(rung.basis == "mean_PTV" for rung in rungs)


def _take_edge_rung(run: Run, raised: StageResult) -> Climbed:
    goals, reached = run.goals, raised.scalars["D95"]
    doses = tuple(rung.dose_gy for rung in goals.rungs if rung.dose_gy >= goals.floor_gy)
    # The lowest counts as reached within the tolerance of the floor, which it is.
    rung_gy = max((dose for dose in doses if dose <= reached * (1 + REACHED)), default=doses[0])
    every = tuple(rung.dose_gy for rung in goals.rungs)
    if rung_gy == doses[-1]:
        return Climbed(raised, LadderEnd("D95", every, rung_gy, None, None, None))
    next_gy = doses[doses.index(rung_gy) + 1]
    end = LadderEnd("D95", every, rung_gy, next_gy, reached, d95_bound(run, _last_raised(run, "D95")))
    stop = dataclasses.replace(what_stopped(run), says=_says(end, goals.target.name))
    return Climbed(_planned(run, dataclasses.replace(goals, target_gy=rung_gy, cap_gy=rung_gy), raised), end, stop)


def _take_mean_rung(run: Run, raised: StageResult) -> Climbed:
    goals = run.goals
    doses = tuple(rung.dose_gy for rung in goals.rungs)
    highest = _raise_mean(run, raised, doses[-1])
    reached = highest.scalars[PTV_MEAN_DOSE]
    held = [dose for dose in doses if dose <= reached + WITHIN_GY / 2]
    if not held:
        raise _below_every_rung(run, reached, doses[0])
    rung_gy = held[-1]
    end, stop = LadderEnd("mean_PTV", doses, rung_gy, None, None, None), None
    if rung_gy < doses[-1]:
        end = dataclasses.replace(end, next_gy=doses[doses.index(rung_gy) + 1], reachable_gy=reached)
        stop = stop_at(run, _last_raised(run, PTV_MEAN_DOSE), _says(end, goals.ptv.name))
    least, most = rung_gy - WITHIN_GY, min(rung_gy, goals.ptv_mean_max_gy)
    planned = _planned(run, dataclasses.replace(goals, ptv_mean_min_gy=least, ptv_mean_max_gy=most), highest)
    if planned.scalars["D95"] < goals.floor_gy * (1 - LEVEL_TOLERANCE):
        raise _below_the_floor(run, planned.scalars["D95"], rung_gy)
    return Climbed(planned, end, stop)


def _below_every_rung(run: Run, reached_gy: float, lowest_gy: float) -> InfeasibleError:
    """No rung on the mean of the PTV can be held: which limits stop the lowest."""
    stop = stop_at(run, _last_raised(run, PTV_MEAN_DOSE), "")
    return InfeasibleError(
        f"the mean dose of the PTV reaches {reached_gy:.1f} Gy with {run.goals.target.name} D95 at the floor of "
        f"{run.goals.floor_gy:g} Gy or more, below the lowest rung of {lowest_gy:g} Gy; what stops it, dearest limit "
        f"first: {', '.join(stop.binding)}.",
        remedy="Infeasible at this fractionation; consider more fractions, other beams, or a lower rung.",
        reached_gy=reached_gy,
    )


def _below_the_floor(run: Run, reached_gy: float, rung_gy: float) -> InfeasibleError:
    """A rung on the mean of the PTV that leaves the target below its floor."""
    return InfeasibleError(
        f"{run.goals.target.name} D95 reaches {reached_gy:.1f} Gy at a PTV mean of {rung_gy:g} Gy, the highest rung "
        f"that can be held, below the floor of {run.goals.floor_gy:g} Gy.",
        remedy="State a lower floor, or rungs in between.",
        reached_gy=reached_gy,
    )


def _raise_mean(run: Run, raised: StageResult, high_gy: float) -> StageResult:
    """The mean of the PTV raised within the mandatory limits, with the target at its floor at least."""
    goals = run.goals
    low_gy = min(goals.floor_gy, raised.scalars["D95"]) * (1 - LEVEL_TOLERANCE)
    stage = prescription_stage(run, raised, (low_gy, goals.cap_gy), None)
    row = MeanBound(PTV_MEAN_MIN, -mean_row(run, goals.ptv), 0.0, PTV_MEAN_DOSE, -1.0)
    stage = dataclasses.replace(
        stage,
        name="PTV mean (Gy)",
        objective=lambda x, s: -s[PTV_MEAN_DOSE] / high_gy,
        means=(*stage.means, row),
        scalars={PTV_MEAN_DOSE: (0.0, high_gy), **stage.scalars},
    )
    return raise_dose(run, stage, raised, Kept(0.0, None), high_gy)


def _planned(run: Run, goals: PlanGoals, sorted_by: StageResult) -> StageResult:
    """D95 raised at a rung, whose goals the run has from now on; what was raised before is not the rung's."""
    run.goals, run.raised, run.best = goals, [], None
    stage = prescription_stage(run, sorted_by, (0.0, goals.target_gy), None)
    return raise_dose(run, stage, sorted_by, Kept(0.0, None), goals.target_gy)


def _last_raised(run: Run, scalar: str) -> Raised:
    return next(level for level in reversed(run.raised) if level.scalar == scalar)


def _says(end: LadderEnd, name: str) -> str:
    what = "D95" if end.basis == "D95" else "mean"
    sure = ", and no plan of these beams reaches it" if end.proved else ""
    return (
        f"The rung of {end.rung_gy:g} Gy is planned. The next, {end.next_gy:g} Gy, is out of reach: mandatory limits "
        f"hold {name} {what} at {end.reachable_gy:.1f} Gy{sure}."
    )
