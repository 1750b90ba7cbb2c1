"""The Gaussian mixture against direct integration of the ring kernel, and the laws of its look-up."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from dosecalc.errors import DoseError, InputError
from dosecalc.machine import SHIPPED, load_machine
from dosecalc.machine_file import parse_kernel
from dosecalc.mixture import GaussianMixture, PencilKernel, component_widths_mm

SOURCE_MM = 1.5
HALF_FIELDS_MM = (5.0, 10.0, 25.0, 50.0, 75.0, 100.0)
DEPTHS_MM = (5.0, 15.0, 50.0, 100.0, 203.0, 301.0)


@pytest.fixture(scope="module")
def kernel() -> PencilKernel:
    return parse_kernel((SHIPPED / "generic_6mv" / "pencil_kernel.npz").read_bytes(), "shipped")


@pytest.fixture(scope="module")
def mixture() -> GaussianMixture:
    return load_machine("generic_6mv").mixture


def direct_dose(
    kernel: PencilKernel, depth_mm: float, scale: float, half_mm: float, offsets_mm: np.ndarray
) -> np.ndarray:
    """Dose along u of a square field: every ring as 6 x 96 points, each seen through a blurred square."""
    rows = [np.interp(depth_mm, kernel.depth_mm, column) for column in (kernel.primary + kernel.scatter).T]
    fraction = (np.arange(6) + 0.5) / 6
    edges = kernel.radius_edges_mm
    radius = (edges[:-1, None] + np.diff(edges)[:, None] * fraction) / scale
    angle = (np.arange(96) + 0.5) * 2 * np.pi / 96
    du, dv = radius[..., None] * np.cos(angle), radius[..., None] * np.sin(angle)
    across = _blurred_square(dv, half_mm)
    share = [(_blurred_square(offset + du, half_mm) * across).mean(axis=(1, 2)) for offset in offsets_mm]
    return np.asarray(share) @ np.asarray(rows)


def _blurred_square(x: np.ndarray, half_mm: float) -> np.ndarray:
    unit = np.sqrt(2.0) * SOURCE_MM
    return 0.5 * (erf((x + half_mm) / unit) - erf((x - half_mm) / unit))


def mixture_dose(
    mixture: GaussianMixture, depth_mm: float, scale: float, half_mm: float, offsets_mm: np.ndarray
) -> np.ndarray:
    weights = mixture.weights(depth_mm, scale, scale)[0]
    sigma = np.sqrt(2.0) * mixture.sigma_mm(SOURCE_MM)
    u = 0.5 * (erf((offsets_mm[:, None] + half_mm) / sigma) - erf((offsets_mm[:, None] - half_mm) / sigma))
    return u @ (weights * erf(half_mm / sigma))


@pytest.mark.parametrize("scale", [0.25, 1.0, 1.3, 1.6])
def test_axis_dose_equals_direct_integration(kernel: PencilKernel, mixture: GaussianMixture, scale: float) -> None:
    axis = np.zeros(1)
    worst = 0.0
    for half in HALF_FIELDS_MM:
        for depth in DEPTHS_MM:
            expected = direct_dose(kernel, depth, scale, half, axis)[0]
            worst = max(worst, abs(mixture_dose(mixture, depth, scale, half, axis)[0] / expected - 1))
    print(f"s = {scale}: worst axis error {100 * worst:.3f} %")
    assert worst < 3e-3


@pytest.mark.parametrize("scale", [0.25, 1.0, 1.6])
def test_penumbra_and_tail_equal_direct_integration(
    kernel: PencilKernel, mixture: GaussianMixture, scale: float
) -> None:
    offsets = np.concatenate([np.arange(0.0, 12.0, 0.5) + 44.0, [60.0, 80.0, 100.0]])
    for depth in (15.0, 100.0, 203.0):
        centre = direct_dose(kernel, depth, scale, 50.0, np.zeros(1))[0]
        expected = direct_dose(kernel, depth, scale, 50.0, offsets) / centre
        got = mixture_dose(mixture, depth, scale, 50.0, offsets) / centre
        width_error = abs(_penumbra(offsets, got) - _penumbra(offsets, expected))
        tail_error = np.abs(got - expected)[-3:].max()
        print(f"s = {scale}, depth {depth}: penumbra {width_error:.3f} mm, tail {100 * tail_error:.3f} %")
        assert width_error < 0.1
        assert np.abs(got - expected).max() < 3e-3
        assert tail_error < 1e-3


def _penumbra(offsets_mm: np.ndarray, profile: np.ndarray) -> float:
    low, high = (float(np.interp(-level, -profile, offsets_mm)) for level in (0.8, 0.2))
    return high - low


@pytest.mark.parametrize("scale", [2.0, 4.0])
def test_lateral_scale_moves_energy_but_makes_none(
    kernel: PencilKernel, mixture: GaussianMixture, scale: float
) -> None:
    """Equilibrium: a field that is wide against the scaled kernel collects all of it."""
    whole = np.interp(50.0, kernel.depth_mm, (kernel.primary + kernel.scatter).sum(axis=1))
    assert mixture_dose(mixture, 50.0, scale, 290.0, np.zeros(1))[0] == pytest.approx(whole, rel=5e-3)


def test_axis_dose_depends_on_scale_times_field_only(mixture: GaussianMixture) -> None:
    """K(r; s) = s^2 K(s r): doubling the scale is halving the field (the source is small against both)."""
    for depth in (15.0, 100.0, 250.0):
        single = mixture_dose(mixture, depth, 1.0, 60.0, np.zeros(1))[0]
        for scale in (0.7, 1.5, 2.0):
            scaled = mixture_dose(mixture, depth, scale, 60.0 / scale, np.zeros(1))[0]
            assert scaled == pytest.approx(single, rel=2e-3)


def test_widths_and_weights_have_the_stated_form(mixture: GaussianMixture) -> None:
    widths = component_widths_mm()
    assert widths.shape == (12,)
    assert widths[0] == 0.0
    assert np.allclose(widths[2:] / widths[1:-1], widths[2] / widths[1])
    assert mixture.primary.min() >= 0.0
    assert mixture.scatter.min() >= 0.0
    assert mixture.depth_mm[-1] >= 500.0
    assert mixture.scale[0] <= 0.15
    assert mixture.scale[-1] >= 4.5 * (1 - 1e-12)
    assert np.allclose(mixture.sigma_mm(2.0)[0], 2.0)


def test_lookup_is_linear_in_depth_and_log_scale_and_separates_the_parts(mixture: GaussianMixture) -> None:
    d, s = mixture.depth_mm, mixture.scale
    at_node = mixture.weights(d[40], s[5], s[9])[0]
    assert np.allclose(at_node, mixture.primary[40, 5] + mixture.scatter[40, 9], rtol=1e-12)
    between = mixture.weights((d[40] + d[41]) / 2, np.sqrt(s[5] * s[6]), s[9])[0]
    primary = mixture.primary[40:42, 5:7].mean(axis=(0, 1))
    assert np.allclose(between, primary + mixture.scatter[40:42, 9].mean(axis=0), rtol=1e-9)


def test_lookup_of_many_points_equals_one_by_one(mixture: GaussianMixture) -> None:
    rng = np.random.default_rng(7)
    depth, s_p, s_s = rng.uniform(0, 600, 9000), rng.uniform(0.15, 4.5, 9000), rng.uniform(0.15, 4.5, 9000)
    together = mixture.weights(depth, s_p, s_s)
    assert together.shape == (9000, 12)
    for i in (0, 4500, 8999):
        assert np.array_equal(together[i], mixture.weights(depth[i], s_p[i], s_s[i])[0])
    assert mixture.weights(np.array([0.0, 600.0]), 0.15, 1.0).shape == (2, 12)


@pytest.mark.parametrize(
    ("depth", "s_p", "s_s", "words"),
    [
        (600.1, 1.0, 1.0, "radiological depth"),
        (-0.1, 1.0, 1.0, "0 to 600"),
        (np.nan, 1.0, 1.0, "radiological depth"),
        (50.0, 0.149, 1.0, "lateral scale of the primary"),
        (50.0, 1.0, 4.51, "lateral scale of the scatter"),
    ],
)
def test_outside_the_table_is_refused(
    mixture: GaussianMixture, depth: float, s_p: float, s_s: float, words: str
) -> None:
    with pytest.raises(DoseError, match=words):
        mixture.weights([10.0, depth], s_p, s_s)


def test_tables_are_read_only(mixture: GaussianMixture) -> None:
    for table in (mixture.primary, mixture.scatter, mixture.depth_mm, mixture.scale, mixture.width_mm):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth_mm": [0.0, 5.0, 4.0]}, "depth_mm must increase"),
        ({"radius_edges_mm": [1.0, 2.0, 3.0]}, "radius_edges_mm must increase from 0"),
        ({"primary": [[1.0, -1.0]] * 3}, "negative"),
        ({"scatter": [[1.0, np.nan]] * 3}, "non-finite"),
        ({"primary": [[1.0, 1.0]] * 2}, "shape"),
    ],
)
def test_a_wrong_kernel_is_refused(change: dict[str, object], words: str) -> None:
    good = {
        "depth_mm": [0.0, 5.0, 10.0],
        "radius_edges_mm": [0.0, 1.0, 2.0],
        "primary": [[1.0, 1.0]] * 3,
        "scatter": [[1.0, 1.0]] * 3,
    }
    with pytest.raises(InputError, match=words):
        PencilKernel(**{k: np.asarray(v) for k, v in (good | change).items()})
