"""Small valid files of every format that is read."""

from __future__ import annotations

from pathlib import Path

from optimize.survey import survey

from .seed_model import Format, Result
from .seeds_dicom import DICOM
from .seeds_images import IMAGES
from .seeds_texts import TEXTS


def _case(folder: Path) -> None:
    for name in ("ct", "rtstruct", "rtdose"):
        (folder / name).mkdir()
        DICOM[name].make(folder / name)
    for name in ("labels", "nrrd_labels"):
        IMAGES[name].make(folder)


def _survey(folder: Path) -> Result:
    found = survey(folder)
    return Result((str(found["series"]), str(found["structures"])), tuple(found["problems"]))


FORMATS = DICOM | IMAGES | TEXTS | {"survey": Format(_case, _survey)}
