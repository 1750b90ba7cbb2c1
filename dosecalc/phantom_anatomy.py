"""The organs of the synthetic patient: positions, sizes and HU, in the patient frame (mm).

Sizes are of the order of an adult's (ICRP Publication 89, 2002: liver 1800 g, one kidney 155 g, spleen 150
g); HU are usual values of an unenhanced CT. They are made up, not measured on anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from .grid import Triple
from .implicit import Array, Shape, Signed, clipped, ellipsoid, grown, outside, remembered, superellipse, tube, union

GTV_RADII_MM: Triple = (17.5, 19.5, 18.5)
# Surface to surface: the planning target volume meets the duodenum, whose limits then hold the dose back.
GTV_TO_DUODENUM_MM = 1.0
_GTV_START_MM: Triple = (-50.0, -8.0, -26.0)
# The direction in which the tumour is moved from there until the distance is right.
_GTV_AWAY = (-0.45, 0.05, 0.89)
_RIM_MM = 0.5  # of liver round the tumour, where it bulges into the hollow
_TOP_MM, _BOTTOM_MM = 140.0, -160.0  # beyond the scan at both ends
FAT_HU, MESENTERY_HU, MUSCLE_HU, LUNG_HU, GAS_HU = -100.0, -80.0, 45.0, -780.0, -950.0


@dataclass(frozen=True, slots=True)
class Organ:
    """A part of the patient.

    Attributes
    ----------
    name, role : str
        As in `dosecalc.structures.Structure`.
    shape : Shape
    hu : callable or None
        HU as a function of z in mm; None paints nothing.
    carves : bool
        Whether it yields to the organs before it and takes its place from those after it.
    contoured : bool
        Whether it becomes a structure.
    """

    name: str
    shape: Shape
    hu: Callable[[float], float] | None
    role: str = "ORGAN"
    carves: bool = True
    contoured: bool = True


def organs() -> list[Organ]:
    """All organs in the order of painting; among those that carve, earlier ones keep the shared space."""
    stomach, colon, gut = _stomach(), _colon(), _duodenum()
    return [
        *_walls(),
        _organ("SpinalCord", tube([(0, 85, _BOTTOM_MM), (-2, 86, 0), (0, 88, _TOP_MM)], [6, 5.5, 6]), 35),
        Organ("VBs", _column((0.0, 62.0), (20.0, 18.0)), _vertebra_hu),
        Organ("wall", _trunk(lambda x, y, z: -1.0 - _cavity(x, y, z)), None, contoured=False),
        _organ("Kidney_L", ellipsoid((61, 47, -45), (27, 22, 57)), 32),
        _organ("Kidney_R", ellipsoid((-63, 49, -64), (26, 21, 54)), 32),
        _organ("GreatVes", _great_vessels(), 50),
        _organ("Esophagus", tube([(2, 22, _TOP_MM), (12, 12, 82), (34, 8, 52)], [8, 8, 8]), 30),
        _organ("Duodenum", gut, 30),
        _organ("BileDuct_Common", _bile_duct(), 12),
        _organ("Stomach", stomach, 32),
        _organ("GallBladder", ellipsoid((-60, -50, -46), (12, 15, 24)), 12),
        _organ("Colon", colon, 20),
        _organ("Bowel_Small", _small_bowel(), 28),
        _organ("Pancreas", clipped(_pancreas(), outside(_portal_vein(), 1.0)), 38),
        _organ("Spleen", ellipsoid((95, 36, 28), (24, 36, 44)), 52),
        _organ("Liver", _liver(), 60),
        _organ("Heart", ellipsoid((24, -36, 128), (56, 44, 52)), 45),
        _organ("Lung_L", _lung(1.0), LUNG_HU),
        _organ("Lung_R", _lung(-1.0), LUNG_HU),
        _organ("V_Portal", _portal_vein(), 48, carves=False),
        _organ("GTV", gtv(), 35, role="GTV", carves=False),
        *_gas(stomach, colon),
    ]


def gtv() -> Shape:
    """The metastasis, placed so that its surface is `GTV_TO_DUODENUM_MM` from that of the duodenum."""
    duodenum = _duodenum()
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 61), np.linspace(0, 2 * np.pi, 121))
    unit = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])
    surface = unit * np.reshape(GTV_RADII_MM, (3, 1, 1))

    def centre(distance: float) -> Array:
        return np.asarray(_GTV_START_MM) + distance * np.asarray(_GTV_AWAY)

    def excess(distance: float) -> float:
        x, y, z = surface + centre(distance).reshape(3, 1, 1)
        return float(duodenum.signed_mm(x, y, z).min()) - GTV_TO_DUODENUM_MM

    x, y, z = centre(brentq(excess, -10.0, 40.0, xtol=1e-3))
    return ellipsoid((float(x), float(y), float(z)), GTV_RADII_MM)


def _organ(name: str, shape: Shape, hu: float, *, role: str = "ORGAN", carves: bool = True) -> Organ:
    return Organ(name, shape, lambda z: hu, role, carves)


def _plain(name: str, shape: Shape, hu: float) -> Organ:
    """A tissue that is painted only."""
    return Organ(name, shape, lambda z: hu, carves=False, contoured=False)


_torso = superellipse(
    (0.0, 0.0),
    lambda z: (163.0 - 4.0 * np.sin((z + 30) / 70), 109.0 + 3.0 * np.sin((z - 10) / 60)),
)
_cavity = remembered(superellipse((-1.0, -8.0), lambda z: (132.0 - 3.0 * np.sin((z + 30) / 70), 84.0)))


def _trunk(signed: Signed) -> Shape:
    return Shape(signed, (-175.0, -125.0, _BOTTOM_MM), (175.0, 125.0, _TOP_MM))


def _walls() -> list[Organ]:
    """Skin outline, muscle, the fat between the organs, the back of the vertebrae and the ribs."""
    arch = clipped(_column((0.0, 90.0), (22.0, 15.0)), outside(_column((0.0, 86.0), (10.0, 9.5))))
    body = replace(_plain("Body", _trunk(_torso), FAT_HU), role="EXTERNAL", contoured=True)
    ribs = replace(_plain("Rib", _trunk(_ribs), 550.0), contoured=True)
    return [
        body,
        _plain("muscle", _trunk(grown(_cavity, 16.0)), MUSCLE_HU),
        _plain("mesentery", _trunk(_cavity), MESENTERY_HU),
        _plain("canal", _column((0.0, 86.0), (10.0, 9.5)), 10.0),
        _plain("arch", arch, 600.0),
        ribs,
    ]


def _ribs(x: Array, y: Array, z: Array | float) -> Array:
    """Bands in the wall of the chest that fall towards the front, 26 mm apart, the left ones 6 mm higher."""
    height = z - 0.42 * y - np.where(x > 0, 6.0, 0.0)
    nearest = np.clip(np.round(height / 26.0), -1, 8) * 26.0
    band = np.abs(height - nearest) * 0.92 - 5.0
    wall = np.abs(_cavity(x, y, z) - 6.5) - 3.5
    return np.maximum.reduce([band, wall, -60.0 - y, 26.0 - np.abs(x)])


def _column(centre_mm: tuple[float, float], radii_mm: tuple[float, float]) -> Shape:
    (cx, cy), (rx, ry) = centre_mm, radii_mm
    signed = ellipsoid((cx, cy, 0.0), (rx, ry, 1e6)).signed_mm
    return Shape(signed, (cx - rx, cy - ry, _BOTTOM_MM), (cx + rx, cy + ry, _TOP_MM))


def _vertebra_hu(z: float) -> float:
    """Bodies of 26 mm, discs of 8 mm."""
    return 400.0 if (z + 7.0) % 34.0 < 26.0 else 90.0


def _great_vessels() -> Shape:
    aorta = tube([(9, 31, _TOP_MM), (8, 32, 0), (5, 32, _BOTTOM_MM)], [11, 10, 9])
    cava = tube([(-21, 32, _BOTTOM_MM), (-22, 30, -40), (-21, 24, 30), (-14, 6, 88)], [10, 11, 12, 12])
    return union(aorta, cava)


def _portal_vein() -> Shape:
    """From the splenic confluence to the first bifurcation."""
    return tube([(6, 6, -40), (-8, 4, -18), (-32, 1, 4)], [6.5, 6.5, 7])


def _bile_duct() -> Shape:
    """From the hilum of the liver down to the duodenum, 5 to 7 mm wide and in front of the portal vein."""
    points: list[Triple] = [(-30, -10, 6), (-22, -9, -14), (-19, -6, -34), (-28, -2, -52), (-37, 2, -64)]
    return tube(points, [2.5, 3.5, 3.5, 3.0, 3.0])


def _duodenum() -> Shape:
    points: list[Triple] = [
        (-20, -36, -32),
        (-36, -24, -34),
        (-45, -6, -46),
        (-48, 6, -68),
        (-42, 12, -92),
        (-18, 10, -103),
        (12, 6, -98),
        (34, 0, -80),
        (40, -10, -62),
    ]
    return tube(points, [10, 12, 11, 11, 11.5, 11, 10.5, 10.5, 10])


def _stomach() -> Shape:
    points: list[Triple] = [(56, 16, 50), (62, -14, 28), (50, -40, -4), (18, -50, -28), (-14, -41, -31)]
    return tube(points, [27, 31, 26, 19, 11])


def _colon() -> Shape:
    ascending = [(-92, 14, -140), (-94, 12, -112), (-80, -28, -98)]
    transverse = [(-46, -62, -92), (0, -66, -98), (46, -60, -72), (92, -24, -22)]
    descending = [(102, 14, -30), (100, 26, -78), (94, 16, -140)]
    radii: list[float] = [22, 21, 19, 18, 17, 17, 16, 15, 15, 15]
    return tube([*ascending, *transverse, *descending], radii)


def _small_bowel() -> Shape:
    points: list[Triple] = [
        (44, -20, -74),
        (60, -30, -100),
        (30, -46, -122),
        (-10, -34, -126),
        (-44, -28, -122),
        (-30, -14, -136),
        (18, -14, -134),
        (58, 2, -122),
        (66, -8, -84),
    ]
    return tube(points, [12, 13, 13, 13, 12, 12, 13, 13, 12])


def _pancreas() -> Shape:
    return tube([(-26, -10, -56), (0, -8, -40), (34, 6, -18), (72, 26, 8)], [13, 10, 9, 8])


def _right_lobe() -> Shape:
    return ellipsoid((-76, 2, 4), (55, 75, 83))


def _liver() -> Shape:
    """Two lobes over the hollow in which duodenum, pancreas and gall bladder lie, and a rim round the tumour."""
    left = ellipsoid((-4, -38, 28), (74, 34, 37))
    hollow = ellipsoid((-14, -16, -62), (48, 62, 50))
    kidney_bed = ellipsoid((-60, 66, -66), (32, 36, 60))
    lobes = clipped(union(_right_lobe(), left), outside(hollow), outside(kidney_bed))
    tumour = gtv()
    return union(lobes, replace(tumour, signed_mm=grown(tumour.signed_mm, _RIM_MM)))


def _lung(side: float) -> Shape:
    """One lung base over its half of the diaphragm; `side` is 1 for the left and -1 for the right."""
    dome = ellipsoid((66, 0, 0), (68, 84, 84)) if side > 0 else _right_lobe()
    floor_mm = 30.0 if side > 0 else 22.0
    left, right = (15.0, 135.0) if side > 0 else (-135.0, -15.0)
    box = Shape(lambda x, y, z: 19.0 - side * x, (left, -100.0, -10.0), (right, 85.0, _TOP_MM))
    return clipped(box, outside(dome, 4.0), lambda x, y, z: floor_mm - 0.3 * y - z)


def _gas(stomach: Shape, colon: Shape) -> list[Organ]:
    """Bubbles at the front of stomach and transverse colon, 4 mm inside the organ's surface."""
    pockets = [(stomach, lambda x, y, z: y + 36.0), (colon, lambda x, y, z: np.maximum(y + 62.0, -40.0 - x))]
    return [
        _plain("gas", clipped(hollow, grown(hollow.signed_mm, -4.0), grown(_cavity, -7.0), level), GAS_HU)
        for hollow, level in pockets
    ]
