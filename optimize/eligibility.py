"""The reviews' selection rules, held against contours, dose and what the user stated."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dosecalc import margins
from dosecalc.grid import Grid, Volume
from dosecalc.regions import shares
from dosecalc.structures import Structure, StructureSet
from protocols import bed, dose_of_bed
from protocols.eligibility import UNITS, EligibilityRule, eligibility_rules
from protocols.tissues import AlphaBeta, alpha_beta_of

from .eligibility_results import Eligibility, RuleResult
from .lesions import Tumour, separate, tumour_on
from .metrics import mean_dose, volume_below
from .regions import Region, regions_on

GUT = ("Stomach", "Duodenum", "Bowel_Small", "Colon", "Esophagus")
LIVER, CENTRAL_TRACT = "Liver-GTV", "cHBT_15mm"
_USED = (*GUT, LIVER, CENTRAL_TRACT)
_OF_TREATED = ("diameter_mm", "gut_mm", "central_tract_mm")
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
        With GTVs and PTVs by role (or the names "GTV" and "PTV"), and organs by TG-263 name. Size and distances are
        those of lesions of which at least half lies in the PTV; the others are counted only, and named.
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
    used = structures.without(s.name for s in structures if s.name not in _USED and not _is_gtv(s) and not _is_ptv(s))
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


def _is_ptv(structure: Structure) -> bool:
    return "PTV" in (structure.role, structure.name)


def _of_tumour(dose: Volume, structures: StructureSet, regions: dict[str, Region]) -> dict[str, _Answer]:
    """Number of lesions, and size of those that are treated, with their distances to gut and central tract."""
    gtvs = [s for s in structures if _is_gtv(s) and s.name in regions]
    if not gtvs:
        return dict.fromkeys(("lesions", *_OF_TREATED), _Answer(None, "there is no GTV"))
    tumour = tumour_on(dose.grid, gtvs, regions.get("PTV"))
    number = _cut([s.name for s in gtvs], regions) or _number(tumour)
    return {"lesions": number} | _of_treated(tumour, dose.grid, structures, regions)


def _cut(gtvs: Iterable[str], regions: dict[str, Region]) -> _Answer | None:
    cut = [name for name in gtvs if regions[name].cut_by]
    return _Answer(None, f"{regions[cut[0]].cut_by} cuts {cut[0]}") if cut else None


def _number(tumour: Tumour) -> _Answer:
    also = f"; counted, though not treated: {', '.join(tumour.untreated)}" if tumour.untreated else ""
    return _Answer(float(len(separate(tumour.known))), f"lesions that touch count as one{also}")


def _of_treated(tumour: Tumour, grid: Grid, structures: StructureSet, regions: dict[str, Region]) -> dict[str, _Answer]:
    """Size of the lesions that are treated, and their distances; the others are named, not measured."""
    if not tumour.treated_in:
        none_is = f"no GTV lies in the PTV; not treated: {', '.join(tumour.untreated)}"
        return dict.fromkeys(_OF_TREATED, _Answer(None, none_is))
    if cut := _cut(tumour.treated_in, regions):
        return dict.fromkeys(_OF_TREATED, cut)
    distance = {
        name: margins.least_distance(tumour.treated, shares(structures[name], grid), grid)
        for name in (*GUT, CENTRAL_TRACT)
        if name in regions
    }
    uncontoured = "" if CENTRAL_TRACT in distance else f"{CENTRAL_TRACT} is not contoured"
    answers = {
        "diameter_mm": _Answer(max(margins.greatest_extent(lesion, grid) for lesion in separate(tumour.treated))),
        "gut_mm": _gut({name: mm for name, mm in distance.items() if name in GUT}),
        "central_tract_mm": _Answer(distance.get(CENTRAL_TRACT), uncontoured),
    }
    without = f"left out, as not treated: {', '.join(tumour.untreated)}" if tumour.untreated else ""
    return {
        measure: replace(answer, note="; ".join(text for text in (answer.note, without) if text))
        for measure, answer in answers.items()
    }


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
