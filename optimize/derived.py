"""Organs that are defined by others: liver without tumour, skin, chest wall, biliary tract, cortex."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dosecalc import margins, names, regions
from dosecalc.grid import Grid
from dosecalc.structures import Structure, StructureSet
from protocols import Expression, Named, Protocol, names_in


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What organs are derived from.

    Attributes
    ----------
    structures : StructureSet
        Drawn structures under TG-263 names.
    body : Structure
    scan : Grid
        The CT's, for where the scan ends.
    grid : Grid
        The dose grid.
    protocol : Protocol
    gtvs : list of Structure
        All of them, planned or not.
    at_the_ptv : tuple of str
        Serial organs whose PRV takes part of the PTV.
    targets : dict
        GTV, CTV, PTV and PTV_opt as far as they are defined; the last two always are.
    """

    structures: StructureSet
    body: Structure
    scan: Grid
    grid: Grid
    protocol: Protocol
    gtvs: list[Structure]
    at_the_ptv: tuple[str, ...]
    targets: dict[str, Structure]

    def lacks(self, name: str) -> bool:
        """Whether a goal asks for a structure that nobody drew and the protocol does not define."""
        given = name in self.structures or any(entry.name == name for entry in self.protocol.structures)
        return not given and any(goal.structure == name for goal in self.protocol.goals)

    def drawn(self, *wanted: str) -> list[Structure]:
        """Those of the wanted structures that were drawn."""
        return [self.structures[name] for name in wanted if name in self.structures]


