"""What a CT series hands on to the objects that are written for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom.uid import generate_uid

from ..errors import InputError
from ..grid import IDENTITY, Volume


@dataclass(frozen=True, slots=True)
class PatientStudy:
    """Patient and study fields that derived objects repeat to be filed with their CT; empty if unknown."""

    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession_number: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CtSeries:
    """A CT volume with the identity of its series.

    Attributes
    ----------
    volume : Volume
        HU, float32.
    frame_of_reference_uid, study_instance_uid, series_instance_uid : str
    sop_instance_uids : tuple of str
        One per slice from inferior to superior; empty when no DICOM images exist.
    patient_position : str
        "HFS".
    patient : PatientStudy
        Not shown by repr: it may identify a person.
    """

    volume: Volume = field(repr=False)
    frame_of_reference_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)
    patient_position: str = "HFS"
    patient: PatientStudy = field(default=PatientStudy(), repr=False)

    def __post_init__(self) -> None:
        if self.volume.grid.direction != IDENTITY:
            raise InputError(
                f"a CT series needs axes along x, y, z, got direction {self.volume.grid.direction}.",
                remedy="Resample the image first.",
            )
        if self.sop_instance_uids and len(self.sop_instance_uids) != self.volume.grid.shape[0]:
            raise InputError(f"{len(self.sop_instance_uids)} images for {self.volume.grid.shape[0]} slices.")


def synthetic_series(volume: Volume) -> CtSeries:
    """A series for a volume that came without DICOM: new UIDs, no images, no patient data."""
    return CtSeries(volume, str(generate_uid()), str(generate_uid()), str(generate_uid()))
