"""RT Structure Sets as planning systems write them: planes, drawn scans, types and names of their ROIs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dosecalc.structures import StructureSet

from .inputs import GRID, LIVER, LIVER_CC, PLANES, box, liver
from .model import Case, unchanged
from .rt import cc, contour, item, structures, without_frame

PARTS = (box((-15, -11), (-10, 4)), box((-10, -5), (-10, 4)))  # side by side, together as large as the liver


def _parts(apart_mm: float) -> Callable[[Path], None]:
    """The liver in two parts on three slices, their contours this far apart in z."""
    drawn = [contour(ring, z + side * apart_mm) for z in PLANES for side, ring in zip((-0.5, 0.5), PARTS, strict=True)]
    return structures(lambda d: setattr(item(d), "ContourSequence", Sequence(drawn)))


def _one_slice(*rois: int, thickness_mm: float | None = None) -> Callable[[Path], None]:
    """ROIs in two parts on one slice, their contours 0.04 mm apart in z."""

    def drawn() -> Sequence:
        made = [contour(PARTS[0], 106.0), contour(PARTS[1], 106.04)]
        for each in made if thickness_mm else ():
            each.ContourSlabThickness = thickness_mm
        return Sequence(made)

    return structures(lambda d: [setattr(item(d, roi), "ContourSequence", drawn()) for roi in rois])


def _island(by_mm: float) -> Callable[[Path], None]:
    """A box of 4 x 5 mm on the middle slice, to the right of the liver where it is not moved towards it."""
    ring = box((-21.0 + by_mm, -17.0 + by_mm), (-5.0, 0.0))
    return structures(lambda d: item(d).ContourSequence.append(contour(ring, 106.0)))


def _wobbling(by_mm: float) -> Callable[[Path], None]:
    def change(d: Dataset) -> None:
        for drawn in item(d).ContourSequence:
            drawn.ContourData = [float(v) + by_mm * (k % 6 == 2) for k, v in enumerate(drawn.ContourData)]

    return structures(change)


def tells(*words: str, judge: Callable[[StructureSet], None] = liver) -> Callable[[StructureSet], None]:
    """Right numbers, and notices with each of the words."""

    def judged(found: StructureSet) -> None:
        judge(found)
        for word in words:
            assert any(word in notice for notice in found.notices), (word, found.notices)

    return judged


def _again(d: Dataset) -> None:
    """Each contour of the liver a second time, a few hundredths of a millimetre inside."""
    middle = LIVER.mean(axis=0)
    for drawn in list(item(d).ContourSequence):
        z = float(drawn.ContourData[2])
        item(d).ContourSequence.append(contour(middle + 0.995 * (LIVER - middle), z))


def _another_series(d: Dataset) -> None:
    series = d.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    series.SeriesInstanceUID = "1.2.3"
    for k, image in enumerate(series.ContourImageSequence):
        image.ReferencedSOPInstanceUID = f"1.2.3.{k}"
    for roi in d.ROIContourSequence:
        for drawn in roi.ContourSequence:
            del drawn.ContourImageSequence


def _another_series_without_frame(folder: Path) -> None:
    without_frame(folder)
    structures(_another_series)(folder)


def _shorter(folder: Path) -> None:
    """The first slice of the CT is gone, on which nothing is drawn."""
    (folder / "ct" / "CT_0001.dcm").unlink()


def _moved(*rois: int, by: tuple[float, float, float] = (0.0, 0.0, 0.0), sign: float = 1.0) -> Callable[[Path], None]:
    """ROIs moved, x and y multiplied by a sign."""

    def change(d: Dataset) -> None:
        for roi in rois:
            for drawn in item(d, roi).ContourSequence:
                points = np.array(drawn.ContourData, dtype=float).reshape(-1, 3) * (sign, sign, 1.0) + by
                drawn.ContourData = points.ravel().tolist()

    return structures(change)


def _part_outside(found: StructureSet) -> None:
    """The liver 10 mm to the right: 25 to 22.25 mm of its 25 to 16 mm lie beyond the scan's face."""
    assert found["Liver"].on(GRID).volume_cc == pytest.approx(LIVER_CC * (22.25 - 16) / 9)
    lost = LIVER_CC * (25 - 22.25) / 9
    assert found.notices == (f"Liver: {lost:.3g} of {LIVER_CC:.4g} cc lie outside the CT.",)


def _types(first: str, second: str | None = None) -> Callable[[Path], None]:
    """The GTV with these interpreted types."""

    def change(d: Dataset) -> None:
        d.RTROIObservationsSequence[1].RTROIInterpretedType = first
        if second is not None:
            again = Dataset()
            again.ObservationNumber, again.ReferencedROINumber, again.RTROIInterpretedType = 9, 2, second
            d.RTROIObservationsSequence.append(again)

    return structures(change)


