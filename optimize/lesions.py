"""The lesions of a patient: all that were contoured, and those that a plan treats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dosecalc.grid import Grid
from dosecalc.margins import Shares
from dosecalc.regions import shares
from dosecalc.structures import Structure

from .regions import Region

TREATED_SHARE = 0.5
"""A PTV cropped from an organ still holds most of its lesion; a neighbour that only its margin meets lies outside."""


@dataclass(frozen=True, slots=True, eq=False)
class Tumour:
    """Shares of voxels in any lesion and in treated ones, (nz, ny, nx), and which GTVs have lesions of which kind.

    Attributes
    ----------
    known, treated : Shares
    treated_in : tuple of str
        GTVs with a lesion that is treated.
    untreated : tuple of str
        GTVs, or parts of them, that are not.
    """

    known: Shares
    treated: Shares
    treated_in: tuple[str, ...]
    untreated: tuple[str, ...]


def tumour_on(grid: Grid, gtvs: Iterable[Structure], ptv: Region | None) -> Tumour:
    """The lesions of GTVs, treated where at least half of one lies in the PTV; all are where there is no PTV.

    Parameters
    ----------
    grid : Grid
    gtvs : iterable of Structure
        At least one.
    ptv : Region, optional
        On the same grid.
    """
    known = {gtv.name: shares(gtv, grid) for gtv in gtvs}
    aimed_at = None if ptv is None else _shares_of(ptv, grid)
    treated, untreated = {}, []
    for name, whole in known.items():
        pieces = separate(whole)
        within = [piece for piece in pieces if aimed_at is None or _mostly_in(piece, aimed_at)]
        if within:
            treated[name] = whole if len(within) == len(pieces) else np.maximum.reduce(within)
        if len(within) < len(pieces):
            untreated.append(f"a part of {name}" if within else name)
    nothing = np.zeros(grid.shape, dtype=np.float32)
    return Tumour(
        known=np.maximum.reduce(list(known.values())),
        treated=np.maximum.reduce([nothing, *treated.values()]),
        treated_in=tuple(treated),
        untreated=tuple(untreated),
    )


def separate(tumour: Shares) -> list[Shares]:
    """The separate pieces, each with the partial voxels around it; voxels that meet at a corner belong together."""
    corners = np.ones((3, 3, 3), dtype=bool)
    labels, count = ndimage.label(tumour >= 0.5, structure=corners)
    if count == 0:  # smaller than a voxel
        labels, count = ndimage.label(tumour > 0, structure=corners)
    return [np.where(ndimage.binary_dilation(labels == k, corners), tumour, 0.0) for k in range(1, count + 1)]


def _shares_of(region: Region, grid: Grid) -> Shares:
    flat = np.zeros(grid.size, dtype=np.float32)
    flat[region.indices] = np.minimum(region.cc / grid.voxel_cc, 1.0)
    return flat.reshape(grid.shape)


def _mostly_in(lesion: Shares, target: Shares) -> bool:
    return bool(np.minimum(lesion, target).sum() >= TREATED_SHARE * lesion.sum())
