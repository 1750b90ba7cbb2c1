"""What the headers of a CT series say beside its geometry, and where that casts doubt on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import UID, CTImageStorage

from ..errors import InputError
from .files import number, parsing
from .frames import MULTI_FRAME, Frame

GAP_TOLERANCE = 0.1
"""Share of the distance of the slices: what headers state is nominal, and rounded."""
LOCALIZER = "LOCALIZER"  # value 3 of ImageType, PS3.3 section C.8.2.1.1.1
Headers = list[tuple[Path, pydicom.Dataset]]


def what_else(images: Headers) -> str:
    """What a series with the modality CT holds where none of its images is a slice; empty where one is."""
    kinds = []
    for file, header in images:
        with parsing(file):
            storage, image_type = UID(str(header.get("SOPClassUID", ""))), header.get("ImageType") or ()
        if storage not in (CTImageStorage, *MULTI_FRAME):
            kinds.append(storage.name)
        elif LOCALIZER in image_type:
            kinds.append("localiser")
        else:
            return ""
    return ", ".join(dict.fromkeys(kinds))


def header_notices(frames: list[Frame], stack_mm: npt.NDArray[np.float64]) -> list[str]:
    """Doubts about the slices of one series.

    Parameters
    ----------
    frames : list of Frame
        In the order of the stack.
    stack_mm : (n,) float64
        Places along the normal of the slices.
    """
    return [*_shared_identity(frames), *_several_kernels(frames), *_other_distance(frames, stack_mm)]


def _shared_identity(frames: list[Frame]) -> list[str]:
    files: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        files[str(frame.header.get("SOPInstanceUID", ""))].add(frame.file.name)
    if not (shared := [sorted(names) for names in files.values() if len(names) > 1]):
        return []
    return [
        f"CT: {sum(map(len, shared))} files share a SOPInstanceUID, which must be unique ({', '.join(shared[0][:3])}, "
        "...): are these images of two scans? They are taken by their positions."
    ]


def _several_kernels(frames: list[Frame]) -> list[str]:
    """Two reconstructions in one series: their HU and their noise differ, most of all in lung and bone."""
    kernels = Counter(_text(frame.header.get("ConvolutionKernel")) for frame in frames)
    if len(kernels) < 2:
        return []
    told = ", ".join(f"{count} with {kernel or 'none stated'}" for kernel, count in kernels.most_common(4))
    return [f"CT: its slices have different ConvolutionKernels ({told}): are these two reconstructions?"]


def _other_distance(frames: list[Frame], stack_mm: npt.NDArray[np.float64]) -> list[str]:
    """A stated distance other than that of the positions, which counts; or slices thinner than it."""
    step = float(np.median(np.diff(stack_mm)))
    if (stated := _stated_mm(frames, "SpacingBetweenSlices")) and abs(stated - step) > GAP_TOLERANCE * step:
        return [
            f"CT: SpacingBetweenSlices is {stated:g} mm, but the positions of the slices are {step:.4g} mm apart, "
            "which counts. Are slices missing?"
        ]
    if (thick := _stated_mm(frames, "SliceThickness")) and step - thick > GAP_TOLERANCE * step:
        return [f"CT: slices of {thick:g} mm lie {step:.4g} mm apart. Are slices missing?"]
    return []


def _stated_mm(frames: list[Frame], keyword: str) -> float:
    """What the first slice states; 0 where it states nothing, or no number: nothing else depends on it."""
    try:
        return abs(number(frames[0].header, keyword, frames[0].file))
    except InputError:
        return 0.0


def _text(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, pydicom.multival.MultiValue) else str(value or "").strip()
