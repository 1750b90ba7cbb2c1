"""Dose metrics and histograms against closed forms and laws."""

from __future__ import annotations

import dataclasses
import math
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protocols.metrics
from dosecalc.errors import InputError
from optimize.dvh import dvh
from optimize.metrics import dose_at_volume, mean_dose, measure, volume_at_dose, volume_below
from protocols.errors import ProtocolError
from protocols.metrics import (
    Biological,
    CriticalVolume,
    DoseAtVolume,
    GeneralisedEud,
    Homogeneity,
    MaxDose,
    MeanDose,
    MinDose,
    StructureVolume,
    TailMean,
    VolumeAtDose,
)

# --- closed forms ---


def ramp(n: int = 10_000, low: float = 10.0, high: float = 50.0) -> tuple[np.ndarray, np.ndarray]:
    """A 200 cc box in a linear gradient, cut into n slabs, shuffled: dose is uniform on [low, high]."""
    middle = low + (high - low) * (np.arange(n) + 0.5) / n
    order = np.random.default_rng(3).permutation(n)
    return middle[order], np.full(n, 200.0 / n)


@pytest.mark.parametrize(
    ("metric", "analytic"),
    [
        (DoseAtVolume(95.0, "%"), 12.0),  # low + 5 % of the range
        (DoseAtVolume(2.0, "%"), 49.2),
        (DoseAtVolume(50.0, "cc"), 40.0),  # the hottest quarter
        (DoseAtVolume(300.0, "cc"), 50.0),  # smaller than V: the maximum
        (VolumeAtDose(30.0, "cc"), 100.0),
        (VolumeAtDose(40.0, "%"), 25.0),
        (CriticalVolume(60.0, 15.0), 25.0),  # volume below 15 Gy, whatever the required volume
        (MeanDose(), 30.0),
        (MaxDose(), 50.0),
        (MinDose(), 10.0),
        (StructureVolume(), 200.0),
        (GeneralisedEud(2.0), math.sqrt((50.0**3 - 10.0**3) / (3 * 40.0))),
        (GeneralisedEud(-1.0), 40.0 / math.log(5.0)),  # the harmonic mean
        (TailMean(10.0, "hottest"), 48.0),
        (TailMean(20.0, "coldest"), 14.0),
        (Homogeneity(), (49.2 - 10.8) / 30.0),
        (Biological("EQD2", 3.0, MeanDose(), 3), (30.0 + (50.0**3 - 10.0**3) / (3 * 40.0) / 9) / (5 / 3)),
        (Biological("EQD2", 2.0, MaxDose(), 5), 50.0 * (10.0 + 2.0) / (2.0 + 2.0)),
        # d (1 + d / 50) = 40
        (Biological("BED", 10.0, VolumeAtDose(40.0, "cc"), 5), 5.0 * (50.0 - (math.sqrt(10500.0) - 50.0) / 2)),
    ],
)
def test_linear_gradient_over_a_box(metric: object, analytic: float) -> None:
    """Within one slab (0.004 Gy, 0.02 cc) of the continuum."""
    dose, cc = ramp()
    assert measure(metric, dose, cc) == pytest.approx(analytic, abs=0.021)


@pytest.mark.parametrize("volume_cc", [0.035, 0.1, 0.5, 5.0])
def test_every_volume_has_its_own_dose(volume_cc: float) -> None:
    """0.035, 0.1 and 0.5 cc are no aliases: D(V) = high - V / 200 cc of the range, within a slab of 0.001 cc."""
    dose, cc = ramp(200_000)
    assert measure(DoseAtVolume(volume_cc, "cc"), dose, cc) == pytest.approx(50.0 - 40.0 * volume_cc / 200.0, abs=2e-4)


def test_voxels_without_dose_count() -> None:
    """A quarter of a 200 cc structure in a linear gradient, the rest without dose: everything refers to the whole."""
    dose, cc = ramp()
    dose = np.concatenate([dose, np.zeros(3 * dose.size)])
    cc = np.concatenate([cc, np.repeat(cc, 3)]) / 4.0
    expected = {
        MeanDose(): 30.0 / 4,
        VolumeAtDose(30.0, "%"): 12.5,
        DoseAtVolume(10.0, "%"): 34.0,  # 20 of the 50 cc with dose
        DoseAtVolume(26.0, "%"): 0.0,
        CriticalVolume(100.0, 15.0): 150.0 + 50.0 * 5.0 / 40.0,
        StructureVolume(): 200.0,
        MinDose(): 0.0,
    }
    for metric, analytic in expected.items():
        assert measure(metric, dose, cc) == pytest.approx(analytic, abs=0.01), str(metric)


