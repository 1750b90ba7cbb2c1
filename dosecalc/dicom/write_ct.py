"""Write a volume of HU as a DICOM CT series."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, generate_uid

from ..errors import InputError, OutputError
from ..geometry import FIXED_TO_LPS
from ..grid import Volume
from ..orientation import along_axes
from .series import CtSeries, PatientStudy, synthetic_series
from .writing import RESEARCH_NOTE, decimal, new_object, save

INTERCEPT_HU = -1024


def write_ct_series(
    folder: str | Path,
    volume: Volume,
    *,
    patient_name: str = "SYNTHETIC^PHANTOM",
    patient_id: str = "SYNTHETIC",
    patient_position: str = "HFS",
) -> CtSeries:
    """Write one CT image per slice and return the series they form.

    Slices are axial; rows and columns run as seen from the foot of the couch, whatever side of the patient is up.
    Stored values are int16 with slope 1 and intercept -1024, so HU are rounded to whole numbers.

    Parameters
    ----------
    folder : str or Path
        Must not exist yet, or be empty; appears complete or not at all.
    volume : Volume
        HU on a grid with axes along x, y, z.
    patient_name, patient_id : str
    patient_position : str
        One of `dosecalc.geometry.PATIENT_POSITIONS`.

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
    uids = tuple(str(generate_uid()) for _ in range(volume.grid.shape[0]))
    series = replace(
        synthetic_series(hu, patient_position=patient_position),
        sop_instance_uids=uids,
        patient=patient,
        is_dicom=True,
        states_frame=True,
    )
    images = _images(series, stored)
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        staging.mkdir(parents=True)
        for number, image in enumerate(images, start=1):
            save(image, staging / f"CT_{number:04d}.dcm")
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


def _images(ct: CtSeries, stored: npt.NDArray[Any]) -> Iterator[FileDataset]:
    """Slices from the foot of the couch towards the gantry, after the CT Image IOD, PS3.3 section A.3.

    One dataset, changed from slice to slice: most of its elements are the same in all of them.
    """
    across, towards_gantry, up = FIXED_TO_LPS[ct.patient_position].T
    axes = np.stack([across, -up, towards_gantry])
    first, (column_mm, row_mm, slice_mm), values = along_axes(ct.volume.grid, stored, axes)
    uids = ct.sop_instance_uids if towards_gantry[2] > 0 else ct.sop_instance_uids[::-1]
    image = new_object(CTImageStorage, "CT", ct, series_uid=ct.series_instance_uid, explicit=True)
    fields = {
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "ImageComments": RESEARCH_NOTE,
        "SeriesNumber": 1,
        "AcquisitionNumber": None,
        "PatientPosition": ct.patient_position,
        "KVP": None,
        "SliceThickness": decimal(slice_mm),
        "ImageOrientationPatient": [int(v) for v in axes[:2].ravel()],
        "PixelSpacing": [decimal(row_mm), decimal(column_mm)],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": values.shape[1],
        "Columns": values.shape[2],
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
    for k, uid in enumerate(uids):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
        image.InstanceNumber = k + 1
        image.ImagePositionPatient = [decimal(v) for v in first + k * slice_mm * towards_gantry]
        image.add_new("PixelData", "OW", values[k].tobytes())
        yield image
