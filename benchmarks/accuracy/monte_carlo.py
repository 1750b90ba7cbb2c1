"""EGSnrc doses of a point source in water and behind lung; absolute, in Gy per photon per cm2.

Voxel noise is 1 to 2 %. Axis figures average the flat middle of the field and a window of depth; gamma is taken
against the raw doses and against doses whose symmetric halves are folded and which are smoothed along depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import savgol_filter

from dosecalc.machine import BeamModel

from . import gamma
from .machines import monte_carlo_machine
from .phantom import Setup, dose_at
from .profiles import penumbra, tail_difference
from .rows import Row, absent, absolute, passing, relative

Array = npt.NDArray[np.float64]

SOURCE = "EGSnrc (own runs), point source, x6.spectrum"
LUNG = 0.258
"""Electron density relative to water of lung tissue at 0.26 g/cm3: Z/A 0.5497 against 0.5551 (ICRU Report 44)."""
SLAB = ((50, 1.0), (80, LUNG))
SLAB_REGIONS = (
    ("water before lung", 20, 50, None),
    ("mid lung", 70, 110, None),
    ("distal lung", 110, 130, None),
    ("0-6 mm beyond lung", 130, 136, None),
    ("6-20 mm beyond lung", 136, 150, None),
    ("20-70 mm beyond lung", 150, 200, 3.0),
)
"""Name, depths in mm, tolerance in % (MPPG 5.b: 3 % beyond lung, more than 2 cm distal)."""


@dataclass(frozen=True, slots=True)
class Case:
    """File and field of a run, its layers, and the half width of the middle of the field that is averaged."""

    file: str
    name: str
    field_mm: float
    layers: tuple[tuple[int, float], ...]
    middle_mm: float


CASES = (
    Case("w3", "Monte Carlo water 3x3", 30.0, (), 6.0),
    Case("w10", "Monte Carlo water 10x10", 100.0, (), 25.0),
    Case("slab_lung_3x3", "Monte Carlo lung slab 3x3", 30.0, SLAB, 6.0),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A .3ddose file: boundaries in mm, dose in Gy per photon/cm2 and relative error (z, y, x)."""

    x_mm: Array
    y_mm: Array
    z_mm: Array
    dose: Array
    error: Array

    @property
    def x(self) -> Array:
        """Voxel middles across the field."""
        return 0.5 * (self.x_mm[1:] + self.x_mm[:-1])

    @property
    def depth(self) -> Array:
        """Voxel middles along depth."""
        return 0.5 * (self.z_mm[1:] + self.z_mm[:-1])


def read_3ddose(path: Path) -> Run:
    """Read a .3ddose file, without the wide margins in x and without the last, 50 mm deep, voxel."""
    numbers = np.array(path.read_text().split(), dtype=float)
    counts = numbers[:3].astype(int)
    x, y, z, dose, error = np.split(numbers[3:], np.cumsum([*(counts + 1), counts.prod()]))
    dose, error = (a.reshape(tuple(counts[::-1]))[:-1, :, 1:-1] for a in (dose, error))
    return Run(np.round(10 * x[1:-1], 3), np.round(10 * y, 3), np.round(10 * z[:-1], 3), dose, error)


def model_plane(machine: BeamModel, setup: Setup, run: Run) -> Array:
    """(nz, nx) dose of the model in the central row, averaged over each voxel."""
    across = 4 if run.x_mm[1] - run.x_mm[0] > 4 else 3
    x = _samples(run.x_mm, across)
    y = _samples(run.y_mm[1:3], 2)
    plane = np.empty((len(run.depth), len(run.x)))
    for rows, step in ((run.depth < 30, 2), (run.depth > 30, 5)):
        edges = run.z_mm[np.append(np.flatnonzero(rows), np.flatnonzero(rows)[-1] + 1)]
        fine = dose_at(machine, setup, x, y, _samples(edges, step)).mean(axis=1)
        plane[rows] = fine.reshape(rows.sum(), step, len(run.x), across).mean(axis=(1, 3))
    return plane


def _samples(edges: Array, per_voxel: int) -> Array:
    """Midpoint samples of evenly spaced voxels."""
    step = (edges[1] - edges[0]) / per_voxel
    return edges[0] + step * (np.arange((len(edges) - 1) * per_voxel) + 0.5)


def rows(data: Path) -> Iterator[Row]:
    """All rows of the Monte Carlo cases."""
    folder = data / "physics" / "monte_carlo"
    machine = monte_carlo_machine(data) if (data / "physics" / "edk_water.npz").is_file() else None
    for case in CASES:
        if machine is None or not (folder / f"{case.file}.3ddose").is_file():
            yield absent(case.name, "depth dose, penumbra, tail, gamma", SOURCE)
            continue
        run = read_3ddose(folder / f"{case.file}.3ddose")
        yield from case_rows(machine, case, run)


def case_rows(machine: BeamModel, case: Case, run: Run, *, with_gamma: bool = True) -> Iterator[Row]:
    """The rows of one run; 1 MU of the machine is 1 photon per cm2 in the isocentre plane."""
    ours = model_plane(machine, Setup(case.field_mm, 1000.0, case.layers), run)
    central = np.abs(run.x) < case.middle_mm
    yield from (_slab_rows if case.layers else _water_rows)(case.name, run, ours, central)
    if not case.layers:
        yield from _lateral_rows(case.name, run, ours, case.field_mm)
    if with_gamma:
        yield from _gamma_rows(case.name, run, ours, layered=bool(case.layers))


