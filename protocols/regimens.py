"""Published regimens as data, and what their doses are on one common basis.

The same nominal dose differs by 20-40 % between bases: 26 Gy at the isocentre of a PTV inside the 80 % isodose is
20.8 Gy at its edge, and 26 Gy to the 65 % isodose is 40 Gy at the maximum. What a publication does not state is not
guessed here: a dose is then known to lie between bounds, and a bound that nothing states is absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictInt, ValidationError

from .errors import ProtocolError
from .faults import faults_of, nearest
from .fields import Identifier, Note, Positive, Strict, Text
from .files import Kind, invalid, parsed
from .radiobiology import bed, eqd2, lq_validity

TUMOUR_ALPHA_BETA_GY = 10.0
Percent = Annotated[float, Field(strict=True, gt=0, le=100)]
Place: TypeAlias = Literal["nominal", "edge", "mean", "maximum"]
PLACES: tuple[Place, ...] = ("nominal", "edge", "mean", "maximum")


class Regimen(Strict):
    """One published regimen, or one arm of it, in the words of the documents that it was read in.

    Attributes
    ----------
    read_in : str
        The review documents and their tables.
    fractions, dose_gy : pair or None
        Lowest and highest; doses are totals of the course on `basis`.
    isodose_pct : pair or None
        The isodose, in percent of the maximum, that surrounds the PTV.
    pairing : "exact", "envelope" or "none"
        Whether dose and fractions go together end by end, as unpaired ranges, or not at all.
    disagreement : str
        Where the documents contradict each other about this regimen.
    """

    id: Identifier
    citation: Text
    year: StrictInt
    read_in: Text
    design: Text
    patients: Note = ""
    lesions: Note = ""
    population: Note = ""
    colorectal: Note = ""
    follow_up_months: Note = ""
    fractions: tuple[StrictInt, StrictInt] | None = None
    dose_gy: tuple[Positive, Positive] | None = None
    basis: Literal["isocentre", "max", "periphery_isodose", "D95", "mean_PTV", "unstated"]
    isodose_pct: tuple[Percent, Percent] | None = None
    convention: Text
    pairing: Literal["exact", "envelope", "none"]
    local_control_1y: Note = ""
    local_control_2y: Note = ""
    local_control_other: Note = ""
    survival: Note = ""
    toxicity: Note = ""
    size_limits: Note = ""
    arithmetic: Note = ""
    disagreement: Note = ""
    note: Note = ""


class Disagreement(Strict):
    """A contradiction, a garble or an error in the documents that the regimens were read in."""

    regimens: tuple[Identifier, ...]
    text: Text


class _File(Strict):
    schema_version: Literal[1]
    regimens: tuple[Regimen, ...]
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Bounds of a value; None where nothing stated gives one."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class DoseAt:
    """A regimen's dose at one place of the target, with its biological equivalents.

    Attributes
    ----------
    dose_gy : Span
        Total of the course.
    bed10_gy, eqd2_gy : Span or None
        Of that dose with alpha/beta 10 Gy; None where dose and fractions are not paired. Of a mean dose, not the mean
        of the biological dose.
    """

    dose_gy: Span
    bed10_gy: Span | None
    eqd2_gy: Span | None


@dataclass(frozen=True, slots=True)
class Expressed:
    """A regimen on every basis, from the low end of its dose range to the high end."""

    id: str
    doses: dict[Place, DoseAt]
    assumptions: tuple[str, ...]


def regimens() -> tuple[Regimen, ...]:
    """Every published regimen, in the order of the file."""
    return _file().regimens


def find_regimen(name: str) -> Regimen:
    """The regimen with this id, whatever its case, or the only one with this dose and number of fractions ("60/12").

    Raises
    ------
    ProtocolError
        There is none, and the nearest id is named; or there are several.
    """
    if written := re.fullmatch(r"(\d+(?:\.\d+)?)/(\d+)", name):
        return _only_regimen(float(written[1]), int(written[2]))
    known = {regimen.id.lower(): regimen for regimen in regimens()}
    if name.lower() in known:
        return known[name.lower()]
    hint = nearest(name, [regimen.id for regimen in regimens()])
    raise ProtocolError(f"unknown regimen {name[:64]!r}.{hint}", remedy="`dosecalc regimens list` shows them all.")


def _only_regimen(dose_gy: float, fractions: int) -> Regimen:
    """The regimen that gives this total in this number of fractions; those whose fractions vary do not count."""
    found = [
        r
        for r in regimens()
        if r.fractions == (fractions, fractions) and r.dose_gy is not None and r.dose_gy[0] <= dose_gy <= r.dose_gy[1]
    ]
    if len(found) == 1:
        return found[0]
    what = f"{dose_gy:g} Gy in {fractions} fraction{'' if fractions == 1 else 's'}"
    if not found:
        raise ProtocolError(f"no published regimen gives {what}.", remedy="`dosecalc regimens list` shows them all.")
    raise ProtocolError(
        f"{len(found)} published regimens give {what}: {', '.join(r.id for r in found)}.", remedy="Name one of them."
    )


def disagreements(*names: str) -> tuple[str, ...]:
    """What the documents contradict each other in about these regimens; about any, without a name."""
    about = set(names)
    general = [d.text for d in _file().disagreements if not about or about & set(d.regimens)]
    own = [f"{r.id}: {r.disagreement}" for r in regimens() if (not about or r.id in about) and r.disagreement]
    return (*own, *general)


def express(regimen: Regimen, assumed_isodose_pct: float | None = None) -> Expressed:
    """What a regimen's dose is at the edge, in the mean and at the maximum of the PTV.

    Parameters
    ----------
    regimen : Regimen
    assumed_isodose_pct : float, optional
        The isodose around the PTV, in percent of the maximum, where the regimen states none.

    Raises
    ------
    ProtocolError
        An isodose that is no percentage, or a regimen without a dose.
    """
    if assumed_isodose_pct is not None and not 0 < assumed_isodose_pct <= 100:
        raise ProtocolError(f"an isodose is between 0 and 100 %, got {assumed_isodose_pct:g}.")
    if regimen.dose_gy is None:
        raise ProtocolError(f"{regimen.id} states no dose: it cannot be expressed on any basis.")
    isodose = regimen.isodose_pct
    assumptions = [_ASSUMED[regimen.basis]] if regimen.basis in _ASSUMED else []
    if isodose is None and assumed_isodose_pct is not None:
        isodose = (assumed_isodose_pct, assumed_isodose_pct)
        assumptions.append(f"the {assumed_isodose_pct:g} % isodose surrounds the PTV (assumed, not published)")
    elif isodose is None:
        assumptions.append("no isodose is stated: bounds that need one are absent")
    low, high = (_places(regimen.basis, dose, isodose) for dose in regimen.dose_gy)
    doses = {place: _dose_at(regimen, Span(low[place].low, high[place].high)) for place in PLACES}
    assumptions += _validity(regimen, doses)
    return Expressed(regimen.id, doses, tuple(assumptions))


_ASSUMED = {
    "isocentre": "the dose at the isocentre is taken as the maximum",
    "D95": "the D95 of the PTV is taken as the dose at its edge",
    "unstated": "the basis is not stated: the dose lies somewhere between edge and maximum of the PTV",
}


def _places(basis: str, dose: float, isodose: tuple[float, float] | None) -> dict[Place, Span]:
    """Bounds of edge, mean and maximum for one prescribed dose; edge <= mean <= maximum always holds."""
    # Edge over maximum, from the most to the least heterogeneous plan; None where nothing is stated.
    least, most = (p / 100 for p in isodose) if isodose else (None, 1.0)

    def below(ratio: float | None) -> float | None:
        return None if ratio is None else dose * ratio

    def above(ratio: float | None) -> float | None:
        return None if ratio is None else dose / ratio

    exact = Span(dose, dose)
    if basis in ("periphery_isodose", "D95"):
        edge, maximum = exact, Span(dose / most, above(least))
        mean = Span(dose, maximum.high)
    elif basis in ("max", "isocentre"):
        edge, maximum = Span(below(least), dose * most), exact
        mean = Span(edge.low, dose)
    else:
        edge, maximum = Span(below(least), dose), Span(dose, above(least))
        mean = exact if basis == "mean_PTV" else Span(edge.low, maximum.high)
    return {"nominal": exact, "edge": edge, "mean": mean, "maximum": maximum}


def _dose_at(regimen: Regimen, dose: Span) -> DoseAt:
    if regimen.pairing == "none" or regimen.fractions is None:
        return DoseAt(dose, None, None)
    fewest, most = regimen.fractions
    # Unpaired ranges: the least effect has the most fractions.
    at_low, at_high = (fewest, most) if regimen.pairing == "exact" else (most, fewest)
    ends = [(dose.low, at_low), (dose.high, at_high)]
    return DoseAt(
        dose,
        Span(*(None if gy is None else bed(gy, n, TUMOUR_ALPHA_BETA_GY) for gy, n in ends)),
        Span(*(None if gy is None else eqd2(gy, n, TUMOUR_ALPHA_BETA_GY) for gy, n in ends)),
    )


def _validity(regimen: Regimen, doses: dict[Place, DoseAt]) -> list[str]:
    """Where the linear-quadratic model is stretched; see `radiobiology`."""
    said = ["BED10 and EQD2 use the linear-quadratic model with alpha/beta 10 Gy and equal fractions"]
    if regimen.pairing != "exact" or regimen.fractions is None:
        unpaired = "dose and fractions are unpaired ranges: the bounds pair the least dose with the most fractions"
        return [*said, unpaired] if regimen.pairing == "envelope" else ["dose and fractions are not paired: no BED"]
    highest = [doses[place].dose_gy.high for place in PLACES]
    hottest = max(dose for dose in highest if dose is not None)
    if lq_validity(hottest, regimen.fractions[1]) == "beyond":
        said.append(
            f"up to {hottest / regimen.fractions[1]:.1f} Gy per fraction: above 18 Gy the model overstates the effect"
        )
    return said


_REGIMENS = Kind("regimen table", "")


@cache
def _file() -> _File:
    origin = "protocols/regimens.toml"
    raw = parsed(files(__package__).joinpath("regimens.toml").read_bytes(), origin)
    try:
        return _File.model_validate(raw)
    except ValidationError as error:
        raise invalid(_REGIMENS, origin, faults_of(error, raw, _File)) from error
