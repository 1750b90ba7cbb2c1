"""`plan()`: from CT, structures and a protocol to an optimised, judged, recorded plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dosecalc import names
from dosecalc.beams import Beamlets, aim
from dosecalc.dicom import CtSeries
from dosecalc.dose_inputs import Precision
from dosecalc.errors import InfeasibleError, UsageError
from dosecalc.grid import Grid, Volume
from dosecalc.heterogeneity import Heterogeneity
from dosecalc.influence import DoseInfluence, dose_influence
from dosecalc.machine import BeamModel
from dosecalc.plausibility import check_ct
from dosecalc.structures import StructureSet
from dosecalc.validity import sentences, target_warnings
from protocols.schema import Protocol

from .accepted import against_the_protocol
from .anatomy import Anatomy, Target, needed_names, prepare_anatomy
from .arrangements import Angles, beams_at, planning_position
from .conflicts import explained, where_of
from .delivery import delivery_of
from .densities import AS_DEFAULT, Densities, with_medium
from .effort import TRIES, stated_tries
from .eligibility import PatientFacts
from .escalate import Escalation, escalate
from .evaluate import evaluate, judged_goals
from .findings import with_findings
from .fine_limits import with_fine_limits
from .fluence_file import EarlierPlan
from .goals import PlanGoals, RegionFinder, resolve_goals
from .impossible import refuse_below_scatter, refuse_target_in_organ
from .interruption import INTERRUPTED
from .limiting import priced
from .operator import Operator
from .own_terms import OwnTerm, by_name
from .prior_treatment import PriorTreatment
from .provenance import Provenance, Stopwatch, overrides
from .remaining import less_earlier, told_of_earlier
from .results import Certificate, Delivery, GoalResult, PlanEvaluation
from .retreatment import refuse_spent, with_prior
from .rounds import OnRound
from .run_record import plan_record
from .second_opinion import FinerDose, same_model, with_second_opinion
from .solvers import algebra_beside
from .stacked import StackedInfluence
from .uncertainty import with_uncertainty
from .verification import fine_voxels

Progress = Callable[[str], None]
OnFluence = Callable[[npt.NDArray[np.float64], Beamlets, bool], None]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """An optimised plan and everything needed to judge and repeat it; doses are course totals in Gy.

    Attributes
    ----------
    fluence : (B,) float64
        MU-equivalents at output factor 1, course total, in the order of `beamlets`.
    beamlets : Beamlets
    dose : Volume
        Reference dose (float64 error-function sum) on the dose grid; 0 outside the body.
    evaluation : PlanEvaluation
    ct : CtSeries
    anatomy : Anatomy
        Input and derived structures.
    protocol : Protocol
    machine : BeamModel
    provenance : Provenance
    """

    fluence: npt.NDArray[np.float64]
    beamlets: Beamlets
    dose: Volume
    evaluation: PlanEvaluation
    ct: CtSeries
    anatomy: Anatomy
    protocol: Protocol
    machine: BeamModel
    provenance: Provenance

    def save(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write every output into a new folder; see `optimize.save_plan`."""
        from .saving import save_plan

        return save_plan(self, out, overwrite=overwrite)