def _crossing(kind: str) -> Callable[[Path], None]:
    """A bow tie among the contours of the GTV, which has this type."""

    def change(d: Dataset) -> None:
        d.RTROIObservationsSequence[1].RTROIInterpretedType = kind
        item(d, 1).ContourSequence[0].ContourData = [0, 0, 103, 9, 9, 103, 9, 0, 103, 0, 9, 103]

    return structures(change)


def _no_gtv(found: StructureSet) -> None:
    liver(found)
    assert found.names == ("Liver", "Skin")
    assert found.absent == ("GTV_a",)


def _all_drawn(d: Dataset, keyword: str, value: object) -> None:
    for drawn in item(d).ContourSequence:
        setattr(drawn, keyword, value)


def _named(name: str) -> Callable[[Path], None]:
    return structures(lambda d: setattr(d.StructureSetROISequence[1], "ROIName", name))


CASES = [
    Case(
        "scattered planes",
        "RTSTRUCT",
        "two parts side by side, their planes 0.5 mm apart",
        _parts(0.5),
        "'Liver': .* 0.5 mm apart and show different parts",
        "their planes 0.04 mm apart, as a transformation leaves",
        _parts(0.04),
        numbers=tells("Liver: contours up to 0.04 mm apart in z are taken as one plane", judge=cc(LIVER_CC)),
    ),
    Case(
        "scattered single plane",
        "RTSTRUCT",
        "two contours 0.04 mm apart in z, and no other structure that tells how thick a slice is",
        _one_slice(0, 1, 2),
        "'Liver': has contours on one plane only",
        "the others tell",
        _one_slice(0),
        numbers=tells("Liver: is drawn on one plane; taken as 3 mm thick", judge=cc(LIVER_CC / 3)),
    ),
    Case(
        "scattered points",
        "RTSTRUCT",
        "points of a contour 0.3 mm apart in z",
        _wobbling(0.3),
        "ROI no. 1 'Liver': a contour reaches from z = 103 to 103.3 mm",
        "0.02 mm apart",
        _wobbling(0.02),
        numbers=tells("Liver: points of a contour differ", judge=cc(LIVER_CC)),
    ),
    Case(
        "drawn twice",
        "RTSTRUCT",
        "each contour again, 0.03 mm inside",
        structures(_again),
        "two contours are the same",
        "the same, and the user has it repaired",
        structures(_again),
        valid_options={"repair": ["Liver"]},
        numbers=tells(
            "6 became 3, the volume is 1.134 cc before (all that they enclose, holes filled) and 1.134 cc after"
        ),
    ),
    Case(
        "another series",
        "RTSTRUCT",
        "drawn on another series, and the CT states no frame of reference",
        _another_series_without_frame,
        "does not refer to the CT series",
        "drawn on another series in the same frame of reference",
        structures(_another_series),
        numbers=tells("drawn on another series than this CT"),
    ),
    Case(
        "other images",
        "RTSTRUCT",
        "drawn on two series, in two frames of reference",
        structures(lambda d: setattr(d.StructureSetROISequence[2], "ReferencedFrameOfReferenceUID", "1.2.3")),
        "2 frames of reference",
        "drawn on one image more than the CT has",
        _shorter,
        numbers=tells("1 of the 6 images that they were drawn on are not in this CT"),
    ),
    Case(
        "outside the CT",
        "RTSTRUCT",
        "all structures, half a metre to the left",
        _moved(0, 1, 2, by=(500.0, 0.0, 0.0)),
        r"none of its 3 structures lies in the CT: its centre lies \(502\.1, .* mm",
        "one of them",
        _moved(1, by=(500.0, 0.0, 0.0)),
        numbers=tells("GTV_a: lies wholly outside the CT (1.13 cc)"),
    ),
    Case(
        "flipped",
        "RTSTRUCT",
        "x and y with the other sign",
        _moved(0, 1, 2, sign=-1.0),
        "none of its 3 structures .* in another sense",
        "a part outside the scan",
        _moved(0, by=(-10.0, 0.0, 0.0)),
        numbers=_part_outside,
    ),
    Case(
        "types of one ROI",
        "RTSTRUCT",
        "the GTV is a GTV and a PTV",
        _types("GTV", "PTV"),
        "ROI no. 2 'GTV_a': has two interpreted types, 'GTV' and 'PTV'",
        "it is, and is left out by name",
        _types("GTV", "PTV"),
        valid_options={"leave_out": ["GTV_a"]},
        numbers=_no_gtv,
    ),
    Case(
        "no anatomy",
        "RTSTRUCT",
        "an organ whose contour crosses itself",
        _crossing("ORGAN"),
        "ROI no. 2 'GTV_a': .* crosses itself",
        "a couch (SUPPORT) whose contour does",
        _crossing("SUPPORT"),
        numbers=tells("GTV_a: is of type SUPPORT, neither organ nor target", judge=_no_gtv),
    ),
    Case(
        "marker",
        "RTSTRUCT",
        "a target of type MARKER is asked for by a wrong name",
        _types("MARKER"),
        "no structure 'GTV_b'",
        "an ROI of type MARKER",
        _types("MARKER"),
        options={"repair": ["GTV_b"]},
        numbers=tells("GTV_a: is of type MARKER", judge=_no_gtv),
    ),
    Case(
        "contour type",
        "RTSTRUCT",
        "a type that DICOM does not know",
        structures(lambda d: _all_drawn(d, "ContourGeometricType", "CLOSED_CURVED")),
        "ROI no. 1 'Liver': a contour is of type 'CLOSED_CURVED'",
        "types in lower case",
        structures(lambda d: _all_drawn(d, "ContourGeometricType", "closed_planar")),
    ),
    Case(
        "contour offset",
        "RTSTRUCT",
        "a ContourOffsetVector of 1.5 mm",
        structures(lambda d: _all_drawn(d, "ContourOffsetVector", [0, 0, 1.5])),
        "ROI no. 1 'Liver': a contour has a ContourOffsetVector",
        "one of 0 mm",
        structures(lambda d: _all_drawn(d, "ContourOffsetVector", [0, 0, 0])),
    ),
    Case(
        "backslash",
        "RTSTRUCT",
        "a name with a backslash, which parts values in DICOM",
        _named("GTV\\left"),
        r"ROI no. 2 'GTV.*left': .* without backslash",
        "it is left out by name",
        _named("GTV\\left"),
        valid_options={"leave_out": ["GTV\\left"]},
    ),
    Case(
        "point of an ROI",
        "RTSTRUCT",
        "a contour without points",
        structures(lambda d: delattr(item(d).ContourSequence[0], "NumberOfContourPoints")),
        "ROI no. 1 'Liver': has no NumberOfContourPoints",
        "all stated",
        unchanged,
    ),
    Case(
        "end caps",
        "RTSTRUCT",
        "an unknown policy is asked for",
        unchanged,
        "end caps 'rounded' are unknown",
        "structures end at their first and last contours, as asked: 6 of 9 mm",
        unchanged,
        options={"end_caps": "rounded"},
        valid_options={"end_caps": "at_contour"},
        numbers=tells("structures: they end at their first and last contours, as asked", judge=cc(LIVER_CC * 6 / 9)),
    ),
    Case(
        "end caps of one plane",
        "RTSTRUCT",
        "a structure on one plane that shall end at its contours",
        _one_slice(0),
        "ROI no. 1 'Liver': .* on one plane only .* none if it ends at its contours",
        "its ContourSlabThickness says how thick it is",
        _one_slice(0, thickness_mm=3.0),
        options={"end_caps": "at_contour"},
        valid_options={"end_caps": "at_contour"},
        numbers=tells("Liver: its contours are stated to be 3 mm thick", judge=cc(LIVER_CC / 3)),
    ),
    Case(
        "end caps of an island",
        "RTSTRUCT",
        "a second part that lies across the first, on one plane",
        _island(4.0),
        "'Liver', plane z = 106 mm: two contours overlap in part",
        "a second part beside it, on one plane: it keeps half a slice to each side",
        _island(0.0),
        options={"end_caps": "at_contour"},
        valid_options={"end_caps": "at_contour"},
        numbers=tells("Liver: 1 part(s), together 0.06 cc", judge=cc(LIVER_CC * 6 / 9 + 0.06)),
    ),
    Case(
        "end caps of stated slabs",
        "RTSTRUCT",
        "ContourSlabThickness is not a number",
        structures(lambda d: _all_drawn(d, "ContourSlabThickness", float("nan"))),
        "ROI no. 1 'Liver': ContourSlabThickness",
        "it is the distance of the planes, and goes before the policy that is asked for",
        structures(lambda d: _all_drawn(d, "ContourSlabThickness", 3.0)),
        options={"end_caps": "at_contour"},
        valid_options={"end_caps": "at_contour"},
        numbers=tells("Liver: its contours are stated to be 3 mm thick", judge=cc(LIVER_CC)),
    ),
]
