"""What judging a plan returns: frozen records, and their JSON form."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from protocols.tissues import AlphaBeta

from .eligibility_results import Eligibility
from .escalation_results import EscalationEnd
from .outcome_results import Outcome

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class GoalResult:
    """One goal, judged.

    Attributes
    ----------
    id, structure, metric, comparator, limit, unit : str and float
        What was asked for.
    value : float or None
        What the dose gives, in `unit`; None when it cannot be said.
    slack : float or None
        Distance to the limit in `unit`, positive on the good side.
    level, level_by : str
        "mandatory" or "optimal", and who says so.
    met : bool or None
        Within the acceptance tolerance; None when not assessed.
    assessed : bool
    binding : bool
        The goal sits at its limit: it may be what holds the plan back.
    source, status : str
        Citation of the limit, and how far it was verified.
    note : str
        Why a goal was not assessed, or what the value leaves out; empty otherwise.
    uncertainty : float or None
        What the stated uncertainty of the dose model moves the value by, in `unit`; None where it is not stated.
    shadow_price : float or None
        Of a mandatory limit: Gy of the dose that the escalation was raising per `unit` of this limit, 0 where it does
        not bind; None where no plan was optimised.
    accepted_limit : float or None
        What the user accepted instead of `limit` for planning, in `unit`; `slack` and `met` are against `limit`.
    """

    id: str
    structure: str
    metric: str
    comparator: str
    limit: float
    unit: str
    level: str
    level_by: str
    source: str
    status: str
    value: float | None = None
    slack: float | None = None
    met: bool | None = None
    assessed: bool = False
    binding: bool = False
    note: str = ""
    uncertainty: float | None = None
    shadow_price: float | None = None
    accepted_limit: float | None = None

    @property
    def uncertain(self) -> bool:
        """Whether the value lies nearer to its limit than the dose model can tell."""
        return self.slack is not None and self.uncertainty is not None and abs(self.slack) < self.uncertainty


@dataclass(frozen=True, slots=True)
class StructureSummary:
    """A structure at a glance, in cc and course-total Gy; doses are None where it has no voxel."""

    name: str
    volume_cc: float
    mean_gy: float | None
    d95_gy: float | None
    d0_035cc_gy: float | None


@dataclass(frozen=True, slots=True)
class TargetDoses:
    """Every common basis of a prescription for one target structure, in course-total Gy."""

    structure: str
    d95_gy: float
    d98_gy: float
    d99_gy: float
    d2_gy: float
    mean_gy: float
    max_gy: float
    d0_035cc_gy: float


@dataclass(frozen=True, slots=True)
class PrescriptionReached:
    """The dose that the plan delivers, on the basis that the protocol prescribes on.

    Attributes
    ----------
    dose_gy : float
        Reached D95% of `structure`, course total.
    basis, structure : str
        What `dose_gy` is measured on.
    isodose_pct : float or None
        `dose_gy` in percent of the PTV's D0.035cc; None where that is 0 Gy.
    isodose_min_pct : float
        The lowest such percentage that the protocol allows.
    floor_gy, target_gy, cap_gy : float
        What the protocol asked for.
    bed10_gy, eqd2_gy : float
        Biologically effective dose and equivalent dose in 2 Gy fractions of `dose_gy` at alpha/beta = 10 Gy.
    bases : tuple of TargetDoses
    """

    dose_gy: float
    basis: str
    structure: str
    isodose_pct: float | None
    isodose_min_pct: float
    floor_gy: float
    target_gy: float
    cap_gy: float
    bed10_gy: float
    eqd2_gy: float
    bases: tuple[TargetDoses, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far the optimiser can vouch for the plan; None where it says nothing.

    Of the fluence model, not of the delivered plan.

    Attributes
    ----------
    gap_fixed : float or None
        Duality gap of the convex problem with the released voxels fixed, that of the last level that raised D95, over
        the D95 it reached; not a statement about optimality.
    gap_bound : float or None
        How far a bound on D95 from a valid relaxation of the whole problem lies above that D95, over it.
    kkt : float or None
        Largest residual of the optimality conditions of that problem on the full grid, without dimension.
    max_violation_gy : float or None
        Largest violation of a mandatory limit on the reference dose.
    """

    gap_fixed: float | None = None
    gap_bound: float | None = None
    kkt: float | None = None
    max_violation_gy: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the fluence asks of the machine: estimates of the fluence model, not of a delivered plan.

    Attributes
    ----------
    mu, mu_per_fraction : float
        Least monitor units of a sliding-window delivery, of the course and of each fraction (`monitor_units`).
    beam_mu : tuple of float
        The same of every beam, course total.
    largest_fluence_mu : float
        Of one beamlet, course total.
    variation : float or None
        Mean difference of neighbouring beamlets over the mean fluence.
    max_fluence_mu, max_variation : float or None
        The protocol's limits on these two.
    modulation_costs_gy : float or None
        D95 that those limits take; None where there are none.
    reserve_percent : float or None
        By how much the optimiser held every mandatory upper limit tighter.
    """

    mu: float
    mu_per_fraction: float
    beam_mu: tuple[float, ...]
    largest_fluence_mu: float
    variation: float | None
    max_fluence_mu: float | None
    max_variation: float | None
    modulation_costs_gy: float | None
    reserve_percent: float | None


@dataclass(frozen=True, slots=True)
class DoseDifference:
    """What the dose of a finer grid differs by from the dose grid's, in course-total Gy.

    Attributes
    ----------
    name : str
        Structure.
    voxels : int
        Voxels compared: all near the PTV, an even share of those further out.
    mean_gy, largest_gy : float
        Mean over the volume, and the difference of largest size; positive where the finer grid has more.
    """

    name: str
    voxels: int
    mean_gy: float
    largest_gy: float


@dataclass(frozen=True, slots=True)
class StatedFigure:
    """An uncertainty of the dose model, in percent of the dose, with its evidence."""

    where: str
    percent: float
    evidence: str


@dataclass(frozen=True, slots=True)
class StructureUncertainty:
    """Where a structure lies for the dose model, in percent of its volume, and the uncertainty that follows.

    Attributes
    ----------
    name : str
    build_up_pct, lung_pct, behind_lung_pct : float
        In the first 3 mm of a beam, of low density, in the first 2 cm behind such a medium along a beam.
    mean_gy, largest_gy : float
        Stated uncertainty of its voxels, course total.
    """

    name: str
    build_up_pct: float
    lung_pct: float
    behind_lung_pct: float
    mean_gy: float
    largest_gy: float


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """The plan judged again on the reference dose of finer grids.

    Attributes
    ----------
    goals : tuple of GoalResult
        Small-volume limits of organs near the target, on voxels small enough for them.
    spacing_mm : float or None
        Of the grid that structures were compared on; None where the dose grid is as fine.
    structures : tuple of DoseDifference
    uncertainty : tuple of StructureUncertainty
    stated : tuple of StatedFigure
        The dose model's uncertainty with its evidence; empty for a dose that was read.
    """

    goals: tuple[GoalResult, ...] = ()
    spacing_mm: float | None = None
    structures: tuple[DoseDifference, ...] = ()
    uncertainty: tuple[StructureUncertainty, ...] = ()
    stated: tuple[StatedFigure, ...] = ()


@dataclass(frozen=True, slots=True)
class SummedGoal:
    """A goal judged on the sum with an earlier treatment.

    Attributes
    ----------
    goal : GoalResult
        Doses are those in the present number of fractions that have the EQD2 of the sum, so the limit is the
        protocol's own.
    alpha_beta_gy : float
    present : float or None
        The value without the earlier treatment.
    value_eqd2_gy, limit_eqd2_gy : float or None
        Value and limit converted to EQD2 (of a mean dose: after the averaging); None where the metric is no dose.
    suffices_gy : float or None
        Of an upper limit on D(V) or the maximum: the dose that the voxel with the highest earlier dose may still get.
        With this limit on the present dose alone the sum keeps its limit, whatever the plan; a weaker one may do.
    """

    goal: GoalResult
    alpha_beta_gy: float
    present: float | None
    value_eqd2_gy: float | None
    limit_eqd2_gy: float | None
    suffices_gy: float | None = None


@dataclass(frozen=True, slots=True)
class SumWithPrior:
    """The protocol's organ goals on the sum of an earlier and the present treatment.

    Attributes
    ----------
    status : str
        "ok" when every mandatory organ goal that could be assessed is met by the sum, else "rejected".
    fractions : int
        Of the earlier treatment.
    recovery : float
        Share of the earlier EQD2 that counts as recovered.
    goals : tuple of SummedGoal
    assumptions, warnings : tuple of str
    finer : tuple of GoalResult
        Small-volume limits of organs near the target, on the sum on voxels small enough for them.
    """

    status: str
    fractions: int
    recovery: float
    goals: tuple[SummedGoal, ...]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    finer: tuple[GoalResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One protocol or constraint set that a dose was judged under, and how many of its limits are met.

    Attributes
    ----------
    not_met_mandatory : int
        How many of `not_met` are mandatory there.
    notes : tuple of str
        Whom it holds for, and which limits are not judged.
    """

    name: str
    title: str
    met: int
    not_met: int
    not_met_mandatory: int
    not_assessed: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What every column says of one structure and metric.

    Attributes
    ----------
    value : float or None
        In `unit`; None where it cannot be said.
    verdicts : tuple of tuple of GoalResult
        For each column its limits, mandatory and optimal; empty where it has none. The level may be "report".
    """

    structure: str
    metric: str
    value: float | None
    unit: str
    verdicts: tuple[tuple[GoalResult, ...], ...]

    @property
    def disputed(self) -> bool:
        """Whether one column's limits are met and another's are not."""
        said = [all(goal.met for goal in goals) for goals in self.verdicts if goals and goals[0].assessed]
        return len(set(said)) > 1


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One dose under several protocols or constraint sets; the first column is the protocol of the evaluation."""

    columns: tuple[Column, ...]
    rows: tuple[VerdictRow, ...]


