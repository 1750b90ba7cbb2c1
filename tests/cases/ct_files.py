"""CT images: files and what stands in them; what must not pass for a scan."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ImplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    RTDoseStorage,
    SecondaryCaptureImageStorage,
    SpatialRegistrationStorage,
    generate_uid,
)

from dosecalc.dicom import CtSeries, write_ct_series
from dosecalc.grid import Volume

from .ct import noticed
from .inputs import GRID, all_slices, each_slice, edit, hu, markers, one_slice
from .model import Case, unchanged


def _localiser(folder: Path) -> None:
    image = pydicom.dcmread(folder / "ct" / "CT_0001.dcm")
    image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    image.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    image.save_as(folder / "ct" / "scout.dcm")


def _only_localisers(folder: Path) -> None:
    all_slices(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])(folder)


def _twelve_bits(image: Dataset, k: int) -> None:
    """Unsigned, twelve bits stored, with stray bits above them."""
    values = np.frombuffer(image.PixelData, "<i2").astype(int) - 1024
    image.PixelRepresentation, image.RescaleIntercept, image.RescaleSlope = 0, -2000, 2
    image.BitsStored, image.HighBit = 12, 11
    image.PixelData = ((values + 2000) // 2 | 0x7000).astype("<u2").tobytes()


def _second_series(folder: Path) -> None:
    write_ct_series(folder / "other", Volume(GRID, hu()))
    for file in (folder / "other").iterdir():
        file.rename(folder / "ct" / f"B{file.name}")


def multi_frame(folder: Path) -> None:
    """The series as one Enhanced CT, geometry and rescale in functional groups."""
    files = sorted((folder / "ct").iterdir())
    images = [pydicom.dcmread(f) for f in files]
    whole = images[0]
    shared, measures, orientation, transform = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = whole.PixelSpacing, whole.ImageOrientationPatient
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = 1, -1024, "HU"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([transform])
    frames = []
    for image in images[::-1]:
        place, item = Dataset(), Dataset()
        place.ImagePositionPatient = image.ImagePositionPatient
        item.PlanePositionSequence = Sequence([place])
        frames.append(item)
    pixels = b"".join(image.PixelData for image in images[::-1])
    for keyword in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope"):
        delattr(whole, keyword)
    del whole.RescaleIntercept, whole.RescaleType
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    whole.PerFrameFunctionalGroupsSequence = Sequence(frames)
    whole.NumberOfFrames, whole.PixelData = len(frames), pixels
    for file in files:
        file.unlink()
    whole.save_as(folder / "ct" / "enhanced.dcm")


def _frame_without_place(folder: Path) -> None:
    multi_frame(folder)
    image = pydicom.dcmread(folder / "ct" / "enhanced.dcm")
    del image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    image.save_as(folder / "ct" / "enhanced.dcm")


def _too_few_frames(folder: Path) -> None:
    multi_frame(folder)
    edit(folder / "ct" / "enhanced.dcm", NumberOfFrames=7)


def _frames_cut(folder: Path) -> None:
    multi_frame(folder)
    image = pydicom.dcmread(folder / "ct" / "enhanced.dcm")
    image.PixelData = image.PixelData[:-100]
    image.save_as(folder / "ct" / "enhanced.dcm")


def _syntax(uid: str):
    def change(folder: Path) -> None:
        for file in (folder / "ct").iterdir():
            image = pydicom.dcmread(file)
            image.file_meta.TransferSyntaxUID = uid
            image.save_as(file)

    return change


def _run_length(folder: Path) -> None:
    for file in (folder / "ct").iterdir():
        image = pydicom.dcmread(file)
        image.compress(RLELossless)
        image.save_as(file)


def _claims(syntax: bytes):
    """Only the name of the transfer syntax is changed, within its length."""

    def change(folder: Path) -> None:
        file = folder / "ct" / "CT_0001.dcm"
        file.write_bytes(file.read_bytes().replace(b"1.2.840.10008.1.2.1\0", syntax))

    return change


def _video(folder: Path) -> None:
    image = pydicom.dcmread(folder / "ct" / "CT_0001.dcm")
    image.file_meta.TransferSyntaxUID = MPEG2MPML
    image.PixelData = pydicom.encaps.encapsulate([image.PixelData])
    image["PixelData"].VR = "OB"
    image.save_as(folder / "ct" / "CT_0001.dcm")


def _deflated(folder: Path) -> None:
    _syntax(DeflatedExplicitVRLittleEndian)(folder)


def _bomb(folder: Path) -> None:
    _deflated(folder)
    image = pydicom.dcmread(folder / "ct" / "CT_0001.dcm")
    image.PixelData = bytes(80 * 2**20)
    image.save_as(folder / "ct" / "CT_0001.dcm")


def _cut(folder: Path) -> None:
    file = folder / "ct" / "CT_0004.dcm"
    file.write_bytes(file.read_bytes()[:-30])


def _no_suffix(folder: Path) -> None:
    for file in sorted((folder / "ct").iterdir()):
        file.rename(file.with_suffix(""))
    (folder / "ct" / "readme.txt").write_text("exported on a Friday")


def _no_preamble(folder: Path) -> None:
    file = folder / "ct" / "CT_0006.dcm"
    file.write_bytes(file.read_bytes()[132:])


def _other_modalities(folder: Path) -> None:
    kinds = (
        ("PT", PositronEmissionTomographyImageStorage),
        ("REG", SpatialRegistrationStorage),
        ("RTDOSE", RTDoseStorage),
    )
    for number, (modality, storage) in enumerate(kinds, start=1):
        image = pydicom.dcmread(folder / "ct" / f"CT_{number:04d}.dcm")
        image.Modality, image.SeriesInstanceUID = modality, generate_uid()
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = storage
        image.save_as(folder / "ct" / f"X_{number}.dcm")


def _no_ct(folder: Path) -> None:
    for file in (folder / "ct").iterdir():
        image = pydicom.dcmread(file)
        image.Modality = "PT"
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
        image.save_as(file)


def _no_slices(folder: Path) -> None:
    """A series of one localiser and one of a captured screen, both of the modality CT."""
    _localiser(folder)
    image = pydicom.dcmread(folder / "ct" / "scout.dcm")
    image.SeriesInstanceUID = generate_uid()
    image.save_as(folder / "ct" / "scout.dcm")
    image.SeriesInstanceUID, image.ImageType = generate_uid(), ["DERIVED", "SECONDARY"]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.save_as(folder / "ct" / "screen.dcm")


def _left_out(ct: CtSeries) -> None:
    markers(ct)
    told = sorted(ct.notices)
    assert len(told) == 2
    assert "Secondary Capture Image Storage" in told[0] and "screen.dcm" in told[0]
    assert "localiser" in told[1] and "scout.dcm" in told[1]


def _copied(folder: Path) -> None:
    shutil.copy(folder / "ct" / "CT_0002.dcm", folder / "ct" / "CT_0002 (1).dcm")


def _two_kernels(image: Dataset, k: int) -> None:
    image.ConvolutionKernel = "B30f" if k < 4 else ["Br60", "3"]


def _second_reconstruction(folder: Path) -> None:
    """The same slices again with another kernel, in the same series."""
    for file in sorted((folder / "ct").iterdir()):
        image = pydicom.dcmread(file)
        image.ConvolutionKernel, image.SOPInstanceUID = "B70f", generate_uid()
        image.save_as(folder / "ct" / f"K{file.name}")


def _not_dicom(name: str):
    """A file that is no DICOM file among the slices."""
    return lambda folder: (folder / "ct" / name).write_bytes(bytes(4096))


CASES = [
    Case(
        "not a slice",
        "CT",
        "a file named as a slice that is none",
        _not_dicom("CT_0007.dcm"),
        "does not start as one",
        "notes that macOS leaves beside a slice",
        _not_dicom("._CT_0001.dcm"),
    ),
    Case(
        "localiser",
        "CT",
        "nothing but localisers",
        _only_localisers,
        "has 0 slice",
        "a localiser among the slices",
        _localiser,
        numbers=noticed("1 localiser"),
    ),
    Case(
        "several series",
        "CT",
        "two series in the folder",
        _second_series,
        "holds 2 CT series",
        "two series, and one file names which",
        _second_series,
        valid_options={"file": "ct/BCT_0004.dcm"},
    ),
    Case(
        "mixed studies",
        "CT",
        "one slice belongs to another study",
        one_slice(3, StudyInstanceUID="1.2.3"),
        "StudyInstanceUID is another one",
        "PET, registration and dose beside the CT",
        _other_modalities,
    ),
    Case(
        "bits",
        "CT",
        "8 bits allocated",
        all_slices(BitsAllocated=8),
        "expected 16 bits",
        "12 unsigned bits with stray bits above",
        each_slice(_twelve_bits),
    ),
    Case(
        "length of pixels",
        "CT",
        "fewer pixels than rows times columns",
        one_slice(3, PixelData=bytes(100)),
        "100 bytes of pixel data, 234",
        "implicit value representation",
        _syntax(ImplicitVRLittleEndian),
    ),
    Case("truncated file", "CT", "the last 30 bytes are gone", _cut, "cut short", "complete", unchanged),
    Case(
        "file names",
        "CT",
        "a .dcm without preamble and DICM",
        _no_preamble,
        "does not start as one",
        "no suffix, and a text file beside",
        _no_suffix,
    ),
    Case("no CT", "CT", "PET only", _no_ct, "no DICOM CT images", "one CT series", unchanged),
    Case(
        "big endian",
        "CT",
        "big-endian explicit",
        _claims(b"1.2.840.10008.1.2.2\0"),
        "expected little endian",
        "run-length encoded",
        _run_length,
    ),
    Case(
        "video",
        "CT",
        "a syntax that no still image has (MPEG2)",
        _video,
        "is not supported",
        "deflated",
        _deflated,
    ),
    Case(
        "inflation",
        "CT",
        "80 MB of zeros in a small deflated file",
        _bomb,
        "inflates to more than",
        "deflated",
        _deflated,
        code="input_unsafe",
    ),
    Case(
        "multi-frame",
        "CT",
        "describes six frames, claims seven",
        _too_few_frames,
        "describes 6 of its 7 frames",
        "an Enhanced CT, frames from superior to inferior",
        multi_frame,
    ),
    Case(
        "frame without a place",
        "CT",
        "a frame without plane position",
        _frame_without_place,
        "no ImagePositionPatient",
        "an Enhanced CT",
        multi_frame,
    ),
    Case(
        "frames cut",
        "CT",
        "the last frame is not complete",
        _frames_cut,
        "bytes of pixel data",
        "an Enhanced CT",
        multi_frame,
    ),
    Case(
        "series without slices",
        "CT",
        "a captured screen is named",
        _no_slices,
        "expected a CT image",
        "series of a localiser and of a captured screen beside the slices",
        _no_slices,
        options={"file": "ct/screen.dcm"},
        numbers=_left_out,
    ),
    Case(
        "identity",
        "CT",
        "a file copied within the folder",
        _copied,
        "repeated slices",
        "two slices with one SOPInstanceUID",
        each_slice(lambda i, k: setattr(i, "SOPInstanceUID", f"1.2.3.{max(k, 1)}")),
        numbers=noticed("2 files share a SOPInstanceUID", "CT_0001.dcm, CT_0002.dcm"),
    ),
    Case(
        "kernels",
        "CT",
        "two reconstructions of the same slices in one series",
        _second_reconstruction,
        "repeated slices",
        "two kernels in one stack",
        each_slice(_two_kernels),
        numbers=noticed("4 with B30f, 2 with Br60/3"),
    ),
]