def test_dose_at_volume_is_the_least_dose_of_the_hottest_part_and_volume_its_inverse() -> None:
    """A cone with its apex up, hot at the base: V(h) = 1 - (1 - h)^3 of the whole, and D(V) its inverse."""
    n = 100_000
    height = (np.arange(n) + 0.5) / n  # from the base, in heights of the cone
    cc = 10.0 * ((1 - np.arange(n) / n) ** 3 - (1 - np.arange(1, n + 1) / n) ** 3)
    dose = 50.0 - 30.0 * height
    for share in (0.02, 0.5, 0.95, 0.98):
        analytic = 50.0 - 30.0 * (1.0 - (1.0 - share) ** (1 / 3))
        assert measure(DoseAtVolume(100 * share, "%"), dose, cc) == pytest.approx(analytic, abs=1e-3)
        assert measure(VolumeAtDose(analytic, "cc"), dose, cc) == pytest.approx(10.0 * share, abs=1e-3)
        assert measure(CriticalVolume(1.0, analytic), dose, cc) == pytest.approx(10.0 * (1 - share), abs=1e-3)
    assert measure(MeanDose(), dose, cc) == pytest.approx(50.0 - 30.0 / 4, abs=1e-6)


def test_sphere_in_a_linear_gradient() -> None:
    """Caps of a sphere: V(r(1 - h)) = pi h^2 (3r - h)/3 with h the height of the cap."""
    radius, step, gradient = 20.0, 0.5, 1.5  # mm, mm, Gy per mm
    axis = np.arange(-radius + step / 2, radius, step)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = x**2 + y**2 + z**2 <= radius**2
    dose, cc = 40.0 + gradient * x[inside], np.full(int(inside.sum()), step**3 / 1000.0)
    whole = 4.0 / 3.0 * math.pi * radius**3 / 1000.0
    height = 12.0
    cap = math.pi * height**2 * (3 * radius - height) / 3.0 / 1000.0
    edge = 40.0 + gradient * (radius - height)
    assert measure(StructureVolume(), dose, cc) == pytest.approx(whole, rel=2e-3)
    assert measure(MeanDose(), dose, cc) == pytest.approx(40.0, abs=1e-9)
    assert measure(VolumeAtDose(edge, "cc"), dose, cc) == pytest.approx(cap, rel=5e-3)
    assert measure(DoseAtVolume(cap, "cc"), dose, cc) == pytest.approx(edge, abs=gradient * step)
    assert measure(CriticalVolume(1.0, edge), dose, cc) == pytest.approx(whole - cap, rel=5e-3)


def test_unequal_partial_volumes_count_by_volume() -> None:
    dose, cc = [10.0, 30.0, 20.0], [1.0, 0.25, 0.75]
    assert measure(MeanDose(), dose, cc) == pytest.approx((10 + 7.5 + 15) / 2.0)
    assert dose_at_volume(dose, cc, 0.25) == 30.0
    assert dose_at_volume(dose, cc, 0.26) == 20.0
    assert measure(DoseAtVolume(50.0, "%"), dose, cc) == 20.0
    assert measure(DoseAtVolume(51.0, "%"), dose, cc) == 10.0


def test_limits_of_volume_metrics_are_inclusive_above_and_exclusive_below() -> None:
    dose, cc = [15.0, 14.0, 15.0], [1.0, 2.0, 4.0]
    assert volume_at_dose(dose, cc, 15.0) == 5.0
    assert volume_below(dose, cc, 15.0) == 2.0


def test_percent_volumes_are_not_decided_by_rounding() -> None:
    """95 of 100 equal voxels are 95 %, although 95 * 0.027 and a running sum of 0.027 differ by rounding."""
    for voxel_cc in (0.027, 0.008, 0.015625, 1e-3, 1 / 3):
        dose = np.arange(100.0)
        assert measure(DoseAtVolume(95.0, "%"), dose, np.full(100, voxel_cc)) == 5.0


# --- laws ---

# Volumes are multiples of 1/64 cc and doses of 1/8 Gy: sums are exact, so the laws hold without a tolerance.
structures = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 64)), min_size=1, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]) / 8.0, np.array([r[1] for r in rows]) / 64.0)
)


