"""CT values and sizes: what cannot be HU of a patient in mm, and what odd but usable scans look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .inputs import BODY_AFFINE, body_hu, save_nifti
from .model import Case

KIND = "CT values"
Values = np.ndarray


def changed(change: Callable[[Values], Values], scale: float = 1.0, units: str = "unknown") -> Callable[[Path], None]:
    """The body with other values, and with its lengths scaled."""
    affine = BODY_AFFINE.copy()
    affine[:3] *= scale
    return lambda folder: save_nifti(folder, change(body_hu()), affine, units=units)


def same(hu: Values) -> Values:
    return hu


def outside_circle(value: float, shift: float = 0.0) -> Callable[[Values], Values]:
    """Padding beyond what a scanner sees, around shifted values."""

    def pad(hu: Values) -> Values:
        _, ny, nx = hu.shape
        y, x = np.mgrid[:ny, :nx]
        beyond = ((y - ny / 2) / (ny / 2)) ** 2 + ((x - nx / 2) / (nx / 2)) ** 2 > 1
        return np.where(beyond, value, hu + shift)

    return pad


def _enhanced(hu: Values) -> Values:
    """Organs of about 110 HU, and a tenth of them blood of 360 HU."""
    organs = (hu > 0) & (hu < 100)
    blood = organs & (np.arange(hu.shape[2]) % 10 == 0)
    return np.where(blood, hu + 310, np.where(organs, hu + 60, hu))


def _inside(hu: Values) -> Values:
    """So little of each slice that no air is left."""
    return hu[:, 8:-8, 11:-11]


def _said(*words: str) -> Callable[[tuple[str, ...]], None]:
    def judge(notices: tuple[str, ...]) -> None:
        assert len(notices) == 1
        assert all(word in notices[0] for word in words)

    return judge


CASES = [
    Case(
        "intercept left out",
        KIND,
        "stored values without their intercept of -1024",
        changed(lambda hu: np.maximum(hu + 1024, 0)),
        "no value lies below 0",
        "enhanced organs and vessels",
        changed(_enhanced),
    ),
    Case(
        "shift under padding",
        KIND,
        "1024 too high, and -2000 outside the circle",
        changed(outside_circle(-2000, 1024)),
        "much of it has about",
        "HU, and -3024 outside the circle",
        changed(outside_circle(-3024)),
    ),
    Case(
        "shift in a wide field",
        KIND,
        "1024 too high with noise below 0, and much air",
        changed(lambda hu: np.pad(hu, ((0, 0), (25, 25), (25, 25)), constant_values=-1030) + 1024),
        "much of it has about",
        "HU in a wide field",
        changed(lambda hu: np.pad(hu, ((0, 0), (25, 25), (25, 25)), constant_values=-1000)),
    ),
    Case(
        "shift downwards",
        KIND,
        "1024 too low",
        changed(lambda hu: hu - 1024),
        "as fat and soft tissue do",
        "-2000 outside the circle",
        changed(outside_circle(-2000)),
    ),
    Case(
        "eight bits",
        KIND,
        "a display window in 0 to 255",
        changed(lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255).astype(np.uint8)),
        "no value lies below 0",
        "cropped to the inside of the patient, without any air",
        changed(_inside),
        numbers=_said("nothing in the scan has the HU of air"),
    ),
    Case(
        "display window",
        KIND,
        "HU cut off at -160 and 240",
        changed(lambda hu: np.clip(hu, -160, 240)),
        "cut off at -160",
        "HU cut off at -1000 and 1000",
        changed(lambda hu: np.clip(hu, -1000, 1000)),
    ),
    Case(
        "normalised values",
        KIND,
        "-1 to 1",
        changed(lambda hu: np.clip(hu / 1000, -1, 1)),
        "100 HU apart",
        "HU with fractions",
        changed(lambda hu: hu + 0.25),
    ),
    Case(
        "doubled values",
        KIND,
        "a slope of 2",
        changed(lambda hu: 2 * hu),
        "nothing has that of air",
        "the same, accepted by the user",
        changed(lambda hu: 2 * hu),
        valid_options={"accepted": True},
        numbers=_said("implausible, accepted by the user"),
    ),
    Case(
        "metres",
        KIND,
        "lengths in metres, their unit unknown",
        changed(same, 1e-3),
        "voxels are 0.008",
        "lengths in mm, their unit unknown",
        changed(same),
    ),
    Case(
        "centimetres",
        KIND,
        "lengths in cm, their unit unknown",
        changed(same, 0.1),
        "32 x 24 mm across",
        "lengths in mm",
        changed(same, units="mm"),
    ),
]
