"""A slice of water with a target, an organ beside it and a few beams: 20 beamlets on 5 mm voxels, made from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimize import Region
from optimize.goals import PlanGoals
from optimize.levels import Kept, Run, raise_dose
from optimize.matrix import MatrixInfluence
from optimize.plain_goals import goals_from_limits
from optimize.plan_limits import ConvexLimit, DoseVolumeLimit, MeanLimit
from optimize.problem import Master, StageResult
from optimize.raising import RESORT_GAIN
from optimize.smoothness import roughness
from optimize.stages import prescription_stage

BEAMS, ACROSS, VOXEL_CC, TARGET_GY = 4, 5, 0.25, 200.0
PAIRS = np.array([(b * ACROSS + i, b * ACROSS + i + 1) for b in range(BEAMS) for i in range(ACROSS - 1)])


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The matrix (V, 20) in Gy per unit fluence, where its voxels lie, and the structures."""

    matrix: np.ndarray
    centres_mm: np.ndarray
    target: Region
    organ: Region
    body: Region

    @property
    def influence(self) -> MatrixInfluence:
        """The matrix with its neighbouring beamlets."""
        return MatrixInfluence(self.matrix, PAIRS)

    def goals(self, *limits: DoseVolumeLimit | MeanLimit | ConvexLimit, **given: float) -> PlanGoals:
        """The target asked for 200 Gy, where nothing else is said, under some limits."""
        return goals_from_limits(self.target, limits, **{"target_gy": TARGET_GY, "hot_spot_ratio": 1.6} | given)


def make_slice(seed: int, *, finer: int = 1) -> Slice:
    """Beams from random angles, an organ of random size and place that touches the target; voxels of 5 mm / `finer`."""
    random, voxel_cc = np.random.default_rng(seed), VOXEL_CC / finer**2
    y, x = (np.mgrid[-7 * finer : 7 * finer, -7 * finer : 7 * finer].reshape(2, -1) + 0.5) * 5.0 / finer
    angles = random.uniform(0, 2 * np.pi) + np.arange(BEAMS) * 2 * np.pi / BEAMS + random.uniform(-0.3, 0.3, BEAMS)
    offsets = np.arange(ACROSS) * 7.0 - 14.0
    blocks = []
    for a in angles:
        across = (x * np.cos(a) + y * np.sin(a))[:, None] - offsets
        depth = (40.0 - x * np.sin(a) + y * np.cos(a))[:, None]
        blocks.append((np.exp(-0.5 * (across / 4.5) ** 2) + 0.01) * np.exp(-0.006 * depth))
    towards = random.uniform(0, 2 * np.pi)
    organ_at = 22.0 * np.array([np.cos(towards), np.sin(towards)])

    def region(name: str, inside: np.ndarray) -> Region:
        return Region(name, np.flatnonzero(inside), random.uniform(0.5, 1.0, int(inside.sum())) * voxel_cc)

    target = np.hypot(x, y) < 13.0
    organ = (np.hypot(x - organ_at[0], y - organ_at[1]) < random.uniform(9.0, 14.0)) & ~target
    centres = np.stack([x, y, np.zeros(x.size)], axis=1)
    body = Region("body", np.arange(x.size), np.full(x.size, voxel_cc))
    return Slice(np.hstack(blocks), centres, region("target", target), region("organ", organ), body)


def raised(case: Slice, goals: PlanGoals) -> tuple[Run, StageResult]:
    """The first level alone: D95 raised within the limits, re-sorted until that gains nothing."""
    operator, beamlets = case.influence, case.matrix.shape[1]
    start, asked_gy = case.matrix.sum(axis=1), goals.target_gy
    unit = asked_gy / float(start[case.target.positions].mean())
    protected = np.zeros(case.target.positions.size, bool)
    run = Run(Master(operator, unit, roughness(PAIRS, beamlets)), goals, lambda text: None, protected, {}, [], [])
    last, reached = StageResult.start(start * unit, {"D95": asked_gy}), 0.0
    for _ in range(4):
        last = raise_dose(run, prescription_stage(run, last, (0.0, asked_gy), None), last, Kept(0.0, None), asked_gy)
        gained, reached = last.scalars["D95"] - reached, last.scalars["D95"]
        if gained < RESORT_GAIN * reached:
            break
    return run, last
