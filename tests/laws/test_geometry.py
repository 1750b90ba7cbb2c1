"""IEC 61217 angles against brute-force rotation matrices, and radiological depth against brute-force integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dosecalc.backend import select_backend
from dosecalc.beams import Beam, aim, open_field
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence
from dosecalc.raytrace import radiological_depth
from dosecalc.structures import Voxels

from ..backends import ALL, CPU, backend_named

SAD = 1000.0
ISO = np.array([7.0, -11.0, 4.0])
RNG = np.random.default_rng(61217)
TRIPLES = [(g, 0.0, 0.0) for g in (0, 90, 180, 270)] + [
    tuple(RNG.uniform((0, -90, 0), (360, 90, 360))) for _ in range(50)
]


def brute_force(point_lps, gantry, couch, collimator):
    """LPS point to the beam limiting device system by the chain of IEC 61217 section 5, one rotation at a time."""
    x, y, z = point_lps - ISO
    patient = np.array([x, z, -y])  # head first supine: IEC support X = left, Y = superior, Z = anterior
    fixed = Rotation.from_euler("z", couch, degrees=True).apply(patient)  # the couch carries the patient
    in_gantry = Rotation.from_euler("y", gantry, degrees=True).inv().apply(fixed)
    return Rotation.from_euler("z", collimator, degrees=True).inv().apply(in_gantry)


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda t: "-".join(f"{a:.0f}" for a in t))
def test_projection_of_three_markers(triple, marker_phantom):
    beam = Beam(*triple, tuple(ISO))
    grid = marker_phantom.grid
    markers = grid.centres_mm(np.ravel_multi_index(([6, 21, 14], [9, 29, 10], [12, 31, 44]), grid.shape))
    u, v, scale = beam.project(markers, SAD)
    for n, marker in enumerate(markers):
        bx, by, bz = brute_force(marker, *triple)
        shrink = SAD / (SAD - bz)
        assert u[n] == pytest.approx(bx * shrink, abs=1e-9)
        assert v[n] == pytest.approx(by * shrink, abs=1e-9)
        assert scale[n] == pytest.approx((SAD - bz) / SAD, abs=1e-12)
    assert brute_force(beam.source_mm(SAD), *triple) == pytest.approx([0, 0, SAD], abs=1e-9)


@pytest.mark.parametrize(
    ("gantry", "couch", "direction"),
    [(0, 0, (0, -1, 0)), (90, 0, (1, 0, 0)), (180, 0, (0, 1, 0)), (270, 0, (-1, 0, 0)), (90, 90, (0, 0, -1))],
)
def test_where_the_source_stands(gantry, couch, direction):
    """Gantry 0 above, 90 on the patient's left, 180 below, 270 right; couch 90 brings gantry 90 to the feet."""
    source = Beam(gantry, couch, 0, tuple(ISO)).source_mm(SAD)
    assert source - ISO == pytest.approx(SAD * np.array(direction), abs=1e-9)


@pytest.fixture(params=ALL)
def backend(request):
    return backend_named(request.param, request)


@pytest.mark.parametrize("triple", TRIPLES[:14], ids=lambda t: "-".join(f"{a:.0f}" for a in t))
def test_radiological_depth_against_fine_sampling(triple, marker_phantom):
    grid = marker_phantom.grid
    voxels = RNG.choice(grid.size, 12, replace=False)
    points = grid.centres_mm(voxels)
    source = Beam(*triple, tuple(ISO)).source_mm(SAD)
    depths = [radiological_depth(marker_phantom, source, points, backend=select_backend(b)) for b in CPU]
    for point, *got in zip(points, *depths, strict=True):
        length = np.linalg.norm(point - source)
        t = (np.arange(400_000) + 0.5) / 400_000
        t = t[t > 1 - 200.0 / length]  # the phantom lies within 200 mm of every one of its points
        cells = np.rint(grid.index_coordinates(source + t[:, None] * (point - source))).astype(int)
        inside = np.all((cells >= 0) & (cells < np.array(grid.shape[::-1])), axis=1)
        i, j, k = cells[inside].T
        sampled = marker_phantom.values[k, j, i].sum() * length / 400_000
        assert got == pytest.approx([sampled] * len(got), abs=0.05)


