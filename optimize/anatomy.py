"""From contours to what a plan needs: margins, PTV_opt, Liver-GTV, and structures derived where nobody drew them.

Everything derived is on the dose grid and is listed in words; nothing is derived in place of a structure that was
drawn under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dosecalc import names, regions
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Triple, Volume
from dosecalc.structures import Structure, StructureSet
from protocols import Protocol

from .derived import Source, derive_organs

TARGET_ROLES = ("GTV", "ITV", "CTV", "PTV")
_MADE_HERE = ("GTV", "CTV", "PTV", "PTV_opt", "Liver-GTV", "Liver-PTV")
# Partial volumes of target and body along a shared border differ by rounding and contour detail.
_OUTSIDE_CC, _OUTSIDE_SHARE = 0.05, 0.005
_WRAPS = ("Skin", "Chestwall")  # go round the trunk: every scan cuts them


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


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Structures ready for planning and evaluation.

    Attributes
    ----------
    structures : StructureSet
        All given structures (names as given) and the derived ones.
    derived : tuple of str
        One sentence for each derived structure.
    warnings : tuple of str
    cut : tuple of str
        Structures that the scan cuts off, derived ones included: their volumes are lower bounds.
    report_only : tuple of str
        Structures whose goals must read NOT ASSESSED: a surrogate stands in for them.
    overlaps : tuple of Overlap
        Serial organs with their PRV inside the PTV.
    """

    structures: StructureSet
    derived: tuple[str, ...]
    warnings: tuple[str, ...]
    cut: tuple[str, ...]
    report_only: tuple[str, ...]
    overlaps: tuple[Overlap, ...]


def needed_names(protocol: Protocol) -> tuple[str, ...]:
    """Names of the contours that a protocol can use, for `names.match`: its goals', and what they derive from."""
    goals = [goal.structure for goal in protocol.goals if goal.structure not in _MADE_HERE]
    sources = ["Body", "Liver", "V_Portal", "Kidney_L", "Kidney_R", "Lung_L", "Lung_R"]
    return tuple(dict.fromkeys([*goals, *protocol.planning.serial_organs, *sources]))


def prepare_anatomy(
    structures: StructureSet, ct: Volume, grid: Grid, protocol: Protocol, targets: tuple[Target, ...]
) -> Anatomy:
    """Derive what the protocol's planning table says from contours and targets.

    Parameters
    ----------
    structures : StructureSet
        Under TG-263 names (`names.match`).
    ct : Volume
        HU; for the body's outline where none is drawn, and to see what the scan cuts.
    grid : Grid
        The dose grid, on which everything derived lives.
    protocol : Protocol
    targets : tuple of Target
        At least one.

    Raises
    ------
    InputError
        No target, a target that is unknown, has no voxel, lies in part outside the body or is cut by the scan,
        or a PTV of which nothing is left beside the PRVs.
    """
    body, notes, warnings = _body(structures, ct)
    drawn = {target: _drawn(target, structures, grid) for target in targets}
    _check_targets(drawn, body, grid)
    ours, lines = _targets(drawn, body, grid, protocol)
    kept, moved = _set_aside(structures, {*ours, "PTV_opt", "Liver-GTV", "Liver-PTV"}, set(targets))
    ptv_opt, overlaps, overlap_warnings = _without_prvs(ours, kept, grid, protocol)
    all_gtvs = [s for s in (*kept, *drawn.values()) if s.role == "GTV"]
    sources = Source(kept, body, grid, protocol, all_gtvs, ours["PTV"])
    organs = derive_organs(sources)
    cut = _cut(kept, ct, organs.origins)
    return Anatomy(
        structures=kept.adding(
            *([body] if body.name not in kept else []), *ours.values(), ptv_opt, *organs.structures
        ),
        derived=(*notes, *lines, *organs.notes),
        warnings=(*warnings, *moved, *overlap_warnings, *organs.warnings, *_cut_warnings(cut)),
        cut=cut,
        report_only=organs.report_only,
        overlaps=overlaps,
    )


def _body(structures: StructureSet, ct: Volume) -> tuple[Structure, list[str], list[str]]:
    """The body's outline as drawn, or from the CT."""
    drawn = [s for s in structures if s.role == "EXTERNAL" or s.name == names.EXTERNAL_NAME]
    if len(drawn) > 1:
        raise InputError(
            f"several outlines of the body: {', '.join(repr(s.name) for s in drawn)}.",
            remedy="Give the role EXTERNAL to one structure only.",
        )
    if drawn:
        return drawn[0], [], []
    body = regions.body_outline(ct)
    note = f"Body: derived from the CT, the largest part above {regions.BODY_HU:g} HU with holes filled."
    return body, [note], ["no outline of the body was drawn; the one derived from the CT is used."]


def _drawn(target: Target, structures: StructureSet, grid: Grid) -> Structure:
    """A target on the dose grid, in the role it was given."""
    where = f"target {target.name!r}"
    if target.centre_mm is not None and target.diameter_mm is not None:
        if target.name in structures:
            raise InputError("a structure has the name of the drawn sphere.", where=where, remedy="Rename one.")
        return regions.sphere(target.centre_mm, target.diameter_mm, grid, name=target.name, role=target.role)
    fraction = regions.shares(structures[target.name], grid)
    if not fraction.any():
        raise InputError(
            "has no voxel on the dose grid.", where=where, remedy="Check that image and structures belong together."
        )
    return regions.from_shares(target.name, grid, fraction, target.role)


