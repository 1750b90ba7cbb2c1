"""Dose metrics as physicists write them: text to types and back.

The forms are ``D95%``, ``D0.035cc``, ``V15Gy`` (in cc), ``V20Gy%``, ``CV700cc<15Gy`` (critical volume),
``Dmean``, ``Dmax``, ``Dmin`` and ``Volume``. Doses are total physical doses of the course in Gy. D and V
follow ICRU Report 83 (2010), section 3.4; the critical volume follows AAPM TG-101 (Benedict et al., Med Phys
37:4078, 2010), Table III.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias, final

from .errors import ProtocolError

Unit: TypeAlias = Literal["Gy", "cc", "%"]

# Beyond these a number in a metric is a slip of the unit or the decimal point, and its text would not stay
# short.
SMALLEST, LARGEST = 1e-6, 1e6


def _checked(value: float, what: str, largest: float = LARGEST) -> float:
    """`value` as a float, refused unless it is a number from `SMALLEST` to `largest`."""
    if not (math.isfinite(value) and SMALLEST <= value <= largest):
        raise ProtocolError(f"{what} must be between {SMALLEST:g} and {largest:g}, got {value!r}.")
    return float(value)


def _number(value: float) -> str:
    """The shortest decimal text that reads back as `value`, without an exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


@final
@dataclass(frozen=True, slots=True)
class DoseAtVolume:
    """D(V): the least dose, in Gy, of the hottest `volume` of a structure.

    Attributes
    ----------
    volume : float
        In cc, or in percent of the structure's volume.
    unit : "cc" or "%"
        Unit of `volume`.
    """

    volume: float
    unit: Literal["cc", "%"]

    def __post_init__(self) -> None:
        if self.unit not in ("cc", "%"):
            raise ProtocolError(f"the volume of D(V) is in cc or %, got {self.unit!r}.")
        largest = 100.0 if self.unit == "%" else LARGEST
        object.__setattr__(self, "volume", _checked(self.volume, f"the volume of D(V) in {self.unit}", largest))

    def __str__(self) -> str:
        return f"D{_number(self.volume)}{self.unit}"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "Gy"


@final
@dataclass(frozen=True, slots=True)
class VolumeAtDose:
    """V(x Gy): the volume of a structure that receives at least `dose_gy`.

    Attributes
    ----------
    dose_gy : float
    unit : "cc" or "%"
        Unit of the metric's value.
    """

    dose_gy: float
    unit: Literal["cc", "%"]

    def __post_init__(self) -> None:
        if self.unit not in ("cc", "%"):
            raise ProtocolError(f"V(x Gy) is measured in cc or %, got {self.unit!r}.")
        object.__setattr__(self, "dose_gy", _checked(self.dose_gy, "the dose of V(x Gy) in Gy"))

    def __str__(self) -> str:
        return f"V{_number(self.dose_gy)}Gy{'%' if self.unit == '%' else ''}"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return self.unit


@final
@dataclass(frozen=True, slots=True)
class CriticalVolume:
    """The volume in cc of a structure that receives less than `dose_gy`; it must be at least `volume_cc`."""

    volume_cc: float
    dose_gy: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume_cc", _checked(self.volume_cc, "the critical volume in cc"))
        object.__setattr__(self, "dose_gy", _checked(self.dose_gy, "the dose of a critical volume in Gy"))

    def __str__(self) -> str:
        return f"CV{_number(self.volume_cc)}cc<{_number(self.dose_gy)}Gy"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "cc"


@final
@dataclass(frozen=True, slots=True)
class MeanDose:
    """The volume-weighted mean dose of a structure in Gy."""

    def __str__(self) -> str:
        return "Dmean"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "Gy"


@final
@dataclass(frozen=True, slots=True)
class MaxDose:
    """The largest dose of a structure in Gy."""

    def __str__(self) -> str:
        return "Dmax"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "Gy"


@final
@dataclass(frozen=True, slots=True)
class MinDose:
    """The smallest dose of a structure in Gy."""

    def __str__(self) -> str:
        return "Dmin"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "Gy"


@final
@dataclass(frozen=True, slots=True)
class StructureVolume:
    """The volume of a structure in cc: a condition on the anatomy, whatever the dose."""

    def __str__(self) -> str:
        return "Volume"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "cc"


Metric: TypeAlias = DoseAtVolume | VolumeAtDose | CriticalVolume | MeanDose | MaxDose | MinDose | StructureVolume

FORMS = ("D95%", "D0.035cc", "V15Gy", "V20Gy%", "CV700cc<15Gy", "Dmean", "Dmax", "Dmin", "Volume")

_NUM = r"([0-9]+(?:\.[0-9]+)?)"


def _dose_at_volume(match: re.Match[str]) -> Metric:
    return DoseAtVolume(float(match[1]), "%" if match[2] == "%" else "cc")


def _volume_at_dose(match: re.Match[str]) -> Metric:
    return VolumeAtDose(float(match[1]), "%" if match[2] else "cc")


def _critical_volume(match: re.Match[str]) -> Metric:
    return CriticalVolume(float(match[1]), float(match[2]))


_GRAMMAR: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Metric]], ...] = (
    (re.compile(rf"D{_NUM}(cc|%)"), _dose_at_volume),
    (re.compile(rf"V{_NUM}Gy(%?)"), _volume_at_dose),
    (re.compile(rf"CV{_NUM}cc<{_NUM}Gy"), _critical_volume),
    (re.compile("Dmean"), lambda _: MeanDose()),
    (re.compile("Dmax"), lambda _: MaxDose()),
    (re.compile("Dmin"), lambda _: MinDose()),
    (re.compile("Volume"), lambda _: StructureVolume()),
)

_NOT_YET = (
    ("generalised equivalent uniform dose", re.compile(r"gEUD\(.*\)")),
    ("volume at a biologically effective dose", re.compile(rf"VBED{_NUM}_{_NUM}Gy%?")),
    ("normal tissue complication probability", re.compile(r"NTCP\(.*\)")),
)


def parse_metric(text: str) -> Metric:
    """The metric that `text` names; ``str`` of the result reads back as the same metric.

    Raises
    ------
    ProtocolError
        The text is no known form, names a metric that this version does not implement, or holds a number out
        of range.
    """
    if len(text) > 80:
        raise ProtocolError(f"a metric has at most 80 characters, got {len(text)}.", remedy=_forms())
    for pattern, build in _GRAMMAR:
        if match := pattern.fullmatch(text):
            return build(match)
    for name, pattern in _NOT_YET:
        if pattern.fullmatch(text):
            message = f"the metric {text!r} ({name}) is known but not implemented in this version."
            raise ProtocolError(message, remedy=_forms())
    raise ProtocolError(f"unknown metric {text!r}.", remedy=_hint(text) + _forms())


def _forms() -> str:
    return f"Known forms: {', '.join(FORMS)}."


def _hint(text: str) -> str:
    """What the likely slip is, where one is recognised, else nothing."""
    if "cGy" in text:
        return "Doses are in Gy (100 cGy = 1 Gy). "
    if re.fullmatch(rf"D{_NUM}", text):
        return f"A dose at a volume needs its unit: {text}% or {text}cc. "
    if re.fullmatch(rf"V{_NUM}", text):
        return f"A volume at a dose needs its unit: {text}Gy (in cc) or {text}Gy% (in percent). "
    spelled = {form.lower(): form for form in FORMS}.get(text.lower())
    return f"Did you mean {spelled!r}? " if spelled else ""