def test_axis_parallel_rays_are_exact(marker_phantom, backend):
    grid = marker_phantom.grid
    point = grid.centres_mm(np.array([np.ravel_multi_index((14, 10, 44), grid.shape)]))
    depth = radiological_depth(marker_phantom, point[0] - [0, 1000, 0], point, backend=backend)
    # Ten water voxels of 2.5 mm and half a marker voxel of density 4.
    assert depth[0] == pytest.approx(10 * 2.5 + 1.25 * 4.0, abs=1e-6)


def test_rays_that_miss_the_grid_are_air(backend):
    grid = Grid((0, 0, 0), (2, 3, 4), (3, 4, 5))
    phantom = Volume(grid, np.ones(grid.shape, np.float32))
    outside = np.array([[0.0, -50.0, 0.0], [500.0, 0.0, 0.0]])
    depth = radiological_depth(phantom, (0.0, -1000.0, 100.0), outside, backend=backend)
    assert np.array_equal(depth, [0.0, 0.0])


@pytest.mark.parametrize("triple", TRIPLES[4:16], ids=lambda t: "-".join(f"{a:.0f}" for a in t))
def test_one_beamlet_hits_what_it_is_aimed_at(triple, machine, marker_phantom):
    """The brightest voxel at the marker's depth is the marker, for beamlets off the axis in both directions."""
    grid = marker_phantom.grid
    marker = np.ravel_multi_index((9, 20, 35), grid.shape)
    beam = Beam(*triple, tuple(ISO))
    u, v, _ = beam.project(grid.centres_mm(np.array([marker])), SAD)
    field = open_field(beam, x_mm=(u[0] - 1, u[0] + 1), y_mm=(v[0] - 1, v[0] + 1), width_mm=2)
    dose = dose_influence(marker_phantom, grid, field, machine).dose(np.ones(1))
    _, _, scale = beam.project(grid.centres_mm(), SAD)
    same_distance = np.abs(scale - scale[marker]) < 1.5e-3
    brightest = np.flatnonzero(same_distance)[dose[same_distance].argmax()]
    offset = grid.centres_mm(np.array([brightest]))[0] - grid.centres_mm(np.array([marker]))[0]
    axis = grid.centres_mm(np.array([marker]))[0] - beam.source_mm(SAD)
    across = offset - (offset @ axis) / (axis @ axis) * axis
    assert np.linalg.norm(across) < 2.0


def test_aim_covers_the_target_and_orders_beamlets():
    grid = Grid((-20, -20, -20), (2.0, 2.0, 2.0), (21, 21, 21))
    centres = grid.centres_mm()
    ball = np.flatnonzero(((centres - [3, 4, -2]) ** 2).sum(axis=1) < 12**2)
    target = Voxels(grid, ball, np.full(ball.size, grid.voxel_cc))
    beamlets = aim([Beam(30), Beam(200, 20)], at=target, width_mm=5.0, margin_mm=5.0)
    for index, beam in enumerate(beamlets.beams):
        part = beamlets.of_beam(index)
        u, v, _ = beam.project(centres[ball], SAD)
        bu, bv = beamlets.u_mm[part], beamlets.v_mm[part]
        within = (np.abs(u[:, None] - bu) <= 2.5 + 1e-9) & (np.abs(v[:, None] - bv) <= 2.5 + 1e-9)
        assert within.any(axis=1).all()
        assert np.array_equal(np.lexsort((bu, bv)), np.arange(bu.size))
    assert np.all(np.diff(beamlets.beam_index) >= 0)


def test_bad_beams_and_fields_are_named():
    with pytest.raises(InputError, match="gantry_deg"):
        Beam(float("nan"))
    with pytest.raises(InputError, match="does not divide"):
        open_field(Beam(0), x_mm=(-10, 10), y_mm=(-10, 10), width_mm=3)
    with pytest.raises(InputError, match="low < high"):
        open_field(Beam(0), x_mm=(10, -10), y_mm=(-10, 10), width_mm=5)
    empty = Voxels(Grid((0, 0, 0), (1, 1, 1), (1, 1, 1)), np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(InputError, match="no voxels"):
        aim([Beam(0)], at=empty, width_mm=5)
    with pytest.raises(InputError, match="behind the source"):
        Beam(0).project(np.array([[0.0, -1000.0, 0.0]]), SAD)
