"""Depth dose in water from the closed form of the mixture: textbook values and beam quality."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from dosecalc.machine import BeamModel, load_machine


@pytest.fixture(scope="module")
def machine() -> BeamModel:
    return load_machine("generic_6mv")


def axis_dose(machine: BeamModel, depth_mm: float, *, ssd_mm: float, field_mm: float) -> float:
    """Axis dose of a square field given in the isocentre plane, inverse square included."""
    scale = (ssd_mm + depth_mm) / machine.sad_mm
    weights = machine.mixture.weights(depth_mm, scale, scale)[0]
    half = erf(field_mm / 2 / (np.sqrt(2) * machine.mixture.sigma_mm(machine.source_sigma_mm[0])))
    return float(np.sum(weights * half**2)) / scale**2


@pytest.fixture(scope="module")
def percent_depth_dose(machine: BeamModel) -> tuple[np.ndarray, np.ndarray]:
    """10x10 cm2 at SSD 100 cm, normalised to the maximum; depths in mm."""
    depth = np.arange(0.0, 300.5, 0.5)
    dose = np.array([axis_dose(machine, d, ssd_mm=1000.0, field_mm=100.0) for d in depth])
    return depth, dose / dose.max()


def test_depth_dose_meets_the_textbook(percent_depth_dose: tuple[np.ndarray, np.ndarray]) -> None:
    """6 MV, 10x10 cm2, SSD 100 cm: 66-67 % at 10 cm, 38-39 % at 20 cm, maximum at 15 mm."""
    depth, dose = percent_depth_dose
    at_10, at_20 = np.interp([100.0, 200.0], depth, dose)
    deepest = depth[dose.argmax()]
    print(f"dmax {deepest} mm, D(100) {100 * at_10:.2f} %, D(200) {100 * at_20:.2f} %, surface {dose[0]:.3f}")
    assert at_10 == pytest.approx(0.665, rel=0.015)
    assert at_20 == pytest.approx(0.385, rel=0.015)
    assert deepest == pytest.approx(15.0, abs=1.5)
    assert np.interp(15.0, depth, dose) > 0.985


def test_dose_falls_monotonically_beyond_the_maximum(
    percent_depth_dose: tuple[np.ndarray, np.ndarray],
) -> None:
    depth, dose = percent_depth_dose
    assert (np.diff(dose[depth >= 20.0]) < 0).all()
    assert (np.diff(dose[depth <= 12.0]) > 0).all()


def test_beam_quality(machine: BeamModel) -> None:
    at_20, at_10 = (axis_dose(machine, d, ssd_mm=1000.0 - d, field_mm=100.0) for d in (200.0, 100.0))
    print(f"TPR20,10 = {at_20 / at_10:.4f}")
    assert at_20 / at_10 == pytest.approx(0.666, abs=0.005)
    assert at_20 / at_10 == pytest.approx(machine.tpr20_10, abs=0.002)


def test_dose_per_monitor_unit_is_one_centigray_at_the_maximum(
    machine: BeamModel, percent_depth_dose: tuple[np.ndarray, np.ndarray]
) -> None:
    """The data behind the reference dose have 1 cGy/MU there; their beam is harder (67.5 % at 10 cm)."""
    depth, dose = percent_depth_dose
    peak = depth[dose.argmax()]
    gy = machine.gy_per_fluence * axis_dose(machine, float(peak), ssd_mm=1000.0, field_mm=100.0)
    print(f"dose at dmax, SSD 100 cm: {100 * gy:.4f} cGy/MU")
    assert gy == pytest.approx(0.01, rel=0.025)
