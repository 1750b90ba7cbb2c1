"""Write structures as an RT Structure Set."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import ItemTag, Tag
from pydicom.uid import CTImageStorage, RTStructureSetStorage, generate_uid

from ..contouring import as_contours
from ..errors import InputError
from ..structures import Contours, Structure, StructureSet
from .series import CtSeries
from .writing import RESEARCH_NOTE, new_object, reference, save

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, retired, the value that PS3.3 C.8.8.5 implies
# anatomical colours carry no meaning here; these tell neighbours apart on a dark image
_COLOURS = ((230, 80, 60), (70, 160, 240), (90, 200, 90), (240, 180, 40), (190, 110, 230), (60, 200, 200))


def write_rtstruct(path: str | Path, structures: StructureSet, ct: CtSeries) -> None:
    """Write all structures; contours as they are, occupancies outlined in each slice so that its area is kept.

    Several rings of one plane, holes included, are written as separate CLOSED_PLANAR contours, which combine
    by exclusive or; no keyholes are made. Vertices keep 10 significant digits. Where the thickness of the slabs is
    known (outlines, contours that came with one), it is written as their ContourSlabThickness.

    Parameters
    ----------
    path : str or Path
        Replaced if it exists, at once and only by a complete file.
    structures : StructureSet
    ct : CtSeries
        The scan that the structures lie in; contours on one of its slices refer to that image, if it exists.

    Raises
    ------
    InputError
        The structures lie in another frame of reference, or nothing of one can be outlined.
    OutputError
        The file cannot be written.
    """
    if structures.frame_of_reference_uid not in (None, ct.frame_of_reference_uid):
        raise InputError("the structures' frame of reference is not that of the CT.", where=str(path))
    dataset = new_object(RTStructureSetStorage, "RTSTRUCT", ct, series_uid=generate_uid(), explicit=False)
    dataset.OperatorsName = ""
    dataset.StructureSetLabel = "dosecalc"
    dataset.StructureSetDescription = RESEARCH_NOTE
    dataset.StructureSetDate = dataset.StructureSetTime = ""
    dataset.ReferencedFrameOfReferenceSequence = [_frame(ct)]
    dataset.StructureSetROISequence = [_roi(n, s, ct) for n, s in enumerate(structures, start=1)]
    dataset.ROIContourSequence = [_roi_contour(n, s, ct) for n, s in enumerate(structures, start=1)]
    dataset.RTROIObservationsSequence = [_observation(n, s) for n, s in enumerate(structures, start=1)]
    dataset.ApprovalStatus = "UNAPPROVED"
    # as if read in this encoding: otherwise contours are parsed into numbers and formatted again
    dataset.set_original_encoding(True, True, convert_encodings(dataset.SpecificCharacterSet))
    save(dataset, path)


def _frame(ct: CtSeries) -> Dataset:
    item = Dataset()
    item.FrameOfReferenceUID = ct.frame_of_reference_uid
    if ct.sop_instance_uids:
        series, study = Dataset(), reference(_STUDY_CLASS, ct.study_instance_uid)
        series.SeriesInstanceUID = ct.series_instance_uid
        series.ContourImageSequence = [reference(CTImageStorage, uid) for uid in ct.sop_instance_uids]
        study.RTReferencedSeriesSequence = [series]
        item.RTReferencedStudySequence = [study]
    return item


def _roi(roi: int, structure: Structure, ct: CtSeries) -> Dataset:
    item = Dataset()
    item.ROINumber = roi
    item.ReferencedFrameOfReferenceUID = ct.frame_of_reference_uid
    item.ROIName = structure.name
    item.ROIGenerationAlgorithm = ""
    return item


def _roi_contour(roi: int, structure: Structure, ct: CtSeries) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(_COLOURS[(roi - 1) % len(_COLOURS)])
    item.ReferencedROINumber = roi
    data = b"".join(_contour_items(as_contours(structure), ct))
    tag = Tag("ContourSequence")
    item[tag] = RawDataElement(tag, "SQ", len(data), data, 0, True, True)
    item.set_original_encoding(True, True, default_encoding)
    return item


def _contour_items(contours: Contours, ct: CtSeries) -> Iterator[bytes]:
    """Items of the contour sequence as they stand in the file: made by pydicom, a thousand of them take a second."""
    grid = ct.volume.grid
    for z, ring in zip(contours.z_mm, contours.polygons_mm, strict=True):
        position = (z - grid.origin_mm[2]) / grid.spacing_mm[2]
        k = round(position)
        on_image = 0 <= k < len(ct.sop_instance_uids) and abs(position - k) * grid.spacing_mm[2] < 0.01
        slab = contours.slab_mm
        yield _item(
            _element("ContourImageSequence", _image_item(ct.sop_instance_uids[k])) if on_image else b"",
            _element("ContourGeometricType", b"CLOSED_PLANAR"),
            _element("ContourSlabThickness", f"{slab:.10g}".encode()) if slab is not None else b"",
            _element("NumberOfContourPoints", f"{len(ring)}".encode()),
            _element("ContourData", _decimals(ring, z)),
        )


def _image_item(uid: str) -> bytes:
    return _item(
        _element("ReferencedSOPClassUID", CTImageStorage.encode(), b"\0"),
        _element("ReferencedSOPInstanceUID", uid.encode(), b"\0"),
    )


def _item(*elements: bytes) -> bytes:
    """A sequence item of explicit length (PS3.5 section 7.5)."""
    data = b"".join(elements)
    return struct.pack("<HHL", ItemTag.group, ItemTag.element, len(data)) + data


def _element(keyword: str, value: bytes, padding: bytes = b" ") -> bytes:
    """A data element, implicit VR little endian, of even length (PS3.5 sections 7.1.3 and 6.2)."""
    group, element = divmod(tag_for_keyword(keyword) or 0, 1 << 16)
    value += padding * (len(value) % 2)
    return struct.pack("<HHL", group, element, len(value)) + value


def _decimals(ring: npt.NDArray[np.float64], z: float) -> bytes:
    """Coordinates x, y, z, x, y, z, ... of a ring on a plane, formatted at once."""
    points = "\\".join([f"%.10g\\%.10g\\{z:.10g}"] * len(ring))
    return (points % tuple(ring.ravel().tolist())).encode("ascii")


def _observation(roi: int, structure: Structure) -> Dataset:
    item = Dataset()
    item.ObservationNumber = roi
    item.ReferencedROINumber = roi
    item.RTROIInterpretedType = structure.role
    item.ROIInterpreter = ""
    return item
