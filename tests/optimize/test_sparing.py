"""Sort and fix: a dose that keeps the fixed voxels within the limit meets the clinical metric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from optimize.goals import DoseVolumeLimit, Region
from optimize.metrics import measure
from optimize.sparing import kept_above, kept_below
from protocols.metrics import parse_metric

COUNT = 40
unhurried = settings(deadline=None)  # a loaded machine is no failure
doses = npst.arrays(np.float64, COUNT, elements=st.floats(0.0, 80.0))
volumes = npst.arrays(np.float64, COUNT, elements=st.floats(0.001, 0.2))


def region(cc: np.ndarray) -> Region:
    """Positions that are not those of the arrays, in a list of 2 * COUNT + 1 voxels."""
    return Region("organ", np.arange(1, 2 * COUNT + 1, 2), cc)


def spread(values: np.ndarray) -> np.ndarray:
    """Doses on the operator's voxels; those of no region are so extreme that any use of them shows."""
    whole = np.full(2 * COUNT + 1, 1e6)
    whole[1::2] = values
    return whole


@unhurried
@given(doses, volumes, st.floats(0.0, 8.0))
def test_what_is_let_go_is_less_than_the_spare_volume_and_the_hottest(dose, cc, spare) -> None:
    limit = DoseVolumeLimit("x", True, region(cc), 30.0, spare)
    kept = kept_below(limit, spread(dose))
    let_go = ~np.isin(limit.region.positions, kept)
    assert np.isin(kept, limit.region.positions).all()
    assert cc[let_go].sum() < spare or not let_go.any()
    assert not let_go.any() or let_go.all() or dose[let_go].min() >= dose[~let_go].max()


@unhurried
@given(doses, volumes, st.sampled_from(["D0.035cc", "D0.1cc", "D1cc", "D2%", "D50%"]))
def test_a_dose_that_keeps_the_fixed_voxels_meets_the_metric(dose, cc, text) -> None:
    metric, level = parse_metric(text), 30.0
    total = float(cc.sum())
    volume = metric.volume if metric.unit == "cc" else metric.volume / 100.0 * total
    limit = DoseVolumeLimit("x", True, region(cc), level, volume if volume < total else 0.0)
    kept = np.isin(limit.region.positions, kept_below(limit, spread(dose)))
    allowed = np.where(kept, np.minimum(dose, level), 80.0)
    assert measure(metric, allowed, cc) <= level


@unhurried
@given(doses, volumes, st.floats(0.5, 30.0))
def test_a_plan_within_the_limit_stays_within_it_when_sorted_again(dose, cc, level) -> None:
    limit = DoseVolumeLimit("x", True, region(cc), level, 0.3)
    kept = np.isin(limit.region.positions, kept_below(limit, spread(dose)))
    feasible = np.where(kept, np.minimum(dose, level), dose)
    again = np.isin(limit.region.positions, kept_below(limit, spread(feasible)))
    assert feasible[again].max(initial=0.0) <= level


@unhurried
@given(doses, volumes, st.floats(0.01, 0.3))
def test_the_coldest_share_is_let_go_and_coverage_follows(dose, cc, share) -> None:
    none = np.zeros(COUNT, bool)
    kept = np.isin(region(cc).positions, kept_above(region(cc), share, dose, none))
    assert cc[~kept].sum() <= share * cc.sum()
    assert kept.all() or dose[~kept].max() <= dose[kept].min()
    covered = np.where(kept, np.maximum(dose, 50.0), 0.0)
    assert measure(parse_metric(f"D{100 * (1 - share):.6f}%"), covered, cc) >= 50.0 - 1e-9


@unhurried
@given(doses, volumes, npst.arrays(bool, COUNT))
def test_protected_voxels_are_never_let_go(dose, cc, protected) -> None:
    kept = kept_above(region(cc), 0.5, dose, protected)
    assert np.isin(region(cc).positions[protected], kept).all()


@unhurried
@given(doses, volumes, st.floats(10.0, 60.0))
def test_a_covered_target_stays_covered_when_sorted_again(dose, cc, level) -> None:
    none = np.zeros(COUNT, bool)
    kept = np.isin(region(cc).positions, kept_above(region(cc), 0.05, dose, none))
    feasible = np.where(kept, np.maximum(dose, level), dose)
    again = np.isin(region(cc).positions, kept_above(region(cc), 0.05, feasible, none))
    assert feasible[again].min() >= level


@pytest.mark.parametrize(("spare", "let_go"), [(0.0, 0), (0.1, 0), (0.1001, 1), (0.2, 1), (0.25, 2), (9.0, 4)])
def test_equal_voxels_by_hand(spare: float, let_go: int) -> None:
    """Four voxels of 0.1 cc: exclusive, so that D(V) of what is left is the limit and not what was let go."""
    four = Region("organ", np.arange(4), np.full(4, 0.1))
    kept = kept_below(DoseVolumeLimit("x", True, four, 30.0, spare), np.array([1.0, 4.0, 2.0, 3.0]))
    assert kept.tolist() == sorted([1, 3, 2, 0][let_go:])
