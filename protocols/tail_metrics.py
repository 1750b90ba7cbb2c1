"""Metrics of one structure that weigh its whole dose distribution or a tail of it: gEUD, tail means, homogeneity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from .errors import ProtocolError
from .metric_numbers import Unit, checked, number


@final
@dataclass(frozen=True, slots=True)
class GeneralisedEud:
    """gEUD(a), in Gy: (mean of d^a)^(1/a). Niemierko, Med Phys 26:1100 (1999).

    Attributes
    ----------
    a : float
        Not 0: 1 is the mean; large for the maximum of a serial organ, negative for the cold part of a target.
    """

    a: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.a) and 1e-3 <= abs(self.a) <= 1e3):
            raise ProtocolError(f"the exponent of a gEUD is a number of size 0.001 to 1000, got {self.a!r}.")
        object.__setattr__(self, "a", float(self.a))

    def __str__(self) -> str:
        return f"gEUD(a={number(self.a)})"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "Gy"


@final
@dataclass(frozen=True, slots=True)
class TailMean:
    """The mean dose in Gy of the hottest (MOH) or coldest (MOC) share of a structure's volume.

    Convex in the dose for the hottest, concave for the coldest share: Rockafellar and Uryasev, J Risk 2:21 (2000); for
    doses Romeijn et al., Phys Med Biol 48:3521 (2003).

    Attributes
    ----------
    percent : float
        Of the structure's volume.
    end : "hottest" or "coldest"
    """

    percent: float
    end: Literal["hottest", "coldest"]

    def __post_init__(self) -> None:
        if self.end not in ("hottest", "coldest"):
            raise ProtocolError(f"a tail mean is of the hottest or coldest share, got {self.end!r}.")
        object.__setattr__(self, "percent", checked(self.percent, "the share of a tail mean in %", 100.0))

    def __str__(self) -> str:
        return f"{'MOH' if self.end == 'hottest' else 'MOC'}{number(self.percent)}%"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "Gy"


@final
@dataclass(frozen=True, slots=True)
class Homogeneity:
    """(D2% - D98%) / D50% of a structure: the homogeneity index of ICRU Report 83 (2010), equation 3.1; 0 is best."""

    def __str__(self) -> str:
        return "HI"

    @property
    def value_unit(self) -> Unit:
        """Unit of the metric's value."""
        return "ratio"
