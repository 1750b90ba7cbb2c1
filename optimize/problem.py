"""The reduced master problem: a few rows of dose, stated in CVXPY, grown until the full grid adds none.

A stage has a fluence x >= 0 and some named scalars. Every `Bound` is a family of voxel conditions, of which only the
`active` ones enter the master; after each solve the full dose is computed by the operator and the most violated voxels
are added (row generation). Rows come from the float64 reference operator, so what the master promises holds on the
dose that the plan is judged on; the fast operator only chooses which rows to add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from scipy import sparse

from dosecalc.errors import InfeasibleError, OptimisationError

from .modulation import UNLIMITED, Modulation
from .operator import Operator, dose_in, rows_in
from .own_terms import OwnTerm, stated
from .plan_limits import Region
from .rounds import Rounds
from .row_choice import (
    FEWEST_ROWS,
    FEWEST_TO_SORT,
    Active,
    add_violated,
    count_rows,
    drop_idle,
    families_of,
    seed_rows,
)
from .solvers import HOST, Algebra, DoseLimits, SolveRecord, solve_with_fallback
from .voxel_bounds import NO_VOXELS, RESERVE_GY, Bound, MeanBound

Array = npt.NDArray[Any]

PTV_MEAN_DOSE = "PTV mean"
RAISED_DOSES = (PTV_MEAN_DOSE, "D95", "GTV D98")
"""Scalars that are doses which a stage raises; all others are relative excesses."""
MAX_ROUNDS = 20
"""Rounds after which a stage gives up aloud."""
EARLY_TOLERANCE, FEW_MORE = 1e-3, 0.15
"""Relative tolerance of the solver as long as a round adds more than this share of its rows: the next one moves the
solution anyway. What a stage returns is at full tolerance.
"""
MODULATION_WEIGHT = 3e-3
"""Weight of the mean squared difference of neighbouring beamlets (fluence relative to an open field) in every stage.

Each objective is of order one, so this limits modulation at a cost of about a thousandth of it (measured: 0.03 Gy of
D95). Without it the linear stages end in spikes between the voxels of the master, and row generation chases them.
"""
ROWS_AT_ONCE = 1000
"""Rows that are held in double precision while they are made."""
BLAS_THREADS = 1
"""Threads spin when they wait: under contention two take three times the CPU time of one, for the same work."""


Inside = dict[str, tuple[Array, DoseLimits]]
"""For every bound its voxels in the master, and the conditions on them."""
Objective = Callable[[cp.Variable, Mapping[str, cp.Variable]], cp.Expression]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One convex problem: minimise the objective over x >= 0 and the scalars within their ranges.

    `steps_left` says of a stage that only chooses voxels to let go how many of them follow.
    """

    name: str
    objective: Objective
    bounds: tuple[Bound, ...]
    means: tuple[MeanBound, ...]
    scalars: Mapping[str, tuple[float, float]]
    steps_left: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StageResult:
    """What a stage ended with; `dose_gy` is the fast operator's, on every voxel.

    `prices` holds for every bound the voxels in the last master and the multiplier of each, for every mean no voxel and
    its one multiplier: the objective per Gy, as the solver gave it (0 or more, but for its rounding). `settled` says
    that the full grid adds no row; otherwise the result is good for sorting voxels only. `of_fluence` is what limits on
    the fluence itself add to the Lagrangian (`Modulation.priced`), where there are any.
    """

    fluence: npt.NDArray[np.float64]
    scalars: Mapping[str, float]
    dose_gy: npt.NDArray[np.float64]
    prices: Mapping[str, tuple[Array, Array]]
    record: SolveRecord
    rounds: int
    rows: int
    settled: bool
    of_fluence: tuple[Array, float] | None = None

    @classmethod
    def start(cls, dose_gy: Array, scalars: Mapping[str, float]) -> StageResult:
        """A plausible dose before anything was solved."""
        nothing = SolveRecord("", "not solved", 0.0, None, 0, ())
        return cls(np.zeros(0), scalars, dose_gy, {}, nothing, 0, 0, False)


