"""Protocols made of parts: a prescription, constraint sets with overrides, planning rules and a beam template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, ValidationError, ValidationInfo, field_validator, model_validator

from .faults import faults_of
from .fields import Identifier, Level, MetricText, Population, Positive, Status, Strict, Text, fault
from .files import PLANNING, PRESCRIPTION, PROTOCOL, Kind, invalid, parsed
from .limits import Fraction
from .prescription import Prescription
from .schema import COMPOSED_KEYS, DerivedStructure, Part, Planning

# Beyond this a file is no protocol, and its goals would take minutes to check.
MOST_PARTS = 100


class SetUse(Strict):
    """A constraint set that a protocol takes its limits from.

    Attributes
    ----------
    set : str
        Name of a shipped set, or a TOML file, relative to the protocol's folder.
    only : tuple of str
        Ids of the limits to be taken; without it all those for the protocol's number of fractions.
    report_as : "mandatory" or "optimal", optional
        The level at which limits that the set merely reports become goals; `reason` says why.
    outside_population : str, optional
        Why the set is used outside the population it holds for; its limits are optimal at most then.
    """

    set: Text
    only: tuple[Identifier, ...] = ()
    reason: Text | None = None
    report_as: Annotated[Level | None, Field(validate_default=True)] = None
    outside_population: Text | None = None

    @field_validator("report_as")
    @classmethod
    def _promoted_with_a_reason(cls, level: Level | None, info: ValidationInfo) -> Level | None:
        if level is not None and info.data.get("reason") is None:
            raise fault("limits that are only reported become goals for a stated reason; give the key reason.")
        return level


class Override(Strict):
    """A change to limits of the constraint sets, with its reason.

    Attributes
    ----------
    ids : tuple of str
        The limits it changes.
    leave_out : bool
        They become no goals.
    level : "mandatory" or "optimal", optional
    limit, metric : optional
        A number of the user's own, for one limit; `source` and `status` say where it comes from.
    """

    ids: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    reason: Text
    leave_out: StrictBool = False
    level: Level | None = None
    limit: Positive | None = None
    metric: MetricText | None = None
    source: Text | None = None
    status: Status | None = None

    @model_validator(mode="after")
    def _changes_something_and_says_whence(self) -> Override:
        own_number = self.limit is not None or self.metric is not None
        if self.leave_out == (own_number or self.level is not None):
            raise fault("an override either leaves limits out, or changes their level, limit or metric.")
        if own_number and (self.source is None or self.status is None or len(self.ids) > 1):
            raise fault("a number of your own needs its own source and status, and stands for one limit.")
        return self


class Composition(Strict):
    """What a protocol file may name instead of spelling it out; `beams` replaces the planning part's template."""

    constraints: tuple[SetUse, ...] = Field((), max_length=MOST_PARTS)
    overrides: tuple[Override, ...] = Field((), max_length=MOST_PARTS)
    beams: Identifier | None = None


class PrescriptionPart(Strict):
    """A file in ``prescriptions/``: one prescription for one number of fractions."""

    schema_version: Literal[1]
    name: Identifier
    title: Text
    fractions: Fraction
    prescription: Prescription


class PlanningPart(Strict):
    """A file in ``planning/``: planning rules, and the structures that are defined along with them."""

    schema_version: Literal[1]
    name: Identifier
    title: Text
    planning: Planning
    structures: tuple[DerivedStructure, ...] = ()


@dataclass(slots=True)
class Composed:
    """A protocol file with its parts filled in.

    Attributes
    ----------
    raw : dict
        As if everything were spelled out in the file.
    own_goals : int
        How many of its goals are the file's own; they come first.
    uses : dict
        Goal id to the index of the constraint set it comes from.
    origins : dict
        Goal id, "prescription", "planning" or "beams" to the file it comes from; what is not named comes from the
        protocol's own file.
    """

    raw: dict[str, Any]
    composition: Composition
    folder: Path | None
    own_goals: int = 0
    uses: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def compose(raw: Mapping[str, Any], origin: str, folder: Path | None, context: dict[str, Any]) -> Composed:
    """Fill in the parts that a protocol file names; its constraint sets follow in `collecting`.

    Parameters
    ----------
    raw : mapping
        The parsed file.
    origin : str
        The file, for messages.
    folder : path or None
        Where relative paths of parts are looked for: the folder of a user's file; None for a shipped one.
    context : dict
        For the models: what the user accepted.

    Raises
    ------
    ProtocolError
        A part is missing or faulty, or the tables `constraints` and `overrides` are.
    """
    own = {key: raw[key] for key in COMPOSED_KEYS if key in raw}
    try:
        composition = Composition.model_validate(own)
    except ValidationError as error:
        raise invalid(PROTOCOL, origin, faults_of(error, own, Composition)) from error
    spelled = {key: value for key, value in raw.items() if key not in COMPOSED_KEYS}
    composed = Composed(spelled, composition, folder)
    if isinstance(raw.get("prescription"), str):
        part = _part(composed, PRESCRIPTION, PrescriptionPart, "prescription", context)
        if part["fractions"] != raw.get("fractions"):
            composed.faults.append(
                f"prescription: {part['name']} is for {part['fractions']} fractions, "
                f"this protocol has {raw.get('fractions')!r}."
            )
    if isinstance(raw.get("planning"), str):
        part = _part(composed, PLANNING, PlanningPart, "planning", context)
        own_structures = raw.get("structures", [])
        if isinstance(own_structures, list):
            composed.raw["structures"] = [*part.get("structures", []), *own_structures]
        composed.origins["beams"] = composed.origins["planning"]
    if composition.beams is not None:
        _take_beams(composed, composition.beams)
    return composed


def _part(composed: Composed, kind: Kind, model: type[BaseModel], key: str, context: dict[str, Any]) -> dict[str, Any]:
    """Read the part that `key` names and put it in the place of its name."""
    name = composed.raw[key]
    origin, data = kind.read(name, beside=composed.folder)
    part = parsed(data, origin)
    try:
        model.model_validate(part, context=context)
    except ValidationError as error:
        raise invalid(kind, origin, faults_of(error, part, model)) from error
    composed.raw[key] = part[key]
    composed.origins[key] = origin
    composed.parts.append(Part.of(origin, data))
    return part


def _take_beams(composed: Composed, beams: str) -> None:
    """Put the template in the place of the planning part's; a protocol with rules of its own states it there."""
    if "planning" not in composed.origins:
        composed.faults.append(
            "beams: goes with planning rules that are taken by name; state it in [planning] instead."
        )
        return
    planning = composed.raw["planning"]
    choices = [entry | {"keys": [key for key in entry["keys"] if key != "beams"]} for entry in planning["choices"]]
    own = {"keys": ["beams"], "source": "this protocol", "level_by": "editorial"}
    kept = [entry for entry in choices if entry["keys"]]
    composed.raw["planning"] = planning | {"beams": beams, "choices": [*kept, own]}
    del composed.origins["beams"]


def population_of(raw: Mapping[str, Any]) -> Population | None:
    """The population that a protocol file states, if it states a known one."""
    stated = raw.get("population")
    return stated if stated in ("liver_metastases", "primary_liver") else None
