"""Value and slope of convex dose metrics, for the problem that is solved.

The same metrics are measured in `metrics` and `geud`. They stand here again on purpose: judging a plan shares no code
with stating its problem, or a fault would confirm itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def geud_slope(dose_gy: Array, cc: Array, a: float) -> tuple[float, Array]:
    """The gEUD and its slope at a dose: d gEUD / d d_i = v_i (d_i / gEUD)^(a - 1), v_i the shares of the volume.

    Niemierko, Med Phys 26:1100 (1999). The gEUD is homogeneous of degree one, so the tangent passes through the origin:
    slope @ dose is the gEUD itself, and slope @ d <= gEUD(d) for every d >= 0 where a >= 1 (>= where a <= 1).

    Parameters
    ----------
    dose_gy, cc : (n,) float64
        Dose (physical or biological), >= 0, and volume of each voxel, > 0.
    a : float
        Not 0.

    Returns
    -------
    value : float
        In the unit of the doses.
    slope : (n,) float64
        Where the gEUD is 0 that of the mean for a >= 1, a valid slope there too; zeros for a < 1, where none is known.
    """
    share, pivot = cc / cc.sum(), float(dose_gy.max() if a > 0 else dose_gy.min())
    if pivot <= 0:
        return 0.0, share if a >= 1 else np.zeros(dose_gy.size)
    relative = dose_gy / pivot  # no power overflows
    value = float(share @ relative**a) ** (1.0 / a)
    return pivot * value, share * (relative / value) ** (a - 1.0)


def tail_shares(dose_gy: Array, cc: Array, percent: float, *, coldest: bool) -> Array:
    """What each voxel counts in the mean of the hottest or coldest percent, (n,): the slope of that mean, adding up to
    one. The voxel at the border counts with the part of it that is needed.
    """
    order = np.argsort(dose_gy, kind="stable")
    order = order if coldest else order[::-1]
    filled = np.minimum(np.cumsum(cc[order]), percent / 100.0 * cc.sum())
    shares = np.zeros(cc.size)
    shares[order] = np.diff(filled, prepend=0.0) / filled[-1]
    return shares
