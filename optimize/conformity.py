"""How well an isodose fits its target: indices of conformity, gradient and homogeneity, by their definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Voxels

from .metrics import dose_at_volume
from .regions import Region

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Index:
    """One index with its unit (a space first) and its definition in words; None where it is not defined.

    `metric` is the text of the metric by which a goal asks for it, empty where there is none.
    """

    name: str
    metric: str
    value: float | None
    unit: str
    definition: str


def conformity(dose: Volume, body: Voxels | Region, ptv: Voxels | Region, prescribed_gy: float) -> tuple[Index, ...]:
    """The indices of a plan; empty where there is no prescribed dose, no body or no PTV.

    Volumes are sums of partial volumes over voxels whose dose reaches the level, so they are steady to about a
    voxel's share of the isodose's surface.

    Parameters
    ----------
    dose : Volume
        Course-total Gy.
    body, ptv : Voxels or Region
        On the dose grid.
    prescribed_gy : float
        The dose that the indices refer to.
    """
    if prescribed_gy <= 0 or not body.indices.size or not ptv.indices.size:
        return ()
    flat = dose.values.reshape(-1)
    inside, around = flat[ptv.indices], flat[body.indices]
    ptv_cc = float(ptv.cc.sum())
    covered = float(ptv.cc[inside >= prescribed_gy].sum())
    isodose = float(body.cc[around >= prescribed_gy].sum())
    half = float(body.cc[around >= 0.5 * prescribed_gy].sum())
    d2, d50, d98 = (dose_at_volume(inside, ptv.cc, share * ptv_cc) for share in (0.02, 0.50, 0.98))
    return (
        Index("Paddick conformity", "CI_Paddick", _over(covered**2, ptv_cc * isodose), "",
              "(PTV within the isodose)\u00b2 / (PTV \u00d7 isodose volume); 1 is a perfect fit (Paddick 2000)"),
        Index("RTOG conformity", "CI_RTOG", _over(isodose, ptv_cc), "", "isodose volume / PTV (Shaw 1993)"),
        Index("R50%", "R50", _over(half, ptv_cc), "", "volume of half the reached dose / PTV (RTOG 0813)"),
        Index("Gradient index", "", _over(half, isodose), "",
              "volume of half the reached dose / volume of the reached dose (Paddick and Lippitz 2006)"),
        Index("D2cm", "D2cm%", 100.0 * _beyond(dose, body, ptv, 20.0) / prescribed_gy, " %",
              "highest dose 2 cm or more from the PTV, percent of the reached dose (RTOG 0813)"),
        Index("Homogeneity", "HI", _over(d2 - d98, d50), "", "(D2% \u2212 D98%) / D50% of the PTV (ICRU 83)"),
    )  # fmt: skip


def hot_outside_gtv_cc(ptv: Region, gtv: Region, grid: Grid, level_gy: float) -> float:
    """Volume of the PTV without the GTV that receives at least a dose, cc; partial volumes are subtracted by voxel."""
    inner = np.zeros(grid.size)
    inner[gtv.indices] = gtv.cc
    rest_cc = np.maximum(ptv.cc - inner[ptv.indices], 0.0)
    return float(rest_cc[ptv.dose_gy >= level_gy].sum())


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _beyond(dose: Volume, body: Voxels | Region, ptv: Voxels | Region, distance_mm: float) -> float:
    """The highest dose of body voxels whose centre is at least this far from every voxel centre of the PTV."""
    target = np.zeros(dose.grid.size, bool)
    target[ptv.indices[ptv.cc >= 0.5 * dose.grid.voxel_cc]] = True
    if not target.any():
        target[ptv.indices] = True
    away = distance_transform_edt(~target.reshape(dose.grid.shape), sampling=dose.grid.spacing_mm[::-1]).reshape(-1)
    far = body.indices[away[body.indices] >= distance_mm]
    return float(dose.values.reshape(-1)[far].max(initial=0.0))
