"""Published limits, one set per source: what the files in ``constraints/`` hold."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StrictBool, StrictInt, ValidationError, field_validator, model_validator

from .errors import ProtocolError
from .faults import faults_of
from .fields import (
    Comparator,
    Identifier,
    Level,
    LevelBy,
    MetricText,
    Name,
    Note,
    Population,
    Positive,
    Status,
    Strict,
    Text,
    fault,
)
from .files import CONSTRAINT_SET, invalid, parsed
from .goals import Goal
from .metrics import CriticalVolume, Unit

MOST_FRACTIONS = 60
Fraction = Annotated[StrictInt, Field(ge=1, le=MOST_FRACTIONS)]
Fractions: TypeAlias = Literal["any"] | Annotated[tuple[Fraction, ...], Field(min_length=1)]
PublishedLevel: TypeAlias = Level | Literal["report"]


class PublishedLimit(Strict):
    """One limit as a source or its transcription prints it.

    Attributes
    ----------
    fractions : tuple of int or "any"
        The fraction numbers it was published for.
    metric, comparator, limit, unit
        As for a goal; all absent where no goal can state the limit, and `not_a_goal` says why.
    printed : str
        The limit as the transcription prints it, where that differs from the text of `metric`.
    level : "mandatory", "optimal" or "report"
        A limit of level "report" is listed and becomes no goal unless a protocol promotes it.
    alpha_beta_gy : float or None
        For comparing fraction numbers only; no limit rests on it.
    superseded_by : str or None
        The limit that took its place; such a limit is refused.
    """

    id: Identifier
    fractions: Fractions
    structure: Name
    metric: MetricText | None = None
    comparator: Comparator | None = None
    limit: Positive | None = None
    unit: Unit | None = None
    printed: Note = ""
    not_a_goal: Note = ""
    level: PublishedLevel
    level_by: LevelBy
    status: Status
    only_if_contoured: StrictBool = False
    endpoint: Note = ""
    alpha_beta_gy: Positive | None = None
    superseded_by: Text | None = None
    source: Text
    note: Note = ""

    @model_validator(mode="after")
    def _is_a_goal_or_says_why_not(self) -> PublishedLimit:
        if self.not_a_goal:
            if self.limit is not None:
                raise fault(f"{self.id} has a limit and says that it is no goal ({self.not_a_goal}).")
            return self
        data = self.goal_data("optimal")
        try:
            Goal.model_validate(data)
        except ValidationError as error:
            raise fault("; ".join(f"{self.id}: {text}" for text in faults_of(error, {"goals": []}))) from error
        return self

    def holds_for(self, fractions: int) -> bool:
        """Whether the limit was published for this number of fractions."""
        return self.fractions == "any" or fractions in self.fractions

    def goal_data(self, level: Level) -> dict[str, Any]:
        """The table of the goal that states this limit, as a protocol file would hold it."""
        data = self.model_dump(
            include={"id", "structure", "comparator", "limit", "unit", "level_by", "status", "only_if_contoured"}
            | {"endpoint", "source", "note"},
            exclude_none=True,
        )
        # A metric object reads as itself: no need to go through its text.
        return data | {"metric": self.metric, "level": level}

    @property
    def text(self) -> str:
        """The limit as a goal states it; as it is printed where none can."""
        if self.not_a_goal:
            return self.printed
        return f"{self.metric}" if self.limit is None else f"{self.metric} {self.comparator} {self.limit:g} {self.unit}"

    @property
    def dose_gy(self) -> float | None:
        """The dose in the limit: of D, mean and maximum the limit itself, of a critical volume its dose."""
        if isinstance(self.metric, CriticalVolume):
            return self.metric.dose_gy
        return self.limit if self.unit == "Gy" else None


class ConstraintSet(Strict):
    """The limits of one published source.

    Attributes
    ----------
    population : "any", "liver_metastases" or "primary_liver"
        Whom the set holds for; `population_note` in the words of the source.
    caveat : str
        What a user of the set has to know.
    """

    schema_version: Literal[1]
    name: Identifier
    title: Text
    population: Population | Literal["any"]
    population_note: Note = ""
    caveat: Note = ""
    limits: tuple[PublishedLimit, ...] = Field(min_length=1)

    @field_validator("limits")
    @classmethod
    def _ids_are_unique(cls, limits: tuple[PublishedLimit, ...]) -> tuple[PublishedLimit, ...]:
        repeated = sorted(name for name, count in Counter(limit.id for limit in limits).items() if count > 1)
        if repeated:
            raise fault(f"ids are used more than once: {', '.join(repeated)}.")
        return limits

    @property
    def fraction_numbers(self) -> tuple[int, ...]:
        """The fraction numbers that the set has limits for, sorted; limits for any number do not count."""
        return tuple(sorted({n for limit in self.limits if limit.fractions != "any" for n in limit.fractions}))


def available_sets() -> tuple[str, ...]:
    """Names of the shipped constraint sets, sorted."""
    return CONSTRAINT_SET.shipped


def load_set(name_or_path: str, *, beside: Path | None = None) -> ConstraintSet:
    """Read and check a constraint set: a name that `available_sets` lists, or a TOML file.

    Raises
    ------
    ProtocolError
        There is no such set, or it has faults: all of them are listed.
    """
    return read_set(name_or_path, beside)[0]


def read_set(name_or_path: str, beside: Path | None) -> tuple[ConstraintSet, str, bytes]:
    """A constraint set, where it was found, and its bytes; errors as for `load_set`."""
    origin, data = CONSTRAINT_SET.read(name_or_path, beside=beside)
    return (_shipped_set(name_or_path) if name_or_path in available_sets() else _checked(data, origin)), origin, data


@cache
def _shipped_set(name: str) -> ConstraintSet:
    origin, data = CONSTRAINT_SET.read(name)
    return _checked(data, origin)


def _checked(data: bytes, origin: str) -> ConstraintSet:
    raw = parsed(data, origin)
    try:
        return ConstraintSet.model_validate(raw)
    except ValidationError as error:
        raise invalid(CONSTRAINT_SET, origin, faults_of(error, raw, ConstraintSet)) from error


def published_limits() -> tuple[tuple[ConstraintSet, PublishedLimit], ...]:
    """Every limit of every shipped set, in the order of the sets."""
    return tuple((chosen, limit) for chosen in map(load_set, available_sets()) for limit in chosen.limits)


def find_limit(limit_id: str) -> tuple[ConstraintSet, PublishedLimit]:
    """The shipped limit with this id.

    Raises
    ------
    ProtocolError
        No set has it.
    """
    for chosen, limit in published_limits():
        if limit.id == limit_id:
            return chosen, limit
    raise ProtocolError(f"no shipped constraint set has a limit {limit_id!r}.")
