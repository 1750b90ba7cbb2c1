"""A synthetic abdominal patient with a liver metastasis, for demonstrations and tests.

The organs are signed functions in a patient frame (x to the left, y to posterior, z to superior; mm), sampled
on a fine grid of each CT plane. The same samples give the contours (their zero level) and the HU (their
average over a voxel), so that image and structures cannot disagree. The patient is turned about the long axis
and no organ has a mirror image: exchanged or mirrored axes show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import gaussian_filter

from .grid import Grid, Triple, Volume
from .implicit import FAR_MM, Array
from .level_lines import level_lines
from .phantom_anatomy import Organ, organs
from .polygons import signed_area
from .structures import Contours, Structure, StructureSet

TARGET_NAME = "GTV"
GRID = Grid(origin_mm=(-172.5, -153.0, -98.0), spacing_mm=(2.0, 2.2, 3.0), shape=(85, 130, 180))
PATIENT_ORIGIN_MM: Triple = (6.0, -13.0, 42.0)  # of the patient frame, in LPS
TURN_DEG = 4.0  # about z, left side up
AIR_HU = -1000.0
NOISE_HU = 8.0  # standard deviation, a usual abdominal planning CT
_FINE = 2  # samples per voxel along x and along y
_PAD_MM = 4.0  # beyond an organ's box, so that the zero level closes inside the window
_EDGE_MM = 1.0  # width over which HU pass from one tissue to the next
_SIMPLIFY_MM = 0.05  # contour points closer than this to a straight line are left out
_MARGIN = 4  # fine samples around an organ in which its distance counts: the surface of a carved organ lies in them
_MIN_AREA_MM2 = 1.0  # slivers left by carving one organ out of another


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticPatient:
    """A CT with structures.

    Attributes
    ----------
    ct : Volume
        HU, int16.
    structures : StructureSet
        Contours on the CT planes, TG-263 names (Mayo et al., IJROBP 100, 1057, 2018).
    target_name : str
        The gross tumour volume among them.
    """

    ct: Volume
    structures: StructureSet
    target_name: str


def synthetic_patient(seed: int = 0) -> SyntheticPatient:
    """The patient; `seed` draws the noise of the CT, the anatomy is always the same."""
    anatomy = organs()
    x, y = _fine_plane()
    windows = _windows(anatomy, x, y)
    z_mm = GRID.origin_mm[2] + GRID.spacing_mm[2] * np.arange(GRID.shape[0])
    hu = np.empty(GRID.shape, dtype=np.float32)
    outlines: dict[str, list[tuple[float, npt.NDArray[np.float64]]]] = {
        organ.name: [] for organ in anatomy if organ.contoured
    }
    for k, z in enumerate(z_mm):
        fine = np.full(x.shape, AIR_HU, dtype=np.float32)
        taken = np.full(x.shape, FAR_MM, dtype=np.float32)
        height = float(z) - PATIENT_ORIGIN_MM[2]
        for organ, window in zip(anatomy, windows, strict=True):
            drawn = _draw(organ, window, height, fine, taken)
            if drawn is not None and organ.contoured:
                outlines[organ.name] += [(float(z), polygon) for polygon in _polygons(*drawn)]
        hu[k] = _averaged(fine)
    structures = tuple(
        Structure(organ.name, organ.role, _contours(outlines[organ.name])) for organ in anatomy if organ.contoured
    )
    return SyntheticPatient(Volume(GRID, _with_noise(hu, seed)), StructureSet(structures), TARGET_NAME)


def write_synthetic_patient(folder: str | Path, seed: int = 0, *, patient_position: str = "HFS") -> SyntheticPatient:
    """Write the patient as DICOM: folder/ct/*.dcm and folder/rtstruct.dcm; returns what was written.

    The anatomy is the same in every patient position; how the images are turned, and where gantry angles point, is not.

    Raises
    ------
    OutputError
        The files cannot be written.
    """
    from .dicom import write_ct_series, write_rtstruct

    patient = synthetic_patient(seed)
    folder = Path(folder)
    series = write_ct_series(
        folder / "ct", patient.ct, patient_name="Synthetic^Abdomen", patient_position=patient_position
    )
    write_rtstruct(folder / "rtstruct.dcm", patient.structures, series)
    return patient


def _fine_plane() -> tuple[Array, Array]:
    """Patient-frame x and y of the fine samples, two (rows, columns) float32 arrays in mm."""
    axes = []
    for axis, n in ((0, GRID.shape[2]), (1, GRID.shape[1])):
        step = GRID.spacing_mm[axis] / _FINE
        first = GRID.origin_mm[axis] - GRID.spacing_mm[axis] / 2 + step / 2 - PATIENT_ORIGIN_MM[axis]
        axes.append(first + step * np.arange(n * _FINE))
    across, down = np.meshgrid(*axes)
    c, s = np.cos(np.radians(TURN_DEG)), np.sin(np.radians(TURN_DEG))
    return (c * across + s * down).astype(np.float32), (c * down - s * across).astype(np.float32)


def _to_lps(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fine (column, row) index coordinates, (n, 2), to LPS x, y in mm."""
    step = np.array(GRID.spacing_mm[:2]) / _FINE
    first = np.array(GRID.origin_mm[:2]) - np.array(GRID.spacing_mm[:2]) / 2 + step / 2
    return first + points * step


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """The part of the fine plane that holds an organ: patient-frame x and y of its samples, and where it starts."""

    x: Array
    y: Array
    row: int
    column: int


def _windows(anatomy: list[Organ], x: Array, y: Array) -> list[_Window | None]:
    """The window of each organ, None beyond the plane; organs of one box share one."""
    made: dict[tuple[float, ...], _Window | None] = {}
    windows = []
    for organ in anatomy:
        low, high = np.subtract(organ.shape.low_mm, _PAD_MM), np.add(organ.shape.high_mm, _PAD_MM)
        box = (*low[:2].tolist(), *high[:2].tolist())
        if box not in made:
            part = _box_of((x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]))
            made[box] = None if part is None else _Window(x[part], y[part], part[0].start, part[1].start)
        windows.append(made[box])
    return windows


def _box_of(hit: npt.NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice] | None:
    """Rows and columns from the first to the last hit, with a margin inside the array; None without a hit."""
    columns = np.flatnonzero(hit.any(axis=0))
    if not len(columns):
        return None
    rows = np.flatnonzero(hit[:, columns[0] : columns[-1] + 1].any(axis=1))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def _draw(
    organ: Organ, window: _Window | None, z: float, hu: Array, taken: Array
) -> tuple[Array, tuple[int, int]] | None:
    """Paint one organ on one plane; returns its signed distances around it and the (row, column) they start at.

    `hu` and `taken` (the distance to organs of higher priority) are changed in place, where the organ is.
    """
    if window is None or not organ.shape.low_mm[2] - _PAD_MM < z < organ.shape.high_mm[2] + _PAD_MM:
        return None
    whole = organ.shape.signed_mm(window.x, window.y, z)
    box = _box_of(whole < _EDGE_MM / 2, _MARGIN)
    if box is None:
        return None
    signed, row, column = whole[box], window.row + box[0].start, window.column + box[1].start
    part = (slice(row, row + signed.shape[0]), slice(column, column + signed.shape[1]))
    if organ.carves:
        signed = np.maximum(signed, -taken[part])
        taken[part] = np.minimum(taken[part], signed)
    if organ.hu is not None:
        hu[part] += np.clip(0.5 - signed / _EDGE_MM, 0.0, 1.0) * (organ.hu(z) - hu[part])
    return signed, (row, column)


def _polygons(signed: Array, corner: tuple[int, int]) -> list[npt.NDArray[np.float64]]:
    """The closed zero-level lines of a window as (n, 2) polygons in LPS mm."""
    box = _box_of(signed < 0, 1)
    if box is None:
        return []
    signed = signed[box]
    framed = np.pad(signed, 1, constant_values=FAR_MM) if _touches_frame(signed) else signed
    start = np.array([corner[1] + box[1].start, corner[0] + box[0].start])
    shift = start - (framed.shape[0] != signed.shape[0])
    lines = [_to_lps(line + shift) for line in level_lines(framed).lines(0.0)]
    # Whether rings stay valid is checked where they become a structure; asking for it here takes most of the time.
    rings = [shapely.simplify(shapely.linestrings(line), _SIMPLIFY_MM, preserve_topology=False) for line in lines]
    polygons = [shapely.get_coordinates(ring)[:-1] for ring in rings]
    return [polygon for polygon in polygons if len(polygon) > 2 and abs(signed_area(polygon)) >= _MIN_AREA_MM2]


def _contours(outline: list[tuple[float, npt.NDArray[np.float64]]]) -> Contours:
    return Contours(tuple(z for z, _ in outline), tuple(polygon for _, polygon in outline))


def _touches_frame(signed: Array) -> bool:
    edges = (signed[0], signed[-1], signed[:, 0], signed[:, -1])
    return any(bool((edge < 0).any()) for edge in edges)


def _averaged(fine: Array) -> Array:
    """The mean of the samples of each voxel of a plane."""
    across = reduce(np.add, [fine[:, k::_FINE] for k in range(_FINE)])
    return reduce(np.add, [across[k::_FINE] for k in range(_FINE)]) / np.float32(_FINE**2)


def _with_noise(hu: Array, seed: int) -> npt.NDArray[np.int16]:
    """Correlated noise inside the patient, rounded to int16 as a scanner stores it."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(hu.shape, dtype=np.float32), 0.8)
    inside = np.clip((hu - AIR_HU) / 200.0, 0.0, 1.0)
    return np.round(hu + NOISE_HU / noise.std() * noise * inside).astype(np.int16)
