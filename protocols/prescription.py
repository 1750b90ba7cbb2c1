"""What the target shall receive."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from .escalation import Escalation, IsoNtcp, LadderRung, check_rungs
from .fields import (
    Basis,
    Level,
    LevelBy,
    MetricText,
    Name,
    Note,
    Positive,
    Status,
    Strict,
    Text,
    fault,
    must_be_read,
)
from .goals import Goal, SourcedDose
from .metrics import DoseAtVolume, Metric

MOST_RUNGS = 100


class HotSpot(Strict):
    """How hot the target may be: D0.035cc of `structure` at most D95 / `isodose`, and at most `max_gy` where
    given.

    The bound is linear in the dose; no hot spot is forced.
    """

    structure: Name
    metric: MetricText
    isodose: Annotated[float, Field(strict=True, gt=0, le=1)]
    max_gy: Positive | None = None
    level: Level
    level_by: LevelBy
    status: Status
    source: Text
    weak: StrictBool = False
    note: Note = ""

    @field_validator("metric")
    @classmethod
    def _is_dose_at_volume(cls, metric: Metric) -> Metric:
        if not isinstance(metric, DoseAtVolume):
            raise fault(f"a hot spot is a dose at a volume such as 'D0.035cc', got {metric}.")
        return metric

    @field_validator("status")
    @classmethod
    def _mandatory_is_read(cls, status: Status, info: ValidationInfo) -> Status:
        if info.data.get("level") == "mandatory":
            must_be_read(status, "prescription.hot_spot", info)
        return status

    def limit_gy(self, d95_gy: float) -> float:
        """The largest value of the metric in Gy for a target that reaches `d95_gy`."""
        relative = d95_gy / self.isodose
        return relative if self.max_gy is None else min(relative, self.max_gy)


class OutsidePtv(Strict):
    """No dose outside the PTV above `max_pct_of_d95` percent of the D95 that the target reaches."""

    max_pct_of_d95: Positive
    level: Level
    level_by: LevelBy
    source: Text
    note: Note = ""


class LesionPrescription(Strict):
    """What one of several lesions shall receive instead: less than the others, and raised in step with them.

    Attributes
    ----------
    lesion : str
        The target as it is named for planning; targets that share volume with it are one lesion with it.
    floor, target : SourcedDose
        On the basis of the prescription. While the others rise to their target, this lesion rises to its own.
    """

    lesion: Name
    floor: SourcedDose
    target: SourcedDose

    @field_validator("target")
    @classmethod
    def _ascending(cls, dose: SourcedDose, info: ValidationInfo) -> SourcedDose:
        lower = info.data.get("floor")
        if lower is not None and lower.dose_gy > dose.dose_gy:
            raise fault(f"target {dose.dose_gy:g} Gy lies below the floor {lower.dose_gy:g} Gy.")
        return dose

    @field_validator("floor")
    @classmethod
    def _floor_is_read(cls, dose: SourcedDose, info: ValidationInfo) -> SourcedDose:
        must_be_read(dose.status, "prescription.lesions.floor", info)
        return dose


class Prescription(Strict):
    """What the target shall receive: basis, floor, target and cap of the escalation, and its bounds.

    Doses are on the `basis` named; a periphery isodose also states `isodose_pct`, percent of the maximum, which is that
    of `hot_spot`. Below `floor` the answer is that this fractionation is infeasible. Nothing escalates above `cap`.

    Attributes
    ----------
    escalation : "continuous", "ladder" or "iso_ntcp"
        How the dose is chosen: as high as the limits let it; the highest of `rungs` at which they hold; or as high as
        they and the risk that `iso_ntcp` states let it.
    """

    structure: Name
    basis: Basis
    isodose_pct: Annotated[float | None, Field(strict=True, gt=0, le=100, validate_default=True)] = None
    escalation: Escalation = "continuous"
    floor: SourcedDose
    target: SourcedDose
    cap: SourcedDose
    gtv_d98: Goal
    hot_spot: HotSpot
    ptv_mean_max: Goal | None = None
    outside_ptv: OutsidePtv
    lesions: tuple[LesionPrescription, ...] = ()
    rungs: Annotated[tuple[LadderRung, ...], Field(validate_default=True, max_length=MOST_RUNGS)] = ()
    iso_ntcp: Annotated[IsoNtcp | None, Field(validate_default=True)] = None

    @field_validator("isodose_pct")
    @classmethod
    def _isodose_goes_with_periphery(cls, isodose_pct: float | None, info: ValidationInfo) -> float | None:
        basis = info.data.get("basis")
        if basis is not None and (basis == "periphery_isodose") != (isodose_pct is not None):
            raise fault(f"isodose_pct goes with the basis periphery_isodose and no other, got {basis!r}.")
        return isodose_pct

    @field_validator("floor", "cap")
    @classmethod
    def _bound_is_read(cls, dose: SourcedDose, info: ValidationInfo) -> SourcedDose:
        must_be_read(dose.status, f"prescription.{info.field_name}", info)
        return dose

    @field_validator("target", "cap")
    @classmethod
    def _ascending(cls, dose: SourcedDose, info: ValidationInfo) -> SourcedDose:
        for below in ("floor", "target"):
            lower = info.data.get(below)
            if below != info.field_name and lower is not None and lower.dose_gy > dose.dose_gy:
                raise fault(f"{info.field_name} {dose.dose_gy:g} Gy lies below the {below} {lower.dose_gy:g} Gy.")
        return dose

    @field_validator("hot_spot")
    @classmethod
    def _reachable(cls, hot_spot: HotSpot, info: ValidationInfo) -> HotSpot:
        floor = info.data.get("floor")
        if hot_spot.max_gy is not None and floor is not None and hot_spot.max_gy < floor.dose_gy:
            raise fault(f"max_gy {hot_spot.max_gy:g} Gy lies below the floor {floor.dose_gy:g} Gy.")
        isodose_pct = info.data.get("isodose_pct")
        if isodose_pct is not None and abs(isodose_pct - 100.0 * hot_spot.isodose) > 1e-6:
            raise fault(f"isodose {hot_spot.isodose:g} is not the {isodose_pct:g} % isodose that is prescribed to.")
        return hot_spot

    @field_validator("rungs")
    @classmethod
    def _a_ladder(cls, rungs: tuple[LadderRung, ...], info: ValidationInfo) -> tuple[LadderRung, ...]:
        if "escalation" in info.data and (info.data["escalation"] == "ladder") != bool(rungs):
            raise fault('rungs go with escalation = "ladder", which needs at least one.')
        cap, hot_spot = info.data.get("cap"), info.data.get("hot_spot")
        mean = info.data.get("ptv_mean_max")
        check_rungs(
            rungs,
            cap.dose_gy if cap else None,
            hot_spot.isodose if hot_spot else None,
            mean.limit if mean else None,
        )
        return rungs

    @field_validator("iso_ntcp")
    @classmethod
    def _goes_with_its_mode(cls, iso_ntcp: IsoNtcp | None, info: ValidationInfo) -> IsoNtcp | None:
        if "escalation" in info.data and (info.data["escalation"] == "iso_ntcp") != (iso_ntcp is not None):
            raise fault('this table goes with escalation = "iso_ntcp", which needs it.')
        return iso_ntcp

    @field_validator("lesions")
    @classmethod
    def _each_lesion_once_and_lower(
        cls, lesions: tuple[LesionPrescription, ...], info: ValidationInfo
    ) -> tuple[LesionPrescription, ...]:
        twice = sorted({entry.lesion for entry in lesions if [e.lesion for e in lesions].count(entry.lesion) > 1})
        if twice:
            raise fault(f"each lesion has one prescription, several are given for {', '.join(twice)}.")
        target = info.data.get("target")
        for entry in lesions:
            if target is not None and entry.target.dose_gy > target.dose_gy:
                raise fault(
                    f"{entry.lesion}: {entry.target.dose_gy:g} Gy is more than the {target.dose_gy:g} Gy of the rest; "
                    "state the highest prescription as the protocol's own, and what is lower here."
                )
        return lesions

    def of_lesion(self, name: str) -> LesionPrescription | None:
        """The prescription of its own that a lesion has, if any, by its name or that of its part of `structure`."""
        lesion = name.removeprefix(f"{self.structure}_")
        return next((entry for entry in self.lesions if entry.lesion == lesion), None)

    @property
    def basis_words(self) -> str:
        """What the dose is measured as: an isodose at the periphery is judged as the D95 it stands for."""
        return "D95" if self.basis == "periphery_isodose" else self.basis

    @property
    def risk_structures(self) -> tuple[str, ...]:
        """The organ whose complication probability is limited, if any."""
        return (self.iso_ntcp.curve.structure,) if self.iso_ntcp is not None else ()

    @property
    def target_goals(self) -> tuple[Goal, ...]:
        """The goals on GTV and PTV that are measured like any other: `gtv_d98`, and `ptv_mean_max` where
        given.
        """
        return tuple(goal for goal in (self.gtv_d98, self.ptv_mean_max) if goal is not None)
