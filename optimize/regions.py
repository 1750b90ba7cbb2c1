"""The voxels, doses and volumes of the structures that a plan is judged on."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.structures import StructureSet, Voxels

# A target that no structure is called by stands for the union of the structures with that role.
TARGET_ROLES = ("GTV", "CTV", "ITV", "PTV")


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A structure on the dose grid, hottest voxel first: sorting again for each metric then costs little.

    Attributes
    ----------
    name : str
    indices : (n,) int64
        C-order flat voxel indices.
    dose_gy : (n,) float64
        Course-total dose.
    cc : (n,) float64
        Volume of the structure inside each voxel.
    cut_by : str
        "the scan" or "the dose grid", whichever ends inside the structure, so that its volume here is a lower bound;
        empty where neither does.
    """

    name: str
    indices: npt.NDArray[np.int64]
    dose_gy: npt.NDArray[np.float64]
    cc: npt.NDArray[np.float64]
    cut_by: str

    @property
    def total_cc(self) -> float:
        """Volume on the dose grid."""
        return float(self.cc.sum())


def checked_dose(dose: Volume) -> npt.NDArray[np.float64]:
    """The doses of the whole grid, (n,) float64 in C order.

    Raises
    ------
    InputError
        A dose is not finite, or below zero.
    """
    flat = np.asarray(dose.values, dtype=np.float64).reshape(-1)
    if not np.isfinite(flat).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(flat))} voxels of the dose are NaN or infinite.")
    if flat.min() < 0:
        raise InputError(f"the dose has negative values, the lowest is {flat.min():.6g} Gy.")
    return flat


def regions_on(dose: Volume, structures: StructureSet, cut_structures: tuple[str, ...]) -> dict[str, Region]:
    """Every structure that has a voxel on the dose grid, by name, and unions of target roles without a name.

    Parameters
    ----------
    dose : Volume
        Course-total Gy.
    structures : StructureSet
    cut_structures : tuple of str
        Structures known to be cut by the scan, beside those that reach a face of the dose grid.
    """
    flat = checked_dose(dose)
    found: dict[str, Region] = {}
    of_role: dict[str, list[Voxels]] = {role: [] for role in TARGET_ROLES}
    for name in structures.names:
        voxels = structures[name].on(dose.grid)
        if voxels.indices.size == 0:
            continue
        found[name] = _region(name, voxels, flat, name in cut_structures)
        if structures[name].role in of_role:
            of_role[structures[name].role].append(voxels)
    for role, members in of_role.items():
        if members and role not in structures:
            found[role] = _region(role, _union(members), flat, role in cut_structures)
    return found


def near_names(name: str, names: tuple[str, ...]) -> str:
    """The known names closest to `name` as a hint in parentheses, or nothing."""
    close = difflib.get_close_matches(name.casefold(), [known.casefold() for known in names], n=3, cutoff=0.5)
    spelled = [known for known in names if known.casefold() in close]
    return f" (near: {', '.join(spelled)})" if spelled else ""


def _region(name: str, voxels: Voxels, flat: npt.NDArray[np.float64], known_cut: bool) -> Region:
    dose = flat[voxels.indices]
    order = np.argsort(-dose, kind="stable")
    cut_by = "the scan" if known_cut else "the dose grid" if voxels.faces_touched else ""
    return Region(name, voxels.indices[order], dose[order], voxels.cc[order], cut_by)


def _union(members: list[Voxels]) -> Voxels:
    """Partial volumes added voxel by voxel, up to the whole voxel: exact where structures do not overlap."""
    grid: Grid = members[0].grid
    indices, where = np.unique(np.concatenate([v.indices for v in members]), return_inverse=True)
    cc = np.bincount(where, weights=np.concatenate([v.cc for v in members]))
    return Voxels(grid, indices, np.minimum(cc, grid.voxel_cc))


def outside(region: Region, inner: Region, grid: Grid) -> npt.NDArray[np.float64]:
    """Doses of the voxels of `region` that lie mostly (by half or more) outside `inner`, (m,) float64 in Gy.

    A voxel on the border of a target holds target: counting its dose as outside would ask for a step in dose.
    """
    covered = np.zeros(grid.size)
    covered[inner.indices] = inner.cc
    return region.dose_gy[covered[region.indices] <= 0.5 * grid.voxel_cc]
