"""Read images and structures, whatever their format."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .coverage import outside_scan
from .dicom import CtSeries, read_rtstruct, read_seg, synthetic_series
from .dicom import read_ct_series as read_dicom_series
from .dicom.files import existing, list_files, read_dataset
from .errors import InputError
from .geometry import known_position
from .grid import Volume
from .images import is_image, read_hu, refuse_pair
from .label_maps import read_labels
from .nrrd_file import segment_names
from .slabs import EndCaps, check_end_caps
from .structures import StructureSet

_log = logging.getLogger(__name__)


def read_ct(path: str | Path) -> Volume:
    """HU, float32, of a CT: a folder (or one file) of a DICOM series, or a NIfTI or NRRD file.

    Raises
    ------
    InputError
        See `dosecalc.dicom.read_ct_series` and `dosecalc.images.read_hu`.
    """
    return read_ct_series(path).volume


def read_ct_series(path: str | Path, *, resample_slices: bool = False, patient_position: str | None = None) -> CtSeries:
    """A CT with what is needed to write objects for it; for NIfTI and NRRD with new UIDs and no patient data.

    Parameters
    ----------
    path : str or Path
    resample_slices : bool
        Interpolate between unequally spaced DICOM slices instead of refusing them.
    patient_position : str, optional
        How the patient lay, where the input does not say: "HFS", "FFP", ..., in upper or lower case.

    Raises
    ------
    InputError
        As `read_ct`.
    """
    if is_image(path):
        position = known_position(patient_position)
        return synthetic_series(read_hu(path), patient_position=position or "")
    return read_dicom_series(path, resample_slices=resample_slices, patient_position=patient_position)


def read_structures(
    path: str | Path,
    names: str | Path | Mapping[str, Any] | None = None,
    *,
    ct: CtSeries | None = None,
    resample_labels: bool = False,
    leave_out: Sequence[str] = (),
    repair: Sequence[str] = (),
    end_caps: EndCaps = "half_slice",
) -> StructureSet:
    """Structures of an RT Structure Set or Segmentation (a file, or a folder with one among others), or of a label map.

    With a CT, what lies outside it is told.

    Parameters
    ----------
    path : str or Path
    names : str, Path or mapping, optional
        Label names of a label map, see `dosecalc.label_maps.read_labels`; needed there unless it is an NRRD that
        carries them, refused elsewhere.
    ct : CtSeries, optional
        The scan that they must belong to: its frame of reference for an RT Structure Set, its voxels for a label map.
    resample_labels : bool
        Accept a label map on other voxels than the CT's; each voxel of it keeps its volume.
    leave_out, repair : sequence of str
        Structures of an RT Structure Set to read it without, or whose contours may cross; see
        `dosecalc.dicom.read_rtstruct`.
    end_caps : str
        How far contours reach beyond the first and the last of them, "half_slice" or "at_contour"; see
        `dosecalc.structures.Contours`. The voxels of label maps and segmentations say it themselves.

    Raises
    ------
    InputError
        See `dosecalc.dicom.read_rtstruct` and `dosecalc.label_maps.read_labels`; none or several structure
        sets; structures of another scan, or all outside the CT.
    """
    check_end_caps(end_caps)
    found = _read_structures(path, names, ct, resample_labels, leave_out, repair, end_caps)
    if ct is None:
        return found
    told = outside_scan(found, ct.volume.grid, str(path))
    for notice in told:
        _log.warning("%s", notice)
    return replace(found, notices=(*found.notices, *told))


def _read_structures(
    path: str | Path,
    names: str | Path | Mapping[str, Any] | None,
    ct: CtSeries | None,
    resample_labels: bool,
    leave_out: Sequence[str],
    repair: Sequence[str],
    end_caps: EndCaps,
) -> StructureSet:
    asked_of_contours = bool(leave_out or repair or end_caps != "half_slice")
    if is_image(path):
        refuse_pair(path)
        if names is None and str(path).lower().endswith(".nrrd"):
            names = segment_names(path) or None
        if names is None:
            raise InputError(
                "is a label map, and its labels have no names.",
                where=str(path),
                remedy="Give a JSON of label names.",
            )
        if asked_of_contours:
            raise InputError("a label map has no contours to leave out, repair or end at.", where=str(path))
        labels = read_labels(path, names, scan=None if ct is None or resample_labels else ct.volume.grid)
        return replace(labels, frame_of_reference_uid=None if ct is None else ct.frame_of_reference_uid)
    if names is not None:
        raise InputError("label names apply to label maps only.", where=str(path), remedy="Leave them out.")
    file = _structure_file(existing(path))
    if read_dataset(file, pixels=False).get("Modality") != "SEG":
        return read_rtstruct(file, ct=ct, leave_out=leave_out, repair=repair, end_caps=end_caps)
    if asked_of_contours:
        raise InputError("a segmentation has no contours to leave out, repair or end at.", where=str(file))
    return read_seg(file, ct=ct)


def _structure_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [f for f in list_files(path) if read_dataset(f, pixels=False).get("Modality") in ("RTSTRUCT", "SEG")]
    if len(found) != 1:
        listed = f" ({', '.join(f.name for f in found)})" if found else ""
        raise InputError(
            f"holds {len(found)} RT Structure Sets or Segmentations{listed}, one is needed.",
            where=str(path),
            remedy="Name the file to use.",
        )
    return found[0]
