"""DICOM Segmentation: masks that segmentation tools store beside the images."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ..errors import InputError, UnsafeInputError
from ..grid import Grid
from ..orientation import to_lps
from ..structures import Occupancy, Structure, StructureSet, role_from_name
from .belonging import check_belongs
from .files import existing, number, parsing, read_dataset, required
from .frames import PIXEL_LIMIT
from .series import CtSeries


def read_seg(path: str | Path, *, ct: CtSeries | None = None) -> StructureSet:
    """Structures of a DICOM Segmentation, binary or fractional, each an occupancy around its voxels.

    Parameters
    ----------
    path : str or Path
    ct : CtSeries, optional
        The scan that they must belong to, as for an RT Structure Set.

    Returns
    -------
    StructureSet
        Named by their segment labels; segments without voxels are listed as `absent`.

    Raises
    ------
    InputError
        Not a segmentation, cut short, another frame of reference, labels given twice, oblique or unequal planes.
    UnsafeInputError
        More voxels than a scan can have.
    """
    import highdicom  # takes half a second, and most structures come otherwise

    file = existing(path)
    with parsing(file):
        dataset = read_dataset(file)
        if dataset.get("Modality") != "SEG":
            raise InputError(f"Modality is {dataset.get('Modality')!r}, expected 'SEG'.", where=str(file))
        counts = (int(number(dataset, keyword, file)) for keyword in ("Rows", "Columns", "NumberOfFrames"))
        pixels = math.prod(counts)
        if pixels > PIXEL_LIMIT:
            raise UnsafeInputError(f"claims {pixels} pixels, more than a scan can have.", where=str(file))
        names = _names(dataset, file)
        frame = str(required(dataset, "FrameOfReferenceUID", file))
        notices: list[str] = []
        if ct is not None:
            check_belongs(frame, *_referenced(dataset), ct, file, notices)
        masks = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
        structures, absent = [], []
        for segment, name in names.items():
            volume = masks.get_volume(segment_numbers=[segment], dtype=np.float32)
            made = _occupancy(volume, file)
            if made is None:
                absent.append(name)
            else:
                structures.append(Structure(name, role_from_name(name), made))
    shared = ct.frame_of_reference_uid if ct is not None else frame
    return StructureSet(tuple(structures), shared, tuple(absent), tuple(notices))


def _names(dataset: pydicom.Dataset, file: Path) -> dict[int, str]:
    """Label by segment number."""
    items = list(required(dataset, "SegmentSequence", file))
    labels = {int(number(item, "SegmentNumber", file)): str(required(item, "SegmentLabel", file)) for item in items}
    twice = [label for label, count in Counter(labels.values()).items() if count > 1]
    if twice or len(labels) < len(items):
        raise InputError(
            f"a segment is given twice: {', '.join(map(repr, twice)) or 'by number'}.",
            where=str(file),
            remedy="Rename or delete one of them.",
        )
    return labels


def _occupancy(volume: Any, file: Path) -> Occupancy | None:
    """The box of voxels that a segment fills, or None."""
    values = np.asarray(volume.array)[..., 0] if volume.array.ndim == 4 else np.asarray(volume.array)
    affine = np.asarray(volume.affine, dtype=np.float64)  # from (slice, row, column) to LPS
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    try:
        grid, shares = to_lps(affine[:3, 3], (affine[:3, :3] / spacing).T[::-1], spacing[::-1], values)
    except InputError as error:
        raise InputError(error.message, where=str(file), remedy=error.remedy) from error
    filled = np.argwhere(shares > 0)
    if not len(filled):
        return None
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    box = shares[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    x, y, z = np.asarray(grid.origin_mm) + low[::-1] * np.asarray(grid.spacing_mm)
    return Occupancy(Grid((float(x), float(y), float(z)), grid.spacing_mm, box.shape), np.clip(box, 0.0, 1.0))


def _referenced(dataset: pydicom.Dataset) -> tuple[set[str], set[str]]:
    """Series and images that the segments were drawn on, as far as the file says."""
    series = dataset.get("ReferencedSeriesSequence") or ()
    images = (image for item in series for image in item.get("ReferencedInstanceSequence") or ())
    return (
        {str(item.get("SeriesInstanceUID")) for item in series},
        {str(image.get("ReferencedSOPInstanceUID")) for image in images},
    )