def plan(
    ct: CtSeries,
    structures: StructureSet,
    protocol: Protocol,
    machine: BeamModel,
    beams: tuple[Angles, ...],
    *,
    targets: tuple[Target, ...],
    backend: str = "auto",
    precision: Precision = "float32",
    heterogeneity: Heterogeneity = "density_scaling",
    densities: Densities = AS_DEFAULT,
    accept_missing: tuple[str, ...] = (),
    accept_ct: bool = False,
    dose_grid_mm: float | None = None,
    aliases: names.Table | None = None,
    input_sha256: dict[str, str] | None = None,
    reading_overrides: tuple[str, ...] = (),
    prior: PriorTreatment | None = None,
    extra_terms: Sequence[OwnTerm] = (),
    warm_start: EarlierPlan | None = None,
    tries: int = TRIES,
    progress: Progress = lambda text: None,
    on_round: OnRound = lambda done: None,
    on_fluence: OnFluence = lambda fluence, beamlets, interrupted: None,
) -> Plan:
    """Optimise and judge a plan.

    A KeyboardInterrupt during the optimisation ends it: the plan is then the best of the levels that had ended, judged
    as any other and marked as interrupted. A second one is raised.

    Parameters
    ----------
    ct : CtSeries
        From `read_ct_series`.
    structures : StructureSet
        From `read_structures`; names are matched to TG-263.
    protocol : Protocol
    machine : BeamModel
    beams : tuple of (gantry, couch, collimator)
        Degrees; see `parse_beams`. The isocentre is the centroid of the union of PTVs.
    targets : tuple of Target
        What to treat, by role.
    backend : str
        "auto", "numpy", "numba" or "cupy".
    precision : str
        Of the operator that the optimiser searches with; the plan is judged on the reference in any case.
    heterogeneity : str
        "density_scaling", or "depth_scaling" for comparison.
    densities : Densities
        Table of CT numbers, what lies outside the Body, and density overrides; recorded.
    accept_missing : tuple of str
        Mandatory structures that may be missing; their goals read NOT ASSESSED.
    accept_ct : bool
        Plan although the CT looks implausible (`dosecalc.plausibility.check_ct`); recorded as an override.
    dose_grid_mm : float, optional
        Spacing of the dose grid instead of the protocol's; recorded as an override.
    aliases : dict, optional
        Names of organs, from `dosecalc.names.read_table`; the shipped ones by default.
    input_sha256 : dict, optional
        Hashes of the input files, for the run record.
    reading_overrides : tuple of str
        What the user asked the readers to accept, in words, for the run record.
    prior : PriorTreatment, optional
        An earlier treatment: limits of organs are held, and judged, on the sum with it too.
    extra_terms : sequence of callable
        CVXPY terms of the user's own (`optimize.own_terms.OwnTerm`), here with structures by name; recorded.
    warm_start : EarlierPlan, optional
        From `read_earlier_plan`: a plan of the same beams and beamlets to start from.
    tries : int, optional
        As in `escalate`: how often voxels are chosen once more where limits hold the dose below the cap; recorded.
    progress : callable, optional
        Told in a line what is being done.
    on_round : callable, optional
        Given every round of the optimisation as a `Round`.
    on_fluence : callable, optional
        Given fluence, beamlets and whether it was interrupted, before anything is judged: to keep what was computed
        should a later step fail.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        A CT, structures or targets that cannot be used, or an earlier plan of other beamlets.
    InfeasibleError
        The floor dose cannot be reached within the mandatory limits, or an earlier treatment alone breaks one.
    InterruptionError
        Interrupted before any fluence kept the mandatory limits and the floor.
    OptimisationError
        No solver succeeded.
    """
    watch = Stopwatch()
    position, position_notices = planning_position(ct)
    ct_notices = (*ct.notices, *check_ct(ct.volume, accepted=accept_ct))
    with watch.step("anatomy"):
        grid = ct.volume.grid.resampled(dose_grid_mm or protocol.planning.dose_grid_mm)
        progress(f"anatomy on a {grid.spacing_mm[0]:g} mm grid of {grid.shape[2]} x {grid.shape[1]} x {grid.shape[0]}")
        matched = names.match(structures, needed_names(protocol), ct.volume.grid, table=aliases)
        anatomy = _told_anatomy(matched, ct, grid, protocol, targets, progress)
        told = (*position_notices, *ct_notices, *structures.notices, *near_misses(matched), *anatomy.warnings)
        anatomy = dataclasses.replace(anatomy, warnings=told)
        _refuse_undosed(grid, anatomy, protocol, accept_missing, prior)
        voxels, skipped = _dose_voxels(anatomy, protocol, grid), frozenset((*anatomy.report_only, *accept_missing))
        goals = _goals(anatomy, protocol, grid, voxels, skipped)
    with watch.step("dose operator"):
        beamlets = _aim(anatomy, protocol, beams, grid, position)
        start = None if warm_start is None else warm_start.start_for(beamlets)
        progress(f"dose operator: {beamlets.count} beamlets in {len(beams)} beams, {voxels.size} voxels")
        made, anatomy = with_medium(densities, ct.volume, anatomy, structures, beamlets, machine)
        influence = dose_influence(
            made.density, grid, beamlets, machine,
            voxels=voxels, backend=backend, precision=precision, heterogeneity=heterogeneity,
        )  # fmt: skip
        anatomy = _with_validity(anatomy, influence, made.density)
    with watch.step("optimisation"), explained(protocol, anatomy.structures, grid), told_of_earlier(prior):
        refuse_below_scatter(influence, goals, protocol)
        operator, goals = _with_fine_voxels(influence, goals, anatomy, protocol, made.density, skipped, progress)
        goals = less_earlier(goals, protocol, anatomy.structures, prior)
        anatomy = _warned(anatomy, goals.judged_only)
        own = by_name(extra_terms, RegionFinder(anatomy.structures, grid, voxels))
        optimise = partial(escalate, algebra=algebra_beside(influence.backend), progress=progress, on_round=on_round)
        result = optimise(operator, goals, extra_terms=own, warm_start=start, tries=tries)
        on_fluence(result.fluence, beamlets, result.interrupted)
    with watch.step("reference dose"):
        progress("reference dose: float64 error-function sum on every voxel")
        dose = _on_grid(influence.at_reference().dose(result.fluence), voxels, grid)
    with watch.step("evaluation"):
        judged = _judge(dose, anatomy, protocol, accept_missing, result)
        judged = _with_sum(judged, dose, anatomy, protocol, accept_missing, prior)
        evaluation = dataclasses.replace(judged, delivery=_delivery(result, beamlets, protocol))
    with watch.step("second opinion"):
        progress("second opinion: the same fluence on finer grids")
        finer = FinerDose(made.density, influence, result.fluence)
        evaluation = _doubted(evaluation, protocol, anatomy, skipped, accept_missing, dose, finer, prior)
    evaluation = against_the_protocol(evaluation, protocol)
    stated = (*densities.departures, *map(str, made.applied), *(f"extra term {term.__name__}" for term in own))
    chosen = overrides(protocol, accept_missing, grid.spacing_mm[0], accept_ct=accept_ct)
    accepted, recorded = (*reading_overrides, *stated, *stated_tries(tries), *chosen), densities.record(machine, made)
    told_of = (protocol, machine, influence, result, anatomy, evaluation, accepted, input_sha256, recorded, prior)
    record = plan_record(watch, *told_of)
    return Plan(result.fluence, beamlets, dose, evaluation, ct, anatomy, protocol, machine, record)


