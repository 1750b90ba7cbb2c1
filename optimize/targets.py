"""From drawn targets to GTV, CTV, PTV and PTV_opt.

They are made on a grid of half the dose grid's spacing around the targets: a margin of a few mm on voxels of
2.5 mm would come out up to 0.2 mm short around a small lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dosecalc import margins, regions
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Triple
from dosecalc.structures import Structure, StructureSet
from protocols import Protocol, SidedMargin

TARGET_ROLES = ("GTV", "ITV", "CTV", "PTV")
# Partial volumes of target and body along a shared border differ by rounding and contour detail.
_OUTSIDE_CC, _OUTSIDE_SHARE = 0.05, 0.005


@dataclass(frozen=True, slots=True)
class Target:
    """What shall be treated.

    Attributes
    ----------
    name : str
        A structure's name, or the name for a drawn sphere.
    role : str
        "GTV", "ITV", "CTV" or "PTV": which margins it still gets.
    centre_mm, diameter_mm : optional
        A sphere in DICOM patient coordinates (LPS) instead of a structure.
    """

    name: str
    role: str = "GTV"
    centre_mm: Triple | None = None
    diameter_mm: float | None = None

    def __post_init__(self) -> None:
        if self.role not in TARGET_ROLES:
            raise InputError(
                f"the role of a target must be one of {', '.join(TARGET_ROLES)}, got {self.role!r}.",
                where=f"target {self.name!r}",
            )
        if (self.centre_mm is None) != (self.diameter_mm is None):
            raise InputError("a sphere needs both centre and diameter.", where=f"target {self.name!r}")


@dataclass(frozen=True, slots=True)
class Overlap:
    """A serial organ that meets the PTV: volume of the organ, and of its PRV, inside the PTV."""

    organ: str
    organ_cc: float
    prv_cc: float


def draw_targets(
    targets: tuple[Target, ...], structures: StructureSet, body: Structure, grid: Grid, protocol: Protocol
) -> tuple[dict[Target, Structure], Grid]:
    """Every target in the role it was given, on a grid around all of them, and that grid.

    Parameters
    ----------
    grid : Grid
        The dose grid.

    Raises
    ------
    InputError
        No target, an unknown one, one without voxels or one that lies in part outside the body.
    """
    if not targets:
        raise InputError("no target was named.", remedy="Name a target structure or draw a sphere.")
    table = protocol.planning
    coarse = np.maximum.reduce([regions.shares(_drawn(t, structures, grid), grid) for t in targets])
    reach_mm = max(_sides(table.gtv_to_ctv_mm)) + max(_sides(table.ctv_to_ptv_mm)) + table.prv_margin_mm
    x, y, z = grid.spacing_mm
    fine = margins.box_around(coarse, reach_mm, grid).resampled((x / 2, y / 2, z / 2))
    drawn = {target: _drawn(target, structures, fine) for target in targets}
    inside = regions.shares(body, fine)
    for target, structure in drawn.items():
        _check_inside(target, structure, structures, inside, fine)
    return drawn, fine


def _drawn(target: Target, structures: StructureSet, grid: Grid) -> Structure:
    """A target on a grid."""
    where = f"target {target.name!r}"
    if target.centre_mm is not None and target.diameter_mm is not None:
        if target.name in structures:
            raise InputError("a structure has the name of the drawn sphere.", where=where, remedy="Rename one.")
        return regions.sphere(target.centre_mm, target.diameter_mm, grid, name=target.name, role=target.role)
    fraction = regions.shares(structures[target.name], grid)
    if not fraction.any():
        raise InputError(
            "has no voxel on the dose grid.",
            where=where,
            remedy="Check that image and structures belong together.",
        )
    return regions.from_shares(target.name, grid, fraction, target.role)


def _check_inside(
    target: Target, structure: Structure, structures: StructureSet, inside: margins.Shares, grid: Grid
) -> None:
    """Refuse a target of which more than rounding lies outside the body or the dose grid."""
    if target.diameter_mm is None:
        total_cc = structures[target.name].volume_cc
    else:
        total_cc = np.pi / 6.0 * target.diameter_mm**3 / 1000.0
    outside_cc = total_cc - _cc(np.minimum(regions.shares(structure, grid), inside), grid)
    if outside_cc > max(_OUTSIDE_CC, _OUTSIDE_SHARE * total_cc):
        raise InputError(
            f"{outside_cc:.2f} of its {total_cc:.2f} cc lie outside the body.",
            where=f"target {target.name!r}",
            remedy="Check its position (LPS, mm) and the outline of the body.",
        )


def grow_targets(
    drawn: dict[Target, Structure], body: Structure, grid: Grid, protocol: Protocol
) -> tuple[dict[str, Structure], list[str]]:
    """GTV, CTV and PTV as far as the given roles define them, and how each came about.

    An ITV counts as a CTV with its motion (ICRU Report 62), so it gets the margin from CTV to PTV.
    """
    table, notes = protocol.planning, []
    parts = {role: [s for t, s in drawn.items() if t.role == role] for role in TARGET_ROLES}
    made: dict[str, Structure] = {}
    if parts["GTV"]:
        made["GTV"] = regions.union("GTV", grid, *parts["GTV"], role="GTV")
        if _list(parts["GTV"]) != "GTV":
            notes.append(f"GTV: {_list(parts['GTV'])}.")
    steps = (("GTV", "CTV", table.gtv_to_ctv_mm), ("CTV", "PTV", table.ctv_to_ptv_mm))
    for inner, outer, margin in steps:
        members = list(parts[outer])
        sources = ([made[inner]] if inner in made else []) + (parts["ITV"] if inner == "CTV" else [])
        members += [regions.grow(s, _sides(margin), grid, name=outer, role=outer) for s in sources]
        if members:
            made[outer] = regions.union(outer, grid, *members, role=outer)
            grown = [f"{_list(sources)} + {_margin_text(margin)}"] if sources else []
            notes.append(f"{outer}: {', '.join([*grown, *([_list(parts[outer])] if parts[outer] else [])])}.")
    made["PTV"], clipped_cc = _clipped(made["PTV"], body, grid)
    if clipped_cc > _OUTSIDE_CC:
        notes.append(f"PTV: clipped to the body, {clipped_cc:.2f} cc of its margin lay outside.")
    return made, notes


def separate_lesions(drawn: dict[Target, Structure], grid: Grid) -> list[dict[Target, Structure]]:
    """The targets, grouped: those that share volume belong to one lesion, in the order of their first target."""
    lesions: list[dict[Target, Structure]] = []
    for target, structure in drawn.items():
        volume = regions.shares(structure, grid) > 0
        met = [
            lesion for lesion in lesions if any((volume & (regions.shares(s, grid) > 0)).any() for s in lesion.values())
        ]
        merged = {t: s for lesion in met for t, s in lesion.items()} | {target: structure}
        first = lesions.index(met[0]) if met else len(lesions)
        lesions = [lesion for lesion in lesions if lesion not in met]
        lesions.insert(first, merged)
    return lesions


def _clipped(ptv: Structure, body: Structure, grid: Grid) -> tuple[Structure, float]:
    whole = regions.shares(ptv, grid)
    inside = np.minimum(whole, regions.shares(body, grid))
    return regions.from_shares("PTV", grid, inside, "PTV"), _cc(whole - inside, grid)


def without_prvs(
    ours: dict[str, Structure], structures: StructureSet, grid: Grid, protocol: Protocol
) -> tuple[Structure, tuple[Overlap, ...], list[str]]:
    """PTV_opt, the serial organs that took part of it, and what of the GTV they took."""
    margin = protocol.planning.prv_margin_mm
    ptv = regions.shares(ours["PTV"], grid)
    taken = np.zeros_like(ptv)
    overlaps = []
    for organ in (name for name in protocol.planning.serial_organs if name in structures):
        fraction = regions.shares(structures[organ], grid)
        prv = margins.grown(fraction, margin, grid)
        shared_cc = _cc(np.minimum(ptv, prv), grid)
        if shared_cc > 0:
            overlaps.append(Overlap(organ, _cc(np.minimum(ptv, fraction), grid), shared_cc))
            np.maximum(taken, prv, out=taken)
    left = regions.difference(ptv, taken)
    if not left.any():
        raise InputError(
            f"nothing of the PTV is left beside the PRVs of {', '.join(o.organ for o in overlaps)}.",
            where="PTV_opt",
            remedy="Check the target and the organs; this target cannot be planned with these margins.",
        )
    warnings = [
        f"{o.organ}: {o.organ_cc:.2f} cc of it and {o.prv_cc:.2f} cc of its PRV lie inside the PTV." for o in overlaps
    ]
    if "GTV" in ours and (lost := _cc(np.minimum(regions.shares(ours["GTV"], grid), taken), grid)) > 0:
        warnings.append(f"GTV: {lost:.2f} cc of it lie inside the PRV of a serial organ, outside PTV_opt.")
    return regions.from_shares("PTV_opt", grid, left, "PTV"), tuple(overlaps), warnings


def lesion_targets(
    lesions: list[dict[Target, Structure]], ptv_opt: Structure, body: Structure, grid: Grid, protocol: Protocol
) -> tuple[tuple[Structure, ...], list[str]]:
    """The part of PTV_opt of each lesion, where there are several, and how each came about.

    Raises
    ------
    InputError
        Nothing of a lesion's PTV is left beside the PRVs.
    """
    if len(lesions) < 2:
        return (), []
    left = regions.shares(ptv_opt, grid)
    made, notes = [], []
    for lesion in lesions:
        given = lesion_name(lesion, protocol)
        ptv = grow_targets(lesion, body, grid, protocol)[0]["PTV"]
        own = np.minimum(regions.shares(ptv, grid), left)
        if not own.any():
            raise InputError(
                "nothing of its PTV is left beside the PRVs of serial organs.",
                where=f"target {given!r}",
                remedy="Plan the other lesions without it, or check the organs.",
            )
        made.append(regions.from_shares(f"PTV_opt_{given}", grid, own, "PTV"))
        notes.append(f"{made[-1].name}: the part of PTV_opt of {_list(list(lesion.values()))}.")
    return tuple(made), notes


def lesion_name(lesion: dict[Target, Structure], protocol: Protocol) -> str:
    """The target that a lesion is named after: the one with a prescription of its own, or else the first."""
    names = [target.name for target in lesion]
    return next((name for name in names if protocol.prescription.of_lesion(name)), names[0])


def under_the_protocol(
    lesions: list[dict[Target, Structure]],
    parts: tuple[Structure, ...],
    ours: dict[str, Structure],
    grid: Grid,
    protocol: Protocol,
) -> tuple[dict[str, Structure], list[str]]:
    """PTV_opt and GTV of the lesions that the protocol's own prescription is for, where others have one of their own.

    Raises
    ------
    InputError
        A prescription for a lesion that is not planned, or every lesion has one of its own.
    """
    wanted = protocol.prescription
    planned = [target.name for lesion in lesions for target in lesion]
    if unknown := [entry.lesion for entry in wanted.lesions if entry.lesion not in planned]:
        raise InputError(
            f"the protocol prescribes for {', '.join(unknown)}, which is no target of this plan "
            f"({', '.join(planned)}).",
            where="prescription.lesions",
            remedy="Name the lesion as its --target.",
        )
    if not wanted.lesions:
        return {}, []
    own = [wanted.of_lesion(lesion_name(lesion, protocol)) is not None for lesion in lesions]
    if all(own):
        raise InputError(
            "every lesion of this plan has a prescription of its own, so that none is left for the protocol's.",
            where="prescription.lesions",
            remedy="State the highest of them as the protocol's prescription.",
        )
    kept = [part for part, is_own in zip(parts, own, strict=True) if not is_own]
    gtvs = [s for lesion, is_own in zip(lesions, own, strict=True) if not is_own for s in lesion.values()]
    gtvs = [s for s in gtvs if s.role == "GTV"]
    told = [f"PTV_opt: {_list(kept)}, without the lesions that have a prescription of their own."]
    narrowed = {"PTV_opt": regions.union("PTV_opt", grid, *kept, role="PTV")}
    if "GTV" in ours and gtvs:
        narrowed["GTV"] = regions.union("GTV", grid, *gtvs, role="GTV")
        told.append(f"GTV: {_list(gtvs)}, without the lesions that have a prescription of their own.")
    return narrowed, told


def _sides(margin_mm: float | SidedMargin) -> tuple[float, float, float, float, float, float]:
    return margin_mm.sides if isinstance(margin_mm, SidedMargin) else (margin_mm,) * 6


def _margin_text(margin_mm: float | SidedMargin) -> str:
    if not isinstance(margin_mm, SidedMargin):
        return f"{margin_mm:g} mm"
    return f"({', '.join(f'{value:g} {side}' for side, value in margin_mm)}) mm"


def _cc(fraction: margins.Shares, grid: Grid) -> float:
    return float(fraction.sum(dtype=np.float64)) * grid.voxel_cc


def _list(structures: list[Structure]) -> str:
    return " and ".join(s.name for s in structures)