@dataclass(slots=True, eq=False)
class Master:
    """The operator, the rows made so far, and the active voxels of each family: the only mutable state of a plan.

    `unit_fluence` scales the fluence variable to order one; `roughness` is the (B, B) quadratic form of the mean
    squared difference between neighbouring beamlets; `rounds` is told every master that was solved; `algebra` is where
    the structured solver works.
    """

    influence: Operator
    unit_fluence: float
    roughness: sparse.csc_array
    own: tuple[OwnTerm, ...] = ()
    modulation: Modulation = UNLIMITED
    active: Active = field(default_factory=dict)
    rounds: Rounds = field(default_factory=Rounds)
    algebra: Algebra = HOST
    _row_of: dict[int, int] = field(default_factory=dict)
    _rows: list[Any] = field(default_factory=list)
    _reference: Operator | None = None

    @property
    def reference(self) -> Operator:
        """The operator that plans are judged by."""
        self._reference = self._reference or self.influence.at_reference()
        return self._reference

    @property
    def made(self) -> npt.NDArray[np.int64]:
        """Voxels whose rows were made in any stage, in the master still or not."""
        return np.fromiter(self._row_of, np.int64, len(self._row_of))

    def rows(self, positions: Array) -> list[Any]:
        """Reference rows per `unit_fluence`, n rows of the algebra of shape (B,), made once per voxel and not copied.

        Kept in single precision: that rounds a dose of 60 Gy by 4e-6 Gy, and the rows are what grows with the problem.
        """
        missing = np.array([p for p in positions.tolist() if p not in self._row_of], dtype=np.int64)
        for first in range(0, missing.size, ROWS_AT_ONCE):
            part = missing[first : first + ROWS_AT_ONCE]
            made = rows_in(self.reference, part, self.algebra.xp)
            made *= self.unit_fluence
            new = self.algebra.rows_of(made.astype(np.float32))
            self._row_of.update(zip(part.tolist(), range(len(self._rows), len(self._rows) + len(new)), strict=True))
            self._rows.extend(new)
        return [self._rows[self._row_of[p]] for p in positions.tolist()]

    def with_own_terms(self, x: cp.Variable) -> tuple[Any, list[cp.Constraint]]:
        """Penalty and constraints of the user's terms, in the operator's own unit of fluence."""

        def rows(region: Region) -> Array:
            return np.array(self.rows(region.positions)) / self.unit_fluence

        return stated(self.own, self.unit_fluence * x, rows)

    def priced(self, modulated: list[cp.Constraint]) -> tuple[Array, float]:
        """`Modulation.priced` of the solved limits on the fluence."""
        return self.modulation.priced(modulated, self.influence.shape[1], self.influence.neighbours, self.unit_fluence)

    def mean_row(self, positions: Array, shares: Array) -> Array:
        """Row (B,) of a weighted dose sum per `unit_fluence`; the shares usually add up to one."""
        weights = np.zeros(self.influence.shape[0])
        weights[positions] = shares
        return self.influence.adjoint(weights) * self.unit_fluence


def solve_stage(
    master: Master,
    stage: Stage,
    start_dose_gy: Array,
    start_scalars: Mapping[str, float],
    *,
    rounds: int | None = None,
    early_tolerance: float | None = EARLY_TOLERANCE,
    tolerance: float | None = None,
) -> StageResult:
    """Solve a stage by row generation.

    Parameters
    ----------
    master : Master
        Its active sets grow.
    stage : Stage
    start_dose_gy : (V,)
        A plausible dose, which chooses the first rows of families that have none.
    start_scalars : mapping
        Values that go with it.
    rounds : int, optional
        Stop after so many rounds although the rows have not settled: for a dose that is only sorted by.
    early_tolerance : float, optional
        Of the solver in rounds that only find rows; None for all digits.
    tolerance : float, optional
        Of the solver in the others.

    Raises
    ------
    InfeasibleError
        No fluence keeps the bounds.
    OptimisationError
        Every solver failed, or the rows did not settle.
    """
    active, bounds, algebra = master.active, stage.bounds, master.algebra
    start = {name: start_scalars.get(name, 0.0) for name in stage.scalars}
    seed_rows(active, bounds, start_dose_gy, start, FEWEST_ROWS if rounds != 1 else FEWEST_TO_SORT)
    families = families_of(active, bounds, algebra)
    x, scalars, means, modulated, problem = _state(master, stage)
    round_number, nearly_settled = 1, False
    inside: Inside = {}
    while round_number <= MAX_ROUNDS:
        inside = _limits(master, stage, x, scalars, inside if nearly_settled else {})
        limits, count = [limits for _, limits in inside.values()], sum(len(rows) for rows, _ in inside.values())
        last_round = round_number == rounds
        early = not (last_round or nearly_settled)
        asked = early_tolerance if early else tolerance
        record = solve_with_fallback(problem, limits=limits, threads=BLAS_THREADS, tolerance=asked, algebra=algebra)
        if record.status == "infeasible":
            own = " together with the extra_terms" if master.own else ""
            raise InfeasibleError(f"stage {stage.name!r}: no fluence keeps all of its bounds{own}.")
        if not record.status.startswith("optimal"):
            raise OptimisationError(f"stage {stage.name!r} ended {record.status}.")
        fluence = np.maximum(np.asarray(x.value), 0.0) * master.unit_fluence
        values = {name: float(v.value) for name, v in scalars.items()}
        before = count_rows(active, bounds)
        dose = dose_in(master.influence, fluence, algebra.xp)
        beyond_gy = add_violated(active, families, dose, values, algebra)
        if early and count_rows(active, bounds) - before <= FEW_MORE * count:
            nearly_settled = True
            if rounds is None:
                own_gy = {name: (rows, limits.dose(algebra)) for name, (rows, limits) in inside.items()}
                drop_idle(active, families, own_gy, values, algebra)
        if not beyond_gy and asked != tolerance:
            continue  # the same rows once more, to all digits
        master.rounds.told(stage.name, round_number, count, values, beyond_gy, stage.steps_left)
        settled = not beyond_gy
        if settled or last_round:
            prices = {name: (rows, np.asarray(limits.dual_value)) for name, (rows, limits) in inside.items()}
            prices |= {name: (NO_VOXELS, np.atleast_1d(mean.dual_value)) for name, mean in means.items()}
            of_fluence = master.priced(modulated) if modulated else None
            everywhere = algebra.fetch(dose)
            return StageResult(fluence, values, everywhere, prices, record, round_number, count, settled, of_fluence)
        round_number += 1
    raise OptimisationError(
        f"stage {stage.name!r}: the full grid still adds rows after {MAX_ROUNDS} rounds.",
        remedy="Report this case: row generation should settle in 4-6 rounds.",
    )


