"""Limits on the sum with an earlier treatment, whose dose is on the same frame of reference.

Both doses are converted voxel by voxel to EQD2 with the alpha/beta of each structure, the earlier one less a stated
share of recovery, and added. The sum is turned back into the dose that has this EQD2 in the present number of
fractions: on it the protocol's own limits and metrics hold, mean doses and spared volumes included, and without an
earlier dose every value is the one of `evaluate`. Why recovery is left to the user: it differs by tissue and time, and
is not known for most organs (Nieder et al., Semin Radiat Oncol 10:200, 2000).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from dosecalc.errors import InfeasibleError, InputError
from dosecalc.grid import Grid, Volume
from dosecalc.plausibility import dose_doubts
from dosecalc.structures import StructureSet
from protocols import Goal, Protocol, dose_of_eqd2, eqd2, lq_validity
from protocols.metrics import Biological, DoseAtVolume, MaxDose, StructureVolume
from protocols.tissues import AlphaBeta, alpha_beta_of

from .judging import judge_goal
from .prescribed import risk_row
from .prior_treatment import PriorTreatment
from .regions import TARGET_ROLES, Region, checked_dose, regions_on
from .results import PlanEvaluation, SummedGoal, SumWithPrior
from .sampling import parts_per_voxel
from .steepness import steep_goals

Dose: TypeAlias = npt.NDArray[np.float64]
EDGE = 1e-6
"""In voxels: what rounding may put a voxel centre beyond the earlier dose grid."""


def with_prior(
    judged: PlanEvaluation,
    dose: Volume,
    structures: StructureSet,
    protocol: Protocol,
    prior: PriorTreatment,
    *,
    accepted_missing: tuple[str, ...] = (),
    cut_structures: tuple[str, ...] = (),
) -> PlanEvaluation:
    """The evaluation with the protocol's organ goals applied to the sum with an earlier treatment.

    Parameters
    ----------
    judged : PlanEvaluation
        Of the present dose.
    dose : Volume
        Present course-total dose, Gy.
    structures : StructureSet
        As for `evaluate`, in the frame of reference of both doses.
    protocol : Protocol
    prior : PriorTreatment
    accepted_missing, cut_structures : tuple of str
        As for `evaluate`.

    Raises
    ------
    InputError
        The grids share no volume, or the earlier dose is negative or not finite.
    """
    checked_dose(prior.dose)
    present = regions_on(dose, structures, cut_structures)
    goals = [goal for goal in protocol.goals if not on_target(goal, structures)]
    wanted = dict.fromkeys(goal.structure for goal in goals)
    tissues = {name: alpha_beta_of(name, protocol.stated_alpha_beta) for name in wanted}
    sums = {
        name: _summed(present[name], dose.grid, prior, protocol.fractions, tissues[name].alpha_beta_gy)
        for name in wanted
        if name in present
    }
    if sums and all(part is None for part in sums.values()):
        raise InputError(
            "the earlier dose covers no voxel of any organ that is judged.",
            where="earlier dose",
            remedy="Register it to this scan first, and export it in this frame of reference.",
        )
    found = {name: part.region for name, part in sums.items() if part is not None}
    rows = []
    for goal in goals:
        ratio = tissues[goal.structure].alpha_beta_gy
        row = _judged(goal, present, found, protocol.fractions, ratio, accepted_missing)
        left = _suffices(goal, sums.get(goal.structure), protocol.fractions, ratio)
        rows.append(dataclasses.replace(row, suffices_gy=left))
    rows += _risk_on_sum(protocol, present, dose.grid, prior)
    broken = any(r.goal.level == "mandatory" and r.goal.assessed and not r.goal.met for r in rows)
    summed = SumWithPrior(
        "rejected" if broken else "ok",
        prior.fractions,
        prior.recovery,
        tuple(rows),
        _assumptions(prior, tissues),
        (*_warnings(prior, dose, judged.fractions, sums), *_steep(found, dose, structures, protocol, prior, rows)),
    )
    return dataclasses.replace(judged, with_prior=summed)


def refuse_spent(undosed: PlanEvaluation) -> None:
    """Refuse to plan where the earlier treatment alone breaks a mandatory limit.

    Parameters
    ----------
    undosed : PlanEvaluation
        Of an empty dose, from `with_prior`.

    Raises
    ------
    InfeasibleError
        With the goals that are broken.
    """
    summed = undosed.with_prior
    rows = () if summed is None else tuple(r.goal for r in summed.goals if r.goal.level == "mandatory")
    spent = tuple(goal for goal in rows if goal.assessed and not goal.met)
    if spent:
        told = (f"{g.structure} {g.metric} ({g.id}) has {g.value:.1f} {g.unit} of {g.limit:g}" for g in spent)
        raise InfeasibleError(
            "the earlier treatment alone breaks mandatory limits, in the present fractionation: "
            + "; ".join(told)
            + ".",
            remedy="State a recovery if one is justified, or plan without --prior-dose and judge the sum by evaluate.",
            conflicts=spent,
            reached_gy=0.0,
        )


def on_target(goal: Goal, structures: StructureSet) -> bool:
    """A goal without dose, or of a target, which the earlier treatment leaves as it is."""
    name = goal.structure
    is_target = name in TARGET_ROLES or (name in structures and structures[name].role in TARGET_ROLES)
    return is_target or isinstance(goal.metric, StructureVolume)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """An organ with the dose of the sum, and the highest EQD2 of the earlier treatment in it."""

    region: Region
    highest_before_gy: float


def _summed(region: Region, grid: Grid, prior: PriorTreatment, fractions: int, ratio: float) -> _Sum | None:
    """The region with the present-fractionation dose of the summed EQD2, hottest first; None outside the earlier grid.

    Voxels beyond the earlier dose grid are left out: what was given there is not known, so the organ counts as cut.
    """
    earlier, known = earlier_eqd2(prior, grid.centres_mm(region.indices), ratio)
    if not known.any():
        return None
    before = earlier[known]
    total = dose_of_eqd2(before + eqd2(region.dose_gy[known], fractions, ratio), fractions, ratio)
    order = np.argsort(-total, kind="stable")
    cut_by = region.cut_by or ("" if known.all() else "the earlier dose grid")
    summed = Region(region.name, region.indices[known][order], total[order], region.cc[known][order], cut_by)
    return _Sum(summed, float(before.max()))


def _suffices(goal: Goal, part: _Sum | None, fractions: int, ratio: float) -> float | None:
    """The dose still allowed, in the present fractions, where the earlier one was highest; EQD2 inverted exactly."""
    per_voxel = isinstance(goal.metric, DoseAtVolume | MaxDose) and goal.comparator in ("<", "<=")
    if part is None or part.region.cut_by or not per_voxel:
        return None
    left = eqd2(goal.limit, fractions, ratio) - part.highest_before_gy
    return dose_of_eqd2(left, fractions, ratio) if left > 0 else 0.0


def _risk_on_sum(protocol: Protocol, present: dict[str, Region], grid: Grid, prior: PriorTreatment) -> list[SummedGoal]:
    """The complication probability that chooses the dose, of both treatments by the model's own alpha/beta."""
    asked = protocol.prescription.iso_ntcp
    if asked is None:
        return []
    name, ratio = asked.curve.structure, asked.curve.alpha_beta_gy
    part = _summed(present[name], grid, prior, protocol.fractions, ratio) if name in present else None
    row = risk_row({} if part is None else {name: part.region}, asked, protocol.fractions)
    if part is None and name in present:
        row = dataclasses.replace(row, note="NOT ASSESSED: outside the earlier dose grid")
    return [SummedGoal(row, ratio, risk_row(present, asked, protocol.fractions).value, None, None)]


