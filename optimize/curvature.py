"""Which metrics are convex or concave in the doses of the voxels."""

from __future__ import annotations

from protocols.metrics import Biological, GeneralisedEud, MeanDose, Metric, TailMean

from .summed import OfSum


def curvature(metric: Metric | OfSum) -> frozenset[str]:
    """Which of "convex" and "concave" a metric is in the dose of its voxels; empty where it is neither.

    A convex function that never falls, of a convex one, is convex (Boyd & Vandenberghe 2004, section 3.2.4): so are
    the mean, the hottest tail and gEUDs with a >= 1 of an EQD2 or BED, which are quadratic in the dose, and of the sum
    with an earlier dose.
    """
    match metric:
        case MeanDose() | GeneralisedEud(a=1.0):
            return frozenset({"convex", "concave"})
        case GeneralisedEud(a=a):
            return frozenset({"convex" if a > 1 else "concave"})
        case TailMean(end=end):
            return frozenset({"convex" if end == "hottest" else "concave"})
        case Biological(metric=inner) | OfSum(metric=inner):
            return curvature(inner) & {"convex"}
        case _:
            return frozenset()
