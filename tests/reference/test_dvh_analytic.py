"""Histograms of spheres, cylinders and cones in linear dose gradients against closed forms.

After Nelms et al. 2015, Med Phys 42:4435 ("Methods, software and datasets to verify DVH calculations against
analytical values"): axes along z and along y, contours 0.5 to 3 mm apart, dose grids of 1 to 3 mm, gradients along y
(anterior-posterior) and z (superior-inferior). Two truths, so that two errors are told apart:

- The stack of slabs that the contours stand for. Against it only the sampling of `optimize.sampling` is tested: every
  dose is right within half a box, 0.03 to 0.17 mm of the gradient for 0.03 to 5 cc.
- The shape itself. Against it the cost of contours on slices is measured; no sampling can take it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Contours, Structure
from optimize.dvh import dvh
from optimize.metrics import dose_at_volume, mean_dose, volume_at_dose
from optimize.sampling import Samples, samples_of

Array = npt.NDArray[np.float64]
SHAPES = ("sphere", "cylinder z", "cylinder y", "cone z", "cone y")
SLICES_MM = (0.5, 1.0, 2.0, 3.0)
GRIDS_MM = (1.0, 2.0, 2.5, 3.0)
CENTRE_GY, GRADIENT = 60.0, 3.0  # Gy and Gy per mm
POINTS = 360
# A regular polygon of that many corners on the circle has this much less area: (2 pi / n)^2 / 6.
POLYGON = (2 * math.pi / POINTS) ** 2 / 6
PERCENT = (99.0, 95.0, 5.0, 1.0)
# How far slices move a dose at a share of the volume (D99% to D1%), in slice spacings: what was seen, from 0.03 cc up.
# Along z the ends of a shape lie anywhere within half a slice of what the contours tell, and so do these doses.
COST = {"sphere": 0.10, "cylinder z": 0.01, "cylinder y": 0.01, "cone z": 0.32, "cone y": 0.65}
COST_ALONG_Z = 0.5


@dataclass(frozen=True)
class Shape:
    """A shape of height 2 R about the origin; a cone's apex points along its positive axis.

    Attributes
    ----------
    name : str
        One of `SHAPES`.
    radius_mm : float
    """

    name: str
    radius_mm: float

    @property
    def mm3(self) -> float:
        share = {"sphere": 4 / 3, "cylinder": 2.0, "cone": 2 / 3}[self.name.split()[0]]
        return share * math.pi * self.radius_mm**3

    def beyond(self, axis: str, t: Array) -> Array:
        """Volume in mm3 at coordinate `t` (n,) and beyond, along "y" or "z"."""
        radius, height = self.radius_mm, 2 * self.radius_mm
        t = np.clip(t, -radius, radius)
        if self.name == "sphere":
            return math.pi * (radius - t) ** 2 * (2 * radius + t) / 3
        along = self.name.endswith(axis)
        if self.name.startswith("cylinder"):
            return math.pi * radius**2 * (radius - t) if along else height * segment(radius, t)
        return self.mm3 * ((radius - t) / height) ** 3 if along else half_cone(radius, height, t)

    def section(self, z: float) -> tuple[Array, Callable[[Array], Array]]:
        """Polygon (n, 2) in mm at height z, and its exact area in mm2 at y >= t."""
        radius = self.radius_mm
        angle = (np.arange(POINTS) + 0.5) * 2 * np.pi / POINTS
        circle = np.column_stack([np.cos(angle), np.sin(angle)]) / math.sqrt(1 - POLYGON)
        half = math.sqrt(max(radius**2 - z**2, 0.0))
        if self.name == "cylinder y":
            corners = np.array([[-half, -radius], [half, -radius], [half, radius], [-half, radius]])
            return corners, lambda t: 2 * half * (radius - np.clip(t, -radius, radius))
        if self.name == "cone y":
            y = radius - 2 * abs(z) - 2 * (radius - abs(z)) * (1 + np.cos(np.linspace(0, np.pi, POINTS))) / 2
            x = np.sqrt(np.maximum((radius - y) ** 2 / 4 - z**2, 0.0))
            return np.vstack([np.column_stack([x, y]), np.column_stack([-x, y])[-2::-1]]), cone_section(radius, z)
        disc = {"sphere": half, "cylinder z": radius, "cone z": (radius - z) / 2}[self.name]
        return disc * circle, lambda t: segment(disc, np.clip(t, -disc, disc))


def segment(radius: float, t: Array) -> Array:
    """Area of a disc at coordinate t and beyond."""
    return radius**2 * np.arccos(t / radius) - t * np.sqrt(np.maximum(radius**2 - t**2, 0.0))


def half_cone(radius: float, height: float, t: Array) -> Array:
    """Volume of a cone beyond a plane parallel to its axis: the disc segments of all heights, integrated."""
    a = np.maximum(np.abs(t), 1e-9 * radius)
    side = np.sqrt(np.maximum(radius**2 - a**2, 0.0))
    part = radius**3 * np.arccos(a / radius) - 2 * a * radius * side + a**3 * np.log((radius + side) / a)
    volume = part * height / (3 * radius)
    return np.where(t >= 0, volume, math.pi * radius**2 * height / 3 - volume)


def cone_section(radius: float, z: float) -> Callable[[Array], Array]:
    """Area at y >= t of a plane section parallel to the axis of the cone: between two branches of a hyperbola."""
    p = max(abs(z), 1e-9)

    def area(t: Array) -> Array:
        u = np.maximum((radius - np.clip(t, -radius, radius)) / 2, p)
        side = np.sqrt(u**2 - p**2)
        return 2 * (u * side - p**2 * np.log((u + side) / p))

    return area


def planes(shape: Shape, slice_mm: float, phase: float) -> Array:
    """Heights of the contours: all multiples of the slice spacing, shifted, that meet the shape."""
    steps = np.arange(-math.ceil(shape.radius_mm / slice_mm) - 1, math.ceil(shape.radius_mm / slice_mm) + 1)
    z = (steps + phase) * slice_mm
    return z[np.abs(z) < shape.radius_mm * (1 - 1e-6)]


def contoured(shape: Shape, z: Array) -> Structure:
    return Structure(shape.name, "ORGAN", Contours(tuple(z), tuple(shape.section(h)[0] for h in z)))


def gradient(axis: str, spacing_mm: float, reach_mm: float) -> Volume:
    """A linear dose on a grid whose centres lie nowhere special, one voxel larger than the structure."""
    count = 2 * math.ceil(reach_mm / spacing_mm) + 4
    origin = [-spacing_mm * (count / 2 - shift) for shift in (0.3, 0.55, 0.2)]
    grid = Grid((origin[0], origin[1], origin[2]), (spacing_mm,) * 3, (count,) * 3)
    along = (origin["xyz".index(axis)] + spacing_mm * np.arange(count)).reshape((-1, 1, 1) if axis == "z" else (-1, 1))
    return Volume(grid, np.broadcast_to(CENTRE_GY + GRADIENT * along, grid.shape))


def stack_beyond(shape: Shape, z: Array, slice_mm: float, axis: str, t: Array) -> Array:
    """Volume in mm3 at t and beyond of slabs that reach half a slice to both sides of every contour."""
    areas = [shape.section(h)[1] for h in z]
    if axis == "y":
        return np.sum([area(t) for area in areas], axis=0) * slice_mm
    whole = [float(area(np.array([-np.inf]))[0]) for area in areas]
    return np.sum([a * np.clip(h + slice_mm / 2 - t, 0, slice_mm) for a, h in zip(whole, z, strict=True)], axis=0)


def metrics_of(t: Array, mm3: Array) -> dict[str, float]:
    """Positions in mm, from a cumulative volume that rises as t falls, that the metrics stand for."""
    whole = float(mm3[-1])
    inside = np.flatnonzero((mm3 > 1e-9 * whole) & (mm3 < (1 - 1e-9) * whole))
    found = {f"D{p:g}%": float(np.interp(p / 100 * whole, mm3, t)) for p in PERCENT}
    found["Dmax"], found["Dmin"] = float(t[inside[0]]), float(t[inside[-1]])
    found["D0.03cc"] = float(np.interp(30.0, mm3, t)) if whole > 30.0 else found["Dmax"]
    found["Dmean"] = float(t[-1] + np.trapezoid(mm3, -t) / whole)
    return found


def measured(samples: Samples) -> dict[str, float]:
    """The same from our samples, turned from Gy to mm."""
    order = np.argsort(-samples.dose_gy)  # sorting again for each metric then costs little
    dose, cc, whole = samples.dose_gy[order], samples.cc[order], float(samples.cc.sum())
    found = {f"D{p:g}%": dose_at_volume(dose, cc, p / 100 * whole) for p in PERCENT}
    found |= {"Dmax": dose.max(), "Dmin": dose.min(), "D0.03cc": dose_at_volume(dose, cc, 0.03)}
    found["Dmean"] = mean_dose(dose, cc)
    return {name: (value - CENTRE_GY) / GRADIENT for name, value in found.items()}


def of_volume(name: str, cc: float) -> Shape:
    return Shape(name, (cc * 1000 / Shape(name, 1.0).mm3) ** (1 / 3))


@dataclass(frozen=True)
class Case:
    """One shape measured: positions in mm from our samples, of the stack of slabs, and of the shape."""

    samples: Samples
    box_mm: float
    dose_along_mm: Array
    ours: dict[str, float]
    stack: dict[str, float]
    shape: dict[str, float]
    stack_mm3: Callable[[Array], Array]


def run(shape: Shape, slice_mm: float, phase: float, grid_mm: float, axis: str) -> Case:
    z = planes(shape, slice_mm, phase)
    samples = samples_of(gradient(axis, grid_mm, shape.radius_mm + slice_mm), contoured(shape, z))
    reach = shape.radius_mm + slice_mm
    t = np.linspace(reach, -reach, 4001)

    def beyond(at: Array) -> Array:
        return stack_beyond(shape, z, slice_mm, axis, at)

    stack, truth = metrics_of(t, beyond(t)), metrics_of(t, shape.beyond(axis, t))
    box = grid_mm / samples.parts["xyz".index(axis)]
    along = (samples.dose_gy - CENTRE_GY) / GRADIENT
    return Case(samples, box, along, measured(samples), stack, truth, beyond)


# --- sampling, against the stack of slabs ---


@pytest.mark.parametrize("cc", [0.03, 0.3, 5.0])
@pytest.mark.parametrize("name", SHAPES)
def test_sampled_doses_are_right_within_half_a_box(name: str, cc: float) -> None:
    """Every metric within half a box of the closed form of the slabs, and the curve exact at the faces of the boxes.

    Of the shape itself D99%, D95%, D5% and D1% are right within that and `COST`: half a slice along z; along y nothing
    for cylinders, 0.1 slice for spheres (0.02 from 1 cc up), 0.3 slice for cones along z, whose end slab adds to the
    volume that the percentages refer to, and up to 0.6 slice at the apex of a cone along y (0.1 cc; 0.04 at 5 cc).

    Half a box is at most 0.03 mm at 0.03 cc, 0.07 mm at 0.3 cc and 0.17 mm at 5 cc: in 1 Gy/mm at most 0.17 Gy, in
    3 Gy/mm 0.5 Gy, which is 0.8 % of the 60 Gy here. The policy keeps 1 % of 60 Gy up to 5 cc in 3 Gy/mm, and 0.1 Gy
    up to 1 cc in 1 Gy/mm.
    """
    shape = of_volume(name, cc)
    for turn, (axis, slice_mm) in enumerate((a, s) for a in "yz" for s in SLICES_MM):
        if cc == 0.3 and turn % 2 == SHAPES.index(name) % 2:  # half of them: time
            continue
        if len(planes(shape, slice_mm, 0.37)) < 2:
            continue
        case = run(shape, slice_mm, 0.37, GRIDS_MM[(turn + SHAPES.index(name)) % 4], axis)
        cost_mm = slice_mm * (COST_ALONG_Z if axis == "z" else COST[name])
        for what in (f"D{p:g}%" for p in PERCENT):
            assert case.ours[what] == pytest.approx(case.shape[what], abs=cost_mm + 0.5 * case.box_mm + 0.01), what
        assert case.box_mm <= {0.03: 0.0625, 0.3: 0.14, 5.0: 1 / 3}[cc] + 1e-9
        off = {what: case.ours[what] - case.stack[what] for what in case.ours if what != "Dmean"}
        assert max(map(abs, off.values())) <= 0.5 * case.box_mm + 0.01, (axis, slice_mm, off)
        assert case.ours["Dmean"] == pytest.approx(case.stack["Dmean"], abs=0.02 * case.box_mm + 0.002)
        faces = np.unique(case.dose_along_mm.round(6))[3::20] - case.box_mm / 2
        counted = [volume_at_dose(case.samples.dose_gy, case.samples.cc, CENTRE_GY + GRADIENT * face) for face in faces]
        whole = float(case.stack_mm3(np.array([-np.inf]))[0]) / 1000.0
        np.testing.assert_allclose(counted, case.stack_mm3(faces) / 1000.0, atol=3e-4 * whole)


@pytest.mark.parametrize("grid_mm", GRIDS_MM)
@pytest.mark.parametrize("axis", ["y", "z"])
def test_without_sampling_doses_are_wrong_by_half_a_voxel(axis: str, grid_mm: float) -> None:
    """What sampling is for: one dose per voxel misses D0.03cc of a 1 cc sphere by 0.3 to 0.7 voxels somewhere."""
    shape = of_volume("sphere", 1.0)
    structure = contoured(shape, planes(shape, 0.5, 0.37))
    dose = gradient(axis, grid_mm, shape.radius_mm + 0.5)
    voxels = structure.on(dose.grid)
    whole = measured(Samples(dose.values.reshape(-1)[voxels.indices], voxels.cc, (1, 1, 1)))
    t = np.linspace(shape.radius_mm, -shape.radius_mm, 4001)
    truth = metrics_of(t, shape.beyond(axis, t))
    worst = max(abs(whole[what] - truth[what]) for what in truth if what != "Dmean")
    assert 0.25 * grid_mm <= worst <= 0.75 * grid_mm
    cut = measured(samples_of(dose, structure))
    assert max(abs(cut[what] - truth[what]) for what in ("D95%", "D5%", "D0.03cc")) <= 0.12


# --- volumes and end slices ---


@pytest.mark.parametrize("cc", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("name", SHAPES)
def test_volumes(name: str, cc: float) -> None:
    """Within 1 % or 0.03 cc where no flat end lies between slices; there within half an end slab for each flat end.

    1 % or 0.03 cc holds for contours up to 1 mm apart of cylinders along y, 2 mm of spheres and 3 mm of cones along y.
    At 3 mm a sphere of 1 cc can lose 3.5 %, of 5 cc 1.6 %; a cylinder along y gains or loses 3.4 % of 1 cc and 1.0 %
    of 5 cc at 2 mm, 7 % and 2 % at 3 mm. A cylinder of 5 cc along z gains or loses up to 2.5, 3, 8 and 13 % at 0.5, 1,
    2 and 3 mm, a cone 3, 5, 11 and 15 %: contours do not tell where between two slices a flat end lies.
    """
    shape = of_volume(name, cc)
    for slice_mm in SLICES_MM:
        for phase in np.arange(0.0, 1.0, 0.1):
            z = planes(shape, slice_mm, phase)
            if len(z) < 2:
                continue
            off = contoured(shape, z).volume_cc - cc
            if name.endswith(" z"):
                ends = (1 if name.startswith("cone") else 2) * math.pi * shape.radius_mm**2 / 1000.0
                bound = 0.5 * slice_mm * ends + 0.07 * cc
            elif slice_mm <= {"sphere": 2.0, "cylinder y": 1.0, "cone y": 3.0}[name]:
                bound = max(0.01 * cc, 0.03)
            else:
                bound = {0.1: 0.022, 1.0: 0.035 if slice_mm < 3.0 or name == "sphere" else 0.071, 5.0: 0.1}[cc]
            assert abs(off) <= bound, (slice_mm, phase, off)


@pytest.mark.parametrize("slice_mm", SLICES_MM)
def test_end_contours_stand_for_half_a_slice_beyond_them(slice_mm: float) -> None:
    """The policy, in closed form, on shapes of 24 mm height: n slices.

    Contours in the middle of every slice: a cylinder is exact, a cone 1/(4 n^2) too small. Contours on the borders of
    the slices: a cylinder has 1/n too much, a cone with its base contoured 3/(2n) + 1/(2n^2); a sphere loses 1/(4 m^2)
    with m = n/2. At 3 mm this is 12.5 %, 19.5 % and 1.6 %; at 0.5 mm 2.1 %, 3.1 % and 0.04 %.
    """
    radius = 12.0
    n = round(2 * radius / slice_mm)
    middle = -radius + (np.arange(n) + 0.5) * slice_mm
    border = -radius + np.arange(n + 1) * slice_mm
    cases = (
        ("cylinder z", middle, 1.0),
        ("cylinder z", border, 1.0 + 1.0 / n),
        ("cone z", middle, 1.0 - 1.0 / (4 * n**2)),
        ("cone z", border[:-1], 1.0 + 1.5 / n + 0.5 / n**2),
        ("sphere", border[1:-1], 1.0 - 1.0 / n**2),
    )
    for name, z, ratio in cases:
        shape = Shape(name, radius)
        structure = contoured(shape, z)
        assert structure.volume_cc * 1000 / shape.mm3 == pytest.approx(ratio, rel=1e-6), name
        voxels = structure.on(gradient("z", 2.5, radius + slice_mm).grid)
        assert voxels.volume_cc == pytest.approx(structure.volume_cc, rel=1e-9)


def test_closed_forms_agree_with_numerical_integrals() -> None:
    """A check of the check: each closed form against the sum of its sections, and the whole against its volume."""
    radius = 10.0
    t = np.linspace(-radius, radius, 41)
    z = np.linspace(-radius, radius, 1001)[:-1] + radius / 1000
    for name in SHAPES:
        shape = Shape(name, radius)
        sections = [shape.section(h) for h in z]
        for axis in "yz":
            summed = stack_beyond(shape, z, 2 * radius / 1000, axis, t)
            np.testing.assert_allclose(shape.beyond(axis, t), summed, atol=1e-3 * shape.mm3)
        assert float(shape.beyond("y", np.array([-radius]))[0]) == pytest.approx(shape.mm3, rel=1e-9)
        for ring, area in sections[125::250]:
            x, y = ring.T
            shoelace = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
            assert float(area(np.array([-np.inf]))[0]) == pytest.approx(shoelace, rel=1e-3)


def test_histogram_of_a_sampled_sphere_is_the_analytic_curve() -> None:
    """The table that is written, at doses of its own, within half a box of the caps of the sphere."""
    shape = of_volume("sphere", 5.0)
    samples = samples_of(gradient("y", 2.5, shape.radius_mm + 0.5), contoured(shape, planes(shape, 0.5, 0.0)))
    curve = dvh(samples.dose_gy, samples.cc, bin_gy=0.1)
    t = (curve.dose_gy - CENTRE_GY) / GRADIENT
    half = 1.25 / samples.parts[1]
    low, high = (shape.beyond("y", t + shift) / 1000.0 for shift in (half, -half))
    slack = 1e-3 * 5.0
    assert np.all((curve.volume_cc >= low - slack) & (curve.volume_cc <= high + slack))
    assert curve.volume_cc[0] == pytest.approx(5.0, rel=2e-3)