@dataclass(frozen=True, slots=True)
class PlanEvaluation:
    """A dose distribution judged against a protocol; all doses are course totals in Gy.

    Attributes
    ----------
    status : str
        "ok" when every mandatory goal that could be assessed is met, else "rejected".
    fractions : int
    prescription : PrescriptionReached
    goals : tuple of GoalResult
        Prescription rows first, then the protocol's goals in their order.
    structures : tuple of StructureSummary
    certificate : Certificate
    warnings : tuple of str
    verification : SecondOpinion
    outcome : Outcome, optional
        What published models say; no verdict rests on it.
    eligibility : Eligibility, optional
        The reviews' selection rules; no verdict on the plan rests on it.
    with_prior : SumWithPrior, optional
        Limits applied to the sum with an earlier treatment; `status` speaks of the present one alone.
    escalation : EscalationEnd, optional
        What limited the dose; None for a dose that was not optimised here.
    side_by_side : SideBySide, optional
        The same dose under other limits; no verdict on the plan rests on it.
    alpha_beta : tuple of AlphaBeta
        Stated by the user or the protocol in the place of shipped ones.
    dose_to : str or None
        "water" for a dose that was computed here; None for one that was read and does not say.
    delivery : Delivery, optional
        What the fluence asks of the machine; None for a dose that was not optimised here.
    interrupted : bool
        The optimisation was stopped before its end; the plan is the best of the levels that had ended.
    """

    status: str
    fractions: int
    prescription: PrescriptionReached
    goals: tuple[GoalResult, ...]
    structures: tuple[StructureSummary, ...]
    certificate: Certificate
    warnings: tuple[str, ...]
    verification: SecondOpinion = SecondOpinion()
    outcome: Outcome | None = None
    eligibility: Eligibility | None = None
    with_prior: SumWithPrior | None = None
    escalation: EscalationEnd | None = None
    side_by_side: SideBySide | None = None
    alpha_beta: tuple[AlphaBeta, ...] = ()
    dose_to: str | None = None
    delivery: Delivery | None = None
    interrupted: bool = False
    schema_version: int = SCHEMA_VERSION

    @property
    def accepted(self) -> bool:
        """Whether mandatory goals are met by the present treatment, and by the sum with an earlier one where given."""
        return self.status == "ok" and (self.with_prior is None or self.with_prior.status == "ok")

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Mandatory goals that could not be assessed, of which `status` says nothing."""
        return tuple(f"{g.structure} {g.metric}" for g in self.goals if g.level == "mandatory" and not g.assessed)


def to_json(evaluation: PlanEvaluation) -> dict[str, Any]:
    """The evaluation as plain dicts, lists, numbers, strings and None: what evaluation.json holds.

    Numbers that are not finite become None, so that ``json.dumps(..., allow_nan=False)`` accepts the result.
    """
    record = dataclasses.asdict(evaluation)
    record["dose_kind"] = "total"
    record["structures"] = _by_name(record["structures"], "name")
    record["verification"]["structures"] = _by_name(record["verification"]["structures"], "name")
    record["verification"]["uncertainty"] = _by_name(record["verification"]["uncertainty"], "name")
    record["prescription"]["bases"] = _by_name(record["prescription"]["bases"], "structure")
    return {key: _plain(value) for key, value in record.items()}


def _by_name(rows: tuple[dict[str, Any], ...], key: str) -> dict[str, dict[str, Any]]:
    """Records keyed by one of their fields, which leaves the record."""
    return {row[key]: {name: value for name, value in row.items() if name != key} for row in rows}


def _plain(value: Any) -> Any:
    """Only what strict JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
