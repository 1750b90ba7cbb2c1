"""Biologically effective dose with the linear-quadratic model.

Equations: Fowler, Br J Radiol 62:679 (1989). Usual alpha/beta values are 10 Gy for tumour, 3 Gy for late
effects, 2 Gy for the spinal cord and 2.5 Gy for the liver; they are parameters here, because published values
differ.

Validity: the model is "reasonably validated up to about 10 Gy per fraction, reasonable up to about 18 Gy per
fraction" (Brenner, Semin Radiat Oncol 18:234, 2008). Above that it overstates the effect of large fractions,
and it can reverse the ranking of two schemes: see `lq_validity`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeVar

from .errors import ProtocolError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DoseT = TypeVar("DoseT", float, "npt.NDArray[np.float64]")

# Brenner, Semin Radiat Oncol 18:234 (2008).
LQ_VALIDATED_GY_PER_FRACTION = 10.0
LQ_PLAUSIBLE_GY_PER_FRACTION = 18.0


def bed(dose_gy: DoseT, fractions: int, alpha_beta_gy: float) -> DoseT:
    """Biologically effective dose D (1 + d / (alpha/beta)) with d = D / n.

    Parameters
    ----------
    dose_gy : float or array
        Total physical dose of the course, Gy.
    fractions : int
        Number of equal fractions, at least 1.
    alpha_beta_gy : float
        Alpha/beta of the tissue, Gy, positive.

    Returns
    -------
    float or array
        Gy, the shape of `dose_gy`.

    Raises
    ------
    ProtocolError
        `fractions` or `alpha_beta_gy` is out of range.
    """
    _check(fractions, alpha_beta_gy)
    return dose_gy * (1.0 + dose_gy / (fractions * alpha_beta_gy))


def eqd2(dose_gy: DoseT, fractions: int, alpha_beta_gy: float) -> DoseT:
    """The dose in 2 Gy fractions of equal effect, BED / (1 + 2 / (alpha/beta)); parameters as for `bed`."""
    return bed(dose_gy, fractions, alpha_beta_gy) / (1.0 + 2.0 / alpha_beta_gy)


def lq_validity(dose_gy: float, fractions: int) -> Literal["validated", "plausible", "beyond"]:
    """How far the linear-quadratic model can be trusted at this dose per fraction (limits as in the
    module's note).
    """
    _check(fractions, LQ_VALIDATED_GY_PER_FRACTION)
    per_fraction = dose_gy / fractions
    if per_fraction <= LQ_VALIDATED_GY_PER_FRACTION:
        return "validated"
    return "plausible" if per_fraction <= LQ_PLAUSIBLE_GY_PER_FRACTION else "beyond"


def _check(fractions: int, alpha_beta_gy: float) -> None:
    if not fractions >= 1:
        raise ProtocolError(f"the number of fractions must be at least 1, got {fractions!r}.")
    if not (math.isfinite(alpha_beta_gy) and alpha_beta_gy > 0):
        raise ProtocolError(f"alpha/beta must be finite and positive in Gy, got {alpha_beta_gy!r}.")
