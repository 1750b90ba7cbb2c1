"""Images of one file: NIfTI or NRRD, by the name's ending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import Grid, Volume
from .nifti import read_nifti
from .nrrd_file import read_nrrd

ENDINGS = (".nii", ".nii.gz", ".nrrd")


def is_image(path: str | Path) -> bool:
    """Whether the name of a file is that of an image of one file."""
    return str(path).lower().endswith(ENDINGS) and not Path(path).is_dir()


def read_image(path: str | Path) -> tuple[Grid, npt.NDArray[Any]]:
    """Grid along x, y and z, and (nz, ny, nx) values.

    Raises
    ------
    InputError, UnsafeInputError
        See `dosecalc.nifti.read_nifti` and `dosecalc.nrrd_file.read_nrrd`.
    """
    return read_nrrd(path) if str(path).lower().endswith(".nrrd") else read_nifti(path)


def read_hu(path: str | Path) -> Volume:
    """HU of an image, float32.

    Raises
    ------
    InputError
        As `read_image`; values that are not finite in single precision.
    """
    grid, values = read_image(path)
    with np.errstate(over="ignore"):
        hu = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(hu).all():
        raise InputError(f"{int((~np.isfinite(hu)).sum())} voxels are not finite.", where=str(path))
    return Volume(grid, hu)
