"""Laws that the dose operator obeys on every backend and precision."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.errors import DoseError, InputError, UsageError
from dosecalc.grid import Grid, Volume
from dosecalc.heterogeneity import HETEROGENEITIES
from dosecalc.influence import dose_influence

from ..backends import ALL, backend_named

ISO = (3.0, -2.0, 5.0)
PRECISIONS = ("float32", "float64", "reference")


def two_beams():
    first = open_field(Beam(20, 10, 15, ISO), x_mm=(-20, 25), y_mm=(-15, 20), width_mm=5)
    return first + open_field(Beam(250, isocentre_mm=ISO), x_mm=(-10, 20), y_mm=(-20, 10), width_mm=5)


@pytest.fixture(scope="module", params=[(b, p) for b in ALL for p in PRECISIONS], ids="-".join)
def operator(request, machine, marker_phantom):
    name, precision = request.param
    backend = backend_named(name, request)
    voxels = every(7, marker_phantom, backend)
    return dose_influence(
        marker_phantom, marker_phantom.grid, two_beams(), machine, voxels=voxels, backend=backend, precision=precision
    )


def every(nth, phantom, backend) -> np.ndarray:
    """Every nth voxel of a phantom; of a small part of it where a CPU stands in for a GPU, thread by thread."""
    voxels = np.arange(phantom.grid.size).reshape(phantom.grid.shape)
    return (voxels[12:20, 14:26, 26:34] if backend.name == "cuda-shim" else voxels).ravel()[::nth]


@pytest.fixture(params=[name for name in ALL if name != "numpy"])
def other_backend(request):
    """Every backend but NumPy's, which the others are compared with."""
    return backend_named(request.param, request)


def tolerance(operator) -> float:
    return 2e-6 if operator.precision == "float32" else 1e-12


def random_fluence(operator, seed=0):
    return np.random.default_rng(seed).random(operator.beamlets.count)


def test_linearity_and_superposition(operator):
    x, y = random_fluence(operator, 1), random_fluence(operator, 2)
    together = operator.dose(2.5 * x + 0.5 * y)
    apart = 2.5 * operator.dose(x) + 0.5 * operator.dose(y)
    assert np.abs(together - apart).max() <= tolerance(operator) * together.max()


def test_adjoint(operator):
    x = random_fluence(operator)
    w = np.random.default_rng(3).normal(size=operator.shape[0])
    forward, backward = operator.dose(x) @ w, x @ operator.adjoint(w)
    scale = np.abs(operator.dose(x)) @ np.abs(w)
    assert abs(forward - backward) <= tolerance(operator) * scale


def test_rows_are_dose(operator):
    x = random_fluence(operator)
    chosen = np.random.default_rng(4).permutation(operator.shape[0])[:500]
    dose = operator.dose(x)
    assert np.abs(operator.rows(chosen) @ x - dose[chosen]).max() <= tolerance(operator) * dose.max()


def test_unit_fluence_reproduces_a_column(operator):
    unit = np.zeros(operator.beamlets.count)
    unit[17] = 1.0
    column = operator.rows(np.arange(operator.shape[0]))[:, 17]
    assert np.abs(operator.dose(unit) - column).max() <= tolerance(operator) * column.max()


def test_dose_is_never_negative_or_nan(operator):
    dose = operator.dose(random_fluence(operator))
    assert np.all(np.isfinite(dose))
    # B-spline interpolation of a Gaussian tail may undershoot zero by its own error.
    assert dose.min() >= -1e-5 * dose.max()


def test_matrix_without_truncation_is_the_operator(operator):
    x = random_fluence(operator)
    dose = operator.dose(x)
    assert np.abs(operator.tocsr() @ x - dose).max() <= 2e-6 * dose.max()


