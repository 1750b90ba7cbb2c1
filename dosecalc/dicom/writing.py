"""What every DICOM object that is written has in common: one atomic write, one set of common modules."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from ..errors import OutputError
from .series import CtSeries

SOFTWARE = "dosecalc"
RESEARCH_NOTE = "Research use only, not for clinical use"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place once it is completely on disk.

    Raises
    ------
    OutputError
        The folder is missing, not writable or full; `path` is then as it was.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or type(error).__name__}).",
            where=str(path),
            remedy="Check that the folder exists, is writable and has space.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def save(dataset: FileDataset, path: str | Path) -> None:
    """Write a complete DICOM file atomically."""
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def new_object(sop_class: str, modality: str, ct: CtSeries, *, series_uid: str, explicit: bool) -> FileDataset:
    """A dataset with patient, study, series, frame-of-reference, equipment and SOP modules filled.

    Parameters
    ----------
    sop_class, modality : str
    ct : CtSeries
        Its patient and study fields are repeated; nothing else about the person is written.
    series_uid : str
    explicit : bool
        Explicit VR; implicit where an element may exceed 64 kB (PS3.5 section 6.2.2).
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    patient = ct.patient
    fields = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": sop_class,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": modality,
        "Manufacturer": SOFTWARE,
        "PatientName": patient.patient_name,
        "PatientID": patient.patient_id,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex,
        "StudyInstanceUID": ct.study_instance_uid,
        "StudyDate": patient.study_date,
        "StudyTime": patient.study_time,
        "StudyID": patient.study_id,
        "AccessionNumber": patient.accession_number,
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": series_uid,
        "SeriesNumber": None,
        "FrameOfReferenceUID": ct.frame_of_reference_uid,
        "PositionReferenceIndicator": "",
    }
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """A sequence item that points at another object."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    return item


def decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 section 6.2)."""
    return str(format_number_as_ds(float(value)))
