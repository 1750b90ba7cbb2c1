"""Read images and structures, whatever their format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .dicom import CtSeries, read_rtstruct, synthetic_series
from .dicom import read_ct_series as read_dicom_series
from .dicom.files import existing, list_files, read_dataset
from .errors import InputError
from .grid import Volume
from .nifti import read_nifti_labels, read_nifti_volume
from .structures import StructureSet

_NIFTI = (".nii", ".nii.gz")


def read_ct(path: str | Path) -> Volume:
    """HU, float32, of a CT: a folder (or one file) of a DICOM series, or a NIfTI file.

    Raises
    ------
    InputError
        See `dosecalc.dicom.read_ct_series` and `dosecalc.nifti.read_nifti_volume`.
    """
    return read_ct_series(path).volume


def read_ct_series(path: str | Path) -> CtSeries:
    """A CT with what is needed to write objects for it; for NIfTI with new UIDs and no patient data.

    Raises
    ------
    InputError
        As `read_ct`.
    """
    if _is_nifti(path):
        return synthetic_series(read_nifti_volume(path))
    return read_dicom_series(path)


def read_structures(
    path: str | Path,
    names: str | Path | Mapping[str, Any] | None = None,
    *,
    frame_of_reference_uid: str | None = None,
) -> StructureSet:
    """Structures of an RT Structure Set (a file, or a folder with one among others), or of a NIfTI label map.

    Parameters
    ----------
    path : str or Path
    names : str, Path or mapping, optional
        Label names of a label map, see `dosecalc.nifti.read_nifti_labels`; needed there, refused elsewhere.
    frame_of_reference_uid : str, optional
        Frame of reference of the CT, checked against that of an RT Structure Set.

    Raises
    ------
    InputError
        See `dosecalc.dicom.read_rtstruct` and `dosecalc.nifti.read_nifti_labels`; none or several structure
        sets.
    """
    if _is_nifti(path):
        if names is None:
            raise InputError(
                "is a label map, and its labels have no names.",
                where=str(path),
                remedy="Give a JSON of label names.",
            )
        return read_nifti_labels(path, names)
    if names is not None:
        raise InputError("label names apply to NIfTI label maps only.", where=str(path), remedy="Leave them out.")
    return read_rtstruct(_structure_file(existing(path)), frame_of_reference_uid=frame_of_reference_uid)


def _structure_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [f for f in list_files(path) if read_dataset(f, pixels=False).get("Modality") == "RTSTRUCT"]
    if len(found) != 1:
        listed = f" ({', '.join(f.name for f in found)})" if found else ""
        raise InputError(
            f"holds {len(found)} RT Structure Sets{listed}, one is needed.",
            where=str(path),
            remedy="Name the file to use.",
        )
    return found[0]


def _is_nifti(path: str | Path) -> bool:
    return str(path).lower().endswith(_NIFTI) and not Path(path).is_dir()
