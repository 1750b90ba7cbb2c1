"""Judge a dose distribution against a protocol: an independent float64 path.

Nothing here knows how the plan was made. The dose is looked up in the voxels of each structure, every metric
is measured by its clinical definition, and what cannot be judged says so. Goals that hold at voxel centres only are
told among the warnings.
"""

from __future__ import annotations

import shlex

from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.plausibility import dose_doubts
from dosecalc.structures import StructureSet
from protocols import Protocol, lq_validity
from protocols.metrics import DoseAtVolume, HotOutsideGtv, MeanDose, Metric, PlanMetric, StructureVolume
from protocols.tissues import alpha_beta_of

from .bridging import bridging_lines
from .conformity import conformity, hot_outside_gtv_cc
from .judging import judge_goal, needs
from .metrics import NEAR_MAXIMUM, measure
from .prescribed import basis_metric, external, prescription_reached, prescription_rows, risk_warnings
from .regions import Region, near_names, regions_on
from .results import Certificate, GoalResult, PlanEvaluation, PrescriptionReached, StructureSummary
from .steepness import steep_goals

ABOVE_CAP = 1e-3
"""A D95 within this share of the cap has met it: the optimiser works to the same share."""


def evaluate(
    dose: Volume,
    structures: StructureSet,
    protocol: Protocol,
    *,
    accepted_missing: tuple[str, ...] = (),
    cut_structures: tuple[str, ...] = (),
    lesions: tuple[str, ...] = (),
    certificate: Certificate | None = None,
) -> PlanEvaluation:
    """Judge a plan's dose.

    Parameters
    ----------
    dose : Volume
        Course-total physical dose in Gy.
    structures : StructureSet
        All structures that the protocol names, derived ones (PTV, PTV_opt, Liver-GTV, ...) included. They are
        rasterised on the dose grid. "GTV", "CTV", "ITV" and "PTV" may be left out where structures have that
        role: the name then stands for their union.
    protocol : Protocol
    accepted_missing : tuple of str
        Structures of mandatory goals that may be missing; their goals read NOT ASSESSED.
    cut_structures : tuple of str
        Structures that the scan cuts. Those that reach a face of the dose grid count as cut in any case.
    lesions : tuple of str
        The prescribed structure's parts, one for each of several lesions: each is judged for itself as well, and
        the dose between them is told.
    certificate : Certificate, optional
        What the optimiser vouches for; passed through.

    Returns
    -------
    PlanEvaluation

    Raises
    ------
    InputError
        A dose that is negative or not finite, a missing mandatory structure that was not accepted by name, a
        target or lesion that is missing or cut, or a prescription basis that cannot be judged.
    """
    regions, reached, goals = _judged(dose, structures, protocol, accepted_missing, cut_structures, lesions)
    rejected = any(goal.level == "mandatory" and goal.assessed and not goal.met for goal in goals)
    return PlanEvaluation(
        status="rejected" if rejected else "ok",
        fractions=protocol.fractions,
        prescription=reached,
        goals=goals,
        structures=tuple(_summary(name, regions.get(name)) for name in structures.names),
        certificate=certificate or Certificate(),
        alpha_beta=protocol.stated_alpha_beta,
        warnings=(
            *protocol.warnings,
            *_stated_alpha_beta(protocol),
            *dose_doubts(dose),
            *_warnings(regions, structures, protocol, reached, dose.grid, accepted_missing),
            *steep_goals(dose, structures, regions, protocol.goals, goals),
            *bridging_lines(dose, {name: regions[name].indices for name in lesions}, reached.dose_gy),
        ),
    )


def judged_goals(
    dose: Volume,
    structures: StructureSet,
    protocol: Protocol,
    *,
    accepted_missing: tuple[str, ...] = (),
    cut_structures: tuple[str, ...] = (),
    lesions: tuple[str, ...] = (),
) -> tuple[GoalResult, ...]:
    """The goals of `evaluate` alone, of the same arguments: nothing is sought that would only be told beside them."""
    return _judged(dose, structures, protocol, accepted_missing, cut_structures, lesions)[2]


def _judged(
    dose: Volume,
    structures: StructureSet,
    protocol: Protocol,
    accepted_missing: tuple[str, ...],
    cut_structures: tuple[str, ...],
    lesions: tuple[str, ...],
) -> tuple[dict[str, Region], PrescriptionReached, tuple[GoalResult, ...]]:
    """The structures on the dose grid, what the prescription reaches, and every goal."""
    regions = regions_on(dose, structures, cut_structures)
    _require(regions, structures, protocol, accepted_missing, lesions)
    reached = prescription_reached(regions, protocol, lesions)
    indices = _plan_indices(dose, regions, structures, protocol, reached)
    rows = prescription_rows(regions, structures, protocol, reached, dose.grid, lesions)
    organs = tuple(judge_goal(goal, regions, accepted_missing, indices) for goal in protocol.goals)
    return regions, reached, rows + organs


def _plan_indices(
    dose: Volume,
    regions: dict[str, Region],
    structures: StructureSet,
    protocol: Protocol,
    reached: PrescriptionReached,
) -> dict[str, float | None]:
    """What goals on the plan as a whole are judged on, by the text of their metric; empty where none asks."""
    body, ptv, gtv = external(regions, structures), regions.get("PTV"), regions.get("GTV")
    asked = [goal.metric for goal in protocol.goals if isinstance(goal.metric, PlanMetric)]
    if ptv is None or not asked:
        return {}
    found = {} if body is None else {i.metric: i.value for i in conformity(dose, body, ptv, reached.dose_gy)}
    for metric in asked:
        if isinstance(metric, HotOutsideGtv) and gtv is not None and (metric.unit == "Gy" or reached.dose_gy > 0):
            level_gy = metric.level if metric.unit == "Gy" else metric.level / 100.0 * reached.dose_gy
            found[str(metric)] = hot_outside_gtv_cc(ptv, gtv, dose.grid, level_gy)
    return found


