"""Label maps: one number for each structure, in a NIfTI or NRRD image, with the names beside it."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .coverage import offset
from .errors import InputError, UnsafeInputError
from .grid import Grid
from .images import read_image
from .structures import ROLES, Occupancy, Structure, StructureSet, check_name, role_from_name

LABEL_LIMIT = 65535
NAMES_LIMIT = 2**20  # bytes of JSON
STRUCTURE_LIMIT = 1000
BOX_ALLOWANCE, BOX_RATIO = 2**26, 8  # voxels in the boxes of all structures, and per voxel of the map
VOXEL_TOLERANCE = 0.02  # of a voxel: positions are stored in single precision

_log = logging.getLogger(__name__)


def read_labels(path: str | Path, names: str | Path | Mapping[str, Any], *, scan: Grid | None = None) -> StructureSet:
    """Structures of a label map; each is an occupancy cropped to its box.

    Parameters
    ----------
    path : str or Path
        NIfTI or NRRD file of whole numbers, 0 is background.
    names : str, Path or mapping
        JSON file, or its content: {"1": "Liver"}, {"Liver": 1}, or {"labels": {"1": {"name": "Liver"}}},
        where a label may also state its "role". Without a role, GTV, CTV, ITV and PTV are taken from the
        start of the name.
    scan : Grid, optional
        The CT's: voxels of the map must be voxels of it.

    Returns
    -------
    StructureSet
        Names kept as in the file; those without voxels are logged and listed as `absent`.

    Raises
    ------
    InputError
        As `read_image`; values that are not labels, labels without a name, names used twice, other voxels than
        the scan's.
    UnsafeInputError
        As `read_image`; too many labels, or labels scattered over too many voxels.
    """
    file = Path(path)
    table = _names(names)
    grid, values = read_image(file)
    notices = [] if scan is None else _check_voxels(grid, scan, file)
    labels = _whole_numbers(values, file)
    counts = np.bincount(labels.ravel())
    present = [int(label) for label in np.flatnonzero(counts) if label]
    unnamed = [label for label in present if label not in table]
    if unnamed:
        listed = ", ".join(f"{label} ({counts[label] * grid.voxel_cc:.3g} cc)" for label in unnamed[:20])
        raise InputError(
            f"{len(unnamed)} labels have no name: {listed}.",
            where=str(path),
            remedy="Add them to the label names.",
        )
    absent = tuple(name for label, (name, _) in table.items() if label not in present)
    if absent:
        _log.info("%d names have no voxels: %s.", len(absent), ", ".join(absent))
    boxes = ndimage.find_objects(labels)
    held = sum(math.prod(side.stop - side.start for side in boxes[label - 1]) for label in present)
    check_boxes(len(present), held, labels.size, file)
    structures = (Structure(*table[label], _cropped(grid, labels, label, boxes[label - 1])) for label in present)
    return StructureSet(tuple(structures), absent=absent, notices=tuple(notices))


def _check_voxels(grid: Grid, scan: Grid, path: Path) -> list[str]:
    """Refuse a map whose voxels are not voxels of the scan; say so where it covers a part of it only."""
    first = scan.index_coordinates(grid.origin_mm)[0]
    same = np.allclose(grid.spacing_mm, scan.spacing_mm, rtol=1e-4)
    if not same or np.abs(first - np.round(first)).max() > VOXEL_TOLERANCE:
        raise InputError(
            f"lies on other voxels than the CT: {_told(grid)}; the CT has {_told(scan)}; {offset(grid, scan)}.",
            where=str(path),
            remedy="Use the map that was made on this CT; --resample-labels accepts the other voxels.",
        )
    if grid.shape == scan.shape and not np.round(first).any():
        return []
    ours, its = (" x ".join(map(str, g.shape[::-1])) for g in (grid, scan))
    return [f"label map: covers {ours} voxels, the CT {its}; {offset(grid, scan)}."]


def _told(grid: Grid) -> str:
    spacing, origin = (" x ".join(f"{v:.6g}" for v in values) for values in (grid.spacing_mm, grid.origin_mm))
    return f"{' x '.join(map(str, grid.shape[::-1]))} of {spacing} mm from ({origin.replace(' x ', ', ')})"


def check_boxes(count: int, held: int, voxels: int, path: Path) -> None:
    """Refuse structures whose boxes, of `held` voxels together, would fill the memory: each is kept by itself."""
    if count > STRUCTURE_LIMIT or held > BOX_ALLOWANCE + BOX_RATIO * voxels:
        raise UnsafeInputError(
            f"holds {count} labels with {held} voxels in their boxes, at most {STRUCTURE_LIMIT} labels and "
            f"{BOX_ALLOWANCE + BOX_RATIO * voxels} voxels are read.",
            where=str(path),
            remedy="Leave out the labels that are not needed.",
        )


def _cropped(grid: Grid, labels: npt.NDArray[np.int32], label: int, box: tuple[slice, ...]) -> Occupancy:
    fraction = (labels[box] == label).astype(np.float32)
    first = np.array([s.start for s in box])[::-1]
    origin = np.asarray(grid.origin_mm) + first * grid.spacing_mm
    return Occupancy(Grid(tuple(origin.tolist()), grid.spacing_mm, fraction.shape), fraction)


def _whole_numbers(values: npt.NDArray[Any], path: Path) -> npt.NDArray[np.int32]:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > LABEL_LIMIT:
        raise InputError(f"is not a label map: values must lie within 0 and {LABEL_LIMIT}.", where=str(path))
    labels = values.astype(np.int32)
    if not np.array_equal(labels, values):
        raise InputError("is not a label map: it holds fractions.", where=str(path), remedy="Is it the image?")
    return labels


def label_names(source: str | Path | Mapping[str, Any]) -> dict[int, str]:
    """Name by label; see `read_labels` for the forms.

    Raises
    ------
    InputError
        Not one of them.
    """
    return {label: name for label, (name, _) in _names(source).items()}


def _names(source: str | Path | Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """Name and role by label, background left out."""
    content = dict(source) if isinstance(source, Mapping) else _json(Path(source))
    where = "label names" if isinstance(source, Mapping) else str(source)
    labels = content.get("labels")
    entries = labels if isinstance(labels, Mapping) else content
    rows = [row for key, value in entries.items() if (row := _row(key, value, where))[0]]
    for what, values in (("label", [r[0] for r in rows]), ("name", [r[1] for r in rows])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise InputError(f"{what} given twice: {', '.join(map(repr, twice))}.", where=where)
    return {label: (name, role) for label, name, role in rows}


def _row(key: str, value: Any, where: str) -> tuple[int, str, str]:
    """Label, name and role of one entry in any of the three forms."""
    role = None
    is_table = isinstance(value, Mapping)
    if is_table:
        value, role = value.get("name"), value.get("role")
    if isinstance(value, int) and not isinstance(value, bool) and not is_table:
        label, name = value, key
    elif isinstance(value, str) and key.isascii() and key.isdecimal() and len(key) < 10:
        label, name = int(key), value
    else:
        raise InputError(
            f'entry {key!r} is not a label with its name, such as "1": "Liver" or "Liver": 1.', where=where
        )
    if label:
        check_name(name)
    if role is not None and role not in ROLES:
        raise InputError(f"{name!r} has role {role!r}, expected one of {', '.join(ROLES)}.", where=where)
    return label, name, role or role_from_name(name)


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > NAMES_LIMIT:
            raise UnsafeInputError(f"has more than {NAMES_LIMIT // 2**20} MiB of label names.", where=str(path))
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_duplicates)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read as JSON ({type(error).__name__}).",
            where=str(path),
            remedy="Check the path and content.",
        ) from error
    if not isinstance(content, dict):
        raise InputError("must be a JSON object of label names.", where=str(path))
    return content


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise InputError(f"JSON keys given twice: {', '.join(map(repr, twice))}.", where="label names")
    return dict(pairs)
