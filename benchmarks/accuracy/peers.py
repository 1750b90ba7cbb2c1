"""Another open pencil beam, pyRadPlan (BSD-3) with its generic 6 MV machine, on the same phantoms and beamlets.

It is no reference: its machine is another one, it has no density scaling either, and its beamlets, built on an even
FFT grid, lie a quarter of a millimetre aside. That shift is allowed for: the figures are those of our beamlets moved
by the quarter millimetre that fits better. One scale factor per case, at the isocentre, is stated as a row.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc import Beam, Beamlets, Grid, Volume, dose_influence, load_machine

from . import gamma
from .rows import Row, absent, absolute, passing, relative

Array = npt.NDArray[np.float64]

SCRIPT = Path(__file__).with_name("peer_pyradplan.py")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip
SHIFT_MM = 0.25
BUILD_UP_MM = 10.0
"""Voxels less deep for the first beam are left out of the rms: 5 mm voxels on a surface compare nothing."""
CASES = {"water": "pyRadPlan water box, open field", "tg119": "pyRadPlan TG119, three open fields"}


def rows(peer: Path | None) -> Iterator[Row]:
    """All rows; `peer` is the Python of its environment, or an npz that the script wrote before."""
    if peer is None or not peer.exists():
        for case in CASES.values():
            yield absent(case, "dose, gamma", "pyRadPlan (BSD-3), own environment: --peers")
        return
    data = load(peer)
    source = f"pyRadPlan {data['version']} (BSD-3), generic 6 MV"
    for name, case in CASES.items():
        one = {key.removeprefix(f"{name}_"): data[key] for key in data if key.startswith(f"{name}_")}
        yield from _case_rows(case, one, float(data["bixel_mm"]), source, in_water=name == "water")


def load(peer: Path, *arguments: str) -> dict[str, Any]:
    """What the script writes, run on one thread by the Python `peer`; or an npz that it wrote before."""
    with tempfile.TemporaryDirectory(prefix="accuracy-peer-") as scratch:
        path = peer
        if peer.suffix != ".npz":
            path = Path(scratch) / "peer.npz"
            one_thread = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
            subprocess.run([peer, SCRIPT, path, *arguments], check=True, capture_output=True, env=one_thread)
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}


def repeated(
    one: dict[str, Any], bixel_mm: float, shift_mm: tuple[float, float] = (0.0, 0.0)
) -> tuple[Volume, Beamlets, npt.NDArray[np.int64]]:
    """The density and the beamlets of a case of the peer, and which of its beamlets each of ours is."""
    density = Volume(grid_of(one["origin_mm"], one["spacing_mm"], one["density"].shape), one["density"])
    beams = tuple(Beam(float(g), isocentre_mm=tuple(one["isocentre_mm"])) for g in one["gantry_deg"])
    u, v = one["u_mm"] + shift_mm[0], one["v_mm"] + shift_mm[1]
    order = np.lexsort((u, v, one["beam"]))
    width = np.full(u.size, bixel_mm)
    return density, Beamlets(beams, one["beam"][order], u[order], v[order], width, width), order


def _ours(one: dict[str, Any], bixel_mm: float, shift_mm: tuple[float, float]) -> tuple[Array, Array]:
    """Our dose, and the radiological depth of the first beam, in the voxels where the peer has dose."""
    density, beamlets, _ = repeated(one, bixel_mm, shift_mm)
    grid = grid_of(one["dose_origin_mm"], one["dose_spacing_mm"], one["dose"].shape)
    voxels = np.flatnonzero(one["dose"] > 0)
    influence = dose_influence(density, grid, beamlets, load_machine("generic_6mv"), voxels=voxels, precision="float64")
    return influence.dose(np.ones(beamlets.count)), influence.depth_mm[0]


def grid_of(origin_mm: Array, spacing_mm: Array, shape: tuple[int, ...]) -> Grid:
    """A grid of the peer as one of ours."""
    return Grid(tuple(map(float, origin_mm)), tuple(map(float, spacing_mm)), tuple(shape))


def _case_rows(case: str, one: dict[str, Any], bixel_mm: float, source: str, *, in_water: bool) -> Iterator[Row]:
    voxels = np.flatnonzero(one["dose"] > 0)
    peer = one["dose"].ravel()[voxels]
    grid = grid_of(one["dose_origin_mm"], one["dose_spacing_mm"], one["dose"].shape)
    centre = int(np.argmin(np.linalg.norm(grid.centres_mm(voxels) - one["isocentre_mm"], axis=1)))
    tried = {}
    for shift in [(0.0, 0.0), *product((-SHIFT_MM, SHIFT_MM), repeat=2)]:
        ours, depth = _ours(one, bixel_mm, shift)
        scaled = ours * peer[centre] / ours[centre]
        high = (peer > 0.1 * peer.max()) & (depth > BUILD_UP_MM)
        tried[shift] = float(np.sqrt(np.mean((scaled[high] - peer[high]) ** 2)) / peer.max()), ours, scaled, depth
    best = min(tried, key=lambda s: tried[s][0])
    rms, ours, scaled, depth = tried[best]
    yield absolute(
        case,
        "scale at the isocentre (peer / our cGy per unit)",
        100 * ours[centre],
        peer[centre],
        "",
        None,
        source,
        "information",
    )
    yield absolute(case, "best shift of our beamlets along u", best[0], 0.0, "mm", None, source, "information")
    yield absolute(case, "best shift of our beamlets along v", best[1], 0.0, "mm", None, source, "information")
    for label, value in (("unshifted", tried[0.0, 0.0][0]), ("shifted", rms)):
        yield Row(
            case,
            f"rms difference above 10 % dose, deeper than 10 mm, {label}",
            100 * value,
            0.0,
            "% of max",
            100 * value,
            "% of max",
            None,
            source,
        )
    if in_water:
        yield from _axis_rows(case, grid.centres_mm(voxels), one["isocentre_mm"], depth, scaled, peer, source)
    yield _gamma_row(case, grid, voxels, peer, scaled, source)


def _axis_rows(
    case: str, points: Array, isocentre: Array, depth: Array, ours: Array, peer: Array, source: str
) -> Iterator[Row]:
    """Voxels next to the axis, by depth."""
    near = np.hypot(points[:, 0] - isocentre[0], points[:, 2] - isocentre[2]) < 4.0
    for wanted in (20.0, 50.0, 100.0, 150.0, 200.0):
        there = np.flatnonzero(near & (np.abs(depth - wanted) < 3.0))
        if there.size:
            label = f"axis at {depth[there].mean():.0f} mm, one scale factor"
            yield relative(case, label, float(ours[there].mean()), float(peer[there].mean()), "", None, source)


def _gamma_row(case: str, grid: Grid, voxels: npt.NDArray[np.int64], peer: Array, ours: Array, source: str) -> Row:
    cubes = [np.zeros(grid.size) for _ in range(2)]
    for cube, values in zip(cubes, (peer, ours), strict=True):
        cube[voxels] = values
    axes = tuple(
        o + s * np.arange(n) for o, s, n in zip(grid.origin_mm[::-1], grid.spacing_mm[::-1], grid.shape, strict=True)
    )
    quantity, label = "gamma 3 %/2 mm, one scale factor", f"{source}; {gamma.SOURCE}"
    shaped = [cube.reshape(grid.shape) for cube in cubes]
    rate = gamma.pass_rate(axes, shaped[0], axes, shaped[1], percent=3.0, distance_mm=2.0)
    return absent(case, quantity, label) if rate is None else passing(case, quantity, rate, None, label)