def _check_targets(drawn: dict[Target, Structure], body: Structure, grid: Grid) -> None:
    if not drawn:
        raise InputError("no target was named.", remedy="Name a target structure or draw a sphere.")
    inside = regions.shares(body, grid)
    for target, structure in drawn.items():
        fraction = regions.shares(structure, grid)
        total = _cc(fraction, grid)
        outside = _cc(regions.difference(fraction, inside), grid)
        if outside > max(_OUTSIDE_CC, _OUTSIDE_SHARE * total):
            raise InputError(
                f"{outside:.2f} of its {total:.2f} cc lie outside the body.",
                where=f"target {target.name!r}",
                remedy="Check its position (LPS, mm) and the outline of the body.",
            )


def _targets(
    drawn: dict[Target, Structure], body: Structure, grid: Grid, protocol: Protocol
) -> tuple[dict[str, Structure], list[str]]:
    """GTV, CTV and PTV as far as the given roles define them, and how each came about."""
    table, notes = protocol.planning, []
    parts = {role: [s for t, s in drawn.items() if t.role == role] for role in TARGET_ROLES}
    made: dict[str, Structure] = {}
    if parts["GTV"]:
        made["GTV"] = regions.union("GTV", grid, *parts["GTV"], role="GTV")
        notes.append(f"GTV: {_list(parts['GTV'])}.")
    steps = (("GTV", "CTV", table.gtv_to_ctv_mm), ("CTV", "PTV", table.ctv_to_ptv_mm))
    for inner, outer, margin in steps:
        members = list(parts[outer])
        sources = ([made[inner]] if inner in made else []) + (parts["ITV"] if inner == "CTV" else [])
        members += [regions.grow(s, margin, grid, name=outer, role=outer) for s in sources]
        if members:
            made[outer] = regions.union(outer, grid, *members, role=outer)
            grown = [f"{_list(sources)} + {margin:g} mm"] if sources else []
            notes.append(f"{outer}: {', '.join([*grown, *([_list(parts[outer])] if parts[outer] else [])])}.")
    made["PTV"], clipped_cc = _clipped(made["PTV"], body, grid)
    if clipped_cc > _OUTSIDE_CC:
        notes.append(f"PTV: clipped to the body, {clipped_cc:.2f} cc of its margin lay outside.")
    return made, notes


def _clipped(ptv: Structure, body: Structure, grid: Grid) -> tuple[Structure, float]:
    whole = regions.shares(ptv, grid)
    inside = np.minimum(whole, regions.shares(body, grid))
    return regions.from_shares("PTV", grid, inside, "PTV"), _cc(whole - inside, grid)


def _set_aside(
    structures: StructureSet, made: set[str], targets: set[Target]
) -> tuple[StructureSet, list[str]]:
    """Structures without the names that are made here; one that is no target keeps its shape as NAME_given."""
    used = {target.name for target in targets}
    kept, warnings = [], []
    for structure in structures:
        if structure.name not in made:
            kept.append(structure)
        elif structure.name not in used:
            kept.append(Structure(f"{structure.name}_given", structure.role, structure.geometry))
            warnings.append(
                f"{structure.name}: the drawn structure is not a target; it is kept as {kept[-1].name!r}."
            )
    return replace(structures, structures=tuple(kept)), warnings


def _without_prvs(
    ours: dict[str, Structure], structures: StructureSet, grid: Grid, protocol: Protocol
) -> tuple[Structure, tuple[Overlap, ...], list[str]]:
    """PTV_opt, the serial organs that took part of it, and what of the GTV they took."""
    ptv = regions.shares(ours["PTV"], grid)
    taken = np.zeros_like(ptv)
    overlaps = []
    for organ in (name for name in protocol.planning.serial_organs if name in structures):
        fraction = regions.shares(structures[organ], grid)
        prv = regions.grown(fraction, protocol.planning.prv_margin_mm, grid)
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


def _cut(structures: StructureSet, ct: Volume, origins: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Structures that reach the border of the CT, and what was derived from them."""
    reach = [
        s.name
        for s in structures
        if s.role != "EXTERNAL" and s.name not in _WRAPS and s.on(ct.grid).faces_touched
    ]
    for structure in structures:
        if structure.name in reach and structure.role in TARGET_ROLES:
            raise InputError("the scan cuts it.", where=f"target {structure.name!r}", remedy="Use a longer scan.")
    return (*reach, *(name for name, parents in origins.items() if set(parents) & set(reach)))


def _cut_warnings(cut: tuple[str, ...]) -> list[str]:
    return [f"the scan cuts {', '.join(cut)}: their volumes are lower bounds."] if cut else []


def _cc(fraction: regions.Shares, grid: Grid) -> float:
    return float(fraction.sum(dtype=np.float64)) * grid.voxel_cc


def _list(structures: list[Structure]) -> str:
    return " and ".join(s.name for s in structures)
