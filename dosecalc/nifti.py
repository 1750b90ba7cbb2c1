"""NIfTI images, brought to LPS axes in (z, y, x) order.

NIfTI world coordinates are RAS (x to the right, y to anterior); DICOM's are LPS, so x and y change sign.
Source: NIfTI-1 standard, https://nifti.nimh.nih.gov/nifti-1, "orientation and location".
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
import numpy.typing as npt

from .errors import DosecalcError, InputError, ResourceError, UnsafeInputError
from .grid import Grid
from .orientation import to_lps

VOXEL_LIMIT = 512 * 512 * 4000  # a few metres of fine slices; a small compressed file may claim any number
FILE_LIMIT = 4 * 2**30  # bytes
HEADER_LIMIT = 16 * 2**20  # bytes before the voxels: the header and what programs append to it
INFLATION_ALLOWANCE, INFLATION_RATIO = 2**30, 200  # bytes, and per byte: label maps deflate to a thousandth
AFFINE_TOLERANCE_MM = 1e-3
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def read_nifti(path: str | Path) -> tuple[Grid, npt.NDArray[Any]]:
    """Grid along x, y and z, and (nz, ny, nx) values, of a NIfTI file (.nii, .nii.gz).

    Raises
    ------
    InputError
        Not NIfTI, damaged, not three-dimensional, no or contradictory orientation, oblique axes, units other
        than mm.
    UnsafeInputError
        More voxels than a scan can have, or than its compressed file can honestly hold.
    """
    path = Path(path)
    with parsing(path, "NIfTI"), opened(path) as file:
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


def opened(path: Path) -> IO[bytes]:
    """The file, inflated on the way where it is named .gz; refused where it is larger than any scan."""
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
    check_claim(path, shape, end, packed=isinstance(file, gzip.GzipFile))
    return kind, shape, end


def check_claim(path: Path, shape: tuple[int, ...], end: int, *, packed: bool) -> None:
    """Refuse a header that says more than a scan or its file can hold: `shape` voxels, that end at byte `end`."""
    size = path.stat().st_size
    if math.prod(shape) > VOXEL_LIMIT or (packed and end > INFLATION_ALLOWANCE + INFLATION_RATIO * size):
        raise UnsafeInputError(
            f"claims {shape} voxels ({end / 2**20:.0f} MiB) in {size / 2**20:.3g} MiB, more than a scan can have.",
            where=str(path),
            remedy="Write it with a smaller data type, or uncompressed.",
        )
    if not packed and end != size:
        raise InputError(f"has {size} bytes, its header says {end}.", where=str(path), remedy="Copy it again.")


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


@contextmanager
def parsing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a parser raises on a broken file into an InputError that names the file and what it is not."""
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
            f"is not a readable {what} file ({type(error).__name__}).",
            where=str(path),
            remedy="Copy it again.",
        ) from error
