"""Write a volume of HU as a DICOM CT series."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, generate_uid

from ..errors import InputError, OutputError
from ..grid import Volume
from .series import CtSeries, PatientStudy, synthetic_series
from .writing import RESEARCH_NOTE, decimal, new_object, save

INTERCEPT_HU = -1024


def write_ct_series(
    folder: str | Path,
    volume: Volume,
    *,
    patient_name: str = "SYNTHETIC^PHANTOM",
    patient_id: str = "SYNTHETIC",
) -> CtSeries:
    """Write one CT image per slice, head first supine, and return the series they form.

    Stored values are int16 with slope 1 and intercept -1024, so HU are rounded to whole numbers.

    Parameters
    ----------
    folder : str or Path
        Must not exist yet, or be empty; appears complete or not at all.
    volume : Volume
        HU on a grid with axes along x, y, z.
    patient_name, patient_id : str

    Raises
    ------
    InputError
        HU that are not finite or do not fit, or an oblique grid.
    OutputError
        The folder holds files or cannot be written.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError("is not an empty folder.", where=str(folder), remedy="Choose a new folder.")
    stored = _stored(volume)
    hu = Volume(volume.grid, (stored.astype(np.float32) + INTERCEPT_HU))
    patient = PatientStudy(patient_name=patient_name, patient_id=patient_id)
    images = tuple(str(generate_uid()) for _ in range(volume.grid.shape[0]))
    series = replace(synthetic_series(hu), sop_instance_uids=images, patient=patient)
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        staging.mkdir(parents=True)
        for k in range(len(images)):
            save(_image(series, stored, k), staging / f"CT_{k + 1:04d}.dcm")
        staging.replace(target)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror}).", where=str(folder)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return series


def _stored(volume: Volume) -> npt.NDArray[Any]:
    values = np.round(np.asarray(volume.values, dtype=np.float64)) - INTERCEPT_HU
    limits = np.iinfo(np.int16)
    if not np.isfinite(values).all() or values.min() < limits.min or values.max() > limits.max:
        raise InputError(f"HU must be finite and between {limits.min + INTERCEPT_HU} and {limits.max + INTERCEPT_HU}.")
    return values.astype("<i2")


def _image(ct: CtSeries, stored: npt.NDArray[Any], k: int) -> FileDataset:
    """One slice after the CT Image IOD, PS3.3 section A.3."""
    grid = ct.volume.grid
    dx, dy, dz = grid.spacing_mm
    x, y, z = grid.origin_mm
    image = new_object(CTImageStorage, "CT", ct, series_uid=ct.series_instance_uid, explicit=True)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = ct.sop_instance_uids[k]
    fields = {
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "ImageComments": RESEARCH_NOTE,
        "SeriesNumber": 1,
        "AcquisitionNumber": None,
        "InstanceNumber": k + 1,
        "PatientPosition": ct.patient_position,
        "KVP": None,
        "SliceThickness": decimal(dz),
        "ImagePositionPatient": [decimal(x), decimal(y), decimal(z + k * dz)],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [decimal(dy), decimal(dx)],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": grid.shape[1],
        "Columns": grid.shape[2],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": INTERCEPT_HU,
        "RescaleSlope": 1,
        "RescaleType": "HU",
        "WindowCenter": 40,
        "WindowWidth": 400,
    }
    for keyword, value in fields.items():
        setattr(image, keyword, value)
    image.add_new("PixelData", "OW", stored[k].tobytes())
    return image
