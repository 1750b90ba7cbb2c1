"""Which densities a plan is computed with: the table, what lies outside the Body, and what the user states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dosecalc.beams import Beamlets
from dosecalc.density import HuCalibration
from dosecalc.errors import InputError, UsageError
from dosecalc.grid import Volume
from dosecalc.hu_notices import contrast_notice, hu_notices
from dosecalc.machine import BeamModel
from dosecalc.medium import DensityOverride, Medium, OutsideBody, medium, outside_warnings
from dosecalc.structures import Structure, StructureSet

from .anatomy import Anatomy
from .entries import entry_warnings


@dataclass(frozen=True, slots=True, eq=False)
class Densities:
    """What the user chooses about densities.

    Attributes
    ----------
    table : HuCalibration or None
        In place of the machine's default.
    outside_body : str
        "nothing" or "as_scanned".
    overrides : tuple of DensityOverride
    """

    table: HuCalibration | None = None
    outside_body: OutsideBody = "nothing"
    overrides: tuple[DensityOverride, ...] = ()

    def calibration(self, machine: BeamModel) -> HuCalibration:
        """The table that is used."""
        return machine.calibration if self.table is None else self.table

    @property
    def departures(self) -> tuple[str, ...]:
        """What departs from the defaults, the density overrides apart, in words."""
        table = () if self.table is None else (f"CT numbers read with the user's table: {self.table.source}",)
        outside = () if self.outside_body == "nothing" else ("what lies outside the Body counts as scanned",)
        return (*table, *outside)

    def record(self, machine: BeamModel, made: Medium | None = None) -> dict[str, Any]:
        """For run.json; without a medium the overrides are those that were asked for."""
        table = self.calibration(machine)
        stated: list[dict[str, Any]] = (
            [{"name": each.name, "density": each.density} for each in self.overrides]
            if made is None
            else [
                {
                    "name": each.name,
                    "density": each.density,
                    "cc": each.cc,
                    "hu_mean": each.mean_hu,
                    "hu_lowest": each.low_hu,
                    "hu_highest": each.high_hu,
                }
                for each in made.applied
            ]
        )
        return {
            "quantity": "electron density relative to water",
            "hu": table.hu.tolist(),
            "relative_electron_density": table.relative_electron_density.tolist(),
            "source": table.source,
            "table_sha256": table.sha256 or None,
            "outside_body": self.outside_body,
            "overrides": stated,
        }


AS_DEFAULT = Densities()
"""The machine's table, nothing outside the Body, no override."""


def parse_densities(texts: list[str]) -> tuple[DensityOverride, ...]:
    """Density overrides from the command line, NAME=VALUE each.

    Raises
    ------
    UsageError
        Not of this form, or a name twice.
    InputError
        A density out of range.
    """
    found: dict[str, DensityOverride] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            density = float(value)
        except ValueError:
            name = ""
        if not name.strip():
            raise UsageError(f"--density {text!r} is not NAME=VALUE, such as Bowel=1.0 (density relative to water).")
        if name in found:
            raise UsageError(f"--density gives {name!r} twice.", remedy="State one density for each structure.")
        found[name] = DensityOverride(name, density)
    return tuple(found.values())


def plan_medium(
    chosen: Densities, ct: Volume, anatomy: Anatomy, read: StructureSet, machine: BeamModel
) -> tuple[Medium, tuple[str, ...]]:
    """The medium of a plan, and what must be said about the CT numbers behind it.

    Parameters
    ----------
    chosen : Densities
    ct : Volume
        HU.
    anatomy : Anatomy
    read : StructureSet
        As the file names them: an override may use these names, or those of the anatomy.
    machine : BeamModel

    Raises
    ------
    InputError
        An override of an unknown structure, or CT numbers beyond the table.
    """
    table = chosen.calibration(machine)
    overrides = [(_structure(each.name, anatomy.structures, read), each) for each in chosen.overrides]
    made = medium(ct, table, anatomy.structures["Body"], overrides, chosen.outside_body)
    told = hu_notices(ct, made.as_scanned)
    if "Liver" in anatomy.structures:
        liver = anatomy.structures["Liver"].on(ct.grid)
        told += contrast_notice(ct, liver, made.as_scanned, table, machine.tpr20_10)
    low, high = machine.density
    told += [
        f"{each.name}: its stated density of {each.density:g} is outside the range of validity of the machine, "
        f"{low:g} to {high:g}: the dose in and behind it is uncertain."
        for each in made.applied
        if not low <= each.density <= high
    ]
    return made, tuple(told)


def with_medium(
    chosen: Densities, ct: Volume, anatomy: Anatomy, read: StructureSet, beamlets: Beamlets, machine: BeamModel
) -> tuple[Medium, Anatomy]:
    """`plan_medium`, and the anatomy with what must be said about it and about where the beams enter."""
    body, points = anatomy.structures["Body"], ct.grid.centres_mm(anatomy.structures["PTV"].on(ct.grid).indices)
    entries = entry_warnings(beamlets.beams, ct.grid, body, points, machine.sad_mm)
    made, said = plan_medium(chosen, ct, anatomy, read, machine)
    table, of_machine = chosen.calibration(machine), {"sad_mm": machine.sad_mm, "tpr20_10": machine.tpr20_10}
    beside = outside_warnings(made, ct, table, body, beamlets.beams, points, **of_machine)
    return made, replace(anatomy, warnings=(*anatomy.warnings, *entries, *said, *beside))


def _structure(name: str, ours: StructureSet, read: StructureSet) -> Structure:
    if name in ours:
        return ours[name]
    if name in read:
        return read[name]
    try:
        return ours[name]
    except InputError as error:
        raise InputError(
            error.message, where="--density", remedy="Name a structure of the file, or a derived one such as PTV."
        ) from error
