"""Depth dose in water from the closed form of the mixture: textbook values, beam quality, Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from dosecalc.machine import BeamModel, load_machine

MONTE_CARLO = Path(__file__).resolve().parents[3] / "shared" / "physics" / "monte_carlo"
POINT_SOURCE_MM = 1e-6


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


@dataclass(frozen=True)
class MonteCarlo:
    """A .3ddose file: boundaries in mm, dose and relative error (z, y, x)."""

    x_mm: np.ndarray
    y_mm: np.ndarray
    z_mm: np.ndarray
    dose: np.ndarray
    error: np.ndarray


def read_3ddose(path: Path) -> MonteCarlo:
    if not path.is_file():
        pytest.skip("the Monte Carlo doses are not beside the project")
    numbers = np.array(path.read_text().split(), dtype=float)
    counts = numbers[:3].astype(int)
    parts = np.split(numbers[3:], np.cumsum([*(counts + 1), counts.prod()]))
    shape = tuple(counts[::-1])
    return MonteCarlo(*(10 * p for p in parts[:3]), parts[3].reshape(shape), parts[4].reshape(shape))


def columns_dose(machine: BeamModel, run: MonteCarlo, columns: np.ndarray, field_mm: float) -> np.ndarray:
    """Dose of the model averaged over the central voxels of each depth bin, point source, SSD 1000 mm."""
    sigma = np.sqrt(2) * machine.mixture.sigma_mm(POINT_SOURCE_MM)
    x = np.linspace(run.x_mm[:-1][columns].min(), run.x_mm[1:][columns].max(), 21)
    y = np.linspace(run.y_mm[1], run.y_mm[2], 5)
    result = []
    for low, high in zip(run.z_mm[:-1], run.z_mm[1:], strict=True):
        depth = np.linspace(low, high, 5)
        scale = 1 + depth / machine.sad_mm
        share = [
            0.5 * (erf((t + field_mm / 2) / sigma) - erf((t - field_mm / 2) / sigma))
            for t in (x[:, None, None] / scale[:, None], y[:, None, None] / scale[:, None])
        ]
        spread = share[0].mean(axis=0) * share[1].mean(axis=0)
        weights = machine.mixture.weights(depth, scale, scale)
        result.append(np.mean((weights * spread).sum(axis=1) / scale**2))
    return np.array(result)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "field_mm", "centre_mm"), [("w3", 30.0, 6.0), ("w10", 100.0, 25.0)])
def test_depth_dose_meets_monte_carlo(machine: BeamModel, name: str, field_mm: float, centre_mm: float) -> None:
    """EGSnrc in water, 20-200 mm; one scale per file, 30 mm windows against a noise of 0.4-0.8 % a bin."""
    run = read_3ddose(MONTE_CARLO / f"{name}.3ddose")
    columns = np.abs(0.5 * (run.x_mm[1:] + run.x_mm[:-1])) < centre_mm
    expected = run.dose[:, 1, columns].mean(axis=1)
    noise = np.sqrt(((run.dose * run.error)[:, 1, columns] ** 2).sum(axis=1)) / columns.sum()
    model = columns_dose(machine, run, columns, field_mm)
    depth = 0.5 * (run.z_mm[1:] + run.z_mm[:-1])
    inside = (depth > 20) & (depth < 200)
    weight = inside / noise**2
    ratio = model * (weight * expected * model).sum() / (weight * model**2).sum() / expected
    smooth = np.array([np.average(ratio[m], weights=1 / noise[m] ** 2) for m in _windows(depth)])
    worst = np.abs(smooth - 1).max()
    print(
        f"{name}: worst of 30 mm windows, 20-200 mm: {100 * worst:.2f} %; all bins rms "
        f"{100 * np.sqrt(np.mean((ratio[inside] - 1) ** 2)):.2f} %; first 2 mm {100 * (ratio[0] - 1):+.1f} %"
    )
    assert worst < 0.015


def _windows(depth_mm: np.ndarray) -> list[np.ndarray]:
    """30 mm windows, 15 mm apart, inside 20-200 mm."""
    return [(depth_mm > low) & (depth_mm < low + 30) for low in np.arange(20.0, 171.0, 15.0)]
