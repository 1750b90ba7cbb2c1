"""Small valid DICOM files, and what reading them gives."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, RLELossless

from dosecalc.dicom import read_rtdose, read_rtstruct, synthetic_series, write_ct_series, write_rtdose, write_rtstruct
from dosecalc.grid import Volume
from dosecalc.reading import read_ct_series, read_structures

from .seed_model import GRID, Format, Result, phantom, structure_set, structures, volume


def _ct(folder: Path) -> None:
    write_ct_series(folder / "ct", phantom())


def _deflated(folder: Path) -> None:
    _ct(folder)
    for file in (folder / "ct").iterdir():
        image = pydicom.dcmread(file)
        image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        image.save_as(file)


def _run_length(folder: Path) -> None:
    _ct(folder)
    for file in (folder / "ct").iterdir():
        image = pydicom.dcmread(file)
        image.compress(RLELossless)
        image.save_as(file)


def _multi_frame(folder: Path) -> None:
    """One file with sequences of undefined length, from the slices of a series."""
    _ct(folder)
    slices = [pydicom.dcmread(file) for file in sorted((folder / "ct").iterdir())]
    image = slices[0]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    groups = []
    for part in slices:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = part.ImagePositionPatient
        group.PlanePositionSequence = _open_sequence(place)
        groups.append(group)
    measures, orientation, transform, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = image.PixelSpacing, image.ImageOrientationPatient
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = 1, image.RescaleIntercept, "HU"
    shared.PixelMeasuresSequence = _open_sequence(measures)
    shared.PlaneOrientationSequence = _open_sequence(orientation)
    shared.PixelValueTransformationSequence = _open_sequence(transform)
    image.SharedFunctionalGroupsSequence = _open_sequence(shared)
    image.PerFrameFunctionalGroupsSequence = _open_sequence(*groups)
    image["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    image["SharedFunctionalGroupsSequence"].is_undefined_length = True
    image.NumberOfFrames = len(slices)
    image.PixelData = b"".join(part.PixelData for part in slices)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(image, keyword)
    for file in (folder / "ct").iterdir():
        file.unlink()
    image.save_as(folder / "ct" / "all.dcm")


def _open_sequence(*items: Dataset) -> Sequence:
    for item in items:
        item.is_undefined_length_sequence_item = True
    return Sequence(items)


def _read_ct(folder: Path) -> Result:
    series = read_ct_series(folder / "ct")
    frame = series.frame_of_reference_uid if series.states_frame else ""
    return Result((*volume(series.volume), frame, series.patient_position), series.notices)


def _rtstruct(folder: Path) -> None:
    write_rtstruct(folder / "structures.dcm", structures(), synthetic_series(phantom()))


def _read_rtstruct(folder: Path) -> Result:
    return structure_set(read_rtstruct(folder / "structures.dcm"))


def _seg(folder: Path, kind: str = "BINARY") -> None:
    """A Segmentation of the slices of a series."""
    _ct(folder)
    images = [pydicom.dcmread(file) for file in sorted((folder / "ct").iterdir())]
    code = highdicom.sr.CodedConcept("85756007", "SCT", "Tissue")
    manual = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    parts = [highdicom.seg.SegmentDescription(k, label, code, code, manual) for k, label in ((1, "Liver"), (2, "GTV"))]
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:, 1:3, 1:4], labels[1, 2, 2] = 1, 2
    uids = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    made = highdicom.seg.Segmentation(images, labels, kind, parts, uids[0], 1, uids[1], 1, "none", "none", "1", "0")
    for file in (folder / "ct").iterdir():
        file.unlink()
    made.save_as(folder / "seg.dcm")


def _seg_label_map(folder: Path) -> None:
    _seg(folder, "LABELMAP")


def _read_seg(folder: Path) -> Result:
    return structure_set(read_structures(folder / "seg.dcm"))


def _rtdose(folder: Path) -> None:
    dose = np.arange(GRID.size, dtype=float).reshape(GRID.shape)
    write_rtdose(folder / "dose.dcm", Volume(GRID, dose), synthetic_series(phantom()))


def _read_rtdose(folder: Path) -> Result:
    return Result(volume(read_rtdose(folder / "dose.dcm")))


DICOM = {
    "ct": Format(_ct, _read_ct),
    "ct_multi_frame": Format(_multi_frame, _read_ct),
    "ct_run_length": Format(_run_length, _read_ct),
    "ct_deflated": Format(_deflated, _read_ct),
    "rtstruct": Format(_rtstruct, _read_rtstruct),
    "rtdose": Format(_rtdose, _read_rtdose),
    "seg": Format(_seg, _read_seg),
    "seg_label_map": Format(_seg_label_map, _read_seg),
}