def _window(run: Run, ours: Array, central: Array, low: float, high: float) -> tuple[float, float, float]:
    """Inverse-variance weighted means of ours and of the run between two depths, and the noise of the ratio in %."""
    inside = np.ix_((run.depth > low) & (run.depth < high), central)
    reference = run.dose[:, 1][inside].mean(axis=1)
    noise = np.sqrt(((run.dose * run.error)[:, 1][inside] ** 2).sum(axis=1)) / central.sum() / reference
    weight = noise**-2
    ratio = float(np.average(ours[inside].mean(axis=1) / reference, weights=weight))
    mean = float(reference.mean())
    return ratio * mean, mean, 100 / np.sqrt(weight.sum())


def _water_rows(case: str, run: Run, ours: Array, central: Array) -> Iterator[Row]:
    mine, theirs, noise = _window(run, ours, central, 20, 200)
    scale = theirs / mine
    yield relative(
        case,
        f"axis, absolute, 20-200 mm, mean (noise {noise:.2f} %)",
        1e12 * mine,
        1e12 * theirs,
        "pGy cm2",
        1.0,
        SOURCE,
    )
    for low in (20, 50, 80, 110, 140, 170):
        mine, theirs, noise = _window(run, ours, central, low, low + 30)
        label = f"axis, absolute, {low}-{low + 30} mm (noise {noise:.2f} %)"
        yield relative(case, label, 1e12 * mine, 1e12 * theirs, "pGy cm2", 1.0, SOURCE)
    for low, high in ((0, 2), (2, 4), (4, 20), (200, 300)):
        mine, theirs, noise = _window(run, ours, central, low, high)
        label = f"axis, absolute, {low}-{high} mm (noise {noise:.2f} %)"
        yield relative(case, label, 1e12 * mine, 1e12 * theirs, "pGy cm2", None, SOURCE)
    worst = max(
        (_window(run, scale * ours, central, low, low + 30) for low in range(20, 171, 5)),
        key=lambda w: abs(w[0] / w[1] - 1),
    )
    yield relative(
        case, "axis, one scale factor, worst 30 mm window of 20-200 mm", 1e12 * worst[0], 1e12 * worst[1], "pGy cm2",
        None, SOURCE, "information",
    )  # fmt: skip


def _slab_rows(case: str, run: Run, ours: Array, central: Array) -> Iterator[Row]:
    for name, low, high, tolerance in SLAB_REGIONS:
        mine, theirs, noise = _window(run, ours, central, low, high)
        label = f"axis, absolute, {name} (noise {noise:.2f} %)"
        yield relative(case, label, 1e12 * mine, 1e12 * theirs, "pGy cm2", tolerance, SOURCE)


def _folded(run: Run) -> Array:
    """(nz, nx) central row, its symmetric halves averaged."""
    plane = run.dose[:, 1]
    return 0.5 * (plane + plane[:, ::-1])


def _lateral_rows(case: str, run: Run, ours: Array, field_mm: float) -> Iterator[Row]:
    """Penumbra and tail of profiles averaged over 30 mm of depth, in the voxels of the run."""
    for depth in (50, 100, 200):
        near = np.abs(run.depth - depth) < 15
        axis_scale = ours[near][:, np.abs(run.x) < 6].mean(axis=1, keepdims=True)
        theirs, mine = ((plane[near] / axis_scale).mean(axis=0) for plane in (_folded(run), ours))
        edge = field_mm / 2 * (1 + depth / 1000)
        widths = penumbra(run.x, mine), penumbra(run.x, theirs)
        yield absolute(case, f"penumbra 80-20 at {depth} mm, in the run's voxels", *widths, "mm", 1.0, SOURCE)
        yield tail_difference(case, f"tail outside the field at {depth} mm", run.x, mine, theirs, edge, 1.0, SOURCE)


def _gamma_rows(case: str, run: Run, ours: Array, *, layered: bool) -> Iterator[Row]:
    """Gamma in the central plane below 4 mm, raw and with the noise reduced; lung on its own."""
    lung = ((run.depth > 50) & (run.depth < 130) if layered else np.zeros(len(run.depth), bool))[:, None]
    deep = (run.depth > 4)[:, None]
    regions = {"water": np.broadcast_to(deep & ~lung, ours.shape)}
    if layered:
        regions["lung"] = np.broadcast_to(lung, ours.shape)
    percent, distance, tolerance = (3.0, 2.0, 95.0) if layered else (2.0, 1.0, 99.0)
    media = ((0, 50), (50, 130), (130, 300)) if layered else ((0, 300),)
    references = {"raw": run.dose[:, 1], "folded and smoothed": np.concatenate([_smoothed(run, m) for m in media])}
    for label, reference in references.items():
        for region, keep in regions.items():
            rate = gamma.pass_rate(
                (run.depth, run.x), reference, (run.depth, run.x), ours,
                percent=percent, distance_mm=distance, keep=keep,
            )  # fmt: skip
            quantity = f"gamma {percent:g} %/{distance:g} mm, absolute, {label}, {region}"
            source = f"{SOURCE}; {gamma.SOURCE}"
            bound = None if label == "raw" else tolerance
            yield absent(case, quantity, source) if rate is None else passing(case, quantity, rate, bound, source)


def _smoothed(run: Run, between: tuple[int, int]) -> Array:
    """Folded plane with a quadratic through 7 neighbours along depth, inside one medium and one voxel size."""
    plane = _folded(run)
    pieces = []
    for low, high in ((0.0, 30.0), (30.0, 1000.0)):
        inside = (run.depth > max(low, between[0])) & (run.depth < min(high, between[1]))
        if inside.any():
            pieces.append(savgol_filter(plane[inside], 7 if inside.sum() >= 7 else 3, 2, axis=0))
    return np.concatenate(pieces)