def _require(
    regions: dict[str, Region],
    structures: StructureSet,
    protocol: Protocol,
    accepted: tuple[str, ...],
    lesions: tuple[str, ...],
) -> None:
    """Refuse a plan whose targets or mandatory organs are not there, all in one error."""
    prescription = protocol.prescription
    basis_metric(prescription)
    targets = tuple(dict.fromkeys((prescription.structure, prescription.hot_spot.structure, *lesions)))
    _refuse_missing([name for name in targets if name not in regions], structures, "Add the target structures.")
    if cut := [name for name in targets if regions[name].cut_by]:
        border = regions[cut[0]].cut_by
        raise InputError(
            f"{border} cuts a target, which must lie inside it with at least one voxel around.",
            where=", ".join(cut),
            remedy="Use a scan and a dose grid that contain it.",
        )
    organs: dict[str, list[str]] = {}
    for goal in (*prescription.target_goals, *protocol.goals):
        if goal.level == "mandatory" and not goal.only_if_contoured:
            for name in needs(goal):
                organs.setdefault(name, []).append(f"{protocol.origin_of(goal.id)}: goals[{goal.id}]")
    for name in prescription.risk_structures:
        organs.setdefault(name, []).append(f"{protocol.origin_of('prescription')}: prescription.iso_ntcp")
    missing = [name for name in organs if name not in regions and name not in accepted]
    accept = " ".join(f"--accept-missing {shlex.quote(name)}" for name in missing)
    _refuse_missing(missing, structures, f"Add or rename them, or accept each by name: {accept}", organs)


def _refuse_missing(
    missing: list[str], structures: StructureSet, remedy: str, asked_by: dict[str, list[str]] | None = None
) -> None:
    """Refuse what is missing, with the goals (file and key) that ask for it."""
    if not missing:
        return
    goals = {name: f", asked for by {', '.join(keys)}" for name, keys in (asked_by or {}).items()}
    told = [name + _why_absent(name, structures) + goals.get(name, "") for name in missing]
    raise InputError(f"structures that the protocol requires are missing: {'; '.join(told)}.", remedy=remedy)


def _why_absent(name: str, structures: StructureSet) -> str:
    """In parentheses what the input says about the name, or the nearest names that it has."""
    if name in structures:
        return " (no voxel on the dose grid)"
    if name in structures.absent:
        return " (listed in the input without geometry)"
    return near_names(name, structures.names)


def _summary(name: str, region: Region | None) -> StructureSummary:
    if region is None:
        return StructureSummary(name, 0.0, None, None, None)
    metrics: tuple[Metric, ...] = (StructureVolume(), MeanDose(), DoseAtVolume(95.0, "%"), NEAR_MAXIMUM)
    return StructureSummary(name, *(measure(metric, region.dose_gy, region.cc) for metric in metrics))


def _warnings(
    regions: dict[str, Region],
    structures: StructureSet,
    protocol: Protocol,
    reached: PrescriptionReached,
    grid: Grid,
    accepted: tuple[str, ...],
) -> tuple[str, ...]:
    """What a reader should know before trusting the numbers."""
    outside = [name for name in structures.names if name not in regions]
    told = [f"{name}: has no voxel on the dose grid and is not assessed." for name in outside]
    for region in regions.values():
        if region.total_cc < grid.voxel_cc:
            told.append(f"{region.name}: {region.total_cc:.3g} cc, smaller than one voxel of {grid.voxel_cc:.3g} cc.")
    judged_on = dict.fromkeys(goal.structure for goal in protocol.goals)
    for border in ("the scan", "the dose grid"):
        if cut := [name for name in judged_on if name in regions and regions[name].cut_by == border]:
            told.append(f"{border} cuts {', '.join(cut)}: volumes are lower bounds, means not assessed.")
    lacking = [name for name in judged_on if name not in regions and name not in structures]
    told += [f"{name}: missing; not assessed." for name in lacking]
    unknown = [name for name in accepted if name not in judged_on]
    told += [f"{name}: accepted as missing, but no goal names it." for name in unknown]
    told += risk_warnings(regions, protocol)
    return tuple(told + _dose_warnings(protocol, reached, grid))


def _stated_alpha_beta(protocol: Protocol) -> list[str]:
    """Which alpha/beta take the place of shipped ones."""
    return [
        f"alpha/beta of {name} is {stated.alpha_beta_gy:g} Gy instead of {alpha_beta_of(name).alpha_beta_gy:g} Gy: "
        f"{stated.source} ({stated.origin})."
        for stated in protocol.stated_alpha_beta
        for name in stated.structures
    ]


def _dose_warnings(protocol: Protocol, reached: PrescriptionReached, grid: Grid) -> list[str]:
    told = []
    small = [
        goal.metric.volume
        for goal in protocol.goals
        if isinstance(goal.metric, DoseAtVolume) and goal.metric.unit == "cc"
    ]
    if small and min(small) < grid.voxel_cc:
        told.append(
            f"a voxel has {grid.voxel_cc:.3g} cc: the dose to a smaller volume ({min(small):g} cc) "
            "may be that of the single hottest voxel."
        )
    if reached.dose_gy > reached.cap_gy * (1 + ABOVE_CAP):
        told.append(
            f"{reached.structure} {reached.basis} is {reached.dose_gy:.2f} Gy, above the cap of {reached.cap_gy:g} Gy."
        )
    if lq_validity(reached.dose_gy, protocol.fractions) == "beyond":
        told.append("BED and EQD2 lie beyond the dose per fraction for which the linear-quadratic model is supported.")
    return told
