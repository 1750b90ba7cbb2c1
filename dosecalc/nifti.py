"""NIfTI images and label maps, brought to LPS axes in (z, y, x) order.

NIfTI world coordinates are RAS (x to the right, y to anterior); DICOM's are LPS, so x and y change sign.
Source: NIfTI-1 standard, https://nifti.nimh.nih.gov/nifti-1, "orientation and location".
"""

from __future__ import annotations

import gzip
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .errors import DosecalcError, InputError, ResourceError, UnsafeInputError
from .grid import Grid, Volume
from .orientation import to_lps
from .structures import ROLES, Occupancy, Structure, StructureSet, check_name, role_from_name

VOXEL_LIMIT = 512 * 512 * 4000  # a few metres of fine slices; a small compressed file may claim any number
FILE_LIMIT = 4 * 2**30  # bytes
HEADER_LIMIT = 16 * 2**20  # bytes before the voxels: the header and what programs append to it
INFLATION_ALLOWANCE, INFLATION_RATIO = 2**30, 200  # bytes, and per byte: label maps deflate to a thousandth
NAMES_LIMIT = 2**20  # bytes of JSON
LABEL_LIMIT = 65535
STRUCTURE_LIMIT = 1000
BOX_ALLOWANCE, BOX_RATIO = 2**26, 8  # voxels in the boxes of all structures, and per voxel of the map
AFFINE_TOLERANCE_MM = 1e-3
VOXEL_TOLERANCE = 0.02  # of a voxel: positions are stored in single precision
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])

_log = logging.getLogger(__name__)


def read_nifti_volume(path: str | Path) -> Volume:
    """HU of a NIfTI file (.nii, .nii.gz), float32, on an LPS grid with axes along x, y, z.

    Raises
    ------
    InputError
        Not NIfTI, damaged, not three-dimensional, no or contradictory orientation, oblique axes, units other
        than mm, values that are not finite.
    UnsafeInputError
        More voxels than a scan can have, or than its compressed file can honestly hold.
    """
    file = Path(path)
    grid, values = _lps(file)
    with np.errstate(over="ignore"):
        hu = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(hu).all():
        raise InputError(f"{int((~np.isfinite(hu)).sum())} voxels are not finite.", where=str(path))
    return Volume(grid, hu)


def read_nifti_labels(
    path: str | Path, names: str | Path | Mapping[str, Any], *, scan: Grid | None = None
) -> StructureSet:
    """Structures of a label map; each is an occupancy cropped to its box.

    Parameters
    ----------
    path : str or Path
        NIfTI file of whole numbers, 0 is background.
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
        As `read_nifti_volume`; values that are not labels, labels without a name, names used twice, other voxels than
        the scan's.
    UnsafeInputError
        As `read_nifti_volume`; too many labels, or labels scattered over too many voxels.
    """
    file = Path(path)
    table = _names(names)
    grid, values = _lps(file)
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
    _check_boxes([boxes[label - 1] for label in present], labels.size, file)
    structures = (Structure(*table[label], _cropped(grid, labels, label, boxes[label - 1])) for label in present)
    return StructureSet(tuple(structures), absent=absent, notices=tuple(notices))


def _check_voxels(grid: Grid, scan: Grid, path: Path) -> list[str]:
    """Refuse a map whose voxels are not voxels of the scan; say so where it covers a part of it only."""
    first = scan.index_coordinates(grid.origin_mm)[0]
    same = np.allclose(grid.spacing_mm, scan.spacing_mm, rtol=1e-4)
    if not same or np.abs(first - np.round(first)).max() > VOXEL_TOLERANCE:
        raise InputError(
            f"lies on other voxels than the CT: {_told(grid)}; the CT has {_told(scan)}.",
            where=str(path),
            remedy="Use the map that was made on this CT; --resample-labels accepts the other voxels.",
        )
    if grid.shape == scan.shape and not np.round(first).any():
        return []
    ours, its = (" x ".join(map(str, g.shape[::-1])) for g in (grid, scan))
    return [f"label map: covers {ours} voxels, the CT {its}."]


def _told(grid: Grid) -> str:
    spacing, origin = (" x ".join(f"{v:.6g}" for v in values) for values in (grid.spacing_mm, grid.origin_mm))
    return f"{' x '.join(map(str, grid.shape[::-1]))} of {spacing} mm from ({origin.replace(' x ', ', ')})"


def _check_boxes(boxes: list[tuple[slice, ...]], voxels: int, path: Path) -> None:
    """Refuse labels whose boxes would fill the memory: each is kept by itself."""
    held = sum(math.prod(side.stop - side.start for side in box) for box in boxes)
    if len(boxes) > STRUCTURE_LIMIT or held > BOX_ALLOWANCE + BOX_RATIO * voxels:
        raise UnsafeInputError(
            f"holds {len(boxes)} labels with {held} voxels in their boxes, at most {STRUCTURE_LIMIT} labels and "
            f"{BOX_ALLOWANCE + BOX_RATIO * voxels} voxels are read.",
            where=str(path),
            remedy="Leave out the labels that are not needed.",
        )