def test_truncation_loses_dose_and_says_how_much(operator, caplog):
    with caplog.at_level("INFO", logger="dosecalc.stored_matrix"):
        matrix = operator.tocsr(cutoff_mm=10.0, threshold=1e-3)
    full = operator.tocsr()
    assert matrix.nnz < full.nnz
    lost = 100 * (1 - matrix.sum() / full.sum())
    assert lost > 1
    said = re.search(r"drop ([\d.]+) %", caplog.text)
    assert said and float(said[1]) == pytest.approx(lost, abs=2e-3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_tables_against_the_direct_sum(machine, marker_phantom, precision):
    operator = dose_influence(marker_phantom, marker_phantom.grid, two_beams(), machine, precision=precision)
    x = random_fluence(operator)
    dose, reference = operator.dose(x), operator.at_reference().dose(x)
    assert np.abs(dose - reference).max() <= 2e-4 * reference.max()


@pytest.mark.parametrize("heterogeneity", HETEROGENEITIES)
def test_backends_agree(machine, marker_phantom, heterogeneity, other_backend):
    args = (marker_phantom, marker_phantom.grid, two_beams(), machine)
    kwargs = {"precision": "float64", "heterogeneity": heterogeneity, "voxels": every(3, marker_phantom, other_backend)}
    one, other = (dose_influence(*args, backend=b, **kwargs) for b in ("numpy", other_backend))
    x = random_fluence(one)
    dose = one.dose(x)
    assert np.abs(other.dose(x) - dose).max() <= 1e-12 * dose.max()
    fetch = other.backend.kernels.to_host
    for a, b in zip(one.arguments, other.arguments, strict=True):
        assert np.abs(a.depth_mm - fetch(b.depth_mm)).max() <= 1e-9
        assert np.abs(a.scales - fetch(b.scales)).max() <= 1e-12 * a.scales.max()


@pytest.mark.parametrize(("precision", "rounding"), [("float32", 2e-6), ("float64", 1e-12), ("reference", 1e-12)])
def test_backends_agree_in_every_verb(machine, marker_phantom, precision, rounding, other_backend):
    """Dose, adjoint, rows and the stored matrix, with a cut-off and a threshold."""
    voxels = every(31, marker_phantom, other_backend)
    args = (marker_phantom, marker_phantom.grid, two_beams(), machine)
    backends = "numpy", other_backend
    one, other = (dose_influence(*args, voxels=voxels, backend=b, precision=precision) for b in backends)
    x, w = np.random.default_rng(4).random(one.shape[1]), np.random.default_rng(5).normal(size=one.shape[0])
    cut = {"cutoff_mm": 12.0, "threshold": 1e-2}
    results = [(o.dose(x), o.adjoint(w), o.rows(np.arange(20)), o.tocsr(**cut).toarray()) for o in (one, other)]
    for a, b in zip(*results, strict=True):
        # An entry within rounding of the threshold may be kept by one and dropped by the other.
        difference = np.abs(a - b)[(a != 0) & (b != 0)]
        assert difference.max() <= max(rounding, 2e-7 if a.ndim == 2 else 0.0) * np.abs(a).max()
        assert np.count_nonzero((a != 0) != (b != 0)) <= 1e-4 * a.size


def test_same_bits_again(machine, marker_phantom, other_backend):
    voxels = every(1, marker_phantom, other_backend)
    operator = dose_influence(
        marker_phantom, marker_phantom.grid, two_beams(), machine, voxels=voxels, backend=other_backend
    )
    x, w = random_fluence(operator), np.random.default_rng(6).normal(size=operator.shape[0])
    assert np.array_equal(operator.dose(x), operator.dose(x))
    assert np.array_equal(operator.adjoint(w), operator.adjoint(w))


def test_in_water_both_heterogeneities_are_one(machine):
    phantom = water((100.0, 100.0, 100.0))
    args = (phantom, phantom.grid, two_beams(), machine)
    scaled, plain = (dose_influence(*args, precision="float64", heterogeneity=h) for h in HETEROGENEITIES)
    x = random_fluence(scaled)
    assert np.abs(scaled.dose(x) - plain.dose(x)).max() <= 1e-12 * plain.dose(x).max()


def test_a_uniform_medium_is_water_with_all_lengths_scaled(machine):
    """O'Connor's theorem: D(r; rho) = D_water(rho r), the source so far away that the field is parallel."""
    far = dataclasses.replace(machine, sad_mm=1e6)
    rho, doses = 0.5, []
    for density, stretch in ((1.0, 1.0), (rho, 1.0 / rho)):
        grid = Grid((-60.0 * stretch, 5.0 * stretch, -60.0 * stretch), (10.0 * stretch,) * 3, (13, 15, 13))
        medium = Volume(grid, np.full(grid.shape, density, np.float32))
        edge = 20.0 * stretch
        field = open_field(Beam(0), x_mm=(-edge, edge), y_mm=(-edge, edge), width_mm=edge)
        blurred = dataclasses.replace(far, source_sigma_mm=(1.5 * stretch, 1.5 * stretch))
        doses.append(dose_influence(medium, grid, field, blurred, precision="reference").dose(np.ones(field.count)))
    assert np.abs(doses[1] - doses[0]).max() <= 2e-3 * doses[0].max()


def water(size_mm=(200.0, 200.0, 300.0), spacing=5.0, origin=None):
    shape = tuple(int(s / spacing) for s in size_mm[::-1])
    start = tuple(-(n - 1) * spacing / 2 for n in shape[::-1]) if origin is None else origin
    grid = Grid(start, (spacing,) * 3, shape)
    return Volume(grid, np.ones(shape, dtype=np.float32))


def test_symmetry_of_a_symmetric_field(machine):
    phantom = water()
    operator = dose_influence(
        phantom, phantom.grid, open_field(Beam(0), x_mm=(-40, 40), y_mm=(-30, 30), width_mm=5), machine,
        precision="reference",
    )  # fmt: skip
    dose = operator.dose(np.ones(operator.beamlets.count)).reshape(phantom.grid.shape)
    assert np.abs(dose - dose[:, :, ::-1]).max() <= 1e-12 * dose.max()
    assert np.abs(dose - dose[::-1]).max() <= 1e-12 * dose.max()


def test_inverse_square(machine):
    # Dose on the axis of a slit-free pencil of huge fluence area depends on distance only through 1/s^2 once the
    # lateral scale is saturated; here the same depth at two distances with the field scaled by the distance.
    depth_mm = 100.0
    doses = []
    for ssd in (900.0, 1100.0):
        phantom = water((320.0, 300.0, 320.0), 5.0)
        top = phantom.grid.origin_mm[1] - 2.5
        iso = (0.0, top + 1000.0 - ssd, 0.0)
        half = 60.0 * 1000.0 / (ssd + depth_mm)
        field = open_field(Beam(0, isocentre_mm=iso), x_mm=(-half, half), y_mm=(-half, half), width_mm=half / 8)
        voxel = np.ravel_multi_index((32, 20, 32), phantom.grid.shape)
        centre = phantom.grid.centres_mm(np.array([voxel]))[0]
        operator = dose_influence(phantom, phantom.grid, field, machine, voxels=[voxel], precision="reference")
        assert operator.depth_mm[0][0] == pytest.approx(centre[1] - top, rel=1e-3)
        doses.append(operator.dose(np.ones(field.count))[0] * ((ssd + centre[1] - top) / 1000.0) ** 2)
    # The source blur scales with distance (it is fixed in the isocentre plane); inside a 12 cm field that is < 0.1 %.
    assert doses[0] == pytest.approx(doses[1], rel=1e-3)


def test_reference_dose_per_mu(machine):
    """The operator meets the machine's stated dose: 10 x 10 cm2, SSD 90 cm, 10 cm deep, one MU in every beamlet."""
    phantom = water((400.0, 304.0, 400.0), 8.0)
    voxel = np.ravel_multi_index((25, 12, 25), phantom.grid.shape)
    iso = phantom.grid.centres_mm(np.array([voxel]))[0]
    assert iso[1] - (phantom.grid.origin_mm[1] - 4.0) == 100.0
    field = open_field(Beam(0, isocentre_mm=tuple(iso)), x_mm=(-50, 50), y_mm=(-50, 50), width_mm=5)
    operator = dose_influence(phantom, phantom.grid, field, machine, voxels=[voxel], precision="reference")
    assert operator.dose(np.ones(field.count))[0] == pytest.approx(0.00812, rel=1e-4)


def test_beamlets_may_be_permuted_between_beams(machine, marker_phantom):
    first = open_field(Beam(20, isocentre_mm=ISO), x_mm=(-20, 20), y_mm=(-15, 15), width_mm=5)
    second = open_field(Beam(140, isocentre_mm=ISO), x_mm=(-10, 10), y_mm=(-20, 20), width_mm=5)
    x, y = np.random.default_rng(5).random(first.count), np.random.default_rng(6).random(second.count)
    grid = marker_phantom.grid
    one = dose_influence(marker_phantom, grid, first + second, machine, precision="float64").dose(np.r_[x, y])
    two = dose_influence(marker_phantom, grid, second + first, machine, precision="float64").dose(np.r_[y, x])
    assert np.abs(one - two).max() <= 1e-12 * one.max()


def test_inputs_are_not_mutated(machine, marker_phantom):
    operator = dose_influence(marker_phantom, marker_phantom.grid, two_beams(), machine)
    x = random_fluence(operator)
    before = x.copy()
    operator.dose(x)
    assert np.array_equal(x, before)
    with pytest.raises(ValueError, match="read-only"):
        operator.beamlets.u_mm[0] = 1.0


def test_bad_arguments_are_named(machine, marker_phantom):
    grid = marker_phantom.grid
    field = two_beams()
    with pytest.raises(UsageError, match="float16"):
        dose_influence(marker_phantom, grid, field, machine, precision="float16")
    with pytest.raises(UsageError, match="convolution"):
        dose_influence(marker_phantom, grid, field, machine, heterogeneity="convolution")
    with pytest.raises(UsageError, match="opencl"):
        dose_influence(marker_phantom, grid, field, machine, backend="opencl")
    with pytest.raises(InputError, match="electron density"):
        dose_influence(Volume(grid, marker_phantom.values - 2.0), grid, field, machine)
    with pytest.raises(InputError, match="voxels must lie"):
        dose_influence(marker_phantom, grid, field, machine, voxels=[grid.size])
    operator = dose_influence(marker_phantom, grid, field, machine, voxels=[0, 1])
    with pytest.raises(InputError, match="fluence"):
        operator.dose(np.ones(3))
    with pytest.raises(InputError, match="voxel positions"):
        operator.rows([2])


def test_an_oblong_source_does_not_rotate_silently(machine, marker_phantom):
    oblong = dataclasses.replace(machine, source_sigma_mm=(1.5, 2.5))
    with pytest.raises(DoseError, match="not separable"):
        dose_influence(marker_phantom, marker_phantom.grid, two_beams(), oblong)


def test_direct_sums_agree_between_backends(machine, marker_phantom, other_backend):
    args = (marker_phantom, marker_phantom.grid, two_beams(), machine)
    x = np.random.default_rng(7).random(two_beams().count)
    kwargs = {"voxels": every(5, marker_phantom, other_backend), "precision": "reference"}
    stated, dose = (dose_influence(*args, backend=b, **kwargs).dose(x) for b in ("numpy", other_backend))
    assert np.abs(dose - stated).max() <= 1e-12 * stated.max()


def test_a_point_source_needs_the_reference(machine, marker_phantom, other_backend):
    point = dataclasses.replace(machine, source_sigma_mm=(0.0, 0.0))
    with pytest.raises(DoseError, match="reference"):
        dose_influence(marker_phantom, marker_phantom.grid, two_beams(), point)
    args = (marker_phantom, marker_phantom.grid, two_beams(), point)
    x = np.random.default_rng(8).random(two_beams().count)
    kwargs = {"voxels": every(5, marker_phantom, other_backend), "precision": "reference"}
    doses = [dose_influence(*args, backend=b, **kwargs).dose(x) for b in ("numpy", other_backend)]
    assert doses[0].max() > 0
    assert np.abs(doses[0] - doses[1]).max() <= 1e-12 * doses[0].max()
