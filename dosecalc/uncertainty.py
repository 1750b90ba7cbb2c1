"""How far the dose model may be off, where: the stated figures with their evidence, and the voxels they hold for.

The figures are the largest differences that were seen against Monte Carlo and measured beams, not standard deviations;
the table behind them is docs/accuracy.md, made by ``python -m benchmarks.accuracy``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d

from .grid import Grid, Volume
from .heterogeneity import Heterogeneity
from .influence import DoseInfluence
from .leakage import leakage_fluence, sweep_mu
from .machine import BeamModel
from .structures import Structure
from .validity import LUNG_DENSITY

Array = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]

BUILD_UP_MM, BEHIND_LUNG_MM = 3.0, 20.0
"""Radiological depth of the build-up, and tissue behind lung, for which the figures are stated."""
TAIL_MM = 50.0
"""Beside the target: as far outside the field as tails were compared."""
NOTABLE_BEAM, NOTABLE_BEAMLET = 0.01, 0.05
"""Share of the plan's fluence, and of the beam's largest beamlet, from which a beam or beamlet counts."""
SKIN_MM = 5.0
"""Below the outline of the body before anything is taken for lung: voxels of the skin hold air."""
_STEP_MM = 2.5


@dataclass(frozen=True, slots=True)
class Stated:
    """An uncertainty and what it was read from.

    Attributes
    ----------
    where : str
    percent : float
        Of the local dose; of the target's dose for the tail.
    evidence : str
    """

    where: str
    percent: float
    evidence: str


WATER = Stated(
    "elsewhere in tissue",
    2.0,
    "depth doses within 0.7 % of Monte Carlo, published output factors within 1.4 %, inside the field within 1.9 % of "
    "a measured beam (3.6 % at the shoulders of its 5x5 crossplane)",
)
BUILD_UP = Stated(
    "first 3 mm of the body",
    45.0,
    "no electron contamination: 37 to 43 % below a measured beam at 1 mm depth, 14 to 21 % at 2 mm, 6 to 12 % at 3 mm, "
    "read with a chamber of 2.75 mm radius, which is too much there; within 2 % of Monte Carlo of the photons alone",
)
LUNG: dict[str, tuple[Stated, Stated]] = {
    "density_scaling": (
        Stated("in lung or gas", 6.0, "2 to 6 % above Monte Carlo in 8 cm of lung, 3x3"),
        Stated("first 2 cm behind it", 5.0, "3 to 4 % above Monte Carlo behind 8 cm of lung, 3x3"),
    ),
    "depth_scaling": (
        Stated("in lung or gas", 18.0, "9 to 18 % above Monte Carlo in 8 cm of lung, 3x3"),
        Stated("first 2 cm behind it", 10.0, "5 to 9 % above Monte Carlo behind 8 cm of lung, 3x3"),
    ),
}
"""In lung and behind it, by the way in which density is taken into account."""
TAIL = Stated(
    "up to 5 cm beside the target, of the dose that does not reach there",
    3.0,
    "1.8 to 2.8 % of the axis dose below a measured open 5x5 beam: no extra-focal source, no jaw transmission",
)
TAIL_EXTRA_FOCAL = Stated(
    TAIL.where, 1.5, "up to 1.4 % of the axis dose below a measured beam: nothing through the jaws"
)


def stated(machine: BeamModel, heterogeneity: Heterogeneity) -> tuple[Stated, ...]:
    """The figures of a computation: build-up, lung, behind lung, elsewhere, tail."""
    tail = TAIL if machine.extra_focal is None else TAIL_EXTRA_FOCAL
    return (BUILD_UP, *LUNG[heterogeneity], WATER, tail)


def leakage(influence: DoseInfluence, fluence: Array, target_gy: float) -> tuple[npt.NDArray[np.float64], Stated]:
    """Estimated dose through closed leaves, which a plan's dose lacks, and what is said of it.

    Parameters
    ----------
    influence : DoseInfluence
    fluence : (B,) float64
    target_gy : float
        Prescribed dose: what the stated percentage is of.

    Returns
    -------
    dose : (V,) float64
        Gy.
    figure : Stated
    """
    machine, beamlets = influence.machine, influence.beamlets
    dose = influence.dose(leakage_fluence(beamlets, fluence, machine))
    brightest = sum(float(fluence[beamlets.of_beam(b)].max(initial=0.0)) for b in range(len(beamlets.beams)))
    sweep = float(sweep_mu(beamlets, fluence, machine).sum()) / max(brightest, 1e-300)
    percent = 100.0 * float(dose.max(initial=0.0)) / target_gy
    evidence = (
        f"an estimate of what no leaf positions avoid, in no dose of this plan: {100 * machine.leaf_transmission:.2g} "
        f"% (machine file) of a sweep's monitor units, which are {sweep:.1f} times those of the brightest beamlets"
    )
    return dose, Stated("through closed leaves, at most, of the target's dose", round(percent, 1), evidence)


@dataclass(frozen=True, slots=True, eq=False)
class DoubtfulVoxels:
    """Voxels of a dose operator where more than the model's uncertainty in water holds.

    Attributes
    ----------
    build_up, lung, behind_lung : (V,) bool
        In the first 3 mm of any beam, of density below `LUNG_DENSITY`, and in the first 2 cm behind such a medium along
        any beam. Only beams and beamlets with notable fluence count.
    """

    build_up: Flags
    lung: Flags
    behind_lung: Flags

    def percent(self, machine: BeamModel, heterogeneity: Heterogeneity) -> npt.NDArray[np.float64]:
        """Stated uncertainty of every voxel in percent of its dose, the largest of those that hold."""
        build_up, lung, behind, water, _ = stated(machine, heterogeneity)
        found = np.full(self.lung.size, water.percent)
        for flags, figure in ((self.behind_lung, behind), (self.lung, lung), (self.build_up, build_up)):
            found[flags] = np.maximum(found[flags], figure.percent)
        return found


def doubtful_voxels(influence: DoseInfluence, fluence: Array, density: Volume, body: Structure) -> DoubtfulVoxels:
    """Where the build-up, lung and its far side lie for the beams of a plan.

    Parameters
    ----------
    influence : DoseInfluence
    fluence : (B,) float64
    density : Volume
        Electron density relative to water that the operator was made with.
    body : Structure
    """
    thin = _lung(density, body)
    points = influence.grid.centres_mm(influence.voxels)
    lung = _at(thin, density.grid, points)
    build_up, behind = np.zeros(lung.size, bool), np.zeros(lung.size, bool)
    depth_mm = influence.depth_mm
    for index, beam in enumerate(influence.beamlets.beams):
        own = fluence[influence.beamlets.of_beam(index)]
        if own.sum() < NOTABLE_BEAM * fluence.sum() or not own.any():
            continue
        seen = np.flatnonzero(_in_field(influence, index, own, points))
        build_up[seen] |= depth_mm[index][seen] < BUILD_UP_MM
        way = beam.source_mm(influence.machine.sad_mm) - points[seen]
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        for step in np.arange(_STEP_MM, BEHIND_LUNG_MM + _STEP_MM / 2, _STEP_MM):
            behind[seen] |= _at(thin, density.grid, points[seen] + step * way)
    return DoubtfulVoxels(build_up, lung, behind & ~lung)


def _lung(density: Volume, body: Structure) -> Flags:
    """Voxels of low density inside the body, away from its skin."""
    grid = density.grid
    inside = np.zeros(grid.size, np.uint8)
    inside[body.on(grid).indices] = 1
    kept = inside.reshape(grid.shape)
    for axis, spacing in enumerate(grid.spacing_mm[::-1]):
        # beyond the ends of the scan the body goes on
        kept = minimum_filter1d(kept, 2 * int(np.ceil(SKIN_MM / spacing)) + 1, axis=axis, mode="nearest")
    return (kept > 0) & (np.asarray(density.values) < LUNG_DENSITY)


def _in_field(influence: DoseInfluence, index: int, fluence: Array, points: Array) -> Flags:
    """Voxels that project on a beamlet with notable fluence."""
    lattice = influence.lattices[index]
    used = lattice.spread(np.where(fluence >= NOTABLE_BEAMLET * fluence.max(), 1.0, 0.0)) > 0
    u, v, _ = influence.beamlets.beams[index].project(points, influence.machine.sad_mm)
    column, in_column = _nearest(u, lattice.u_mm, lattice.width_u_mm)
    row, in_row = _nearest(v, lattice.v_mm, lattice.width_v_mm)
    return in_column & in_row & used[row, column]


def _nearest(at: Array, centre: Array, width: Array) -> tuple[npt.NDArray[np.int64], Flags]:
    """The nearest of ascending centres, and whether a position lies within its width."""
    index = np.searchsorted(0.5 * (centre[1:] + centre[:-1]), at)
    return index, np.abs(at - centre[index]) <= 0.5 * width[index]


def _at(flags: Flags, grid: Grid, points: Array) -> Flags:
    """The flag of the voxel around each point; false outside the grid."""
    index = np.rint(grid.index_coordinates(points)).astype(np.int64)[:, ::-1]
    inside = np.all((index >= 0) & (index < np.array(grid.shape)), axis=1)
    found = np.zeros(len(points), bool)
    found[inside] = flags[tuple(index[inside].T)]
    return found
