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
from ..label_maps import STRUCTURE_LIMIT, check_boxes
from ..orientation import to_lps
from ..structures import Occupancy, Structure, StructureSet, role_from_name
from .belonging import check_belongs
from .files import INFLATION_RATIO, existing, number, parsing, read_dataset, required, text
from .frames import PIXEL_LIMIT
from .series import CtSeries

VOLUME_ALLOWANCE = 2**28  # voxels between a few filled planes, which alone are stored
_BACKGROUND = 0  # of label maps alone, PS3.3 table C.8.20-4
WORK_LIMIT = 2**35  # voxels times segments: a hundred organs in a long scan


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
        More voxels or segments than a scan can have, or planes further apart than any scan is long.
    """
    import highdicom  # takes half a second, and most structures come otherwise

    file = existing(path)
    with parsing(file):
        dataset = read_dataset(file)
        if dataset.get("Modality") != "SEG":
            raise InputError(f"Modality is {dataset.get('Modality')!r}, expected 'SEG'.", where=str(file))
        _check_pixels(dataset, file)
        names = _names(dataset, file)
        frame = text(dataset, "FrameOfReferenceUID", file)
        notices: list[str] = []
        if ct is not None:
            check_belongs(frame, *_referenced(dataset), ct, file, notices)
        masks = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
        voxels = _check_volume(masks, len(names), file)
        _check_named(dataset, masks, set(names), file)
        structures: list[Structure] = []
        absent, held = [], 0
        for segment, name in names.items():
            made = _occupancy(masks.get_volume(segment_numbers=[segment], dtype=np.float32), file)
            if made is None:
                absent.append(name)
                continue
            held += made.grid.size
            check_boxes(len(structures), held, voxels, file)
            structures.append(Structure(name, role_from_name(name), made))
    shared = ct.frame_of_reference_uid if ct is not None else frame
    return StructureSet(tuple(structures), shared, tuple(absent), tuple(notices))


def _check_pixels(dataset: pydicom.Dataset, file: Path) -> None:
    """Refuse more pixels than a scan can have, and others than there are: one frame would be taken for the next."""
    counts = [int(number(dataset, keyword, file)) for keyword in ("Rows", "Columns", "NumberOfFrames")]
    pixels = math.prod(counts)
    if pixels > PIXEL_LIMIT:
        raise UnsafeInputError(f"claims {pixels} pixels, more than a scan can have.", where=str(file))
    if "TotalPixelMatrixRows" in dataset or min(counts) < 1:
        raise InputError("is tiled or empty, expected whole slices.", where=str(file))
    needed = (pixels * int(number(dataset, "BitsAllocated", file)) + 7) // 8
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        held = len(required(dataset, "PixelData", file))
        if held != needed + needed % 2:
            raise InputError(f"holds {held} bytes of pixels, {needed} are needed.", where=str(file))


def _check_volume(masks: Any, segments: int, file: Path) -> int:
    """Voxels of the volume that all frames lie in; refused where planes lie far apart."""
    geometry = masks.get_volume_geometry(allow_missing_positions=True)
    if geometry is None:
        raise InputError("its planes are not equally spaced or do not lie behind each other.", where=str(file))
    voxels = math.prod(geometry.spatial_shape)
    if voxels > min(PIXEL_LIMIT, VOLUME_ALLOWANCE + 8 * INFLATION_RATIO * file.stat().st_size):
        raise UnsafeInputError(f"its planes span {voxels} voxels, more than a scan can have.", where=str(file))
    if segments > STRUCTURE_LIMIT or segments * voxels > WORK_LIMIT:
        raise UnsafeInputError(
            f"has {segments} segments in {voxels} voxels, more than are read.",
            where=str(file),
            remedy="Export only the segments that are needed.",
        )
    return voxels


def _check_named(dataset: pydicom.Dataset, masks: Any, segments: set[int], file: Path) -> None:
    """Refuse frames or pixels of a segment that has no name: they would be left out without a word."""
    if dataset.get("SegmentationType") == "LABELMAP":
        found = {int(value) for value in np.unique(masks.get_volume(combine_segments=True).array)} - {_BACKGROUND}
    else:
        shared, frames = dataset.get("SharedFunctionalGroupsSequence"), dataset.get("PerFrameFunctionalGroupsSequence")
        groups = [*(shared or ()), *(frames or ())]
        stated = [item for group in groups for item in group.get("SegmentIdentificationSequence") or ()]
        found = {int(number(item, "ReferencedSegmentNumber", file)) for item in stated}
    if unnamed := sorted(found - segments):
        raise InputError(
            f"has pixels of {len(unnamed)} segments without a name: {', '.join(map(str, unnamed[:20]))}.",
            where=str(file),
            remedy="Export it from its source again.",
        )


def _names(dataset: pydicom.Dataset, file: Path) -> dict[int, str]:
    """Label by segment number, the background of a label map left out."""
    items = list(required(dataset, "SegmentSequence", file))
    labels = {int(number(item, "SegmentNumber", file)): text(item, "SegmentLabel", file) for item in items}
    twice = [label for label, count in Counter(labels.values()).items() if count > 1]
    if twice or len(labels) < len(items):
        raise InputError(
            f"a segment is given twice: {', '.join(map(repr, twice)) or 'by number'}.",
            where=str(file),
            remedy="Rename or delete one of them.",
        )
    return {segment: label for segment, label in labels.items() if segment != _BACKGROUND}


def _occupancy(volume: Any, file: Path) -> Occupancy | None:
    """The box of voxels that a segment fills, or None."""
    values = np.asarray(volume.array)[..., 0] if volume.array.ndim == 4 else np.asarray(volume.array)
    affine = np.asarray(volume.affine, dtype=np.float64)  # from (slice, row, column) to LPS
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    try:
        grid, shares = to_lps(affine[:3, 3], (affine[:3, :3] / spacing).T[::-1], spacing[::-1], values)
    except InputError as error:
        raise InputError(error.message, where=str(file), remedy=error.remedy) from error
    filled = [np.flatnonzero(shares.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not len(filled[0]):
        return None
    low = np.array([places[0] for places in filled])
    box = shares[tuple(slice(places[0], places[-1] + 1) for places in filled)]
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