def _told_anatomy(
    matched: names.Match,
    ct: CtSeries,
    grid: Grid,
    protocol: Protocol,
    targets: tuple[Target, ...],
    progress: Progress,
) -> Anatomy:
    """The anatomy of structures by their matched names, each of which is told."""
    for line in _match_lines(matched):
        progress(line)
    return prepare_anatomy(matched.structures, ct.volume, grid, protocol, targets)


def _goals(
    anatomy: Anatomy,
    protocol: Protocol,
    grid: Grid,
    voxels: npt.NDArray[np.int64],
    skipped: frozenset[str],
) -> PlanGoals:
    """The goals on voxels, unless the anatomy alone shows that they cannot be kept."""
    goals = resolve_goals(protocol, anatomy.structures, grid, voxels, skip=skipped, lesions=anatomy.lesions)
    with explained(protocol, anatomy.structures, grid):
        refuse_target_in_organ(goals, protocol)
    return goals


def _refuse_undosed(
    grid: Grid, anatomy: Anatomy, protocol: Protocol, accept_missing: tuple[str, ...], prior: PriorTreatment | None
) -> None:
    """Judge an empty dose: refuses what cannot be judged, or kept, before any time is spent on it."""
    empty = Volume(grid, np.zeros(grid.shape))
    undosed = _judge(empty, anatomy, protocol, accept_missing, None)
    _refuse_hopeless(undosed, protocol)
    refuse_spent(_with_sum(undosed, empty, anatomy, protocol, accept_missing, prior))


def _refuse_hopeless(undosed: PlanEvaluation, protocol: Protocol) -> None:
    """Refuse a mandatory volume (liver there at all, liver to be spared) that even an empty dose does not leave."""
    lacking = tuple(g for g in undosed.goals if g.level == "mandatory" and g.assessed and not g.met and g.unit == "cc")
    if lacking:
        raise InfeasibleError(
            "not even without dose: " + "; ".join(f"{where_of(protocol, g.id)}: {_lack(g)}" for g in lacking) + ".",
            remedy="Check the contours; with these, no plan can keep the protocol.",
            conflicts=lacking,
            reached_gy=0.0,
        )


