"""NIfTI images, brought to LPS axes in (z, y, x) order.

NIfTI world coordinates are RAS (x to the right, y to anterior); DICOM's are LPS, so x and y change sign.
Source: NIfTI-1 standard, https://nifti.nimh.nih.gov/nifti-1, "orientation and location".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from .errors import DosecalcError, InputError, ResourceError, UnsafeInputError
from .grid import Grid
from .orientation import to_lps

VOXEL_LIMIT = 512 * 512 * 4000  # a few metres of fine slices; a small compressed file may claim any number
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
        More voxels than a scan can have.
    """
    path = Path(path)
    with parsing(path, "NIfTI"):
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):  # includes NIfTI-2
            raise InputError("is not a NIfTI file.", where=str(path))
        shape = tuple(n for i, n in enumerate(image.shape) if i < 3 or n != 1)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"has shape {image.shape}, expected three dimensions.", where=str(path))
        if int(np.prod(shape, dtype=object)) > VOXEL_LIMIT:
            raise UnsafeInputError(f"claims {shape} voxels, more than a scan can have.", where=str(path))
        _check_header(image, path)
        values = np.asanyarray(image.dataobj).reshape(shape)
        affine = np.asarray(image.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or spacing.min() <= 0:
        raise InputError("its affine is not finite or singular.", where=str(path))
    try:
        return to_lps(_RAS_TO_LPS @ affine[:3, 3], (_RAS_TO_LPS @ affine[:3, :3] / spacing).T, spacing, values.T)
    except InputError as error:
        raise InputError(error.message, where=str(path), remedy=error.remedy) from error


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