def _state(
    master: Master, stage: Stage
) -> tuple[cp.Variable, dict[str, cp.Variable], dict[str, cp.Constraint], list[cp.Constraint], cp.Problem]:
    """What the rounds of a stage share: the master without its voxels, as a CVXPY problem."""
    x = cp.Variable(master.influence.shape[1], name="fluence")
    scalars = {name: cp.Variable(name=name) for name in stage.scalars}
    constraints: list[cp.Constraint] = [x >= 0]
    for name, (low, high) in stage.scalars.items():
        constraints.append(scalars[name] >= low)
        if np.isfinite(high):
            constraints.append(scalars[name] <= high)
    means = {}
    for mean in stage.means:
        side = mean.level_gy - RESERVE_GY + (mean.slope * scalars[mean.scalar] if mean.scalar else 0.0)
        means[mean.name] = mean.row @ x <= side
    modulated = master.modulation.stated(x, master.influence.neighbours, master.unit_fluence)
    constraints += [*means.values(), *modulated]
    penalty, own = master.with_own_terms(x)
    penalty += MODULATION_WEIGHT * cp.quad_form(x, master.roughness, assume_PSD=True)
    problem = cp.Problem(cp.Minimize(stage.objective(x, scalars) + penalty), constraints + own)
    return x, scalars, means, modulated, problem


def _limits(master: Master, stage: Stage, x: cp.Variable, scalars: Mapping[str, cp.Variable], start: Inside) -> Inside:
    """The active voxels of each family, and their conditions; solved from where a master before them was, if given."""
    inside: Inside = {}
    for bound in stage.bounds:
        chosen = np.flatnonzero(np.isin(bound.positions, master.active[bound.name]))
        if not chosen.size:
            continue
        positions = bound.positions[chosen]
        level = bound.level_gy[chosen] - bound.sense * RESERVE_GY
        scalar = scalars[bound.scalar] if bound.scalar else None
        price = None if bound.price is None else bound.price[chosen]
        limits = DoseLimits(x, master.rows(positions), level, scalar, bound.slope, bound.sense, price)
        if start:
            limits.inner = _inner(positions, start.get(bound.name))
        inside[bound.name] = (positions, limits)
    return inside


def _inner(positions: Array, before: tuple[Array, DoseLimits] | None) -> Array:
    """`DoseLimits.inner` for some voxels, NaN for those that were not in the master before."""
    inner = np.full((2, positions.size), np.nan)
    if before is not None and before[1].inner is not None:
        _, here, there = np.intersect1d(positions, before[0], assume_unique=True, return_indices=True)
        inner[:, here] = before[1].inner[:, there]
    return inner
