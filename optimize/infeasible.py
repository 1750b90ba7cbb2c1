"""The floor dose cannot be reached: which limits would have to give, and by how much, together and each alone."""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from dosecalc.errors import InfeasibleError

from .alone import SECONDS, Alone, soft_bounds, tried_alone, try_pairs
from .bounds import prescribed
from .conflicts import Conflict
from .escalation_results import RISK
from .goals import PlanGoals
from .levels import LEVEL_TOLERANCE, Kept, Run, raise_dose, solve_level
from .problem import Stage, StageResult
from .relaxation import d95_bound
from .released import target_kept
from .risk import RiskLimit
from .stages import prescription_stage


def reach_or_explain(run: Run, last: StageResult) -> StageResult:
    """D95 raised again where a look at single limits shows how the floor is reached within all of them.

    Sorting and fixing may end where another choice of released voxels would have reached the floor.

    Raises
    ------
    InfeasibleError
        No such choice was found; names the limits that would have to give.
    """
    goals, alone = run.goals, tried_alone(run, last)
    if alone.within is not None:
        stage = prescription_stage(run, alone.within, (0.0, goals.target_gy), None)
        again = raise_dose(run, stage, alone.within, Kept(0.0, None), goals.target_gy)
        if again.scalars["D95"] >= goals.floor_gy * (1 - LEVEL_TOLERANCE):
            return again
    raise _infeasible(run, last, alone)


def _infeasible(run: Run, last: StageResult, alone: Alone) -> InfeasibleError:
    """Name the limits that would have to give for the floor: the least sum of relative excesses, and each alone."""
    goals = run.goals
    needed, limit_gy = _together(run, last)
    giving = [name for name in limit_gy if needed[name] > limit_gy[name]]
    if not alone.relaxation:
        try_pairs(run, last, giving, alone)
    names = [name for name in limit_gy if name in giving or name in alone.relaxation]
    names += [name for pair in alone.pairs for name in pair if name not in names]
    conflicts = tuple(_conflict(name, limit_gy[name], needed[name], goals, alone) for name in dict.fromkeys(names))
    return InfeasibleError(
        f"PTV_opt D95 reaches {last.scalars['D95']:.1f} Gy, below the floor of {goals.floor_gy:g} Gy, within the "
        f"mandatory limits{_proof(run)}. For the floor, {_list(conflicts)}.{_alone_list(alone, conflicts)}"
        + _kept_throughout(run),
        remedy="Infeasible at this fractionation; consider more fractions, other beams, or a smaller margin; or accept "
        "a relaxation with --accept-relaxation GOAL_ID=VALUE, which the report then says.",
        conflicts=conflicts,
        reached_gy=last.scalars["D95"],
    )


def _kept_throughout(run: Run) -> str:
    """What no relaxation of a limit was tried with."""
    kept = [*(["extra_terms"] if run.master.own else [])]
    kept += (
        ["limits on the fluence (planning.max_fluence_mu, planning.max_variation)"]
        if run.master.modulation.limited
        else []
    )
    return f" Kept throughout, and perhaps what stands in the way: {' and '.join(kept)}." if kept else ""


def _proof(run: Run) -> str:
    """Whether a bound on every plan proves it, whichever voxels are released."""
    bound_gy = d95_bound(run, run.raised[-1])
    if bound_gy is not None and bound_gy < run.goals.floor_gy * (1 - LEVEL_TOLERANCE):
        return f" (proved: no plan of these beams exceeds {bound_gy:.1f} Gy)"
    return " (found, not proved: another choice of the voxels that the limits let go might do better)"


def _together(run: Run, last: StageResult) -> tuple[dict[str, float], dict[str, float]]:
    """What every limit would need in Gy with the least sum of relative excesses, and its limit.

    Voxels are released by the dose within the limits, then once more by what that gives.
    """
    first, limit_gy = _excesses(run, last)
    again, _ = _excesses(run, first)
    excess = min((first.scalars, again.scalars), key=lambda scalars: sum(scalars.values()))
    gives = {name: excess[name] if excess[name] > LEVEL_TOLERANCE else 0.0 for name in limit_gy}
    return {name: limit_gy[name] * (1 + gives[name]) for name in limit_gy}, limit_gy


