"""Where a dose leaves the range that the machine and the model are valid for: a typed warning, or a refusal beyond it.

A warning names beam, quantity, value and range; `DoseInfluence.outside_validity` holds those of its beams, and a plan
shows them in its record and report. Beyond the kernel table, and for fields that its fit never saw, nothing is
computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from .beams import Beam, Beamlets
from .errors import DoseError
from .grid import Volume
from .machine import BeamModel
from .mixture import FIT_FIELDS_MM
from .structures import Voxels
from .surveyed import Survey

Array = npt.NDArray[Any]

THIN_WORTH_SAYING, DENSE_WORTH_SAYING = 0.01, 1e-3
"""Shares of a beam's voxels with a medium thinner or denser than the machine's range upstream from which it is named:
fewer share skin or bowel gas with air, or lie behind a calcification, in any patient."""
SMALLEST_FIELD_MM = 2.0 * FIT_FIELDS_MM[0]
"""The kernels were fitted to round fields from this diameter; narrower openings are refused."""
LUNG_DENSITY = 0.5
"""Relative electron density below which a voxel is lung: inflated lung has 0.26, adipose tissue 0.95 (ICRU 44)."""
LUNG_WORTH_SAYING, MOST_LUNG = 0.01, 0.5
"""Share of a target's volume from which its lung is named, and from which the target is refused."""


@dataclass(frozen=True, slots=True)
class ValidityWarning:
    """A quantity outside the range of validity; its text is a sentence.

    Attributes
    ----------
    quantity : str
        What is outside, in words.
    where : str
        Beam or structure.
    value, low, high : float
        What was met, and the range of validity.
    unit : str
    consequence : str
        What it does to the dose.
    share : float or None
        Of the voxels that it concerns.
    """

    quantity: str
    where: str
    value: float
    low: float
    high: float
    unit: str
    consequence: str
    share: float | None = None

    def __str__(self) -> str:
        concerned = "" if self.share is None else f", in {100 * self.share:.3g} % of the voxels"
        return (
            f"{self.where}: {self.quantity} {self.value:.3g}{self.unit} is outside the range of validity, "
            f"{self.low:.3g} to {self.high:.3g}{self.unit}{concerned}: {self.consequence}."
        )


def sentences(warnings: Iterable[ValidityWarning]) -> tuple[str, ...]:
    """The warnings as text; what several beams share is said once, with the value furthest outside."""
    groups: dict[tuple[str, str], list[ValidityWarning]] = {}
    for warning in warnings:
        groups.setdefault((warning.quantity, warning.consequence), []).append(warning)
    return tuple(str(_joined(group)) for group in groups.values())


def _joined(group: list[ValidityWarning]) -> ValidityWarning:
    worst = max(group, key=lambda w: max(w.low - w.value, w.value - w.high))
    if len(group) == 1:
        return worst
    places = f"{len(group)} beams ({', '.join(w.where.removeprefix('beam ') for w in group)})"
    shares = [w.share for w in group if w.share is not None]
    return replace(worst, where=places, share=max(shares, default=None))


def field_warnings(beamlets: Beamlets, machine: BeamModel) -> Iterator[ValidityWarning]:
    """Openings narrower or wider than the machine's range.

    Raises
    ------
    DoseError
        An opening narrower than any that the kernel was fitted to.
    """
    low, high = machine.field_mm
    for index, beam in enumerate(beamlets.beams):
        part = beamlets.of_beam(index)
        if part.start == part.stop:
            continue
        sides = [
            float((at[part] + width[part] / 2).max() - (at[part] - width[part] / 2).min())
            for at, width in ((beamlets.u_mm, beamlets.width_u_mm), (beamlets.v_mm, beamlets.width_v_mm))
        ]
        if min(sides) < SMALLEST_FIELD_MM:
            raise DoseError(
                f"the opening is {min(sides):.3g} mm wide; no field below {SMALLEST_FIELD_MM:.3g} mm can be computed.",
                where=beam.name,
                remedy="Open the field.",
            )
        for side in (min(sides), max(sides)):
            if not low <= side <= high:
                yield ValidityWarning(
                    "the opening's side of", beam.name, side, low, high, " mm",
                    "its output factor and penumbra are not those of the machine's data",
                )  # fmt: skip
                break


def ray_warnings(beam: Beam, found: Survey, machine: BeamModel) -> Iterator[ValidityWarning]:
    """Depths and upstream densities of one beam outside the machine's range.

    Raises
    ------
    DoseError
        A depth or a lateral scale beyond the kernel table.
    """
    table = machine.mixture
    _refuse(beam, "a radiological depth", found.deepest_mm, table.depth_mm[-1], " mm", "the body outline and the couch")
    name = "a lateral scale (density times magnification)"
    _refuse(beam, name, found.largest_scale, table.scale[-1], "", "the densities")
    if found.deepest_mm > machine.depth_mm[1]:
        yield ValidityWarning(
            "a radiological depth of", beam.name, found.deepest_mm, *machine.depth_mm, " mm",
            "the dose there extrapolates the machine's data",
        )  # fmt: skip
    if found.dense_share >= DENSE_WORTH_SAYING:
        yield ValidityWarning(
            "an upstream density of", beam.name, found.densest, *machine.density, "",
            "the dose in and behind such a medium, an implant perhaps, is uncertain", found.dense_share,
        )  # fmt: skip
    if found.thin_share >= THIN_WORTH_SAYING:
        yield ValidityWarning(
            "an upstream density of", beam.name, found.thinnest, *machine.density, "",
            "the kernel there is wider than any that was compared", found.thin_share,
        )  # fmt: skip


def target_warnings(name: str, target: Voxels, density: Volume) -> Iterator[ValidityWarning]:
    """Lung in a target: its dose there is that of a model without re-build-up.

    Parameters
    ----------
    name : str
    target : Voxels
        On the grid of `density`.
    density : Volume
        Relative electron density.

    Raises
    ------
    DoseError
        Most of the target is lung.
    """
    lung = density.values.reshape(-1)[target.indices] < LUNG_DENSITY
    share = float(target.cc[lung].sum() / target.cc.sum())
    if share > MOST_LUNG:
        raise DoseError(
            f"{share:.0%} of the target is lung (density below {LUNG_DENSITY:g}); at most {MOST_LUNG:.0%} can be "
            "planned with a pencil beam.",
            where=name,
            remedy="Check that structures and CT belong together.",
        )
    if share > LUNG_WORTH_SAYING:
        yield ValidityWarning(
            "lung, as a share of the volume,", name, 100 * share, 0.0, 100 * LUNG_WORTH_SAYING, " %",
            "in lung and in the first 2 cm of tissue behind it the dose is some 3 to 6 % too high",
        )  # fmt: skip


def _refuse(beam: Beam, quantity: str, value: float, bound: float, unit: str, check: str) -> None:
    if not value <= bound:
        raise DoseError(
            f"{quantity} of {value:.4g}{unit} lies beyond the kernel table, which ends at {bound:.4g}{unit}.",
            where=beam.name,
            remedy=f"Check {check}.",
        )
