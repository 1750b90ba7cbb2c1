"""What the levels of an escalation share: master, goals, what was reached, and what later levels may not give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dosecalc.errors import OptimisationError

from .effort import TRIES
from .escalation_results import RISK, RiskEnd
from .goals import PlanGoals, Region
from .problem import RAISED_DOSES, Master, Stage, StageResult
from .risk import Tangents, solve_within_risk
from .tangents import MOST_TANGENTS, Tangent, with_new_tangents

Progress = Callable[[str], None]


LEVEL_TOLERANCE = 1e-3
"""A reached level is kept within this share of its value."""


@dataclass(frozen=True, slots=True)
class LevelReport:
    """What a level reached and cost."""

    name: str
    value: float
    rounds: int
    rows: int
    solver: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Target doses that later levels may not give up."""

    d95_gy: float
    gtv_gy: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Raised:
    """A stage that raised one dose, its solution, and the result whose dose decided which voxels it lets go.

    `kept` is what the stage may not give up, `scalar` the name of the dose in it, `unit_gy` what the objective divides
    it by.
    """

    stage: Stage
    result: StageResult
    sorted_by: StageResult
    kept: Kept
    scalar: str
    unit_gy: float

    @property
    def reached_gy(self) -> float:
        """The dose."""
        return self.result.scalars[self.scalar]


@dataclass(frozen=True, slots=True, eq=False)
class Feasible:
    """A finished level whose result keeps every mandatory limit and the floor: what an interruption ends with."""

    stage: Stage
    d95_gy: float
    result: StageResult


@dataclass(slots=True, eq=False)
class Run:
    """What the levels share: the master, the goals, the logs of what was reached, and the best that was feasible.

    `tangents` are those of the limit on a risk, where the goals have one, `convex_tangents` those of convex limits;
    `tries` is how often voxels are chosen once more where the limits hold D95 below what is asked for, `searched`
    whether they have been.
    """

    master: Master
    goals: PlanGoals
    progress: Progress
    protected: npt.NDArray[np.bool_]
    mean_rows: dict[str, npt.NDArray[np.float64]]
    levels: list[LevelReport]
    raised: list[Raised]
    best: Feasible | None = None
    tangents: Tangents | None = None
    convex_tangents: dict[str, list[Tangent]] = field(default_factory=dict)
    tries: int = TRIES
    searched: bool = False


def keep(reached_gy: float, asked_gy: float) -> float:
    """The part of a level that is kept: all of a goal that was met, all but the tolerance of one that was not."""
    return asked_gy if reached_gy >= asked_gy * (1 - 1e-6) else reached_gy * (1 - LEVEL_TOLERANCE)


def solve_level(run: Run, stage: Stage, last: StageResult, *, rounds: int | None = None) -> StageResult:
    """Solve a stage from the last one on; log and tell what it reached."""
    return solved_level(run, stage, last, rounds)[1]


def solved_level(run: Run, stage: Stage, last: StageResult, rounds: int | None = None) -> tuple[Stage, StageResult]:
    """The stage with the tangents that it took, and its solution."""
    limited = run.goals.risk is not None or RISK in stage.scalars
    tangents = run.tangents if limited else None
    stage, result = solve_within_risk(run.master, tangents, stage, last, rounds=rounds)
    added = 0
    while more := with_new_tangents(run.master, run.convex_tangents, run.goals.convex, stage, result):
        added += 1
        if added > MOST_TANGENTS:
            raise OptimisationError(
                f"stage {stage.name!r}: {', '.join(c.id for c in run.goals.convex)} still beyond the limit after "
                f"{MOST_TANGENTS} tangents.",
                remedy="Use a gEUD with a smaller exponent, or MOH (mean of the hottest share), in its place.",
            )
        stage, result = solve_within_risk(run.master, tangents, more, result, rounds=rounds)
    doses = [result.scalars[name] for name in RAISED_DOSES if name in result.scalars]
    value = doses[0] if doses else sum(result.scalars.values())
    run.levels.append(LevelReport(stage.name, value, result.rounds, result.rows, result.record.solver))
    run.progress(f"{stage.name}: {value:.2f} ({result.rounds} rounds, {result.rows} rows, {result.record.solver})")
    return stage, result


def raise_dose(
    run: Run, stage: Stage, last: StageResult, kept: Kept, unit_gy: float, *, rounds: int | None = None
) -> StageResult:
    """Solve a stage that maximises one dose over `unit_gy`, its first scalar, and remember it."""
    stage, result = solved_level(run, stage, last, rounds)
    scalar = next(iter(stage.scalars))
    run.raised.append(Raised(stage, result, last, kept, scalar, unit_gy))
    remember(run, stage, result, result.scalars.get("D95", kept.d95_gy))
    return result


def remember(run: Run, stage: Stage, result: StageResult, d95_gy: float) -> None:
    """Note a result of a stage with every mandatory limit hard as the best so far, unless its D95 is lower.

    A later level serves more goals with the same D95, less the tolerance that levels are kept within.
    """
    least = run.goals.floor_gy if run.best is None else max(run.goals.floor_gy, run.best.d95_gy)
    if result.settled and d95_gy >= least * (1 - LEVEL_TOLERANCE):
        run.best = Feasible(stage, d95_gy, result)


def mean_row(run: Run, region: Region) -> npt.NDArray[np.float64]:
    """Mean dose of a region per unit of every beamlet, (B,); computed once per region."""
    if region.name not in run.mean_rows:
        run.mean_rows[region.name] = run.master.mean_row(region.positions, region.cc / region.cc.sum())
    return run.mean_rows[region.name]


def risk_end(run: Run, raised: Raised, dose_gy: npt.NDArray[np.float64]) -> RiskEnd | None:
    """How the limit on a risk ended, for a level that raised D95 and the dose (V,) of the finished plan."""
    if run.goals.risk is None or run.tangents is None:
        return None
    limit, eud_gy = run.goals.risk, run.goals.risk.eud_gy(dose_gy)
    return RiskEnd(
        model=limit.model.id,
        structure=limit.region.name,
        limit_pct=100.0 * limit.probability,
        raised_pct=limit.pct(limit.eud_gy(raised.result.dose_gy)),
        pct=limit.pct(eud_gy),
        limit_eud_gy=limit.limit_gy,
        eud_gy=eud_gy,
        cuts=len(run.tangents.cuts),
        with_earlier=limit.before_gy is not None,
    )