def _excesses(run: Run, sorted_by: StageResult) -> tuple[StageResult, dict[str, float]]:
    """The floor with the least sum of relative excesses as scalars, and the limit of each in Gy."""
    goals = run.goals
    names = ["hot_spot", *(["ptv_mean"] if np.isfinite(goals.ptv_mean_max_gy) else [])]
    names += [m.id for m in goals.limits if m.mandatory] + [m.id for m in goals.means if m.mandatory]
    names += [m.id for m in goals.convex if m.mandatory]
    names += [RISK] if goals.risk is not None else []
    bounds, means, limit_gy = prescribed(run, target_kept(run, sorted_by), goals.floor_gy), [], {}
    for name in dict.fromkeys(names):
        soft, soft_means, limit_gy[name] = soft_bounds(run, name, sorted_by)
        bounds += soft
        means += soft_means
    stage = Stage(
        "conflicts (sum of relative excess)",
        lambda x, s: cp.sum(cp.hstack(list(s.values()))),
        tuple(bounds),
        tuple(means),
        dict.fromkeys(limit_gy, (0.0, np.inf)),
    )
    return solve_level(run, stage, sorted_by), limit_gy


def _conflict(name: str, limit_gy: float, needed_gy: float, goals: PlanGoals, alone: Alone) -> Conflict:
    if name == RISK and goals.risk is not None:
        return _of_risk(goals.risk, needed_gy, alone)
    limit = next((m for m in goals.limits if m.id == name), None)
    regions = {m.id: m.region.name for m in goals.averages} | {m.id: m.region.name for m in reversed(goals.limits)}
    on_volume = limit is not None and limit.unit_cc > 0
    return Conflict(
        id=name,
        structure=regions.get(name, goals.ptv.name),
        limit_gy=limit_gy,
        needed_gy=needed_gy,
        unit="Gy" if limit is None or not on_volume else ("cc" if limit.unit_cc == 1.0 else "%"),
        relaxation_alone=alone.relaxation.get(name),
        reached_without_gy=alone.reached_gy.get(name),
        pairs=tuple(other for pair in alone.pairs if name in pair for other in pair if other != name),
    )


def _of_risk(risk: RiskLimit, needed_gy: float, alone: Alone) -> Conflict:
    """What the risk would have to be, in percent; `needed_gy` is the gEUD of EQD2 of the joint answer."""
    more_gy, now = alone.relaxation.get(RISK), 100.0 * risk.probability
    more = None if more_gy is None else risk.pct(risk.limit_gy + more_gy) - now
    return Conflict(
        id=RISK,
        structure=risk.region.name,
        limit_gy=round(risk.limit_gy, 2),
        needed_gy=needed_gy,
        unit="%",
        relaxation_alone=more,
        limit=now,
        reached_without_gy=alone.reached_gy.get(RISK),
        pairs=tuple(other for pair in alone.pairs if RISK in pair for other in pair if other != RISK),
    )


def _list(conflicts: tuple[Conflict, ...]) -> str:
    parts = [
        f"{c.structure} ({c.id}) needs {c.needed_gy:.1f} Gy instead of {c.limit_gy:g} "
        f"(+{c.needed_gy / c.limit_gy - 1:.1%})"
        for c in conflicts
        if c.needed_gy > c.limit_gy
    ]
    return "; ".join(parts) or "limits of the beam arrangement itself would have to change"


def _alone_list(alone: Alone, conflicts: tuple[Conflict, ...]) -> str:
    """The smallest relaxation of each limit by itself, what pairs make way, and what was left open."""
    gives = [c for c in conflicts if c.relaxation_alone is not None]
    told = [f"{c.id} gives {c.relaxation_alone:.1f} {c.unit} alone" for c in gives]
    said = f" Or {' or '.join(told)}." if told else ""
    if not told and alone.reached_gy:
        pairs = ", ".join(" with ".join(pair) for pair in alone.pairs)
        said = f" No limit alone makes way{f', but {pairs} does' if pairs else ''}."
    if alone.untried:
        said += f" Not settled within {SECONDS:g} s: {', '.join(alone.untried)}."
    return said
