"""Write structures as an RT Structure Set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, RTStructureSetStorage, generate_uid

from ..contouring import as_contours
from ..errors import InputError
from ..structures import Contours, Structure, StructureSet
from .series import CtSeries
from .writing import RESEARCH_NOTE, new_object, reference, save

_CONTOUR_DATA = Tag("ContourData")
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
    contours = as_contours(structure)
    item.ContourSequence = list(_contour_items(contours, ct))
    return item


def _contour_items(contours: Contours, ct: CtSeries) -> Iterator[Dataset]:
    grid = ct.volume.grid
    for z, ring in zip(contours.z_mm, contours.polygons_mm, strict=True):
        item = Dataset()
        position = (z - grid.origin_mm[2]) / grid.spacing_mm[2]
        k = round(position)
        if 0 <= k < len(ct.sop_instance_uids) and abs(position - k) * grid.spacing_mm[2] < 0.01:
            item.ContourImageSequence = [reference(CTImageStorage, ct.sop_instance_uids[k])]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(ring)
        if contours.slab_mm is not None:
            item.ContourSlabThickness = f"{contours.slab_mm:.10g}"
        item[_CONTOUR_DATA] = _decimals(np.column_stack([ring, np.full(len(ring), z)]))
        # as if read in this encoding: otherwise the text is parsed into numbers and formatted again
        item.set_original_encoding(True, True, default_encoding)
        yield item


def _decimals(points: npt.NDArray[np.float64]) -> RawDataElement:
    """A DS element from its finished text: pydicom would make one object per number, which takes seconds."""
    text = "\\".join(f"{value:.10g}" for value in points.ravel().tolist()).encode("ascii")
    text += b" " * (len(text) % 2)
    return RawDataElement(_CONTOUR_DATA, "DS", len(text), text, 0, True, True)


def _observation(roi: int, structure: Structure) -> Dataset:
    item = Dataset()
    item.ObservationNumber = roi
    item.ReferencedROINumber = roi
    item.RTROIInterpretedType = structure.role
    item.ROIInterpreter = ""
    return item
