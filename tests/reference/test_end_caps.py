"""Volumes of analytic shapes by where their contours lie and by how their ends are read, against closed forms.

Shapes of 24 mm after Nelms et al. 2015, Med Phys 42:4435, with contours 1, 2 and 3 mm apart. What slices do to a volume
is known: a sum over planes h apart differs from the integral of the section A(z) by terms of the ends alone. Where
A = sum of c x^s at a distance x from an end, and the first plane lies q h from it (0 <= q < 1),

    h sum A - integral A = sum over ends and terms of c h^(s+1) zeta(-s, q)

with Hurwitz's zeta function (Navot 1961, J Math and Phys 40:271; for whole s this is the formula of Euler and
Maclaurin, h^2/12 (A'(b) - A'(a)) where planes lie on both ends and A is 0 or halved there). An x^2 ln x within, c on
each side of it, adds -c h^3 (zeta'(-2, q) + zeta'(-2, 1 - q)).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dosecalc.slabs import END_CAPS, EndCaps
from dosecalc.structures import Structure

from .test_dvh_analytic import SHAPES, Shape, contoured

DOC = Path(__file__).resolve().parents[2] / "docs" / "volumes.md"
R = 12.0
SLICES_MM = (1.0, 2.0, 3.0)
PHASES = {"on the ends": 0.0, "between the ends": 0.5}
Terms = list[tuple[float, float]]


def planes(slice_mm: float, phase: float) -> np.ndarray:
    """Heights of slices, of which one lies `phase` of their distance above the lower end, from end to end."""
    count = round(2 * R / slice_mm)
    return -R + (np.arange(count + (phase == 0.0)) + phase) * slice_mm


def section(shape: Shape, z: float) -> float:
    """Area in mm2; a single point has none."""
    if shape.name not in ("cylinder z", "cone z") and abs(z) > R - 1e-9:
        return 0.0
    return 0.0 if shape.name == "cone z" and z > R - 1e-9 else float(shape.section(z)[1](np.array([-np.inf]))[0])


def drawn(shape: Shape, slice_mm: float, phase: float, end_caps: EndCaps) -> Structure:
    """The shape contoured wherever a slice shows an area."""
    z = np.array([h for h in planes(slice_mm, phase) if section(shape, h) > 1e-6])
    made = contoured(shape, z)
    return replace(made, geometry=replace(made.geometry, end_caps=end_caps))


def zeta(s: float, q: float, count: int = 20) -> float:
    """Hurwitz's zeta function for s < 1 by its own sum (DLMF 25.11(iii)); a plane on the end counts (0^0 = 1)."""
    a = q + count
    head = sum((q + k) ** -s for k in range(count) if q + k > 0 or s == 0)
    return head + a ** (1 - s) / (s - 1) + a**-s / 2 + s * a ** (-s - 1) / 12


def zeta_slope(s: float, q: float) -> float:
    return (zeta(s + 1e-4, q) - zeta(s - 1e-4, q)) / 2e-4


def ends(name: str) -> tuple[Terms, Terms]:
    """c and s of the section at the lower and the upper end."""
    root = [1.0, 1 / 2, -1 / 8, 1 / 16, -5 / 128]  # of sqrt(1 + y)
    side = [(4 * R * math.sqrt(2 * R) * b * (-1 / (2 * R)) ** j, j + 0.5) for j, b in enumerate(root)]
    tip = [(8 / 3 * math.sqrt(2 * R), 1.5), (-14 / 15 * math.sqrt(2 * R) / R, 2.5)]
    cap = [(2 * math.pi * R, 1.0), (-math.pi, 2.0)]
    disc = [(math.pi * R**2, 0.0)]
    base = [(math.pi * R**2, 0.0), (-math.pi * R, 1.0), (math.pi / 4, 2.0)]
    return {
        "sphere": (cap, cap),
        "cylinder z": (disc, disc),
        "cylinder y": (side, side),
        "cone z": (base, [(math.pi / 4, 2.0)]),
        "cone y": (tip, tip),
    }[name]


def predicted_cc(shape: Shape, slice_mm: float, phase: float, end_caps: EndCaps) -> float:
    low, high = ends(shape.name)
    above = (1.0 - phase) % 1.0
    off = sum(c * slice_mm ** (s + 1) * zeta(-s, q) for terms, q in ((low, phase), (high, above)) for c, s in terms)
    if shape.name == "cone y":  # the section through the axis: 2 z^2 ln |z|
        q = (R / slice_mm - phase) % 1.0
        off -= 2 * slice_mm**3 * (zeta_slope(-2.0, q) + zeta_slope(-2.0, 1.0 - q))
    if end_caps == "at_contour":
        areas = [a for z in planes(slice_mm, phase) if (a := section(shape, z)) > 1e-6]
        off -= (areas[0] + areas[-1]) * slice_mm / 2
    return (shape.mm3 + off) / 1000.0


