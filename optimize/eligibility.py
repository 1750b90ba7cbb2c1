"""The reviews' selection rules, held against contours, dose and what the user stated."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dosecalc import margins
from dosecalc.grid import Volume
from dosecalc.regions import shares
from dosecalc.structures import Structure, StructureSet
from protocols import bed, dose_of_bed
from protocols.eligibility import UNITS, EligibilityRule, eligibility_rules
from protocols.tissues import AlphaBeta, alpha_beta_of

from .eligibility_results import Eligibility, RuleResult
from .metrics import mean_dose, volume_below
from .regions import Region, regions_on

GUT = ("Stomach", "Duodenum", "Bowel_Small", "Colon", "Esophagus")
LIVER, CENTRAL_TRACT = "Liver-GTV", "cHBT_15mm"
_USED = (*GUT, LIVER, CENTRAL_TRACT)
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ORDER = ("eligible", "caution", "excluded")


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """What the images do not show; None where nobody said.

    Attributes
    ----------
    chemotherapy : bool or None
        Chemotherapy that may have injured the liver.
    liver_function : bool or None
        True where it is adequate.
    """

    chemotherapy: bool | None = None
    liver_function: bool | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """A measured value, or None and the reason; a note in either case."""

    value: float | None
    note: str = ""
    lower_bound: bool = False


def eligibility(
    dose: Volume,
    structures: StructureSet,
    fractions: int,
    *,
    cut_structures: tuple[str, ...] = (),
    facts: PatientFacts | None = None,
    alpha_beta: tuple[AlphaBeta, ...] = (),
) -> Eligibility:
    """Every rule that speaks of this number of fractions, and the worst verdict.

    Parameters
    ----------
    dose : Volume
        Course-total Gy.
    structures : StructureSet
        With GTVs by role (or the name "GTV"), and organs by TG-263 name.
    fractions : int
    cut_structures : tuple of str
        As for `evaluate`.
    facts : PatientFacts, optional
        What the images do not show.
    alpha_beta : tuple of AlphaBeta
        Stated in the place of shipped ones.
    """
    known = facts or PatientFacts()
    asked = [
        rule
        for rule in eligibility_rules().rules
        if rule.holds_for(fractions) and (not rule.after_chemotherapy or known.chemotherapy)
    ]
    used = structures.without(s.name for s in structures if s.name not in _USED and not _is_gtv(s))
    regions = regions_on(dose, used, cut_structures)
    measured = _of_tumour(dose, used, regions) | _of_liver(regions.get(LIVER))
    stricter = any(rule.after_chemotherapy for rule in asked)
    spared = _Spared(regions.get(LIVER), fractions, alpha_beta_of(LIVER, alpha_beta).alpha_beta_gy)
    results = tuple(_apply(rule, known, measured, spared, stricter) for rule in asked)
    assessed = [result.verdict for result in results if result.verdict in _ORDER]
    worst = max(assessed, key=_ORDER.index, default="not assessed")
    return Eligibility(worst, len(results) - len(assessed), results)


def _is_gtv(structure: Structure) -> bool:
    return "GTV" in (structure.role, structure.name)


def _of_tumour(dose: Volume, structures: StructureSet, regions: dict[str, Region]) -> dict[str, _Answer]:
    """Number and size of lesions, and their distances to gut and central tract."""
    gtvs = [s for s in structures if _is_gtv(s) and s.name in regions]
    measures = ("lesions", "diameter_mm", "gut_mm", "central_tract_mm")
    if not gtvs:
        return dict.fromkeys(measures, _Answer(None, "there is no GTV"))
    if cut := [s.name for s in gtvs if regions[s.name].cut_by]:
        return dict.fromkeys(measures, _Answer(None, f"{regions[cut[0]].cut_by} cuts {cut[0]}"))
    grid = dose.grid
    tumour = np.maximum.reduce([shares(s, grid) for s in gtvs])
    lesions = _lesions(tumour)
    distance = {
        name: margins.least_distance(tumour, shares(structures[name], grid), grid)
        for name in (*GUT, CENTRAL_TRACT)
        if name in regions
    }
    return {
        "lesions": _Answer(float(len(lesions)), "lesions that touch count as one"),
        "diameter_mm": _Answer(max(margins.greatest_extent(lesion, grid) for lesion in lesions)),
        "gut_mm": _gut({name: mm for name, mm in distance.items() if name in GUT}),
        "central_tract_mm": _Answer(
            distance.get(CENTRAL_TRACT), "" if CENTRAL_TRACT in distance else f"{CENTRAL_TRACT} is not contoured"
        ),
    }


def _lesions(tumour: margins.Shares) -> list[margins.Shares]:
    """The separate pieces, each with the partial voxels around it; voxels that meet at a corner belong together."""
    corners = np.ones((3, 3, 3), dtype=bool)
    labels, count = ndimage.label(tumour >= 0.5, structure=corners)
    if count == 0:  # smaller than a voxel
        labels, count = ndimage.label(tumour > 0, structure=corners)
    return [np.where(ndimage.binary_dilation(labels == k, corners), tumour, 0.0) for k in range(1, count + 1)]


def _gut(distance: dict[str, float]) -> _Answer:
    if not distance:
        return _Answer(None, "no part of the gut is contoured")
    nearest = min(distance, key=lambda name: distance[name])
    absent = [name for name in GUT if name not in distance]
    note = f"to {nearest}" + (f"; not contoured: {', '.join(absent)}" if absent else "")
    return _Answer(distance[nearest], note)


def _of_liver(liver: Region | None) -> dict[str, _Answer]:
    if liver is None:
        return dict.fromkeys(("liver_cc", "liver_mean_gy"), _Answer(None, f"{LIVER} is not there"))
    if liver.cut_by:
        lower = _Answer(liver.total_cc, f"{liver.cut_by} cuts the liver: a lower bound", lower_bound=True)
        return {"liver_cc": lower, "liver_mean_gy": _Answer(None, f"{liver.cut_by} cuts the liver")}
    return {"liver_cc": _Answer(liver.total_cc), "liver_mean_gy": _Answer(mean_dose(liver.dose_gy, liver.cc))}


@dataclass(frozen=True, slots=True)
class _Spared:
    """Liver below a dose that was stated for another number of fractions, by equal BED."""

    liver: Region | None
    fractions: int
    alpha_beta_gy: float

    def __call__(self, rule: EligibilityRule) -> _Answer:
        liver = self.liver
        if liver is None:
            return _Answer(None, f"{LIVER} is not there")
        equal = bed(rule.dose_gy or 0.0, rule.dose_fractions or 1, self.alpha_beta_gy)
        below_gy = dose_of_bed(equal, self.fractions, self.alpha_beta_gy)
        note = f"below {below_gy:.1f} Gy in {self.fractions} fractions"
        if liver.cut_by:
            note += f"; {liver.cut_by} cuts the liver: a lower bound"
        return _Answer(volume_below(liver.dose_gy, liver.cc, below_gy), note, lower_bound=bool(liver.cut_by))


def _apply(
    rule: EligibilityRule,
    known: PatientFacts,
    measured: dict[str, _Answer],
    spared: _Spared,
    stricter: bool,
) -> RuleResult:
    if rule.fact is not None:
        return _stated(rule, known, stricter)
    answer = spared(rule) if rule.dose_gy is not None else measured[rule.measure or ""]
    if answer.value is None:
        return _result(rule, "not assessed", answer)
    kept = _COMPARE[rule.comparator or ""](answer.value, rule.limit or 0.0)
    if not kept and answer.lower_bound:
        return _result(rule, "not assessed", answer)
    return _result(rule, "eligible" if kept else rule.broken, answer)


def _stated(rule: EligibilityRule, known: PatientFacts, stricter: bool) -> RuleResult:
    """What only the user knows: nothing is assumed where nobody said."""
    if rule.fact == "chemotherapy":
        if known.chemotherapy is None:
            return _result(rule, "not assessed", _Answer(None, "not stated: --after-chemotherapy or --no-chemotherapy"))
        if not known.chemotherapy:
            return _result(rule, "eligible", _Answer(None, "stated: no chemotherapy"))
        limits = "see the stricter limits below" if stricter else "no stricter limit is at hand for these fractions"
        return _result(rule, rule.broken, _Answer(None, f"stated: chemotherapy; {limits}"))
    if known.liver_function is None:
        options = "--liver-function-adequate or --liver-function-impaired"
        return _result(rule, "not assessed", _Answer(None, f"not stated: {options}"))
    word = "adequate" if known.liver_function else "impaired"
    return _result(rule, "eligible" if known.liver_function else rule.broken, _Answer(None, f"stated: {word}"))


def _result(rule: EligibilityRule, verdict: str, answer: _Answer) -> RuleResult:
    return RuleResult(
        rule.id,
        rule.rule,
        answer.value,
        UNITS[rule.measure] if rule.measure else "",
        rule.comparator or "",
        rule.limit,
        verdict,
        "; ".join(text for text in (answer.note, rule.note) if text),
        rule.source,
        rule.status,
        rule.quote,
        rule.quoted_from,
    )