@dataclass(slots=True, eq=False)
class Derived:
    """Structures, with what is said about them; `origins` names the drawn structures behind each."""

    structures: list[Structure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    surrogate: list[str] = field(default_factory=list)

    @property
    def report_only(self) -> tuple[str, ...]:
        """Names of structures that stand in for another and are reported, not judged."""
        return tuple(self.surrogate)

    def add(self, structure: Structure, note: str, origins: list[Structure]) -> None:
        """Add a structure with what is said about it and what it was made from."""
        self.structures.append(structure)
        self.notes.append(f"{structure.name}: {note}")
        self.origins[structure.name] = tuple(s.name for s in origins)


def derive_organs(source: Source) -> Derived:
    """What can be derived and is asked for; drawn structures are left as they are."""
    derived = Derived()
    _livers(source, derived)
    _cortex(source, derived)
    _biliary_tract(source, derived)
    _rinds(source, derived)
    _prvs(source, derived)
    _expressions(source, derived)
    return derived


def _livers(source: Source, derived: Derived) -> None:
    """Liver without all GTVs (the organ that limits are set on), and without the PTV."""
    for liver in source.drawn("Liver"):
        gtvs = source.gtvs
        what = f"minus {' and '.join(s.name for s in gtvs)}" if gtvs else "whole, as no GTV is known"
        _liver_without(source, derived, "Liver-GTV", liver, gtvs, f"liver {what}.")
        if not gtvs:
            derived.warnings.append("Liver-GTV: no GTV is known, so the target counts as liver.")
        _liver_without(source, derived, "Liver-PTV", liver, [source.targets["PTV"]], "liver minus the PTV.")


def _liver_without(
    source: Source, derived: Derived, name: str, liver: Structure, taken: list[Structure], note: str
) -> None:
    grid = source.grid
    rest = regions.difference(regions.shares(liver, grid), *(regions.shares(s, grid) for s in taken))
    if rest.any():
        derived.add(regions.from_shares(name, grid, rest), note, [liver])
    else:
        derived.warnings.append(f"{name}: nothing of the liver is left beside {' and '.join(s.name for s in taken)}.")


def _cortex(source: Source, derived: Derived) -> None:
    """The whole kidneys where no cortex is drawn."""
    kidneys = source.drawn("Kidneys") or source.drawn("Kidney_L", "Kidney_R")
    if not kidneys or not source.lacks("Kidney_Cortex"):
        return
    parts = " and ".join(s.name for s in kidneys)
    note = f"the whole of {parts} stands in for the cortex, which is smaller: a spared volume is overestimated."
    derived.add(regions.union("Kidney_Cortex", source.grid, *kidneys), note, kidneys)
    derived.warnings.append(f"Kidney_Cortex: {note}")
    if kidneys[0].name != "Kidneys" and len(kidneys) == 1:
        derived.warnings.append(f"Kidney_Cortex: only {parts} is contoured.")


def _biliary_tract(source: Source, derived: Derived) -> None:
    """The portal vein and a margin, not clipped; from a vessel label of other extent for report only."""
    margin = source.protocol.planning.chbt_margin_mm
    name = f"cHBT_{margin:g}mm"
    if not source.lacks(name):
        return
    vessel = source.drawn("V_Portal")
    stand_in = [] if vessel else source.drawn(*names.surrogates("V_Portal"))
    for structure in (*vessel, *stand_in):
        note = f"{structure.name} + {margin:g} mm, not clipped to the liver."
        derived.add(regions.grow(structure, margin, source.grid, name=name), note, [structure])
    for structure in stand_in:
        derived.surrogate.append(name)
        derived.warnings.append(
            f"{name}: {structure.name} is not the portal vein from the splenic confluence to its first "
            "bifurcation; doses are reported, goals are not assessed."
        )


def _rinds(source: Source, derived: Derived) -> None:
    """Skin, and the chest wall under it without lung, by depth below the outline of the body."""
    table, grid = source.protocol.planning, source.grid
    if not (source.lacks("Skin") or source.lacks("Chestwall")):
        return
    scanned = regions.shares(regions.everything("scan", source.scan), grid)
    body = _beyond_scan(regions.shares(source.body, grid), scanned)
    under_skin = margins.shrunk(body, table.skin_rind_mm, grid)
    if source.lacks("Skin"):
        skin = regions.from_shares("Skin", grid, regions.difference(body, under_skin) * scanned)
        derived.add(skin, f"the outer {table.skin_rind_mm:g} mm of {source.body.name}.", [])
    if source.lacks("Chestwall"):
        lungs = source.drawn("Lungs") or source.drawn("Lung_L", "Lung_R")
        inner = margins.shrunk(body, table.chestwall_rind_mm, grid)
        wall = regions.difference(under_skin, inner, *(regions.shares(s, grid) for s in lungs))
        depths = f"from {table.skin_rind_mm:g} to {table.chestwall_rind_mm:g} mm"
        note = f"{depths} under the surface of {source.body.name}, without lung."
        derived.add(regions.from_shares("Chestwall", grid, wall * scanned), note, [])
        if not lungs:
            derived.warnings.append("Chestwall: no lung is contoured, so lung near the surface counts as chest wall.")


def _prvs(source: Source, derived: Derived) -> None:
    """What was taken from the PTV to make PTV_opt, named after TG-263: the organ, PRV, and the margin in mm."""
    margin = source.protocol.planning.prv_margin_mm
    for organ in source.drawn(*source.at_the_ptv):
        name = f"{organ.name}_PRV{margin:02.0f}"
        if margin > 0 and name not in source.structures:
            prv = regions.grow(organ, margin, source.grid, name=name)
            derived.add(prv, f"{organ.name} + {margin:g} mm, taken from the PTV.", [organ])


def _expressions(source: Source, derived: Derived) -> None:
    """What the protocol defines from other structures, in its order; each may use the ones before it."""
    for entry in source.protocol.structures:
        if entry.name in source.structures:
            continue
        made = {s.name: s for s in derived.structures}
        known = {s.name: s for s in (*source.structures, source.body)} | source.targets | made
        lacking = [name for name in names_in(entry.expression) if name not in known]
        if lacking:
            derived.warnings.append(
                f"{entry.name}: not derived, there is no {' and no '.join(dict.fromkeys(lacking))}."
            )
            continue
        fraction = _evaluated(entry.expression, known, source.grid)
        if not fraction.any():
            derived.warnings.append(f"{entry.name}: {entry.expression} has no voxel.")
            continue
        parents = [p for name in names_in(entry.expression) for p in derived.origins.get(name, (name,))]
        drawn = source.drawn(*dict.fromkeys(parents))
        derived.add(regions.from_shares(entry.name, source.grid, fraction), f"{entry.expression}.", drawn)


def _evaluated(expression: Expression, known: dict[str, Structure], grid: Grid) -> margins.Shares:
    """The shares of the voxels in an expression."""
    if isinstance(expression, Named):
        return regions.shares(known[expression.name], grid)
    first, *others = (_evaluated(operand, known, grid) for operand in expression.operands)
    mm = expression.margins_mm
    match expression.function:
        case "union":
            return np.maximum.reduce([first, *others])
        case "intersection":
            return np.minimum.reduce([first, *others])
        case "minus":
            return regions.difference(first, *others)
        case "grow":
            return margins.grown(first, mm[0] if len(mm) == 1 else (mm[0], mm[1], mm[2], mm[3], mm[4], mm[5]), grid)
        case "shrink":
            return margins.shrunk(first, mm[0], grid)
        case "rind":
            return regions.difference(first, margins.shrunk(first, mm[0], grid))
        case _:
            return regions.difference(margins.grown(first, mm[1], grid), margins.grown(first, mm[0], grid))


def _beyond_scan(body: margins.Shares, scanned: margins.Shares) -> margins.Shares:
    """The body's shares as if the scan went on: where it ends inside a voxel is no surface of the body."""
    return np.minimum(np.divide(body, scanned, out=np.zeros_like(body), where=scanned > 0), 1.0)
