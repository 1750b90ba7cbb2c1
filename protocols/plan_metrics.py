"""Metrics of a whole plan, stated of the PTV: how well the isodoses of the reached dose fit it.

They need the dose of the body around the PTV and the dose that the prescribed structure reached, D95% say; where the
hot spot lies also needs the GTV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from .errors import ProtocolError
from .metric_numbers import Unit, checked, number


@final
@dataclass(frozen=True, slots=True)
class PaddickConformity:
    """(PTV within the isodose)^2 / (PTV x isodose volume), 1 is a perfect fit: Paddick, J Neurosurg 93:219 (2000)."""

    def __str__(self) -> str:
        return "CI_Paddick"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "ratio"


@final
@dataclass(frozen=True, slots=True)
class RtogConformity:
    """Isodose volume / PTV: Shaw et al., Int J Radiat Oncol Biol Phys 27:1231 (1993)."""

    def __str__(self) -> str:
        return "CI_RTOG"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "ratio"


@final
@dataclass(frozen=True, slots=True)
class HalfDoseSpill:
    """Volume of half the reached dose / PTV: the R50% of RTOG 0813 and RTOG 0915."""

    def __str__(self) -> str:
        return "R50"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "ratio"


@final
@dataclass(frozen=True, slots=True)
class DoseBeyond2cm:
    """Highest dose 2 cm or more from the PTV, in percent of the reached dose: the D2cm of RTOG 0813."""

    def __str__(self) -> str:
        return "D2cm%"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "%"


@final
@dataclass(frozen=True, slots=True)
class HotOutsideGtv:
    """Volume in cc of the PTV without the GTV that receives at least a dose: 0 where the hot spot lies in the GTV.

    That the hot spot has to lie inside the target is what reviews of liver SBRT ask; no text that was read states a
    level of dose for it, so it is the user's.

    Attributes
    ----------
    level : float
        In Gy, or in percent of the reached dose and then above 100: all of the PTV is to receive that dose.
    unit : "%" or "Gy"
        Unit of `level`.
    """

    level: float
    unit: Literal["%", "Gy"]

    def __post_init__(self) -> None:
        if self.unit not in ("%", "Gy"):
            raise ProtocolError(f"the dose of V(PTV-GTV) is in % of the reached dose or in Gy, got {self.unit!r}.")
        object.__setattr__(self, "level", checked(self.level, f"the dose of V(PTV-GTV) in {self.unit}"))
        if self.unit == "%" and self.level <= 100.0:
            raise ProtocolError(
                f"{self}: all of the PTV is to receive the reached dose, so a hot spot is more than 100 % of it.",
                remedy="State a level such as V120%(PTV-GTV).",
            )

    def __str__(self) -> str:
        return f"V{number(self.level)}{self.unit}(PTV-GTV)"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "cc"


PlanMetric: TypeAlias = PaddickConformity | RtogConformity | HalfDoseSpill | DoseBeyond2cm | HotOutsideGtv