def _lack(goal: GoalResult) -> str:
    asked = f"{goal.comparator} {goal.limit:g} cc"
    return f"{goal.structure} {goal.metric} ({goal.id}) is {goal.value:.0f} cc, asked for {asked}"


def near_misses(match: names.Match) -> tuple[str, ...]:
    """Structures that nothing answered to, where a name that nobody wanted looks like theirs."""
    told = []
    for name in match.missing:
        if like := names.near(name, match.unmatched):
            told.append(f"{name}: nothing has this name, but {' and '.join(like)} looks like it; --aliases can say so.")
    return tuple(told)


def _match_lines(match: names.Match) -> list[str]:
    lines = [f"names: {given} read as {name}" for given, name in match.renamed]
    return lines + [f"names: {name} joined from {', '.join(parts)}" for name, parts in match.joined]


def _aim(anatomy: Anatomy, protocol: Protocol, angles: tuple[Angles, ...], grid: Grid, position: str) -> Beamlets:
    if not angles:
        raise UsageError("a plan needs at least one beam.")
    ptv = anatomy.structures["PTV"].on(grid)
    centre = np.average(grid.centres_mm(ptv.indices), axis=0, weights=ptv.cc)
    rules = protocol.planning
    small = float(ptv.cc.sum()) < rules.small_ptv_cc
    width = rules.small_ptv_beamlet_mm if small else rules.beamlet_mm
    return aim(beams_at(angles, (centre[0], centre[1], centre[2]), position), at=ptv, width_mm=width)


def _with_validity(anatomy: Anatomy, influence: DoseInfluence, density: Volume) -> Anatomy:
    """The anatomy with warnings of fields, depths and densities outside the model's range, and of lung in the PTV."""
    ptv = anatomy.structures["PTV"].on(density.grid)
    told = (*influence.outside_validity, *target_warnings("PTV", ptv, density))
    return _warned(anatomy, sentences(told))


def _warned(anatomy: Anatomy, told: Iterable[str]) -> Anatomy:
    """The anatomy with more warnings."""
    return dataclasses.replace(anatomy, warnings=(*anatomy.warnings, *told))


def _dose_voxels(anatomy: Anatomy, protocol: Protocol, grid: Grid) -> npt.NDArray[np.int64]:
    """Every voxel of the body and of any structure that a goal names, ascending."""
    named = {
        "Body",
        "PTV",
        "GTV",
        protocol.prescription.structure,
        *anatomy.lesions,
        *(g.structure for g in protocol.goals),
        *protocol.prescription.risk_structures,
    }
    covered = np.zeros(grid.size, bool)
    for name in named:
        if name in anatomy.structures:
            covered[anatomy.structures[name].on(grid).indices] = True
    return np.flatnonzero(covered)


def _with_fine_voxels(
    influence: DoseInfluence,
    goals: PlanGoals,
    anatomy: Anatomy,
    protocol: Protocol,
    density: Volume,
    skipped: frozenset[str],
    progress: Progress,
) -> tuple[Operator, PlanGoals]:
    """The operator and the goals with the fine voxels beside the target, on which the second opinion will judge."""
    fine = fine_voxels(anatomy.structures, protocol, influence.grid, skip=skipped)
    if fine is None:
        return influence, goals
    progress(
        f"fine voxels: {fine.voxels.size} of {fine.grid.spacing_mm[0]:.2g} mm near the PTV in {', '.join(fine.parts)}"
    )
    below = same_model(influence, density, fine.grid, fine.voxels, influence.precision)
    return StackedInfluence(influence, below), with_fine_limits(goals, protocol, fine, influence.voxels)


def _on_grid(dose: npt.NDArray[np.float64], voxels: npt.NDArray[np.int64], grid: Grid) -> Volume:
    values = np.zeros(grid.size)
    # The kernel mixture is non-negative; only rounding can leave -1e-17 here.
    values[voxels] = np.maximum(dose, 0.0)
    return Volume(grid, values.reshape(grid.shape))


