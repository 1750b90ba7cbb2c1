"""Metrics of a whole plan, stated of the PTV: how well the isodoses of the reached dose fit it.

They need the dose of the body around the PTV and the dose that the prescribed structure reached, D95% say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from .metric_numbers import Unit


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


PlanMetric: TypeAlias = PaddickConformity | RtogConformity | HalfDoseSpill | DoseBeyond2cm
