"""Doses with their source, and dose-volume goals.

The validators look at one key at a time with the keys before it, so that one pass reports every fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, StrictBool, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .fields import (
    Comparator,
    Identifier,
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
    metric_of,
    must_be_read,
)
from .metrics import Biological, CriticalVolume, Metric, PlanMetric, Unit


class SourcedDose(Strict):
    """A dose with the text it comes from.

    Attributes
    ----------
    dose_gy : float
        Total physical dose of the course.
    source : str
        Citation.
    status : str
        How the number was read: SEED (in a review document that this project started from), VERIFIED (in the
        original, or in two independent transcriptions), VERIFIED_2ND (in one transcription), COMPUTED or
        REMEMBERED.
    weak : bool
        True where the evidence is disputed or thin; `note` says why.
    """

    dose_gy: Positive
    source: Text
    status: Status
    weak: StrictBool = False
    note: Note = ""


@dataclass(frozen=True, slots=True)
class StatedLimit:
    """A mandatory limit as the protocol file states it, kept beside another value that it is planned at."""

    structure: str
    metric: str
    comparator: str
    limit: float
    unit: str


# What every goal states, and what a critical-volume metric states already.
REQUIRED = ("id", "structure", "metric", "level", "level_by", "status", "source")
IMPLIED = ("comparator", "limit", "unit")


class Goal(Strict):
    """One dose-volume goal: a metric of a structure, compared with a limit.

    A critical-volume metric states its own limit, so `comparator`, `limit` and `unit` may be left out there;
    given, they must say the same.

    Attributes
    ----------
    id : str
        What overrides, prices and records call it; once in a protocol.
    structure : str
        TG-263 name of an organ or target, or one that `structures` defines.
    metric : str
        What is measured; volumes in cc or percent, doses are totals of the course in Gy.
    limit : float
        In `unit`.
    level : "mandatory" or "optimal"
        Mandatory limits are hard; optimal ones may be missed and are reported.
    level_by : "source" or "editorial"
        Whether the level is the source's or was set in this file.
    status : str
        How the number was read: SEED, VERIFIED, VERIFIED_2ND, COMPUTED or REMEMBERED; the last two are mandatory only
        if the user accepts them by name.
    source : str
        Citation.
    endpoint : str
        The complication that the limit is for.
    weak : bool
        True where the evidence is disputed or thin.
    only_if_contoured : bool
        True where a missing structure is no fault.
    """

    id: Identifier
    structure: Name
    metric: MetricText
    comparator: Comparator
    limit: Positive
    unit: Unit
    level: Level
    level_by: LevelBy
    status: Status
    source: Text
    endpoint: Note = ""
    weak: StrictBool = False
    only_if_contoured: StrictBool = False
    superseded_by: Text | None = None
    note: Note = ""

    model_config = ConfigDict(
        json_schema_extra={
            "required": list(REQUIRED),
            "if": {"properties": {"metric": {"pattern": "^CV"}}},
            "else": {"required": list(IMPLIED)},
        }
    )

    @model_validator(mode="before")
    @classmethod
    def _imply(cls, data: Any) -> Any:
        """Fill in what a critical-volume metric implies."""
        if not isinstance(data, dict):
            return data
        try:
            metric = metric_of(data.get("metric"))
        except PydanticCustomError:
            return data
        if not isinstance(metric, CriticalVolume):
            return data
        return {"comparator": ">=", "limit": metric.volume_cc, "unit": "cc"} | data

    @field_validator("comparator")
    @classmethod
    def _comparator_fits(cls, comparator: str, info: ValidationInfo) -> str:
        if isinstance(info.data.get("metric"), CriticalVolume) and comparator != ">=":
            raise fault(f"{info.data['metric']} asks for at least that volume (>=), got {comparator!r}; leave it out.")
        return comparator

    @field_validator("metric")
    @classmethod
    def _of_the_plan(cls, metric: Metric, info: ValidationInfo) -> Metric:
        if isinstance(metric, PlanMetric) and info.data.get("structure", "PTV") != "PTV":
            raise fault(f"{metric} is stated of the PTV, got {info.data['structure']!r}.")
        return metric

    @field_validator("limit")
    @classmethod
    def _limit_fits(cls, limit: float, info: ValidationInfo) -> float:
        metric = info.data.get("metric")
        if isinstance(metric, CriticalVolume) and limit != metric.volume_cc:
            raise fault(f"{metric} asks for {metric.volume_cc:g} cc, got {limit:g}; leave the limit out.")
        if metric is not None and metric.value_unit == "%" and limit > 100:
            raise fault(f"a limit in percent is at most 100, got {limit:g}.")
        return limit

    @field_validator("unit")
    @classmethod
    def _unit_fits(cls, unit: Unit, info: ValidationInfo) -> Unit:
        metric = info.data.get("metric")
        if metric is not None and unit != metric.value_unit:
            raise fault(f"the metric {metric} is measured in {metric.value_unit}, got the unit {unit!r}.")
        return unit

    @field_validator("status")
    @classmethod
    def _mandatory_is_read(cls, status: Status, info: ValidationInfo) -> Status:
        if info.data.get("level") == "mandatory":
            must_be_read(status, info.data.get("id", "its id"), info)
        return status

    @field_validator("superseded_by")
    @classmethod
    def _not_superseded(cls, superseded_by: str | None) -> str | None:
        if superseded_by is not None:
            raise fault(f"this limit was superseded by {superseded_by!r}; use that one.")
        return superseded_by

    @property
    def stated(self) -> StatedLimit:
        """The limit alone."""
        return StatedLimit(self.structure, str(self.metric), self.comparator, self.limit, self.unit)

    def in_fractions(self, fractions: int) -> Goal:
        """The goal for a dose that is given in so many fractions: what a biological metric needs to know."""
        if not isinstance(self.metric, Biological):
            return self
        return self.model_copy(update={"metric": self.metric.in_fractions(fractions)})
