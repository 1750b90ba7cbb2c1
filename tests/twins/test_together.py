"""One launch for the beams of a plan: the same bits as one for each, and as many launches for many beams as for one."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc import Beam, Grid, Volume, dose_influence, load_machine, open_field
from dosecalc.backend import Backend
from dosecalc.errors import ResourceError
from dosecalc.kernels import cuda_launch
from dosecalc.kernels.cuda_kernels import CudaKernels
from dosecalc.kernels.numpy_places import SURVEYED

from ..backends import backend_named
from .device_array import BUS
from .shim_device import ShimDevice

GRID = Grid((-12.0, -16.0, -12.0), (4.0, 4.0, 6.0), (5, 8, 7))
SIGMA = np.geomspace(0.7, 320.0, 12)
REAL = np.float32


def uneven(kernels):
    """For each kernel that serves several beams, calls whose sizes differ in every direction."""
    rng = np.random.default_rng(41)
    sizes = [(40, 9, 21, 5, 33), (7, 33, 8, 17, 150), (20, 1, 19, 40, 1), (23, 4, 35, 2, 0)]
    for nodes_v, rows, nodes_u, columns, voxels in sizes:
        table_v, table_u = (rng.random((n, 12, j)).astype(REAL) for n, j in ((nodes_v, rows), (nodes_u, columns)))
        iv, iu = (rng.integers(1, n - 1, voxels).astype(np.int32) for n in (nodes_v, nodes_u))
        taps = iv, iu, *(rng.uniform(-0.5, 0.5, (2, voxels)).astype(REAL)), rng.random((voxels, 12)).astype(REAL)
        points, depth = rng.uniform(-150, 150, (voxels, 3)), rng.uniform(0, 300, voxels)
        cells, centre = np.arange(rows * columns), rng.uniform(-40, 40, (2, rows * columns))
        of_rows = table_v, table_u, *taps, cells // columns, cells % columns, np.ones(cells.size)
        place = tuple(rng.uniform(-40, 40, (2, voxels, 1)))
        kept = place, tuple(centre), np.array([0, cells.size]), np.inf
        room = kernels.zeros(voxels * cells.size, REAL), kernels.zeros(voxels * cells.size, np.int32)
        result, found = kernels.zeros((voxels, cells.size), REAL), kernels.zeros(SURVEYED, np.float64)
        t = np.arange(nodes_u) * 0.5
        yield {
            "project": (points, np.zeros(3), Beam(20.0).axes, 1000.0),
            "trace": (rng.random((4, 5, 6), REAL), np.array([2.0, -50.0, 1.0]), points, np.ones(3), np.ones(3), 0.1),
            "survey": (tuple(rng.uniform(1, 2, (3, voxels))), depth, rng.random((2, voxels)), (0.5, 1.5), found),
            "blurred_squares": (t, np.arange(columns) * 5.0, np.full(columns, 5.0), SIGMA),
            "spline_coefficients": (rng.random((nodes_v, 12, rows)), 1e-12, np.dtype(REAL)),
            "locate": (points[:, 0], -160.0, 0.5, np.dtype(REAL)),
            "component_weights": (
                *(np.arange(3.0) * 200, np.geomspace(0.1, 4, 4)), *rng.random((2, 3, 4, 12)),
                depth, rng.uniform(0.1, 4, (2, voxels)), rng.uniform(0.8, 1.2, voxels), 0.01, np.dtype(REAL),
            ),
            "field_maps": (table_v, rng.random((rows, columns)).astype(REAL), table_u),
            "gather": (rng.random((nodes_v, nodes_u, 12)).astype(REAL), *taps),
            "scatter": (rng.random(voxels).astype(REAL), (nodes_v, nodes_u), *taps),
            "collect_field": (table_v, rng.random((12, nodes_v, nodes_u)).astype(REAL), table_u),
            "spline_rows": (*of_rows, result),
            "count_kept": (rng.random((voxels, cells.size)).astype(REAL), *kept, np.zeros(cells.size)),
            "fill_near": (
                of_rows, None, *kept, np.full(voxels, cells.size), cells.size * np.arange(voxels), *room
            ),
        }  # fmt: skip


KERNELS = (
    *("project", "trace", "survey", "blurred_squares", "spline_coefficients", "locate", "component_weights"),
    *("field_maps", "gather", "scatter", "collect_field", "spline_rows", "count_kept", "begin_near"),
)


def arrays_in(made):
    """What calls gave, flat, and what they wrote into."""
    if isinstance(made, tuple | list):
        return [array for each in made for array in arrays_in(each)]
    return [] if made is None else [made]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_calls_of_any_size_give_together_what_each_gives_alone(kernels, name, backwards):
    if backwards and not hasattr(kernels.device, "backwards"):
        pytest.skip("a GPU takes its blocks in an order of its own")
    results = []
    if backwards:
        kernels.device.backwards = True
    for together in (False, True):
        calls = [each["fill_near" if name == "begin_near" else name] for each in uneven(kernels)]
        if name == "begin_near":
            wrong = kernels.zeros(1, np.int32)
            calls = [(*call, wrong) for call in calls]
        if name == "count_kept":
            calls = [(kernels.to_device(call[0]), *call[1:]) for call in calls]
        run = getattr(kernels, name)
        made = kernels.each(run, calls) if together else [run(*call) for call in calls]
        written = {"survey": [c[-1] for c in calls], "spline_rows": [c[-1] for c in calls]}
        written["begin_near"] = [array for call in calls for array in call[-3:]]
        results.append([kernels.to_host(array) for array in arrays_in(made) + written.get(name, [])])
    if backwards:
        kernels.device.backwards = False
    assert len(results[0]) >= 4
    for alone, found in zip(*results, strict=True):
        assert np.array_equal(alone, found)
    assert max(np.abs(alone).max(initial=0.0) for alone in results[0]) > 0.0


def plan(request, beams):
    """An operator with so many beams on a backend of its own, whose launches are counted."""
    device = ShimDevice(backend_named("cuda-shim", request).kernels.device.folder)
    fields = [open_field(Beam(40.0 * k), x_mm=(-12, 8 + 5 * k), y_mm=(-10, 10), width_mm=5) for k in range(beams)]
    water, machine = Volume(GRID, np.ones(GRID.shape, np.float32)), load_machine("generic_6mv")
    BUS.clear()
    return dose_influence(
        water, GRID, sum(fields[1:], start=fields[0]), machine,
        backend=Backend("cupy", "the CUDA source on a CPU", CudaKernels(device), 4_000),
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["prepare", "dose", "adjoint", "rows", "device_csr", "rows of the reference"])
def test_many_beams_take_no_more_launches_nor_crossings_than_one(request, verb):
    counted = []
    for beams in (1, 4):
        there = plan(request, beams)
        launched = there.backend.kernels.device.launched
        sent = len(BUS.there)
        given = {"dose": [np.ones(there.shape[1])], "adjoint": [np.ones(there.shape[0])]}
        given |= {"rows": [[3, 4, 5]], "rows of the reference": [[3, 4, 5]]}
        if verb != "prepare":
            run = there.at_reference().rows if "reference" in verb else getattr(there, verb)
            run(*given.get(verb, []))  # where each beamlet stands is sent once
            launched.clear()
            BUS.clear()
            run(*given.get(verb, []))
            sent = len(BUS.there)
        counted.append((dict(launched), sent, len(BUS.back)))
    assert counted[0] == counted[1]
    print(verb, counted[1])


def test_more_calls_than_a_launch_takes_are_parted(shim):
    """512 arguments of 8 bytes go into a launch, nine for each call of `gather`."""
    calls, kept = [each["gather"] for each in list(uneven(shim))[:2]] * 30, shim.device.launched["gather"]
    made = shim.each(shim.gather, calls)
    assert shim.device.launched["gather"] - kept == 2
    for call, found in zip(calls, made, strict=True):
        assert np.array_equal(shim.gather(*call).get(), found.get())


def test_a_number_beyond_32_bits_is_refused():
    with pytest.raises(ResourceError, match="given 2147483648 of something"):
        cuda_launch.packed([2**31], lambda array: 0)