def on_sum(
    prior: PriorTreatment, protocol: Protocol, structure: str, points_mm: npt.NDArray[np.float64], dose_gy: Dose
) -> Dose:
    """The sum with an earlier treatment at points (n, 3) of an organ, (n,) Gy in present fractions.

    Where the earlier dose is not known it is the present one: a lower bound.
    """
    ratio = alpha_beta_of(structure, protocol.stated_alpha_beta).alpha_beta_gy
    before, known = earlier_eqd2(prior, points_mm, ratio)
    both = before + eqd2(dose_gy, protocol.fractions, ratio)
    return np.where(known, dose_of_eqd2(both, protocol.fractions, ratio), dose_gy)


def _steep(
    found: dict[str, Region],
    dose: Volume,
    structures: StructureSet,
    protocol: Protocol,
    prior: PriorTreatment,
    rows: Iterable[SummedGoal],
) -> Iterator[str]:
    """What `steep_goals` says of the sum, whose voxel centres may hide as much as those of the present dose."""
    # A goal without dose, such as an organ's volume, has no row.
    judged = [row.goal for row in rows]
    met = {goal.id for goal in judged if goal.met}
    for name, region in found.items():
        asked = [goal for goal in protocol.goals if goal.structure == name and goal.id in met]
        if asked and not region.cut_by and parts_per_voxel(region.total_cc, dose.grid.spacing_mm) != (1, 1, 1):
            around = _box_round(region, dose.grid)
            values = np.array(dose.values, dtype=np.float64)
            flat = values.reshape(-1)
            flat[around] = on_sum(prior, protocol, name, dose.grid.centres_mm(around), flat[around])
            yield from steep_goals(Volume(dose.grid, values), structures, found, asked, judged)


