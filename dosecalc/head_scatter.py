"""Radiation from the treatment head: the output of jaw openings, or an extra-focal source inside the dose.

Both describe photons that are scattered mostly in the flattening filter, so a machine has one of them. As
`HeadScatter` they change the output of open fields and beamlets have output factor 1; as `ExtraFocal` they are one
more, wide, Gaussian source of the fluence itself: the output follows from the dose, and so do the tails outside the
field. Ahnesjo, Med Phys 21:1227 (1994); Zhu et al (AAPM TG-74), Med Phys 36:5261 (2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erf

from .errors import InputError
from .mixture import GaussianMixture

if TYPE_CHECKING:
    from .machine import BeamModel


@dataclass(frozen=True, slots=True)
class HeadScatter:
    """Output in air of a jaw opening, Sc = (1 - w) + w erf(h_x / (sqrt(2) sigma)) erf(h_y / (sqrt(2) sigma)).

    h is the half opening as seen from the isocentre in the plane of the flattening filter: a half opening a in the
    isocentre plane is a c / SAD wide at the collimator (distance c from the target), and shows
    h = a (c / SAD) (SAD - f) / (SAD - c) of the filter (distance f).

    Parameters
    ----------
    weight : float
        w, share of the output of a wide-open head that comes from the filter.
    sigma_mm : float
        In the plane of the flattening filter.
    filter_distance_mm, collimator_distance_mm : float
        From the target.
    """

    weight: float
    sigma_mm: float
    filter_distance_mm: float
    collimator_distance_mm: float

    def seen_per_mm(self, sad_mm: float) -> float:
        """h per mm of half opening in the isocentre plane."""
        at_collimator = self.collimator_distance_mm / sad_mm
        return at_collimator * (sad_mm - self.filter_distance_mm) / (sad_mm - self.collimator_distance_mm)


@dataclass(frozen=True, slots=True)
class ExtraFocal:
    """A share of the fluence that comes from a wide Gaussian source.

    Parameters
    ----------
    weight : float
    sigma_mm : float
        Of its blur in the isocentre plane.
    """

    weight: float
    sigma_mm: float


def collimator_scatter(machine: BeamModel, x_mm: float, y_mm: float) -> float:
    """Output in air of a jaw opening relative to the reference field: fluence in MU-equivalents per MU.

    An open field of these jaws that gets M MU is a fluence of M times this number in every beamlet. It is 1 for a
    machine whose extra-focal source is in the dose already.

    Parameters
    ----------
    machine : BeamModel
    x_mm, y_mm : float
        Full opening in the isocentre plane.

    Raises
    ------
    InputError
        An opening outside the machine's range of validity.
    """
    low, high = machine.field_mm
    for side in (x_mm, y_mm):
        if not low <= side <= high:
            raise InputError(
                f"a jaw opening of {side:g} mm lies outside the fields of machine {machine.name!r}, "
                f"{low:g} to {high:g} mm wide.",
                remedy="Use a field inside the range, or a machine commissioned for it.",
            )
    if machine.head_scatter is None:
        return 1.0
    side = machine.reference.field_mm
    return _output(machine.head_scatter, machine.sad_mm, x_mm, y_mm) / _output(
        machine.head_scatter, machine.sad_mm, side, side
    )


def with_extra_focal(mixture: GaussianMixture, source: ExtraFocal) -> GaussianMixture:
    """The mixture of a beam with an extra-focal source: each Gaussian once as it is, once with the wide blur."""
    share = source.weight
    return replace(
        mixture,
        width_mm=np.concatenate([mixture.width_mm, np.hypot(mixture.width_mm, source.sigma_mm)]),
        primary=np.concatenate([(1 - share) * mixture.primary, share * mixture.primary], axis=2),
        scatter=np.concatenate([(1 - share) * mixture.scatter, share * mixture.scatter], axis=2),
    )


def _output(head: HeadScatter, sad_mm: float, x_mm: float, y_mm: float) -> float:
    """Sc of the class text, relative to a wide-open head."""
    seen = head.seen_per_mm(sad_mm)
    visible = [float(erf(side / 2 * seen / (np.sqrt(2.0) * head.sigma_mm))) for side in (x_mm, y_mm)]
    return 1.0 - head.weight + head.weight * visible[0] * visible[1]