def _cropped(grid: Grid, labels: npt.NDArray[np.int32], label: int, box: tuple[slice, ...]) -> Occupancy:
    fraction = (labels[box] == label).astype(np.float32)
    first = np.array([s.start for s in box])[::-1]
    origin = np.asarray(grid.origin_mm) + first * grid.spacing_mm
    return Occupancy(Grid(tuple(origin.tolist()), grid.spacing_mm, fraction.shape), fraction)


def _lps(path: Path) -> tuple[Grid, npt.NDArray[Any]]:
    """Grid and (nz, ny, nx) values of a NIfTI file."""
    with _parsing(path), _opened(path) as file:
        kind, shape, end = _claims(file, path)
        file.seek(0)
        image = kind.from_stream(file)
        _check_header(image, path)
        values = np.asanyarray(image.dataobj).reshape(shape)
        file.seek(end)
        if file.read(1):  # reading on to the end also checks the sum that gzip keeps of the content
            raise InputError("holds more voxels than its header says.", where=str(path), remedy="Copy it again.")
        affine = np.asarray(image.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or spacing.min() <= 0:
        raise InputError("its affine is not finite or singular.", where=str(path))
    try:
        return to_lps(_RAS_TO_LPS @ affine[:3, 3], (_RAS_TO_LPS @ affine[:3, :3] / spacing).T, spacing, values.T)
    except InputError as error:
        raise InputError(error.message, where=str(path), remedy=error.remedy) from error


def _opened(path: Path) -> IO[bytes]:
    if path.stat().st_size > FILE_LIMIT:
        size = path.stat().st_size / 2**30
        raise UnsafeInputError(f"has {size:.3g} GiB, at most {FILE_LIMIT / 2**30:g} are read.", where=str(path))
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _claims(file: IO[bytes], path: Path) -> tuple[Any, tuple[int, ...], int]:
    """Image class, shape, and where the voxels end, once the header claims nothing that the file cannot hold.

    nibabel reads what comes before the voxels, and makes room for them, as the header says.
    """
    raw = file.read(540)
    kinds = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
    kind = kinds.get(int.from_bytes(raw[:4], "little")) or kinds.get(int.from_bytes(raw[:4], "big"))
    if kind is None:
        raise InputError("is not a readable NIfTI file.", where=str(path), remedy="Check the path.")
    header = kind.header_class(raw[: kind.header_class.sizeof_hdr], check=False)
    shape = tuple(n for i, n in enumerate(header.get_data_shape()) if i < 3 or n != 1)
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"has shape {header.get_data_shape()}, expected three dimensions.", where=str(path))
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(f"holds values of type {dtype}, expected numbers.", where=str(path))
    start = float(header["vox_offset"])
    if not 0 <= start <= HEADER_LIMIT:
        raise UnsafeInputError(f"states that its voxels start at byte {start:g}.", where=str(path))
    end = header.get_data_offset() + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    packed = isinstance(file, gzip.GzipFile)
    if math.prod(shape) > VOXEL_LIMIT or (packed and end > INFLATION_ALLOWANCE + INFLATION_RATIO * size):
        raise UnsafeInputError(
            f"claims {shape} voxels ({end / 2**20:.0f} MiB) in {size / 2**20:.3g} MiB, more than a scan can have.",
            where=str(path),
            remedy="Write it with a smaller data type, or uncompressed.",
        )
    if not packed and end != size:
        raise InputError(f"has {size} bytes, its header says {end}.", where=str(path), remedy="Copy it again.")
    return kind, shape, end


def _check_header(image: Any, path: Path) -> None:
    """Orientation stated once, or twice the same; lengths in mm."""
    header = image.header
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise InputError(f"its lengths are in {unit}, expected mm.", where=str(path))
    qform, sform = header.get_qform(coded=True), header.get_sform(coded=True)
    if not qform[1] and not sform[1]:
        raise InputError(
            "states no orientation (qform and sform codes are 0), which is never assumed.",
            where=str(path),
            remedy="Convert it again from its source.",
        )
    if qform[1] and sform[1] and np.abs(qform[0] - sform[0]).max() > AFFINE_TOLERANCE_MM:
        raise InputError(
            "its qform and sform disagree about where the image lies.",
            where=str(path),
            remedy="Keep the right one and write the file again.",
        )


def _whole_numbers(values: npt.NDArray[Any], path: Path) -> npt.NDArray[np.int32]:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > LABEL_LIMIT:
        raise InputError(f"is not a label map: values must lie within 0 and {LABEL_LIMIT}.", where=str(path))
    labels = values.astype(np.int32)
    if not np.array_equal(labels, values):
        raise InputError("is not a label map: it holds fractions.", where=str(path), remedy="Is it the image?")
    return labels


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
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
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


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn whatever the parser raises on a broken file into an InputError that names the file."""
    if not path.is_file():
        raise InputError("there is no such file.", where=str(path), remedy="Check the path.")
    try:
        yield
    except DosecalcError:
        raise
    except MemoryError as error:
        raise ResourceError("does not fit into memory.", where=str(path)) from error
    except Exception as error:
        raise InputError(
            f"is not a readable NIfTI file ({type(error).__name__}).",
            where=str(path),
            remedy="Copy it again.",
        ) from error
