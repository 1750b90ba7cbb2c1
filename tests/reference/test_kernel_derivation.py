"""The script that derives the pencil kernel: analytic cases, and the shipped table regenerated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dosecalc.machine import SHIPPED
from tools import derive_pencil_kernel as tool

ROOT = Path(__file__).resolve().parents[2]
EDK = ROOT.parent / "shared" / "physics" / "edk_water.npz"


@pytest.fixture(scope="module")
def edk() -> dict[str, np.ndarray]:
    if not EDK.is_file():
        pytest.skip("the energy deposition kernels are not beside the project")
    with np.load(EDK, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.parametrize(
    ("name", "mean_mev", "below_half"),
    [("generic_6mv", 1.80, 0.020), ("generic_6fff", 1.33, 0.061), ("generic_10fff", 2.32, 0.019)],
)
def test_spectrum_has_its_end_point_and_mean_energy(name: str, mean_mev: float, below_half: float) -> None:
    quality = tool.QUALITIES[name]
    energy, share = tool.spectrum(quality.endpoint_mev, quality.c2)
    assert share.sum() == pytest.approx(1.0)
    assert 1 / np.sum(share / energy) == pytest.approx(mean_mev, abs=0.01)  # mean over fluence, MeV
    assert share[energy < 0.5].sum() == pytest.approx(below_half, abs=0.002)
    assert energy.max() < quality.endpoint_mev


def test_shares_of_rings_add_up_to_the_square() -> None:
    edges = np.linspace(0.0, 100.0, 100_001)
    area = np.pi * np.diff(edges**2)
    assert tool.ring_share_of_square(edges, 30.0) @ area == pytest.approx(60.0**2, rel=1e-5)


def test_interpolated_attenuation_meets_known_values() -> None:
    # Cs-137 and the mean Co-60 energy in water: 0.0857 and 0.0632 cm2/g (NIST XCOM).
    assert tool.attenuation(0.6617, 1) == pytest.approx(0.0857, rel=3e-3)
    assert tool.attenuation(1.25, 1) == pytest.approx(0.0632, rel=1e-3)


def test_local_deposition_gives_exponential_attenuation() -> None:
    """All energy within 0.1 mm of the interaction, forward: D = exp(-mu z) per unit mu/rho, in the centre."""
    cones, edges = np.linspace(0, 180, 49), np.array([0.0, 0.01, 60.0])
    fractions = np.zeros((48, 2))
    fractions[0, 0] = 1.0
    dose = tool.within_radius(0.05, fractions, cones, edges)
    depth = tool.depth_nodes_mm()
    deep = depth >= 0.5
    assert np.allclose(dose[deep, -1], np.exp(-0.005 * depth[deep]), rtol=5e-4)
    assert np.allclose(dose[deep, 3], dose[deep, -1], rtol=1e-6)  # the third edge lies beyond r = 0.006 mm


def test_isotropic_shell_integrates_to_its_energy() -> None:
    """Energy is conserved: without attenuation, wide and deep, the dose is the whole energy of the kernel."""
    cones, edges = np.linspace(0, 180, 49), np.array([0.0, 1.0, 2.0, 3.0])
    solid = -np.diff(np.cos(np.radians(cones))) / 2
    fractions = solid[:, None] * np.array([0.5, 0.3, 0.2])
    dose = tool.within_radius(1e-9, fractions, cones, edges)
    surface, deep = dose[0, -1], dose[-1, -1]
    assert deep == pytest.approx(1.0, rel=1e-6)
    assert surface == pytest.approx(0.5, rel=1e-6)  # only backward directions reach the surface


def test_carried_energy_equals_numerical_quadrature() -> None:
    edges = np.array([0.0, 0.5, 2.0, 5.0])
    shells, slopes, rate = np.array([[0.4, 0.35, 0.1]]), np.array([[-1.2, 0.0, -3.0]]), np.array([0.07])
    t = np.linspace(0, 3.3, 2_000_001)
    k = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, 2)
    density = np.exp(slopes[0, k] * (t - edges[k]))
    whole = [np.trapezoid(np.exp(s * x), x) for s, x in ((-1.2, np.linspace(0, 0.5, 9999)),)]
    norms = np.array([0.4 / whole[0], 0.35 / 1.5, 0.1 * 3.0 / (1 - np.exp(-9.0))])
    expected = np.trapezoid(norms[k] * density * np.exp(rate[0] * t), t)
    got = tool.carried(np.array([[3.3]]), shells, slopes, edges, rate)[0, 0]
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.shared
def test_shipped_table_is_regenerated(edk: dict[str, np.ndarray]) -> None:
    quality = tool.QUALITIES["generic_6mv"]
    table = tool.derive(edk, *tool.spectrum(quality.endpoint_mev, quality.c2))
    with np.load(SHIPPED / "generic_6mv" / "pencil_kernel.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(table)
        shipped = {key: archive[key] for key in archive.files}
    worst = 0.0
    for key, values in table.items():
        assert values.shape == shipped[key].shape
        floor = 1e-10 * np.abs(values).max()  # rings are differences: below this only rounding is left
        worst = max(worst, float((np.abs(values - shipped[key]) / (np.abs(values) + floor)).max()))
    print(f"largest relative difference from the shipped table: {worst:.1e}")
    assert worst < 1e-3


@pytest.mark.shared
def test_derivation_is_deterministic(edk: dict[str, np.ndarray]) -> None:
    spectrum = np.array([1.3, 4.0]), np.array([0.4, 0.6])
    first, second = tool.derive(edk, *spectrum), tool.derive(edk, *spectrum)
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.shared
def test_the_monte_carlo_source_has_this_spectrum() -> None:
    """So that the shipped machine may be judged on those doses: cumulative energy fluence within 0.1 %."""
    path = ROOT.parent / "shared" / "physics" / "monte_carlo" / "x6.spectrum"
    if not path.is_file():
        pytest.skip("the Monte Carlo doses are not beside the project")
    top, fluence = np.array([line.split(",") for line in path.read_text().splitlines()[2:]], dtype=float).T
    middle = 0.5 * (top + np.append(0.1, top[:-1]))
    cumulative = np.cumsum(middle * fluence) / np.sum(middle * fluence)
    quality = tool.QUALITIES["generic_6mv"]
    energy, share = tool.spectrum(quality.endpoint_mev, quality.c2)
    bin_tops = energy + tool.ENERGY_STEP_MEV / 2
    assert np.abs(np.interp(top, bin_tops, np.cumsum(share)) - cumulative).max() < 1e-3