@pytest.mark.parametrize("end_caps", END_CAPS)
@pytest.mark.parametrize("name", SHAPES)
def test_volumes_are_what_the_contours_hold(name: str, end_caps: EndCaps) -> None:
    for slice_mm in SLICES_MM:
        for phase in (0.0, 0.3, 0.5, 0.8):
            structure = drawn(Shape(name, R), slice_mm, phase, end_caps)
            expected = predicted_cc(Shape(name, R), slice_mm, phase, end_caps)
            assert structure.volume_cc == pytest.approx(expected, rel=1e-4), (slice_mm, phase)


@cache
def off_cc(name: str, slice_mm: float, phase: float, end_caps: EndCaps) -> float:
    shape = Shape(name, R)
    return drawn(shape, slice_mm, phase, end_caps).volume_cc - shape.mm3 / 1000.0


def met(name: str, off: float) -> bool:
    return abs(off) <= max(0.01 * Shape(name, R).mm3 / 1000.0, 0.03)


def table() -> str:
    """Markdown: the error of every volume; "met" where it is within 1 % or 0.03 cc."""
    heads = [f"`{caps}`, contours {words}" for caps in END_CAPS for words in PHASES]
    lines = [f"| shape | slices | {' | '.join(heads)} |", "| --- " * (len(heads) + 2) + "|"]
    for name in SHAPES:
        true = Shape(name, R).mm3 / 1000.0
        for slice_mm in SLICES_MM:
            offs = [off_cc(name, slice_mm, phase, caps) for caps in END_CAPS for phase in PHASES.values()]
            cells = [f"{100 * o / true:+.2f} % ({o:+.3f} cc){' met' if met(name, o) else ''}" for o in offs]
            cells = [cell.replace("-0.00 %", "0.00 %").replace("+0.00 %", "0.00 %") for cell in cells]
            cells = [cell.replace("(-0.000", "(0.000").replace("(+0.000", "(0.000") for cell in cells]
            lines.append(f"| {name}, {true:.2f} cc | {slice_mm:g} mm | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_documentation_has_the_table() -> None:
    made = table()
    print(made)
    assert made in DOC.read_text(encoding="utf-8")


def test_which_volumes_are_within_1_percent_or_0_03_cc() -> None:
    """Flat ends where the contours lie on them need `at_contour`; everything else `half_slice`."""

    def missed(end_caps: EndCaps, words: str) -> set[tuple[str, float]]:
        return {
            (name, slice_mm)
            for name in SHAPES
            for slice_mm in SLICES_MM
            if not met(name, off_cc(name, slice_mm, PHASES[words], end_caps))
        }

    flat = {(name, slice_mm) for name in ("cylinder z", "cone z") for slice_mm in SLICES_MM}
    round_ends = {("sphere", 3.0), ("cylinder y", 2.0), ("cylinder y", 3.0)}
    assert missed("half_slice", "between the ends") == {("cylinder y", 3.0)}
    assert missed("half_slice", "on the ends") == flat | round_ends
    assert missed("at_contour", "on the ends").isdisjoint(flat)
    assert missed("at_contour", "between the ends") >= flat | round_ends


@pytest.mark.parametrize("name", SHAPES)
def test_half_slices_are_right_on_average_and_ends_at_contours_too_small(name: str) -> None:
    """Wherever the slices fall, the mean is the volume (Cavalieri's estimator: Gundersen & Jensen 1987, J Microsc
    147:229). With ends at the contours, half of what lies within a slice distance of each end is missing."""
    shape = Shape(name, R)
    mean = {caps: float(np.mean([off_cc(name, 3.0, (k + 0.5) / 8, caps) for k in range(8)])) for caps in END_CAPS}
    last, all_but_first = shape.beyond("z", np.array([R - 3.0, 3.0 - R])) / 1000.0
    assert mean["half_slice"] == pytest.approx(0.0, abs=1e-3 * shape.mm3 / 1000.0)
    missing = (last + shape.mm3 / 1000.0 - all_but_first) / 2
    assert mean["at_contour"] == pytest.approx(-missing, abs=1e-3 * shape.mm3 / 1000.0)


def test_straight_lines_between_contours_lose_more_of_a_sphere_than_slabs() -> None:
    """Frusta between its contours, down to the poles, against slabs: what is missing lies between the contours."""
    z = planes(3.0, 0.0)
    r = np.sqrt(np.maximum(R**2 - z**2, 0.0))
    frusta = float(np.sum(math.pi * 3.0 / 3.0 * (r[:-1] ** 2 + r[:-1] * r[1:] + r[1:] ** 2)))
    true = Shape("sphere", R).mm3
    assert off_cc("sphere", 3.0, 0.0, "half_slice") * 1000 / true == pytest.approx(-1 / 64, rel=1e-3)
    assert frusta / true - 1.0 == pytest.approx(-0.0463, abs=1e-4)
