"""Small valid files of every format that is read."""

from __future__ import annotations

from .seeds_dicom import DICOM
from .seeds_images import IMAGES
from .seeds_texts import TEXTS

FORMATS = DICOM | IMAGES | TEXTS