@given(structures, st.integers(1, 640), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_dose_at_volume_is_within_the_limit_exactly_when_the_volume_above_is_smaller(
    structure: tuple[np.ndarray, np.ndarray], volume_64: int, limit_8: int
) -> None:
    dose, cc = structure
    volume, limit = volume_64 / 64.0, limit_8 / 8.0
    above = float(cc[dose > limit].sum())
    if volume <= cc.sum():
        assert (dose_at_volume(dose, cc, volume) <= limit) == (above < volume)
    else:
        assert dose_at_volume(dose, cc, volume) == dose.max()


@given(structures, st.floats(0.1, 99.9), st.floats(0.5, 3.0))
@settings(max_examples=60, deadline=None)
def test_order_scale_and_more_dose(structure: tuple[np.ndarray, np.ndarray], percent: float, factor: float) -> None:
    dose, cc = structure
    backwards = slice(None, None, -1)
    for metric in (DoseAtVolume(percent, "%"), DoseAtVolume(0.1, "cc"), MeanDose(), MaxDose(), MinDose()):
        value = measure(metric, dose, cc)
        assert measure(metric, dose[backwards], cc[backwards]) == pytest.approx(value, rel=1e-12)
        assert measure(metric, factor * dose, cc) == pytest.approx(factor * value, rel=1e-12)
        assert measure(metric, dose + 1.0, cc) == pytest.approx(value + 1.0, rel=1e-12)
        assert dose.min() <= value * (1 + 1e-12) and value <= dose.max() * (1 + 1e-12)
    assert measure(DoseAtVolume(percent, "%"), dose, cc) <= measure(DoseAtVolume(percent / 2, "%"), dose, cc)
    assert volume_at_dose(dose, cc, 20.0) + volume_below(dose, cc, 20.0) == cc.sum()


@given(structures)
@settings(max_examples=50, deadline=None)
def test_splitting_a_voxel_changes_nothing(structure: tuple[np.ndarray, np.ndarray]) -> None:
    dose, cc = structure
    twice, halves = np.repeat(dose, 2), np.repeat(cc / 2, 2)
    for volume in (0.05, 0.3, float(cc.sum()) / 2):
        assert dose_at_volume(twice, halves, volume) == dose_at_volume(dose, cc, volume)
    assert mean_dose(twice, halves) == pytest.approx(mean_dose(dose, cc), rel=1e-12)


# --- completeness and refusals ---


def test_every_declared_metric_is_measured() -> None:
    declared = typing.get_args(protocols.metrics.Metric)
    assert len(declared) >= 15
    classes = {value for value in vars(protocols.metrics).values() if dataclasses.is_dataclass(value)}
    assert classes == set(declared)
    of_the_plan = typing.get_args(protocols.metrics.PlanMetric)  # `conformity`
    missing = [metric.__name__ for metric in set(declared) - set(of_the_plan) if metric not in measure.registry]
    assert not missing


def test_a_biological_metric_does_not_guess_the_fractions() -> None:
    with pytest.raises(ProtocolError, match="needs the number of fractions"):
        measure(Biological("BED", 3.0, MeanDose()), [1.0], [1.0])


def test_an_unknown_metric_fails_loudly() -> None:
    with pytest.raises(TypeError, match="Unheard"):
        measure(type("Unheard", (), {})(), [1.0], [1.0])


@pytest.mark.parametrize(
    ("dose", "cc", "words"),
    [
        ([], [], "at least one voxel"),
        ([1.0, 2.0], [1.0], "equally long"),
        ([1.0, math.nan], [1.0, 1.0], "finite"),
        ([1.0, 2.0], [1.0, 0.0], "positive"),
    ],
)
def test_what_cannot_be_judged_is_refused(dose: list[float], cc: list[float], words: str) -> None:
    for metric in (MeanDose(), MaxDose(), StructureVolume(), DoseAtVolume(95.0, "%"), VolumeAtDose(1.0, "%")):
        with pytest.raises(InputError, match=words):
            measure(metric, dose, cc)


# --- histograms ---


def test_histogram_of_a_linear_gradient() -> None:
    dose, cc = ramp()
    curve = dvh(dose, cc, bin_gy=0.5)
    analytic = 200.0 * np.clip((50.0 - curve.dose_gy) / 40.0, 0.0, 1.0)
    np.testing.assert_allclose(curve.volume_cc, analytic, atol=0.021)
    np.testing.assert_allclose(curve.volume_pct, curve.volume_cc / 2.0, rtol=1e-12)


@given(structures, st.sampled_from([0.1, 0.125, 1.0, 7.0]))
@settings(max_examples=60, deadline=None)
def test_histogram_counts_at_least_the_dose_and_ends_at_zero(
    structure: tuple[np.ndarray, np.ndarray], bin_gy: float
) -> None:
    dose, cc = structure
    curve = dvh(dose, cc, bin_gy)
    counted = [cc[dose >= level].sum() for level in curve.dose_gy]
    np.testing.assert_array_equal(curve.volume_cc, counted)
    assert curve.volume_cc[0] == cc.sum()
    assert curve.volume_cc[-1] == 0.0 and curve.dose_gy[-1] > dose.max()
    assert curve.dose_gy[-1] <= dose.max() + 2 * bin_gy


def test_histogram_refuses_negative_doses_and_bins() -> None:
    with pytest.raises(InputError, match="lowest dose"):
        dvh([-1.0, 2.0], [1.0, 1.0])
    with pytest.raises(InputError, match="bin"):
        dvh([1.0], [1.0], bin_gy=0.0)
