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
        New ones where the input states none.
    sop_instance_uids : tuple of str
        One per slice from inferior to superior; empty when there is no DICOM image of each.
    patient_position : str
        How the patient lay, as DICOM codes it ("HFS"), in capitals; empty where the input does not say.
    patient : PatientStudy
        Not shown by repr: it may identify a person.
    is_dicom, states_frame : bool
        Whether DICOM images stand behind it, and whether they state the frame of reference that structures share.
    notices : tuple of str
        What reading did that a user must know.
    """

    volume: Volume = field(repr=False)
    frame_of_reference_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)
    patient_position: str = ""
    patient: PatientStudy = field(default=PatientStudy(), repr=False)
    is_dicom: bool = True
    states_frame: bool = True
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.volume.grid.direction != IDENTITY:
            raise InputError(
                f"a CT series needs axes along x, y, z, got direction {self.volume.grid.direction}.",
                remedy="Resample the image first.",
            )
        if self.sop_instance_uids and len(self.sop_instance_uids) != self.volume.grid.shape[0]:
            raise InputError(f"{len(self.sop_instance_uids)} images for {self.volume.grid.shape[0]} slices.")


def synthetic_series(volume: Volume, *, patient_position: str = "") -> CtSeries:
    """A series for a volume that came without DICOM: new UIDs, no images, no patient data."""
    frame, study, series = (str(generate_uid()) for _ in range(3))
    return CtSeries(volume, frame, study, series, patient_position=patient_position, is_dicom=False, states_frame=False)
