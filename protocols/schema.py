"""What a protocol file may say: frozen pydantic models that refuse everything else."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, StrictInt, Tag, ValidationInfo, field_validator, model_validator

from .errors import ProtocolError
from .fields import UNREAD, ExpressionText, Identifier, LevelBy, Name, Note, Population, Positive, Strict, Text, fault
from .goals import Goal, StatedLimit
from .prescription import Prescription
from .tissues import AlphaBeta, Tissue

SCHEMA_VERSION = 1
MADE_BY_THE_PLANNER = ("Body", "GTV", "CTV", "ITV", "PTV", "PTV_opt", "Liver-GTV", "Liver-PTV")
"""Names that no protocol may define: they follow from targets, margins and the body's outline."""


COMPOSED_KEYS = ("constraints", "overrides", "beams")
"""Keys of a protocol file that name parts; a loaded protocol holds what they stand for instead."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file that a protocol takes something from, and the SHA-256 of its bytes."""

    origin: str
    sha256: str

    @classmethod
    def of(cls, origin: str, data: bytes) -> Part:
        """The part whose file at `origin` has the bytes `data`."""
        return cls(origin, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a protocol and its parts were read, what was left out and what is worth a warning.

    `sha256` is that of the file's bytes; for a protocol of parts, of its own hash followed by those of the parts.
    `origins` maps goal ids, "prescription", "planning" and "beams" to the part they come from. `alpha_beta` is what
    the user stated beside the file. `relaxed` holds, by id, the limits as the file states them where the user accepted
    another value for planning (`relaxing`).
    """

    origin: str = ""
    sha256: str = ""
    parts: tuple[Part, ...] = ()
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    alpha_beta: tuple[AlphaBeta, ...] = ()
    relaxed: Mapping[str, StatedLimit] = field(default_factory=lambda: MappingProxyType({}))


class Choice(Strict):
    """Where the values of some planning keys come from."""

    keys: tuple[str, ...]
    source: Text
    level_by: LevelBy
    note: Note = ""


Margin = Annotated[float, Field(strict=True, ge=0, le=50)]


class SidedMargin(Strict):
    """A margin in mm towards each side of the patient, whatever the position on the couch."""

    right: Margin
    left: Margin
    anterior: Margin
    posterior: Margin
    inferior: Margin
    superior: Margin

    @property
    def sides(self) -> tuple[float, float, float, float, float, float]:
        """Towards -x, +x, -y, +y, -z and +z of DICOM patient coordinates."""
        return self.right, self.left, self.anterior, self.posterior, self.inferior, self.superior


MARGIN_KINDS = ("one margin", "margins by side")
"""Tags of the two ways to write a margin; they are no keys of the file."""
TargetMargin = Annotated[
    Annotated[Margin, Tag(MARGIN_KINDS[0])] | Annotated[SidedMargin, Tag(MARGIN_KINDS[1])],
    Discriminator(lambda value: MARGIN_KINDS[isinstance(value, dict | SidedMargin)]),
]


OPTIONAL_KEYS = ("reserve_percent", "max_fluence_mu", "max_variation")
"""Planning values that need not be set: without them there is no such limit."""


class Planning(Strict):
    """How a plan under this protocol is made; every value is covered by one entry of `choices`.

    Attributes
    ----------
    gtv_to_ctv_mm, ctv_to_ptv_mm : float or SidedMargin
        Margins of the target.
    prv_margin_mm : float
        Margin around each of `serial_organs`; PTV_opt is the PTV without these volumes.
    dose_grid_mm, beamlet_mm, verify_grid_mm : float
        Largest voxel side while optimising, beamlet width, largest voxel side while verifying.
    small_ptv_cc, small_ptv_beamlet_mm : float
        Below this PTV volume the beamlets have this width instead.
    skin_rind_mm, chestwall_rind_mm : float
        Depths under the body surface of skin and chest wall where these are derived.
    chbt_margin_mm : float
        Margin around the portal vein that defines the central hepatobiliary tract.
    beams : str
        Beam template used when the user names none.
    reserve_percent : float or None
        By how much the optimiser holds every mandatory upper limit tighter; the plan is judged at the limit itself.
    max_fluence_mu : float or None
        Most MU of one beamlet, total of the course.
    max_variation : float or None
        Most that neighbouring beamlets differ by: mean difference over mean fluence.
    rules : tuple of str
        The planning rules that this protocol states.
    """

    gtv_to_ctv_mm: TargetMargin
    ctv_to_ptv_mm: TargetMargin
    prv_margin_mm: Margin
    serial_organs: tuple[Name, ...]
    dose_grid_mm: Positive
    verify_grid_mm: Positive
    beamlet_mm: Positive
    small_ptv_cc: Positive
    small_ptv_beamlet_mm: Positive
    skin_rind_mm: Positive
    chestwall_rind_mm: Positive
    chbt_margin_mm: Positive
    beams: Identifier
    reserve_percent: Annotated[float | None, Field(strict=True, gt=0, le=20)] = None
    max_fluence_mu: Positive | None = None
    max_variation: Positive | None = None
    rules: tuple[Text, ...]
    choices: tuple[Choice, ...]

    @field_validator("choices")
    @classmethod
    def _cover_every_value(cls, choices: tuple[Choice, ...], info: ValidationInfo) -> tuple[Choice, ...]:
        named = [key for choice in choices for key in choice.keys]
        unset = [key for key in OPTIONAL_KEYS if info.data.get(key) is None]
        values = [key for key in cls.model_fields if key not in ("rules", "choices", *unset)]
        wrong = [f"{key} {why}" for key, why in _coverage_faults(named, values)]
        if wrong:
            raise fault(f"each planning value needs exactly one choice that says its source: {', '.join(wrong)}.")
        return choices

    def choice_of(self, key: str) -> Choice:
        """The entry that says where the value of `key` comes from."""
        for choice in self.choices:
            if key in choice.keys:
                return choice
        raise ProtocolError(f"no planning value is called {key!r}.", where="planning")


def _coverage_faults(named: list[str], values: list[str]) -> list[tuple[str, str]]:
    """Keys named by no choice, by several, or that are no planning value."""
    missing = [(key, "has none") for key in values if key not in named]
    repeated = [(key, "has several") for key in values if named.count(key) > 1]
    return missing + repeated + [(key, "is no planning value that has been set") for key in named if key not in values]


class DerivedStructure(Strict):
    """A structure that the protocol defines from others; one that was drawn under its name takes its place."""

    name: Name
    expression: ExpressionText
    source: Text


class Protocol(Strict):
    """A complete planning protocol: prescription, goals and planning rules for one fraction number.

    Doses are totals of the course. `origin`, `sha256` and `accepted_limits` say where it was read and what
    was accepted.
    """

    schema_version: Literal[1]
    name: Identifier
    title: Text
    description: Text
    fractions: Annotated[StrictInt, Field(ge=1, le=60)]
    population: Population | None = None
    prescription: Prescription
    goals: tuple[Goal, ...] = Field(json_schema_extra={"minItems": 1})
    planning: Planning
    structures: tuple[DerivedStructure, ...] = ()
    alpha_beta: tuple[Tissue, ...] = ()

    _provenance: Provenance = PrivateAttr(default_factory=Provenance)

    @field_validator("goals", mode="before")
    @classmethod
    def _some_goals(cls, goals: Any) -> Any:
        # Counted before they are read: a protocol whose one goal has a fault does not lack goals as well.
        if isinstance(goals, list | tuple) and not goals:
            raise fault("a protocol needs at least one goal.")
        return goals

    @field_validator("structures")
    @classmethod
    def _defined_once(cls, structures: tuple[DerivedStructure, ...]) -> tuple[DerivedStructure, ...]:
        repeated = sorted(name for name, count in Counter(s.name for s in structures).items() if count > 1)
        if repeated:
            raise fault(f"structures are defined more than once: {', '.join(repeated)}.")
        if taken := [s.name for s in structures if s.name in MADE_BY_THE_PLANNER]:
            raise fault(f"{', '.join(taken)} cannot be defined here: margins and targets do.")
        return structures

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Protocol:
        goals = (*self.goals, *self.prescription.target_goals)
        if repeated := repeated_ids([goal.id for goal in goals]):
            raise fault(repeated)
        return self

    @model_validator(mode="after")
    def _biological_goals_know_the_fractions(self) -> Protocol:
        # The model is frozen for everyone else.
        object.__setattr__(self, "goals", tuple(goal.in_fractions(self.fractions) for goal in self.goals))
        return self

    def model_post_init(self, context: Any, /) -> None:
        """Take the provenance from the validation context."""
        if isinstance(context, dict) and "provenance" in context:
            self._provenance = context["provenance"]

    @property
    def provenance(self) -> Provenance:
        """Where it was read, of which parts it is made, and what to look at."""
        return self._provenance

    def with_provenance(self, provenance: Provenance) -> Protocol:
        """The same protocol with another provenance."""
        copy = self.model_copy()
        copy._provenance = provenance
        return copy

    @property
    def origin(self) -> str:
        """The file this protocol was read from, as it was named; empty if it was built in memory."""
        return self._provenance.origin

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes and of its parts, hexadecimal; empty if it was built in memory."""
        return self._provenance.sha256

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files that this protocol is made of, besides its own."""
        return self._provenance.parts

    @property
    def left_out(self) -> tuple[str, ...]:
        """Limits of its constraint sets that became no goals, each with the reason."""
        return self._provenance.left_out

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a physicist should look at before using this protocol, one sentence each."""
        return self._provenance.warnings

    @property
    def stated_alpha_beta(self) -> tuple[AlphaBeta, ...]:
        """Alpha/beta that take the place of the shipped ones: the user's first, then those of the file."""
        return (*self._provenance.alpha_beta, *(tissue.stated_in(self.origin) for tissue in self.alpha_beta))

    def origin_of(self, name: str) -> str:
        """The file that a goal (by its id), "prescription", "planning" or "beams" comes from."""
        return self._provenance.origins.get(name) or self.origin

    @property
    def accepted_limits(self) -> tuple[str, ...]:
        """Names of the mandatory numbers that no text backs; each was accepted by the user."""
        prescription = self.prescription
        named = {
            "prescription.floor": prescription.floor.status,
            "prescription.cap": prescription.cap.status,
        }
        if prescription.hot_spot.level == "mandatory":
            named["prescription.hot_spot"] = prescription.hot_spot.status
        for goal in (*prescription.target_goals, *self.goals):
            if goal.level == "mandatory":
                named[goal.id] = goal.status
        return tuple(name for name, status in named.items() if status in UNREAD)


def repeated_ids(ids: list[str]) -> str | None:
    """A sentence that names the ids that occur more than once, or None."""
    repeated = sorted(goal_id for goal_id, count in Counter(ids).items() if count > 1)
    return f"ids are used more than once: {', '.join(repeated)}." if repeated else None
