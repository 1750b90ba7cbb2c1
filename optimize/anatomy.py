"""From contours to what a plan needs: margins, PTV_opt, Liver-GTV, and structures that nobody drew.

Everything derived is on the dose grid and is listed in words; nothing is derived in place of a structure that
was drawn under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dosecalc import names, regions
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Structure, StructureSet
from protocols import Protocol, names_in

from .derived import Source, derive_organs
from .placement import outside_liver_warnings, placement_warnings, shared_cc
from .targets import (
    Overlap,
    Target,
    draw_targets,
    grow_targets,
    lesion_targets,
    separate_lesions,
    under_the_protocol,
    without_prvs,
)

_MADE_HERE = ("GTV", "CTV", "PTV", "PTV_opt", "Liver-GTV", "Liver-PTV")


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
    lesions : tuple of str
        The parts of PTV_opt, one for each of several lesions; empty for a single one.
    """

    structures: StructureSet
    derived: tuple[str, ...]
    warnings: tuple[str, ...]
    cut: tuple[str, ...]
    report_only: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    lesions: tuple[str, ...] = ()


def needed_names(protocol: Protocol) -> tuple[str, ...]:
    """Names of the contours that a protocol can use: those of its goals and what they derive from."""
    asked = [*(goal.structure for goal in protocol.goals), *protocol.prescription.risk_structures]
    goals = [name for name in asked if name not in _MADE_HERE]
    used = [name for entry in protocol.structures for name in names_in(entry.expression) if name not in _MADE_HERE]
    sources = ["Body", "Liver", "V_Portal", "Kidney_L", "Kidney_R", "Lung_L", "Lung_R"]
    return tuple(dict.fromkeys([*goals, *used, *protocol.planning.serial_organs, *sources]))


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
        No target, a target that is unknown, has no voxel, lies in part outside the body or is cut by the
        scan, or a PTV of which nothing is left beside the PRVs.
    """
    body, notes, warnings = _body(structures, ct)
    drawn, fine = draw_targets(targets, structures, body, grid, protocol)
    ours, lines = grow_targets(drawn, body, fine, protocol)
    ours |= _as_drawn(drawn, structures)
    _check_inside_scan(ours["PTV"], ct)
    kept, moved = _set_aside(structures, {*ours, "PTV_opt", "Liver-GTV", "Liver-PTV"}, set(targets), grid)
    ptv_opt, overlaps, overlap_warnings = without_prvs(ours, kept, fine, protocol)
    lesions = separate_lesions(drawn, fine)
    parts, part_lines = lesion_targets(lesions, ptv_opt, body, fine, protocol)
    narrowed, narrowed_lines = under_the_protocol(lesions, parts, ours, fine, protocol)
    ptv_opt = narrowed.pop("PTV_opt", ptv_opt)
    ours |= narrowed
    all_gtvs = [s for s in (*kept, *drawn.values()) if s.role == "GTV"]
    at_the_ptv = tuple(overlap.organ for overlap in overlaps)
    sources = Source(kept, body, ct.grid, grid, protocol, all_gtvs, at_the_ptv, {**ours, "PTV_opt": ptv_opt})
    organs = derive_organs(sources)
    cut = _cut(kept.adding(*organs.structures), ct, organs.origins)
    return Anatomy(
        structures=kept.adding(
            *([body] if body.name not in kept else []), *ours.values(), ptv_opt, *parts, *organs.structures
        ),
        derived=(*notes, *lines, *part_lines, *narrowed_lines, *organs.notes),
        warnings=(
            *warnings,
            *_truncation(body, ct),
            *moved,
            *overlap_warnings,
            *placement_warnings(ours, kept, ct, fine, protocol),
            *outside_liver_warnings(drawn, kept, fine, protocol),
            *organs.warnings,
        ),
        cut=cut,
        report_only=organs.report_only,
        overlaps=overlaps,
        lesions=tuple(part.name for part in parts),
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


def _truncation(body: Structure, ct: Volume) -> list[str]:
    """Where the field of view, not the scan's length, ends inside the body."""
    sides = [face for face in body.faces_touched(ct.grid) if face not in ("inferior", "superior")]
    if not sides:
        return []
    return [f"the field of view cuts the body ({', '.join(sides)}): tissue is missing to beams from there."]


def _as_drawn(drawn: dict[Target, Structure], structures: StructureSet) -> dict[str, Structure]:
    """A single GTV in its own contours: redrawn on a grid it would be written out with others than it came with."""
    gtvs = [target for target in drawn if target.role == "GTV"]
    if len(gtvs) != 1 or gtvs[0].name not in structures:
        return {}
    return {"GTV": Structure("GTV", "GTV", structures[gtvs[0].name].geometry)}


def _set_aside(
    structures: StructureSet, made: set[str], targets: set[Target], grid: Grid
) -> tuple[StructureSet, list[str]]:
    """Structures without the names that are made here; one that is no target is kept as NAME_given."""
    used = {target.name for target in targets}
    kept, warnings = [], []
    for structure in structures:
        if structure.name not in made:
            kept.append(structure)
        elif structure.name not in used:
            kept.append(Structure(f"{structure.name}_given", structure.role, structure.geometry))
            warnings.append(
                f"{structure.name}: the drawn structure is not a target; it is kept as {kept[-1].name!r}"
                f"{_taken_from_liver(kept[-1], structures, grid)}."
            )
    return replace(structures, structures=tuple(kept)), warnings


def _taken_from_liver(gtv: Structure, structures: StructureSet, grid: Grid) -> str:
    """What Liver-GTV lacks for a GTV that is no target; empty where that is nothing."""
    if gtv.role != "GTV" or "Liver" not in structures:
        return ""
    taken_cc = shared_cc(gtv, structures["Liver"], grid)
    return f", and its {taken_cc:.2f} cc inside Liver count as tumour: Liver-GTV is without them" if taken_cc else ""


def _cut(structures: StructureSet, ct: Volume, origins: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Structures that reach the border of the CT, and what was derived from them."""
    reach = [s.name for s in structures if s.role != "EXTERNAL" and s.faces_touched(ct.grid)]
    return tuple(dict.fromkeys((*reach, *(name for name, parents in origins.items() if set(parents) & set(reach)))))


def _check_inside_scan(ptv: Structure, ct: Volume) -> None:
    if faces := ptv.faces_touched(ct.grid):
        raise InputError(
            f"the scan cuts it at the {' and '.join(faces)} end.",
            where="PTV",
            remedy="Use a scan that reaches beyond the target and its margins.",
        )
