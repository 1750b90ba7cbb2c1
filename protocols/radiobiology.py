"""Biologically effective dose: the linear-quadratic model, its straight continuation at large fractions, inverses.

- BED = D (1 + d / (alpha/beta)) and EQD2 = BED / (1 + 2 / (alpha/beta)), with d = D / n: Fowler, Br J Radiol 62:679
  (1989).
- LQ-L: above a transition dose d_T per fraction the survival curve goes on as the tangent at d_T, so that
  BED = n (d_T (1 + d_T / (alpha/beta)) + (1 + 2 d_T / (alpha/beta)) (d - d_T)): Astrahan, Med Phys 35:4161 (2008),
  with the slope that leaves no kink.
- Universal survival curve (USC): Park et al., Int J Radiat Oncol Biol Phys 70:847 (2008). The straight part has the
  final slope 1 / D0 and the quasi-threshold Dq of the multitarget model, BED = (D - n Dq) / (alpha D0). As both parts
  are tangent at d_T = 2 Dq / (1 - alpha D0), with beta = (1 - alpha D0)^2 / (4 D0 Dq), it is an LQ-L with these values.

All functions take scalars or arrays, so a dose distribution is converted voxel by voxel: before any mean or gEUD, never
after it. Usual alpha/beta values are 10 Gy for tumour, 3 Gy for late effects, 2 Gy for the spinal cord and 2.5 Gy for
the liver; they are parameters here, because published values differ.

Validity: the linear-quadratic model is "reasonably validated up to about 10 Gy per fraction, reasonable up to about
18 Gy per fraction" (Brenner, Semin Radiat Oncol 18:234, 2008). Above that it overstates the effect of large fractions,
and it can reverse the ranking of two schemes: see `lq_validity`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from .errors import ProtocolError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DoseT = TypeVar("DoseT", float, "npt.NDArray[np.float64]")

# Brenner, Semin Radiat Oncol 18:234 (2008).
LQ_VALIDATED_GY_PER_FRACTION = 10.0
LQ_PLAUSIBLE_GY_PER_FRACTION = 18.0

LQL_TRANSITION_GY = 10.0
"""Dose per fraction where the LQ-L is set to go straight: the end of the validated range, and common in the
literature; a choice, not a measured value."""


def bed(dose_gy: DoseT, fractions: int, alpha_beta_gy: float, *, transition_gy: float = math.inf) -> DoseT:
    """Biologically effective dose, linear-quadratic up to `transition_gy` per fraction and straight above (LQ-L).

    Parameters
    ----------
    dose_gy : float or array
        Total physical dose of the course, Gy.
    fractions : int
        Number of equal fractions, at least 1.
    alpha_beta_gy : float
        Alpha/beta of the tissue, Gy, positive.
    transition_gy : float
        Dose per fraction above which the survival curve is straight; infinite for the linear-quadratic model.

    Returns
    -------
    float or array
        Gy, the shape of `dose_gy`.

    Raises
    ------
    ProtocolError
        `fractions`, `alpha_beta_gy` or `transition_gy` is out of range.
    """
    _check(fractions, alpha_beta_gy, transition_gy)
    quadratic = dose_gy * (1.0 + dose_gy / (fractions * alpha_beta_gy))
    if math.isinf(transition_gy):
        return quadratic
    # The curve lies under its own parabola by the square of what is beyond the tangent point.
    return quadratic - fractions * _positive_part(dose_gy / fractions - transition_gy) ** 2 / alpha_beta_gy


def eqd2(dose_gy: DoseT, fractions: int, alpha_beta_gy: float, *, transition_gy: float = math.inf) -> DoseT:
    """The dose in 2 Gy fractions of equal effect, BED / (1 + 2 / (alpha/beta)); parameters as for `bed`.

    Fractions of 2 Gy are taken to lie below the transition.
    """
    return bed(dose_gy, fractions, alpha_beta_gy, transition_gy=transition_gy) / (1.0 + 2.0 / alpha_beta_gy)


def dose_of_bed(bed_gy: DoseT, fractions: int, alpha_beta_gy: float, *, transition_gy: float = math.inf) -> DoseT:
    """The total physical dose in `fractions` fractions that has this BED: the inverse of `bed`, same parameters.

    Raises
    ------
    ProtocolError
        A parameter is out of range, or a BED is negative.
    """
    _check(fractions, alpha_beta_gy, transition_gy)
    lowest = float(bed_gy.min()) if hasattr(bed_gy, "min") else bed_gy
    if lowest < 0:
        raise ProtocolError(f"a BED must not be negative, got {lowest:g} Gy.")
    if math.isinf(transition_gy):
        return _quadratic_dose(bed_gy, fractions, alpha_beta_gy)
    straight = _positive_part(bed_gy - fractions * transition_gy * (1.0 + transition_gy / alpha_beta_gy))
    slope = 1.0 + 2.0 * transition_gy / alpha_beta_gy
    return _quadratic_dose(bed_gy - straight, fractions, alpha_beta_gy) + straight / slope


def dose_of_eqd2(eqd2_gy: DoseT, fractions: int, alpha_beta_gy: float, *, transition_gy: float = math.inf) -> DoseT:
    """The total physical dose in `fractions` fractions that has this EQD2: the inverse of `eqd2`."""
    _check(fractions, alpha_beta_gy, transition_gy)
    return dose_of_bed(eqd2_gy * (1.0 + 2.0 / alpha_beta_gy), fractions, alpha_beta_gy, transition_gy=transition_gy)


@dataclass(frozen=True, slots=True)
class UniversalSurvival:
    """Parameters of a universal survival curve (Park et al. 2008).

    Attributes
    ----------
    alpha_per_gy : float
        Initial slope.
    d0_gy : float
        Dose for a fall by 1/e on the straight part.
    dq_gy : float
        Where the straight part, drawn back, meets a survival of 1.

    Raises
    ------
    ProtocolError
        A value is not positive, or alpha D0 is not below 1: the curve would bend upwards.
    """

    alpha_per_gy: float
    d0_gy: float
    dq_gy: float

    def __post_init__(self) -> None:
        values = (self.alpha_per_gy, self.d0_gy, self.dq_gy)
        if not all(math.isfinite(v) and v > 0 for v in values) or self.alpha_per_gy * self.d0_gy >= 1:
            raise ProtocolError(
                f"a universal survival curve needs positive alpha, D0 and Dq with alpha D0 < 1, got {values}."
            )

    @property
    def beta_per_gy2(self) -> float:
        """(1 - alpha D0)^2 / (4 D0 Dq): what makes the two parts meet without a kink."""
        return (1.0 - self.alpha_per_gy * self.d0_gy) ** 2 / (4.0 * self.d0_gy * self.dq_gy)

    @property
    def alpha_beta_gy(self) -> float:
        """alpha / beta."""
        return self.alpha_per_gy / self.beta_per_gy2

    @property
    def transition_gy(self) -> float:
        """2 Dq / (1 - alpha D0), dose per fraction."""
        return 2.0 * self.dq_gy / (1.0 - self.alpha_per_gy * self.d0_gy)

    def bed(self, dose_gy: DoseT, fractions: int) -> DoseT:
        """BED of a total dose in equal fractions, Gy."""
        return bed(dose_gy, fractions, self.alpha_beta_gy, transition_gy=self.transition_gy)


H460 = UniversalSurvival(alpha_per_gy=0.33, d0_gy=1.25, dq_gy=1.8)
"""Lung cancer cells NCI-H460 (Park et al. 2008; Dq from memory, but with it beta is the 0.0383 that is printed). No
curve of colorectal metastases is known to us: for comparison with the linear-quadratic model only."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How physical dose becomes biological dose, the same for tumour and organs: a name, and where the curve goes
    straight (infinite for the linear-quadratic model).
    """

    name: str
    transition_gy: float = math.inf

    def bed(self, dose_gy: DoseT, fractions: int, alpha_beta_gy: float) -> DoseT:
        """As `bed`."""
        return bed(dose_gy, fractions, alpha_beta_gy, transition_gy=self.transition_gy)

    def eqd2(self, dose_gy: DoseT, fractions: int, alpha_beta_gy: float) -> DoseT:
        """As `eqd2`."""
        return eqd2(dose_gy, fractions, alpha_beta_gy, transition_gy=self.transition_gy)


LQ = Conversion("LQ")
LQL = Conversion("LQ-L", LQL_TRANSITION_GY)


def lq_validity(dose_gy: float, fractions: int) -> Literal["validated", "plausible", "beyond"]:
    """How far the linear-quadratic model can be trusted at this dose per fraction (limits as in the
    module's note).
    """
    _check(fractions, LQ_VALIDATED_GY_PER_FRACTION)
    per_fraction = dose_gy / fractions
    if per_fraction <= LQ_VALIDATED_GY_PER_FRACTION:
        return "validated"
    return "plausible" if per_fraction <= LQ_PLAUSIBLE_GY_PER_FRACTION else "beyond"


def _quadratic_dose(bed_gy: DoseT, fractions: int, alpha_beta_gy: float) -> DoseT:
    """The positive root of the linear-quadratic model, in the form that does not cancel for small BED."""
    return 2.0 * bed_gy / (1.0 + (1.0 + 4.0 * bed_gy / (fractions * alpha_beta_gy)) ** 0.5)


def _positive_part(value: DoseT) -> DoseT:
    """The value where it is positive, else 0: in arithmetic that scalars and arrays share without NumPy."""
    return (abs(value) + value) / 2.0


def _check(fractions: int, alpha_beta_gy: float, transition_gy: float = math.inf) -> None:
    if not fractions >= 1:
        raise ProtocolError(f"the number of fractions must be at least 1, got {fractions!r}.")
    if not (math.isfinite(alpha_beta_gy) and alpha_beta_gy > 0):
        raise ProtocolError(f"alpha/beta must be finite and positive in Gy, got {alpha_beta_gy!r}.")
    if not transition_gy > 0:
        raise ProtocolError(f"the transition of the LQ-L must be positive in Gy per fraction, got {transition_gy!r}.")
