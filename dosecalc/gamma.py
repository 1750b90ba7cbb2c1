"""Gamma index: how far two doses are apart, in dose and distance at once (Low et al., Med Phys 25:656, 1998).

Around every point of the reference the evaluated dose is searched, interpolated linearly, for the smallest
sqrt((distance / distance criterion)^2 + (dose difference / dose criterion)^2). At most one is a pass. Defaults are
those of AAPM TG-218 (Miften et al., Med Phys 45:e53, 2018): 3 % of the maximum, 2 mm, points above 10 % of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .backend import select_backend
from .errors import InputError, UsageError
from .grid import Grid, Volume

LATTICE_STEP = 0.2
"""Of the search, over the distance criterion; between its places the dose is taken as linear."""


@dataclass(frozen=True, slots=True, eq=False)
class GammaMap:
    """Gamma of every compared point of a reference.

    Attributes
    ----------
    grid : Grid
        Of the reference.
    values : (nz, ny, nx) float64
        NaN where nothing was compared; at most `most`.
    uncovered : int
        Points above the threshold that lie outside the evaluated dose; they were not compared.
    criteria : str
        In words.
    most : float
        Where the search ended.
    """

    grid: Grid
    values: npt.NDArray[np.float64]
    uncovered: int
    criteria: str
    most: float

    @property
    def compared(self) -> npt.NDArray[np.float64]:
        """(n,) float64: gamma of the compared points."""
        return self.values[np.isfinite(self.values)]

    @property
    def pass_percent(self) -> float:
        """Share of the compared points with gamma <= 1, in %."""
        return float(100.0 * np.mean(self.compared <= 1.0))


def gamma_index(
    reference: Volume,
    evaluated: Volume,
    *,
    percent: float = 3.0,
    distance_mm: float = 2.0,
    local: bool = False,
    threshold_percent: float = 10.0,
    maximum_gy: float | None = None,
    most: float = 2.0,
    backend: str = "auto",
) -> GammaMap:
    """Gamma of an evaluated dose at the voxel centres of a reference.

    Parameters
    ----------
    reference, evaluated : Volume
        Doses in Gy in the same patient coordinates, each on a grid of its own. The evaluated one is interpolated: let
        it be the finer.
    percent, distance_mm : float
        Criteria.
    local : bool
        The percentage is of each point's reference dose, not of the maximum.
    threshold_percent : float
        Of the maximum: points with less reference dose are left out.
    maximum_gy : float, optional
        Dose that percentages are of (a prescription, say); the maximum of the reference by default.
    most : float
        The search goes no further than this gamma.
    backend : str
        As in `dose_influence`.

    Returns
    -------
    GammaMap

    Raises
    ------
    UsageError
        Criteria that are not positive and finite, or a threshold outside 0..100.
    InputError
        Doses that are not finite, a reference without dose, or no point above the threshold inside the evaluated dose.
    """
    _check(percent, distance_mm, most, threshold_percent, maximum_gy, reference, evaluated)
    whole = float(reference.values.max()) if maximum_gy is None else maximum_gy
    expected = np.asarray(reference.values, np.float64).ravel()
    above = np.flatnonzero((expected > 0) & (expected >= threshold_percent / 100 * whole))
    points = evaluated.grid.index_coordinates(reference.grid.centres_mm(above))
    # Rounding puts points on the outermost voxel centres a hair outside.
    last = np.array(evaluated.grid.shape[::-1]) - 1
    inside = np.all((points >= -1e-6) & (points <= last + 1e-6), axis=1)
    if not inside.any():
        raise InputError(
            f"none of the {above.size} reference points above {threshold_percent:g} % of {whole:g} Gy lies inside the "
            f"evaluated dose.",
            remedy="Do both doses lie in the same frame of reference? A lower threshold compares more points.",
        )
    compared, points = above[inside], np.clip(points[inside], 0, last)
    criterion = percent / 100 * (expected[compared] if local else np.full(compared.size, whole))
    scale = distance_mm / np.asarray(evaluated.grid.spacing_mm)
    offsets = _lattice(evaluated.grid, most)
    kernels = select_backend(backend).kernels
    dose = np.ascontiguousarray(evaluated.values, np.float64)
    values = np.full(expected.size, np.nan)
    searched, offsets = kernels.to_device(dose), kernels.to_device(offsets)

    def search(part: slice) -> None:
        own = points[part], expected[compared[part]], criterion[part]
        found = kernels.gamma_search(searched, *own, offsets, scale, LATTICE_STEP, most)
        values[compared[part]] = kernels.to_host(found)

    kernels.in_parts("gamma", compared.size, compared.size, search)
    kind = "local" if local else f"of {whole:g} Gy"
    criteria = f"{percent:g} % {kind}, {distance_mm:g} mm, from {threshold_percent:g} % of {whole:g} Gy"
    return GammaMap(
        reference.grid, values.reshape(reference.grid.shape), above.size - compared.size, criteria, float(most)
    )


def _lattice(grid: Grid, most: float) -> npt.NDArray[np.float64]:
    """Places around a point over the distance criterion, (m, 3), nearest first, as far as they may matter."""
    farthest = most + np.sqrt(3.0) * LATTICE_STEP
    steps = np.arange(-np.floor(farthest / LATTICE_STEP), np.floor(farthest / LATTICE_STEP) + 1)
    lattice = LATTICE_STEP * np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    squared = np.einsum("mi,mi->m", lattice, lattice)
    # A grid of one plane has no dose beside it.
    flat = np.array(grid.shape[::-1]) == 1
    wanted = np.flatnonzero((squared < farthest**2) & ~np.any(lattice[:, flat] != 0, axis=1))
    nearest_first: npt.NDArray[np.float64] = lattice[wanted[np.argsort(squared[wanted], kind="stable")]]
    return nearest_first


def _check(
    percent: float,
    distance_mm: float,
    most: float,
    threshold_percent: float,
    maximum_gy: float | None,
    reference: Volume,
    evaluated: Volume,
) -> None:
    stated = {"percent": percent, "distance_mm": distance_mm, "most": most}
    if maximum_gy is not None:
        stated["maximum_gy"] = maximum_gy
    for name, value in stated.items():
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"gamma needs a positive {name}, got {value!r}.")
    if not 0 <= threshold_percent < 100:
        raise UsageError(
            f"the threshold is a percentage of the maximum from 0 to below 100, got {threshold_percent!r}."
        )
    for name, volume in (("reference", reference), ("evaluated", evaluated)):
        if not np.isfinite(volume.values).all():
            raise InputError(f"the {name} dose has values that are not finite.")
    if reference.values.max() <= 0:
        raise InputError("the reference has no dose.")
