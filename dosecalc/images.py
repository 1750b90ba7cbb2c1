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
PAIR_ENDINGS = (".hdr", ".img", ".img.gz")


def is_image(path: str | Path) -> bool:
    """Whether the name of a file is that of an image, and not of the notes (._NAME) that macOS leaves beside files."""
    named = str(path).lower().endswith((*ENDINGS, *PAIR_ENDINGS)) and not Path(path).name.startswith("._")
    return named and not Path(path).is_dir()


def refuse_pair(path: str | Path) -> None:
    """Refuse one half of an image that is kept in two files.

    Raises
    ------
    InputError
        The name ends as that of a header or of the voxels of Analyze or two-file NIfTI.
    """
    if str(path).lower().endswith(PAIR_ENDINGS):
        raise InputError(
            "is half of a pair of files (.hdr and .img: Analyze, or NIfTI in two files), one file is needed.",
            where=str(path),
            remedy="Convert the pair to one .nii.gz; check left and right afterwards, Analyze does not state them.",
        )


def read_image(path: str | Path) -> tuple[Grid, npt.NDArray[Any]]:
    """Grid along x, y and z, and (nz, ny, nx) values.

    Raises
    ------
    InputError, UnsafeInputError
        See `dosecalc.nifti.read_nifti` and `dosecalc.nrrd_file.read_nrrd`.
    """
    refuse_pair(path)
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