def _judge(
    dose: Volume,
    anatomy: Anatomy,
    protocol: Protocol,
    accept_missing: tuple[str, ...],
    result: Escalation | None,
) -> PlanEvaluation:
    """The evaluation on what may be judged, with the largest violation of a mandatory limit on this dose."""
    judged = evaluate(
        dose,
        anatomy.structures.without(anatomy.report_only),
        protocol,
        accepted_missing=(*accept_missing, *anatomy.report_only),
        cut_structures=anatomy.cut,
        lesions=anatomy.lesions,
    )
    judged = _with_stand_ins(judged, anatomy.report_only)
    if result is None:
        return judged
    excess = [-g.slack for g in judged.goals if g.level == "mandatory" and g.unit == "Gy" and g.slack is not None]
    certificate = Certificate(
        gap_fixed=result.gap_fixed, gap_bound=result.gap_bound, kkt=result.kkt, max_violation_gy=max(0.0, *excess)
    )
    goals, ended = priced(judged.goals, result.stop, result.bound_gy, result.ladder, result.risk)
    told = (*((INTERRUPTED,) if result.interrupted else ()), *anatomy.warnings, *judged.warnings)
    return dataclasses.replace(
        judged, dose_to="water", goals=goals, escalation=ended, certificate=certificate, warnings=told,
        interrupted=result.interrupted,
    )  # fmt: skip


def _delivery(result: Escalation, beamlets: Beamlets, protocol: Protocol) -> Delivery:
    return delivery_of(result.fluence, beamlets, protocol.fractions, protocol.planning, result.modulation_costs_gy)


def _with_sum(
    judged: PlanEvaluation,
    dose: Volume,
    anatomy: Anatomy,
    protocol: Protocol,
    accept_missing: tuple[str, ...],
    prior: PriorTreatment | None,
) -> PlanEvaluation:
    """The evaluation with organ goals on the sum with an earlier treatment, if there was one."""
    if prior is None:
        return judged
    return with_prior(
        judged,
        dose,
        anatomy.structures.without(anatomy.report_only),
        protocol,
        prior,
        accepted_missing=(*accept_missing, *anatomy.report_only),
        cut_structures=anatomy.cut,
    )


def _doubted(
    judged: PlanEvaluation,
    protocol: Protocol,
    anatomy: Anatomy,
    skipped: frozenset[str],
    accept_missing: tuple[str, ...],
    dose: Volume,
    finer: FinerDose,
    prior: PriorTreatment | None,
) -> PlanEvaluation:
    """The evaluation with what finer grids, published models and rules show, and what the dose model cannot tell."""
    judged = with_second_opinion(judged, protocol, anatomy.structures, skipped, dose, finer, prior)
    judged_on = anatomy.structures.without(anatomy.report_only)
    judged = with_findings(judged, dose, judged_on, cut_structures=anatomy.cut, facts=PatientFacts())
    judge_again = partial(
        judged_goals, structures=judged_on, protocol=protocol,
        accepted_missing=(*accept_missing, *anatomy.report_only), cut_structures=anatomy.cut, lesions=anatomy.lesions,
    )  # fmt: skip

    def judge(moved: Volume) -> PlanEvaluation:
        alone = dataclasses.replace(judged, goals=judge_again(moved))
        return _with_sum(alone, moved, anatomy, protocol, accept_missing, prior)

    made_by = (finer.influence, finer.fluence, finer.density)
    return with_uncertainty(judged, protocol, anatomy.structures, made_by, dose, judge)


def _with_stand_ins(judged: PlanEvaluation, report_only: tuple[str, ...]) -> PlanEvaluation:
    """The evaluation without the word "missing" for a structure that something stands in for."""
    note = "NOT ASSESSED: only a stand-in is contoured, which is reported and not judged"
    goals = tuple(dataclasses.replace(g, note=note) if g.structure in report_only else g for g in judged.goals)
    missing = tuple(f"{name}: missing;" for name in report_only)
    warnings = tuple(w for w in judged.warnings if not w.startswith(missing)) if missing else judged.warnings
    return dataclasses.replace(judged, goals=goals, warnings=warnings)
