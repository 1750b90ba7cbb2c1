"""RT Structure Sets: what must not pass for contours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dosecalc.structures import StructureSet

from .inputs import GRID, LIVER, LIVER_CC, PLANES, all_slices, box, in_file, liver
from .model import Case, unchanged

NAME = "rs.dcm"


def structures(change: Callable[[Dataset], object]) -> Callable[[Path], None]:
    return in_file(NAME, change)


def item(dataset: Dataset, roi: int = 0) -> Dataset:
    return dataset.ROIContourSequence[roi]


def contour(points: np.ndarray, z: float, kind: str = "CLOSED_PLANAR") -> Dataset:
    made = Dataset()
    made.ContourGeometricType, made.NumberOfContourPoints = kind, len(points)
    made.ContourData = np.column_stack([points, np.full(len(points), z)]).ravel().tolist()
    return made


def redrawn(*polygons: np.ndarray, planes: tuple[float, ...] = PLANES, kind: str = "CLOSED_PLANAR"):
    """The liver drawn with these polygons on every plane."""
    made = [(polygon, z) for z in planes for polygon in polygons]
    return structures(lambda d: setattr(item(d), "ContourSequence", Sequence([contour(p, z, kind) for p, z in made])))


def cc(expected: float, tolerance: float = 1e-6) -> Callable[[StructureSet], None]:
    def judge(found: StructureSet) -> None:
        assert found["Liver"].volume_cc == pytest.approx(expected, rel=tolerance)
        assert found["Liver"].on(GRID).volume_cc == pytest.approx(expected, rel=tolerance)

    return judge


def lists_absent(*names: str, words: str) -> Callable[[StructureSet], None]:
    def judge(found: StructureSet) -> None:
        assert found.absent == names
        assert any(words in notice for notice in found.notices), found.notices

    return judge


def without_frame(folder: Path) -> None:
    all_slices(FrameOfReferenceUID=None)(folder)


def _without_frame_and_reference(folder: Path) -> None:
    without_frame(folder)
    structures(lambda d: delattr(d.ReferencedFrameOfReferenceSequence[0], "RTReferencedStudySequence"))(folder)


def _renamed(roi: int, name: str) -> Callable[[Path], None]:
    return structures(lambda d: setattr(d.StructureSetROISequence[roi], "ROIName", name))


def _numbers_with_gaps(d: Dataset) -> None:
    for k, number in enumerate((70, 3, 12)):
        d.StructureSetROISequence[k].ROINumber = number
        d.ROIContourSequence[k].ReferencedROINumber = number
        d.RTROIObservationsSequence[k].ReferencedROINumber = number


def _points(count: int) -> Callable[[Path], None]:
    return redrawn(LIVER[:count])


def _bow_tie(d: Dataset) -> None:
    item(d).ContourSequence[0].ContourData = [0, 0, 103, 9, 9, 103, 9, 0, 103, 0, 9, 103]


def _two_triangles(found: StructureSet) -> None:
    """Two triangles of 9 x 4.5 mm on one plane, the liver on two."""
    assert found["Liver"].volume_cc == pytest.approx((2 * 9 * 4.5 / 2 + 2 * 9 * 14) * 3 / 1000)
    assert "repaired as asked: 3 became 4" in found.notices[0]


def _keyhole() -> np.ndarray:
    """The liver with a hole of 3 x 4 mm that a channel drawn both ways leads to."""
    hole = box((-12, -9), (-6, -2))
    return np.vstack([LIVER, LIVER[:1], hole[[0, 3, 2, 1]], hole[:1], LIVER[:1]])[:-1]


def _hole(folder: Path) -> None:
    redrawn(LIVER, box((-12, -9), (-6, -2)), kind="CLOSEDPLANAR_XOR")(folder)


def _island(folder: Path) -> None:
    redrawn(LIVER, box((-14, -7), (-9, 3)), box((-12, -9), (-6, -2)))(folder)


def _tilted(d: Dataset) -> None:
    item(d).ContourSequence[0].ContourData[2] = 104.0


def _single_plane(d: Dataset) -> None:
    for k in range(3):
        d.ROIContourSequence[k].ContourSequence = d.ROIContourSequence[k].ContourSequence[:1]


def _single_slab(d: Dataset) -> None:
    _single_plane(d)
    for k in range(3):
        d.ROIContourSequence[k].ContourSequence[0].ContourSlabThickness = 9.0


def _closing_point(d: Dataset) -> None:
    for drawn in item(d).ContourSequence:
        drawn.ContourData = [*drawn.ContourData, *drawn.ContourData[:3]]
        drawn.NumberOfContourPoints = drawn.NumberOfContourPoints + 1


def _lower_case_type(d: Dataset) -> None:
    for seen, kind in zip(d.RTROIObservationsSequence, ("organ", "gtv", "external"), strict=True):
        seen.RTROIInterpretedType = kind


def _two_types(d: Dataset) -> None:
    again = Dataset()
    again.ObservationNumber, again.ReferencedROINumber, again.RTROIInterpretedType = 9, 1, "PTV"
    d.RTROIObservationsSequence.append(again)


def _roles(found: StructureSet) -> None:
    liver(found)
    assert [s.role for s in found] == ["ORGAN", "GTV", "EXTERNAL"]


def _marker(d: Dataset) -> None:
    item(d, 1).ContourSequence = Sequence([contour(LIVER[:1], 103.0, "POINT")])


def _open_line(d: Dataset) -> None:
    item(d).ContourSequence.append(contour(LIVER[:2], 112.0, "OPEN_PLANAR"))


def _no_geometry(d: Dataset) -> None:
    del item(d, 2).ContourSequence


def _second_set(folder: Path) -> None:
    (folder / "rs2.dcm").write_bytes((folder / NAME).read_bytes())


def _cut(folder: Path) -> None:
    (folder / NAME).write_bytes((folder / NAME).read_bytes()[:-40])


def _nested(folder: Path) -> None:
    private = b"\x09\x40\x10\x10"
    nested = private + b"\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    (folder / NAME).write_bytes((folder / NAME).read_bytes() + nested * 1000)


def _sized_sequences(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / NAME)
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
    dataset.save_as(folder / NAME)


def _far(d: Dataset) -> None:
    item(d).ContourSequence[0].ContourData[0] = 123456.0


def _beyond(folder: Path) -> None:
    redrawn(LIVER - (20.0, 0.0))(folder)


def _cut_by_scan(found: StructureSet) -> None:
    assert found["Liver"].volume_cc == pytest.approx(LIVER_CC)
    assert found["Liver"].on(GRID).volume_cc < 0.1 * LIVER_CC


CASES = [
    Case(
        "frame of reference",
        "RTSTRUCT",
        "drawn in another frame",
        structures(lambda d: [setattr(r, "ReferencedFrameOfReferenceUID", "1.2.3") for r in d.StructureSetROISequence]),
        "not that of the CT",
        "drawn in the CT's",
        unchanged,
    ),
    Case(
        "CT without a frame",
        "RTSTRUCT",
        "and the structures refer to no series",
        _without_frame_and_reference,
        "does not refer to the CT series",
        "and the structures refer to its images",
        without_frame,
    ),
    Case(
        "several frames",
        "RTSTRUCT",
        "one ROI lies in another frame",
        structures(lambda d: setattr(d.StructureSetROISequence[1], "ReferencedFrameOfReferenceUID", "1.2.3")),
        "2 frames of reference",
        "one frame",
        unchanged,
    ),
    Case(
        "duplicate names",
        "RTSTRUCT",
        "two ROIs called Liver",
        _renamed(1, "Liver"),
        "used twice: no. 1 'Liver'; no. 2",
        "names that differ in case",
        _renamed(1, "LIVER"),
    ),
    Case(
        "duplicate numbers",
        "RTSTRUCT",
        "two ROIs with one number",
        structures(lambda d: setattr(d.StructureSetROISequence[1], "ROINumber", 1)),
        "ROI number is used twice",
        "numbers with gaps, not ascending",
        structures(_numbers_with_gaps),
    ),
    Case(
        "no name",
        "RTSTRUCT",
        "an ROI without a name",
        _renamed(1, ""),
        "ROI no. 2 '': has no ROIName",
        "a name with spaces and umlauts",
        _renamed(1, "GTV Läsion 1"),
    ),
    Case(
        "long name",
        "RTSTRUCT",
        "65 characters",
        _renamed(1, "x" * 65),
        r"ROI no. 2 'x{64}\.\.\.': structure name .* 1 to 64 printable",
        "64 characters",
        _renamed(1, "x" * 64),
    ),
    Case(
        "empty ROIs",
        "RTSTRUCT",
        "no ROI has contours",
        structures(lambda d: delattr(d, "ROIContourSequence")),
        "no ROIContourSequence",
        "one ROI has none",
        structures(_no_geometry),
        numbers=lists_absent("Skin", words="Skin: has no closed contours"),
    ),
    Case(
        "points",
        "RTSTRUCT",
        "a closed contour of two points",
        _points(2),
        "2 points, at least 3",
        "a marker of type POINT",
        structures(_marker),
        numbers=lists_absent("GTV_a", words="type POINT has no volume"),
    ),
    Case(
        "open contour",
        "RTSTRUCT",
        "a contour without a type",
        structures(lambda d: setattr(item(d).ContourSequence[0], "ContourGeometricType", "")),
        "no ContourGeometricType",
        "an open line beside closed contours",
        structures(_open_line),
    ),
    Case(
        "crossing",
        "RTSTRUCT",
        "a contour crosses itself",
        structures(_bow_tie),
        "'Liver', plane z = 103 mm: .* crosses itself",
        "it crosses itself, and the user has it repaired",
        structures(_bow_tie),
        valid_options={"repair": ["Liver"]},
        numbers=_two_triangles,
    ),
    Case(
        "crossing helper",
        "RTSTRUCT",
        "a name that is not there is to be left out",
        unchanged,
        "no structure 'Lver'",
        "the faulty structure is left out by name",
        structures(_bow_tie),
        options={"leave_out": ["Lver"]},
        valid_options={"leave_out": ["Liver"]},
        numbers=lists_absent("Liver", words="Liver: left out of the structures"),
    ),
    Case(
        "overlap in part",
        "RTSTRUCT",
        "two contours of a plane overlap in part",
        redrawn(LIVER, LIVER - (-4.0, 0.0)),
        "overlap in part",
        "two parts side by side",
        redrawn(box((-15, -12), (-10, 4)), box((-9, -3), (-10, 4))),
        numbers=cc(LIVER_CC),
    ),
    Case(
        "duplicate contour",
        "RTSTRUCT",
        "a contour drawn twice",
        redrawn(LIVER, LIVER),
        "are the same",
        "a hole drawn as a contour of its own",
        _hole,
        numbers=cc(LIVER_CC - 3 * 4 * 9 / 1000),
    ),
    Case(
        "keyhole",
        "RTSTRUCT",
        "a contour without area",
        redrawn(np.array([[0.0, 0], [5, 5], [9, 9]])),
        "encloses no area",
        "a hole drawn by a channel",
        redrawn(_keyhole()),
        numbers=cc(LIVER_CC - 3 * 4 * 9 / 1000),
    ),
    Case(
        "island in a hole",
        "RTSTRUCT",
        "a third contour leaves the hole in part",
        redrawn(LIVER, box((-14, -7), (-9, 3)), box((-12, -6.5), (-6, -2))),
        "overlap in part",
        "a third contour in the hole",
        _island,
        numbers=cc(LIVER_CC - (7 * 12 - 3 * 4) * 9 / 1000),
    ),
    Case(
        "smaller than a voxel",
        "RTSTRUCT",
        "a contour of no size",
        redrawn(box((-10.0, -10.0), (-5, -5))),
        "encloses no area",
        "half a millimetre wide",
        redrawn(box((-10.0, -9.5), (-5, -4.5))),
        numbers=cc(0.25 * 9 / 1000),
    ),
    Case(
        "off plane",
        "RTSTRUCT",
        "a contour climbs by 1 mm",
        structures(_tilted),
        "z = 103 to 104 mm",
        "planes between the slices",
        redrawn(LIVER, planes=(104.2, 107.2, 110.2)),
    ),
    Case(
        "one plane",
        "RTSTRUCT",
        "every structure on one plane, its thickness unknown",
        structures(_single_plane),
        "one plane only",
        "one plane with ContourSlabThickness",
        structures(_single_slab),
    ),
    Case(
        "count of points",
        "RTSTRUCT",
        "three points announced, four given",
        structures(lambda d: setattr(item(d).ContourSequence[0], "NumberOfContourPoints", 3)),
        "3 points has 12 coordinates",
        "the first point again as the last",
        structures(_closing_point),
    ),
    Case(
        "orphan contours",
        "RTSTRUCT",
        "contours of an ROI that is not listed",
        structures(lambda d: setattr(item(d), "ReferencedROINumber", 99)),
        "99 has contours without a name",
        "no observations",
        structures(lambda d: delattr(d, "RTROIObservationsSequence")),
    ),
    Case(
        "contours twice",
        "RTSTRUCT",
        "two items for one ROI",
        structures(lambda d: setattr(item(d, 1), "ReferencedROINumber", 1)),
        "1 has contours twice",
        "one item each",
        unchanged,
    ),
    Case(
        "interpreted type",
        "RTSTRUCT",
        "two types for one ROI",
        structures(_two_types),
        "two interpreted types",
        "types in lower case",
        structures(_lower_case_type),
        numbers=_roles,
    ),
    Case(
        "far away",
        "RTSTRUCT",
        "a coordinate of 123 m",
        structures(_far),
        "beyond 5000 mm",
        "most of it outside the scan",
        _beyond,
        numbers=_cut_by_scan,
    ),
    Case("truncated file", "RTSTRUCT", "the last 40 bytes are gone", _cut, "cut short", "complete", unchanged),
    Case(
        "nesting",
        "RTSTRUCT",
        "1000 private sequences, each in the one before",
        _nested,
        "deep",
        "sequences of undefined length",
        _sized_sequences,
        code="input_unsafe",
    ),
    Case(
        "several sets",
        "RTSTRUCT",
        "two structure sets in the folder",
        _second_set,
        "holds 2 RT Structure Sets",
        "one, named by its folder",
        unchanged,
        options={"file": "."},
        valid_options={"file": "."},
    ),
    Case(
        "label names",
        "RTSTRUCT",
        "names of labels given with it",
        unchanged,
        "apply to label maps only",
        "none given",
        unchanged,
        options={"names": {"1": "Liver"}},
    ),
]