def _box_round(region: Region, grid: Grid) -> npt.NDArray[np.int64]:
    """Flat indices of the box of voxels about a region, one more on every side."""
    place = np.unravel_index(region.indices, grid.shape)
    sides = [np.arange(max(0, i.min() - 1), min(n, i.max() + 2)) for i, n in zip(place, grid.shape, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*sides, indexing="ij"), grid.shape).ravel()


def earlier_eqd2(
    prior: PriorTreatment, points_mm: npt.NDArray[np.float64], alpha_beta_gy: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """EQD2 of an earlier treatment at points (n, 3), less what recovered, (n,) Gy; and where it is known, (n,)."""
    earlier, known = _sampled(prior.dose, points_mm)
    return (1.0 - prior.recovery) * eqd2(earlier, prior.fractions, alpha_beta_gy), known


def _sampled(dose: Volume, points_mm: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Trilinear dose in Gy, and which points lie between voxel centres of the grid."""
    at = dose.grid.index_coordinates(points_mm)[:, ::-1]
    known: npt.NDArray[np.bool_] = np.all((at >= -EDGE) & (at <= np.asarray(dose.grid.shape) - 1 + EDGE), axis=1)
    values = np.asarray(dose.values, dtype=np.float64)
    return map_coordinates(values, at.T, order=1, mode="nearest"), known


def _judged(
    goal: Goal,
    present: dict[str, Region],
    found: dict[str, Region],
    fractions: int,
    ratio: float,
    accepted: tuple[str, ...],
) -> SummedGoal:
    alone, row = judge_goal(goal, present, accepted), judge_goal(goal, found, accepted)
    if goal.structure in present and goal.structure not in found:
        row = dataclasses.replace(row, note="NOT ASSESSED: outside the earlier dose grid")
    if row.value is None or row.unit != "Gy" or isinstance(goal.metric, Biological):
        return SummedGoal(row, ratio, alone.value, None, None)
    value, limit = (eqd2(gy, fractions, ratio) for gy in (row.value, row.limit))
    return SummedGoal(row, ratio, alone.value, value, limit)


def _assumptions(prior: PriorTreatment, tissues: dict[str, AlphaBeta]) -> tuple[str, ...]:
    ratios: dict[tuple[float, str], list[str]] = {}
    for name, tissue in tissues.items():
        ratios.setdefault((tissue.alpha_beta_gy, tissue.source), []).append(name)
    recovered = (
        f"{100 * prior.recovery:g} % of the earlier EQD2 counts as recovered, by the user's word"
        if prior.recovery
        else "nothing of the earlier dose counts as recovered"
    )
    return (
        f"the earlier dose was given in {prior.fractions} equal fractions, and all of it was given",
        recovered,
        "both doses lie in one frame of reference: a rigid registration was made before, and no organ moved or changed",
        "doses add voxel by voxel as EQD2 of the linear-quadratic model; values are told in the present fractionation",
        *(f"alpha/beta {ratio:g} Gy: {', '.join(found)} ({said})" for (ratio, said), found in sorted(ratios.items())),
        "goals of targets are judged on the present dose alone; outcome models and selection rules speak of it alone",
    )


def _warnings(prior: PriorTreatment, dose: Volume, fractions: int, sums: dict[str, _Sum | None]) -> tuple[str, ...]:
    told = [f"earlier dose: {doubt}" for doubt in dose_doubts(prior.dose)]
    for name, volume, count in (("earlier", prior.dose, prior.fractions), ("present", dose, fractions)):
        gy = float(np.max(volume.values))
        if lq_validity(gy, count) != "validated":
            told.append(
                f"{name} dose: up to {gy / count:.1f} Gy per fraction, where the linear-quadratic model "
                "overstates the effect."
            )
    if cut := [n for n, part in sums.items() if part is None or part.region.cut_by == "the earlier dose grid"]:
        told.append(f"the earlier dose grid ends inside or before {', '.join(cut)}: sums are lower bounds or missing.")
    return tuple(told)
