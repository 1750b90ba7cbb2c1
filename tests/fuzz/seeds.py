"""Small valid files of every format that is read, and what reading them gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, RLELossless

from dosecalc.dicom import read_rtdose, read_rtstruct, synthetic_series, write_ct_series, write_rtdose, write_rtstruct
from dosecalc.grid import Grid, Volume
from dosecalc.names import match, read_table
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.structures import Contours, Structure, StructureSet
from protocols import load

GRID = Grid((-21.5, -13.25, 100.0), (1.5, 2.5, 3.0), (2, 4, 5))
LABELS = {"1": "Liver", "2": {"name": "GTV", "role": "GTV"}}
ALIASES = '[Liver]\naliases = ["My liver", "Foie"]\n\n[Own_Organ]\naliases = ["Spot"]\nparts = ["Left", "Right"]\n'
GOALS = 6


@dataclass(frozen=True, slots=True)
class Result:
    """What a reader returned, comparable, and what it told the user."""

    content: tuple[Any, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of input.

    Attributes
    ----------
    kind : str
        "dicom", "nifti" or "text": which mutators apply.
    make : function of a folder
        Writes the valid files.
    read : function of a folder
        Reads them.
    """

    kind: str
    make: Callable[[Path], None]
    read: Callable[[Path], Result]


def _phantom() -> Volume:
    values = np.arange(GRID.size).reshape(GRID.shape) * 7.0 - 1000.0
    return Volume(GRID, values.astype(np.float32))


def _structures() -> StructureSet:
    box = np.array([[-20.0, -10.0], [-17.0, -10.0], [-17.0, -6.0], [-20.0, -6.0]])
    return StructureSet(
        tuple(
            Structure(name, role, Contours((100.0, 103.0), (box + k, box + k)))
            for k, (name, role) in enumerate((("Liver", "ORGAN"), ("GTV", "GTV")))
        )
    )


def _ct(folder: Path) -> None:
    write_ct_series(folder / "ct", _phantom())


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
    volume = _volume(series.volume)
    return Result((*volume, frame, series.patient_position), series.notices)


def _volume(volume: Volume) -> tuple[Any, ...]:
    return volume.grid, str(volume.values.dtype), np.ascontiguousarray(volume.values).tobytes()


def _rtstruct(folder: Path) -> None:
    write_rtstruct(folder / "structures.dcm", _structures(), synthetic_series(_phantom()))


def _read_rtstruct(folder: Path) -> Result:
    return _structure_set(read_rtstruct(folder / "structures.dcm"))


def _structure_set(found: StructureSet) -> Result:
    rows = [(s.name, s.role, s.volume_cc, *_geometry(s.geometry)) for s in found]
    return Result((*rows, found.frame_of_reference_uid, found.absent), found.notices)


def _geometry(shape: Any) -> tuple[Any, ...]:
    if isinstance(shape, Contours):
        return shape.z_mm, shape.slab_mm, tuple(p.tobytes() for p in shape.polygons_mm)
    return shape.grid, shape.fraction.tobytes()


def _rtdose(folder: Path) -> None:
    dose = np.arange(GRID.size, dtype=float).reshape(GRID.shape)
    write_rtdose(folder / "dose.dcm", Volume(GRID, dose), synthetic_series(_phantom()))


def _read_rtdose(folder: Path) -> Result:
    return Result(_volume(read_rtdose(folder / "dose.dcm")))


def _save_nifti(path: Path, values: Any) -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = -30.0, 7.0, 100.0
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)


def _nifti(folder: Path) -> None:
    _save_nifti(folder / "ct.nii", (np.arange(60).reshape(5, 4, 3) * 7 - 1000).astype(np.int16))


def _nifti_gz(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1500, (5, 4, 3))
    _save_nifti(folder / "ct.nii.gz", noise.astype(np.int16))


def _read_nifti(folder: Path) -> Result:
    series = read_ct_series(folder / "ct.nii")
    return Result(_volume(series.volume), series.notices)


def _read_nifti_gz(folder: Path) -> Result:
    series = read_ct_series(folder / "ct.nii.gz")
    return Result(_volume(series.volume), series.notices)


def _labels(folder: Path) -> None:
    values = np.zeros((5, 4, 3), np.uint8)
    values[1:3, 1:3, 1:] = 1
    values[4, 3, 0] = 2
    _save_nifti(folder / "labels.nii", values)
    (folder / "names.json").write_text(json.dumps(LABELS), encoding="utf-8")


def _read_labels(folder: Path) -> Result:
    return _structure_set(read_structures(folder / "labels.nii", folder / "names.json"))


def _protocol(folder: Path) -> None:
    text = files("protocols").joinpath("library/crlm_3fx.toml").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^(?=\[\[goals\]\])", text)
    (folder / "protocol.toml").write_text("".join(parts[: 1 + GOALS]), encoding="utf-8")


def _read_protocol(folder: Path) -> Result:
    return Result((load(folder / "protocol.toml").model_dump_json(exclude={"provenance"}),))


def _aliases(folder: Path) -> None:
    (folder / "aliases.toml").write_text(ALIASES, encoding="utf-8")


def _read_aliases(folder: Path) -> Result:
    """The table, and what it makes of structures: its faults may lie there."""
    table = read_table(folder / "aliases.toml")
    matched = match(_structures(), ("Liver", "Own_Organ", "Duodenum"), GRID, table=table)
    return Result((tuple(table.items()), matched.structures.names, matched.renamed, matched.missing))


FORMATS = {
    "ct": Format("dicom", _ct, _read_ct),
    "ct_multi_frame": Format("dicom", _multi_frame, _read_ct),
    "ct_run_length": Format("dicom", _run_length, _read_ct),
    "ct_deflated": Format("dicom", _deflated, _read_ct),
    "rtstruct": Format("dicom", _rtstruct, _read_rtstruct),
    "rtdose": Format("dicom", _rtdose, _read_rtdose),
    "nifti": Format("nifti", _nifti, _read_nifti),
    "nifti_gz": Format("nifti", _nifti_gz, _read_nifti_gz),
    "labels": Format("nifti", _labels, _read_labels),
    "protocol": Format("text", _protocol, _read_protocol),
    "aliases": Format("text", _aliases, _read_aliases),
}
