"""Dose metrics as physicists write them: text to types and back.

The forms are ``D95%``, ``D0.035cc``, ``V15Gy`` (in cc), ``V20Gy%``, ``CV700cc<15Gy`` (critical volume),
``Dmean``, ``Dmax``, ``Dmin`` and ``Volume``; ``gEUD(a=8)``, ``MOH2%`` and ``MOC5%`` (mean of the hottest and of the
coldest share) and ``HI`` (`tail_metrics`); ``EQD2_3(Dmean)`` and ``BED_10(V40Gy)``, a metric of the biological dose
with its alpha/beta; ``CI_Paddick``, ``CI_RTOG``, ``R50``, ``D2cm%``, ``V120%(PTV-GTV)`` and
``V70Gy(PTV-GTV)`` of a plan, stated of the PTV (`plan_metrics`).
Doses are total physical doses of the course in Gy. D and V follow ICRU Report 83 (2010), section 3.4; the critical
volume follows AAPM TG-101 (Benedict et al., Med Phys 37:4078, 2010), Table III.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, final

from .errors import ProtocolError
from .metric_numbers import LARGEST, Unit
from .metric_numbers import checked as _checked
from .metric_numbers import number as _number
from .plan_metrics import (
    DoseBeyond2cm,
    HalfDoseSpill,
    HotOutsideGtv,
    PaddickConformity,
    PlanMetric,
    RtogConformity,
)
from .radiobiology import DoseT, bed, dose_of_bed, dose_of_eqd2, eqd2
from .tail_metrics import GeneralisedEud, Homogeneity, TailMean


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


DoseMetric: TypeAlias = (
    DoseAtVolume | VolumeAtDose | CriticalVolume | MeanDose | MaxDose | MinDose | GeneralisedEud | TailMean
)


@final
@dataclass(frozen=True, slots=True)
class Biological:
    """A metric of the biological dose: every voxel is converted before anything is averaged or counted.

    Linear-quadratic (`radiobiology`), with the alpha/beta stated here; every dose in the metric is biological too.

    Attributes
    ----------
    kind : "EQD2" or "BED"
    alpha_beta_gy : float
    metric : a metric of one dose distribution
    fractions : int or None
        In which the dose is given; no part of the text: a protocol knows it (`in_fractions`).
    """

    kind: Literal["EQD2", "BED"]
    alpha_beta_gy: float
    metric: DoseMetric
    fractions: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("EQD2", "BED"):
            raise ProtocolError(f"a biological dose is an EQD2 or a BED, got {self.kind!r}.")
        if not isinstance(self.metric, DoseMetric):
            raise ProtocolError(f"{self.metric} is no metric of a biological dose.")
        object.__setattr__(self, "alpha_beta_gy", _checked(self.alpha_beta_gy, "alpha/beta in Gy"))

    def __str__(self) -> str:
        return f"{self.kind}_{_number(self.alpha_beta_gy)}({self.metric})"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return self.metric.value_unit

    def in_fractions(self, fractions: int) -> Biological:
        """The metric of a dose that is given in so many fractions."""
        return replace(self, fractions=fractions)

    def of(self, dose_gy: DoseT) -> DoseT:
        """The biological dose of a physical one, Gy; a scalar or an array."""
        convert = eqd2 if self.kind == "EQD2" else bed
        return convert(dose_gy, self._given(), self.alpha_beta_gy)

    def slope(self, dose_gy: DoseT) -> DoseT:
        """Biological Gy per physical Gy at a dose."""
        rising = 1.0 + 2.0 * dose_gy / (self._given() * self.alpha_beta_gy)
        return rising / (1.0 + 2.0 / self.alpha_beta_gy) if self.kind == "EQD2" else rising

    def physical(self, dose_gy: float) -> float:
        """The physical dose in Gy that has this biological dose."""
        convert = dose_of_eqd2 if self.kind == "EQD2" else dose_of_bed
        return convert(dose_gy, self._given(), self.alpha_beta_gy)

    def _given(self) -> int:
        if self.fractions is None:
            raise ProtocolError(
                f"the metric {self} needs the number of fractions that the dose is given in.",
                remedy="In a protocol it is that of the protocol; elsewhere give it with in_fractions(n).",
            )
        return self.fractions


Metric: TypeAlias = DoseMetric | StructureVolume | Homogeneity | Biological | PlanMetric

FORMS = (
    "D95%", "D0.035cc", "V15Gy", "V20Gy%", "CV700cc<15Gy", "Dmean", "Dmax", "Dmin", "Volume", "gEUD(a=8)", "MOH2%",
    "MOC5%", "HI", "EQD2_3(Dmean)", "BED_10(V40Gy)", "CI_Paddick", "CI_RTOG", "R50", "D2cm%",
    "V120%(PTV-GTV)", "V70Gy(PTV-GTV)",
)  # fmt: skip

_NUM = r"([0-9]+(?:\.[0-9]+)?)"


def _dose_at_volume(match: re.Match[str]) -> Metric:
    return DoseAtVolume(float(match[1]), "%" if match[2] == "%" else "cc")


def _volume_at_dose(match: re.Match[str]) -> Metric:
    return VolumeAtDose(float(match[1]), "%" if match[2] else "cc")


def _critical_volume(match: re.Match[str]) -> Metric:
    return CriticalVolume(float(match[1]), float(match[2]))


def _tail_mean(match: re.Match[str]) -> Metric:
    return TailMean(float(match[2]), "hottest" if match[1] == "H" else "coldest")


def _hot_outside_gtv(match: re.Match[str]) -> Metric:
    return HotOutsideGtv(float(match[1]), "%" if match[2] == "%" else "Gy")


def _biological(match: re.Match[str]) -> Metric:
    inner = parse_metric(match[3])
    return Biological("EQD2" if match[1] == "EQD2" else "BED", float(match[2]), inner)  # type: ignore[arg-type]


_GRAMMAR: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Metric]], ...] = (
    (re.compile(rf"D{_NUM}(cc|%)"), _dose_at_volume),
    (re.compile(rf"V{_NUM}Gy(%?)"), _volume_at_dose),
    (re.compile(rf"CV{_NUM}cc<{_NUM}Gy"), _critical_volume),
    (re.compile("Dmean"), lambda _: MeanDose()),
    (re.compile("Dmax"), lambda _: MaxDose()),
    (re.compile("Dmin"), lambda _: MinDose()),
    (re.compile("Volume"), lambda _: StructureVolume()),
    (re.compile(rf"gEUD\(a=(-?){_NUM}\)"), lambda match: GeneralisedEud(float(match[1] + match[2]))),
    (re.compile(rf"MO([HC]){_NUM}%"), _tail_mean),
    (re.compile("HI"), lambda _: Homogeneity()),
    (re.compile(rf"(EQD2|BED)_{_NUM}\((.*)\)"), _biological),
    (re.compile("CI_Paddick"), lambda _: PaddickConformity()),
    (re.compile("CI_RTOG"), lambda _: RtogConformity()),
    (re.compile("R50"), lambda _: HalfDoseSpill()),
    (re.compile("D2cm%"), lambda _: DoseBeyond2cm()),
    (re.compile(rf"V{_NUM}(%|Gy)\(PTV-GTV\)"), _hot_outside_gtv),
)

_NOT_YET = (("normal tissue complication probability", re.compile(r"NTCP\(.*\)")),)


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
    if match := re.fullmatch(rf"VBED{_NUM}_{_NUM}Gy(%?)", text):
        return f"A volume at a BED is written BED_{match[1]}(V{match[2]}Gy{match[3]}). "
    if re.fullmatch(r"gEUD.*", text):
        return "A generalised equivalent uniform dose states its exponent: gEUD(a=8). "
    if re.fullmatch(r"D2cm", text):
        return "The highest dose beyond 2 cm is D2cm%, in percent of the reached dose; in Gy use Dmax of a ring. "
    if re.fullmatch(rf"V{_NUM}%", text):
        return f"A volume at a dose is stated at a dose in Gy, a hot spot outside the GTV as {text}(PTV-GTV). "
    spelled = {form.lower(): form for form in FORMS}.get(text.lower())
    return f"Did you mean {spelled!r}? " if spelled else ""
