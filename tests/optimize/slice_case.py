"""A slice of water with a target, an organ that it touches, and a cord: five parallel beams as a stored matrix."""

from __future__ import annotations

import dataclasses

import numpy as np

from dosecalc.beams import neighbouring_beamlets
from optimize.goals import DoseVolumeLimit, MeanLimit, PlanGoals, Region
from optimize.matrix import MatrixInfluence
from optimize.operator import Operator
from optimize.plain_goals import goals_from_limits

VOXEL_MM, BEAMLET_MM, FLOOR_GY, TARGET_GY = 2.5, 5.0, 20.0, 37.0
ANGLES = np.deg2rad([0, 72, 144, 216, 288])
OFFSETS_MM = np.arange(-30.0, 35.0, BEAMLET_MM)
GUT_GY, CORD_GY = 18.0, 2.0

y, x = np.mgrid[-40:40, -40:40].reshape(2, -1) * VOXEL_MM


def influence() -> MatrixInfluence:
    """Gaussian beamlets of sigma 4 mm over 1 % scatter, attenuated by 0.5 % per mm."""
    across = [(x * np.cos(a) + y * np.sin(a))[:, None] - OFFSETS_MM for a in ANGLES]
    depth = [(100.0 - x * np.sin(a) + y * np.cos(a))[:, None] for a in ANGLES]
    parts = [(np.exp(-0.5 * (t / 4.0) ** 2) + 0.01) * np.exp(-0.005 * d) for t, d in zip(across, depth, strict=True)]
    beam, offset = np.repeat(np.arange(ANGLES.size), OFFSETS_MM.size), np.tile(OFFSETS_MM, ANGLES.size)
    pairs = neighbouring_beamlets(beam, u_mm=offset, v_mm=np.zeros(beam.size), width_mm=BEAMLET_MM)
    return MatrixInfluence(np.hstack(parts), pairs)


def region(name: str, inside: np.ndarray) -> Region:
    """Voxels with 0.125 cc in each."""
    return Region(name, np.flatnonzero(inside), np.full(np.count_nonzero(inside), 0.125))


def goals(*, gut_gy: float = GUT_GY, cord_gy: float = CORD_GY) -> PlanGoals:
    """Limits that keep the target below what is asked for."""
    gut, cord = region("gut", np.hypot(x - 34, y) < 15), region("cord", np.hypot(x, y + 60) < 12)
    limits = (
        DoseVolumeLimit("gut_max", True, gut, gut_gy, 0.2),
        DoseVolumeLimit("gut_1cc", False, gut, 0.5 * gut_gy, 1.0),
        MeanLimit("cord_mean", True, cord, cord_gy),
    )
    return goals_from_limits(
        region("target", np.hypot(x, y) < 22),
        limits,
        target_gy=TARGET_GY,
        floor_gy=FLOOR_GY,
        hot_spot_ratio=1.6,
        outside=region("rest", np.hypot(x, y) >= 27),
        centres_mm=np.stack([x, y, np.zeros(x.size)], axis=1),
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Misread:
    """An operator whose fast dose differs from its reference."""

    fast: MatrixInfluence
    exact: MatrixInfluence

    @property
    def shape(self) -> tuple[int, int]:
        return self.fast.shape

    @property
    def neighbours(self) -> np.ndarray:
        return self.fast.neighbours

    def dose(self, fluence: np.ndarray) -> np.ndarray:
        return self.fast.dose(fluence)

    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        return self.fast.adjoint(weights)

    def rows(self, positions: np.ndarray) -> np.ndarray:
        return self.fast.rows(positions)

    def restricted_to(self, positions: np.ndarray) -> Operator:
        return Misread(self.fast.restricted_to(positions), self.exact.restricted_to(positions))

    def at_reference(self) -> Operator:
        return self.exact
