"""Cumulative dose-volume histograms: exact counts at chosen doses, no interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from dosecalc.grid import Volume
from dosecalc.structures import StructureSet

from .voxel_doses import checked

DVH_COLUMNS = ("structure", "dose_gy", "volume_cc", "volume_pct")


@dataclass(frozen=True, slots=True, eq=False)
class Dvh:
    """The volume of a structure that receives at least a dose.

    Attributes
    ----------
    dose_gy : (m,) float64
        Course-total dose: 0, one bin width, two, ... The last one lies above the maximum of the structure.
    volume_cc : (m,) float64
        Volume with at least that dose; falls from the whole volume to exactly 0.
    """

    dose_gy: npt.NDArray[np.float64]
    volume_cc: npt.NDArray[np.float64]

    @property
    def volume_pct(self) -> npt.NDArray[np.float64]:
        """Volume in percent of the structure, (m,) float64."""
        return 100.0 * self.volume_cc / self.volume_cc[0]


def dvh(dose_gy: npt.ArrayLike, cc: npt.ArrayLike, bin_gy: float = 0.1) -> Dvh:
    """The cumulative histogram of one structure.

    Parameters
    ----------
    dose_gy : (n,) array
        Dose of each voxel of the structure, Gy, >= 0.
    cc : (n,) array
        Volume of the structure in each voxel, cc.
    bin_gy : float
        Distance between the doses of the table; the volumes at those doses are exact whatever it is.

    Raises
    ------
    InputError
        No voxel, unequal lengths, values that are not finite, negative doses, or a bin that is not positive.
    """
    dose, volume = checked(dose_gy, cc)
    if not (np.isfinite(bin_gy) and bin_gy > 0):
        raise InputError(f"the bin of a dose-volume histogram must be positive in Gy, got {bin_gy!r}.")
    if dose.min() < 0:
        raise InputError(f"a dose-volume histogram starts at 0 Gy, but the lowest dose is {dose.min():.6g} Gy.")
    order = np.argsort(dose)
    ascending = dose[order]
    # at_least[k] is the volume of voxels k, k + 1, ... of the ascending order; the trailing 0 is exact.
    at_least = np.append(np.cumsum(volume[order][::-1])[::-1], 0.0)
    edges = np.arange(int(ascending[-1] / bin_gy) + 2, dtype=np.float64) * bin_gy
    if edges[-1] <= ascending[-1]:  # the quotient can round down
        edges = np.append(edges, edges.size * bin_gy)
    return Dvh(edges, at_least[np.searchsorted(ascending, edges, side="left")])


def dvh_rows(
    dose: Volume, structures: StructureSet, *, bin_gy: float = 0.1
) -> Iterator[tuple[str, float, float, float]]:
    """Rows (structure, dose_gy, volume_cc, volume_pct) of every structure that has a voxel on the dose grid.

    Parameters
    ----------
    dose : Volume
        Course-total Gy on the dose grid.
    structures : StructureSet
        Rasterised on that grid.
    bin_gy : float
        Distance between the doses of the table.
    """
    flat = dose.values.reshape(-1)
    for name in structures.names:
        voxels = structures[name].on(dose.grid)
        if voxels.indices.size == 0:
            continue
        curve = dvh(flat[voxels.indices], voxels.cc, bin_gy)
        columns = (curve.dose_gy.round(9), curve.volume_cc, curve.volume_pct)
        yield from zip([name] * curve.dose_gy.size, *(column.tolist() for column in columns), strict=True)
