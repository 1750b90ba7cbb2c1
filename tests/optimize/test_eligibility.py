"""The reviews' selection rules on anatomies of known size, distance and dose."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dosecalc import regions
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Occupancy, Structure, StructureSet
from optimize.eligibility import PatientFacts, eligibility
from optimize.eligibility_results import Eligibility, RuleResult
from protocols.eligibility import EligibilityRule, eligibility_rules

# 2.5 mm in plane, 3 mm between planes; a liver box of 144 x 120 x 72 mm has 1244 cc.
GRID = Grid((-98.75, -78.75, -46.5), (2.5, 2.5, 3.0), (32, 64, 80))
FLAT = Volume(GRID, np.full(GRID.shape, 5.0))


def box(name: str, low: tuple[float, float, float], high: tuple[float, float, float]) -> Structure:
    centres = GRID.centres_mm().reshape(*GRID.shape, 3)
    inside = ((centres > low) & (centres < high)).all(axis=-1)
    return Structure(name, "ORGAN", Occupancy(GRID, inside.astype(np.float32)))


def lesion(x: float, diameter: float = 20.0, name: str = "GTV") -> Structure:
    return regions.sphere((x, 0.0, 0.0), diameter, GRID, name=name, role="GTV")


LIVER = box("Liver-GTV", (-85.0, -60.0, -39.0), (60.0, 60.0, 33.0))
SMALL_LIVER = box("Liver-GTV", (-60.0, -45.0, -39.0), (40.0, 45.0, 33.0))  # 648 cc
# Its face lies at x = 30 mm: 20 mm from a lesion of 20 mm at the origin.
DUODENUM = box("Duodenum", (30.0, -10.0, -10.0), (45.0, 10.0, 10.0))


def judged(*structures: Structure, fractions: int = 5, dose: Volume = FLAT, **facts: bool) -> Eligibility:
    return eligibility(dose, StructureSet(structures), fractions, facts=PatientFacts(**facts))


def rule(found: Eligibility, rule_id: str) -> RuleResult:
    return next(row for row in found.rules if row.id == rule_id)


def test_a_small_single_lesion_in_a_large_liver_is_eligible() -> None:
    found = judged(lesion(0.0), LIVER, DUODENUM, chemotherapy=False, liver_function=True)
    assert (found.verdict, found.not_assessed) == ("eligible", 0)
    assert rule(found, "lesions_at_most_3").value == 1
    assert rule(found, "diameter_below_30mm").value == pytest.approx(20.0, abs=0.6)
    assert rule(found, "gut_beyond_10mm").value == pytest.approx(20.0, abs=0.6)
    assert "Duodenum" in rule(found, "gut_beyond_10mm").note and "Colon" in rule(found, "gut_beyond_10mm").note
    assert rule(found, "liver_above_1000cc").value == pytest.approx(LIVER.volume_cc)
    assert not any(row.id.startswith("single_fraction") for row in found.rules)


@pytest.mark.parametrize(
    ("count", "verdicts"),
    [(3, ("eligible",) * 3), (4, ("caution", "eligible", "eligible")), (5, ("caution", "caution", "eligible")),
     (6, ("caution", "caution", "excluded"))],
)  # fmt: skip
def test_lesions_are_counted(count: int, verdicts: tuple[str, ...]) -> None:
    gtvs = [lesion(-80.0 + 30.0 * k, 15.0, f"GTV{k}") for k in range(count)]
    found = judged(*gtvs)
    rows = [rule(found, f"lesions_{name}") for name in ("at_most_3", "below_5", "at_most_5")]
    assert [row.value for row in rows] == [count] * 3
    assert tuple(row.verdict for row in rows) == verdicts


def test_lesions_of_one_structure_are_counted_and_touching_ones_are_one() -> None:
    both = regions.union("GTV", GRID, lesion(-40.0), lesion(40.0), role="GTV")
    assert rule(judged(both), "lesions_at_most_3").value == 2
    touching = judged(lesion(0.0, name="GTV1"), lesion(18.0, name="GTV2"))
    assert rule(touching, "lesions_at_most_3").value == 1
    assert rule(touching, "diameter_below_30mm").value == pytest.approx(38.0, abs=0.6)


def around(gtv: Structure, name: str = "PTV", margin: float = 6.0) -> Structure:
    return regions.grow(gtv, margin, GRID, name=name, role="PTV")


def test_size_and_distances_are_those_of_the_lesions_treated_and_others_are_counted_and_named() -> None:
    """The drawn GTV that is no target has 38 mm and comes within 3 mm of the duodenum, at x = 30 mm."""
    target, given = lesion(-60.0, 16.0), lesion(8.0, 38.0, "GTV_given")
    found = judged(target, given, around(target), around(given, "PTV_given"), DUODENUM)
    size, gut, number = (rule(found, name) for name in ("diameter_below_30mm", "gut_beyond_10mm", "lesions_below_5"))
    assert (size.value, size.verdict) == (pytest.approx(16.0, abs=0.6), "eligible")
    assert (gut.value, gut.verdict) == (pytest.approx(82.0, abs=0.6), "eligible")
    assert number.value == 2
    assert size.note == "left out, as not treated: GTV_given"
    assert gut.note.startswith("to Duodenum") and "left out, as not treated: GTV_given" in gut.note
    assert "counted, though not treated: GTV_given" in number.note


def test_every_lesion_in_the_ptv_is_treated_whatever_its_name() -> None:
    """A drawn GTV inside the treated one, and a PTV that is cropped from the gut, as PTV_opt is."""
    target, given = lesion(8.0, 38.0), lesion(8.0, 30.0, "GTV_given")
    cropped = regions.minus(
        "PTV", GRID, around(target), box("PRV", (20.0, -50.0, -46.0), (60.0, 50.0, 46.0)), role="PTV"
    )
    found = judged(target, given, cropped, DUODENUM)
    assert rule(found, "diameter_below_30mm").value == pytest.approx(38.0, abs=0.6)
    assert rule(found, "gut_beyond_10mm").value == pytest.approx(3.0, abs=0.6)
    assert not any("treated" in row.note for row in found.rules)


def test_of_one_structure_with_two_lesions_only_the_treated_one_is_measured() -> None:
    small, large = lesion(-60.0, 16.0), lesion(20.0, 38.0)
    both = regions.union("GTV", GRID, small, large, role="GTV")
    size = rule(judged(both, around(small)), "diameter_below_30mm")
    assert (size.value, size.note) == (pytest.approx(16.0, abs=0.6), "left out, as not treated: a part of GTV")


def test_without_a_gtv_in_the_ptv_neither_size_nor_distance_is_assessed() -> None:
    found = judged(lesion(8.0, 38.0, "GTV_given"), around(lesion(-60.0)), DUODENUM)
    for name in ("diameter_below_30mm", "gut_beyond_10mm"):
        assert rule(found, name).verdict == "not assessed"
        assert rule(found, name).note.startswith("no GTV lies in the PTV; not treated: GTV_given")
    assert rule(found, "lesions_below_5").value == 1


def test_an_untreated_lesion_that_the_scan_cuts_hides_nothing_of_the_treated_one() -> None:
    target, given = lesion(-60.0, 16.0), lesion(20.0, 38.0, "GTV_given")
    everything = StructureSet((target, given, around(target)))
    found = eligibility(FLAT, everything, 5, cut_structures=("GTV_given",))
    assert rule(found, "diameter_below_30mm").value == pytest.approx(16.0, abs=0.6)
    assert rule(found, "lesions_below_5").verdict == "not assessed"


@pytest.mark.parametrize(
    ("diameter", "favourable", "upper", "single"),
    [(28.0, "eligible", "eligible", "eligible"), (45.0, "caution", "eligible", "eligible"),
     (55.0, "caution", "eligible", "excluded"), (64.0, "caution", "excluded", "excluded")],
)  # fmt: skip
def test_size(diameter: float, favourable: str, upper: str, single: str) -> None:
    found = judged(lesion(0.0, diameter), fractions=1)
    assert rule(found, "diameter_below_30mm").verdict == favourable
    assert rule(found, "diameter_at_most_60mm").verdict == upper
    assert rule(found, "single_fraction_below_50mm").verdict == single


def test_a_single_fraction_at_the_porta_hepatis() -> None:
    vein = box("V", (0.0, -5.0, -5.0), (40.0, 5.0, 5.0))
    tract = regions.grow(vein, 15.0, GRID, name="cHBT_15mm")
    assert rule(judged(lesion(0.0), tract, fractions=1), "single_fraction_porta_hepatis").verdict == "excluded"
    away = rule(judged(lesion(-50.0), tract, fractions=1), "single_fraction_porta_hepatis")
    assert (away.verdict, away.value) == ("eligible", pytest.approx(25.0, abs=0.7))
    assert rule(judged(lesion(0.0), fractions=1), "single_fraction_porta_hepatis").verdict == "not assessed"


def test_a_small_liver_is_excluded_and_a_cut_one_not_assessed() -> None:
    found = judged(lesion(0.0), SMALL_LIVER)
    assert found.verdict == "excluded"
    assert rule(found, "liver_at_least_700cc").verdict == "excluded"
    cut = eligibility(FLAT, StructureSet((lesion(0.0), SMALL_LIVER)), 5, cut_structures=("Liver-GTV",))
    assert rule(cut, "liver_at_least_700cc").verdict == "not assessed"
    assert "lower bound" in rule(cut, "liver_at_least_700cc").note
    whole = eligibility(FLAT, StructureSet((lesion(0.0), LIVER)), 5, cut_structures=("Liver-GTV",))
    assert rule(whole, "liver_above_1000cc").verdict == "eligible"


@pytest.mark.parametrize(
    ("fractions", "gy", "rule_id", "verdict"),
    [
        (3, 14.9, "liver_700cc_below_15gy", "eligible"),
        (3, 15.1, "liver_700cc_below_15gy", "excluded"),
        # 15 Gy in 3 fractions has BED2.5 45 Gy, as 18.3 Gy in 5 fractions.
        (5, 18.2, "liver_700cc_iso_effective", "eligible"),
        (5, 18.4, "liver_700cc_iso_effective", "caution"),
    ],
)
def test_liver_that_is_spared(fractions: int, gy: float, rule_id: str, verdict: str) -> None:
    found = judged(lesion(0.0), LIVER, fractions=fractions, dose=Volume(GRID, np.full(GRID.shape, gy)))
    assert rule(found, rule_id).verdict == verdict
    ours = {"liver_700cc_below_15gy", "liver_700cc_iso_effective"}
    assert {row.id for row in found.rules} & ours == {rule_id}


@pytest.mark.parametrize(("gap", "verdict"), [(8.0, "caution"), (12.0, "eligible")])
def test_distance_to_the_gut(gap: float, verdict: str) -> None:
    found = rule(judged(lesion(20.0 - gap), DUODENUM), "gut_beyond_10mm")
    assert found.verdict == verdict
    assert found.value == pytest.approx(gap, abs=0.7)


def test_chemotherapy_switches_to_stricter_limits() -> None:
    at_14 = Volume(GRID, np.full(GRID.shape, 14.0))
    plain = judged(lesion(0.0), LIVER, fractions=3, dose=at_14, chemotherapy=False)
    assert rule(plain, "chemotherapy").verdict == "eligible"
    assert not any(row.id.startswith("chemotherapy_mean") for row in plain.rules)
    after = judged(lesion(0.0), LIVER, fractions=3, dose=at_14, chemotherapy=True)
    assert rule(after, "chemotherapy").verdict == "caution"
    assert rule(after, "chemotherapy_mean_3fx").verdict == "excluded"
    other = judged(lesion(0.0), LIVER, fractions=8, chemotherapy=True)
    assert "no stricter limit" in rule(other, "chemotherapy").note


def test_nothing_is_assumed_where_nobody_said() -> None:
    found = judged(lesion(0.0), LIVER, DUODENUM)
    assert {row.id for row in found.rules if row.verdict == "not assessed"} == {"chemotherapy", "liver_function"}
    assert found.not_assessed == 2 and found.verdict == "eligible"
    assert judged(lesion(0.0), LIVER, liver_function=False).verdict == "excluded"
    nothing = judged()
    assert nothing.verdict == "not assessed" and nothing.not_assessed == len(nothing.rules)


def test_every_rule_is_whole_and_sourced() -> None:
    rules = eligibility_rules().rules
    assert len({row.id for row in rules}) == len(rules)
    assert all(row.source.startswith(("project review document", "Miften", "ladder")) for row in rules)
    with pytest.raises(ValidationError, match="either a fact"):
        EligibilityRule(id="x", rule="x", broken="caution", source="x", status="SEED", measure="gut_mm")


def test_a_quoted_rule_states_its_own_limit_and_others_are_said_to_be_in_our_words() -> None:
    """The words of the publication hold the number that the rule compares with, in cm where they count so."""
    words = {5: "five"}
    for one in eligibility_rules().rules:
        if one.quote and one.limit is not None:
            forms = (f"{one.limit:g}", f"{one.limit / 10:g} cm", words.get(one.limit, "no"))
            assert any(form in one.quote for form in forms), one.id
            assert one.dose_gy is None or f"<{one.dose_gy:g} Gy" in one.quote
    found = judged(lesion(0.0), LIVER, DUODENUM)
    assert rule(found, "lesions_at_most_3").cited.startswith("“No more than 3 liver lesions” (Scorsetti et al.")
    assert rule(found, "gut_beyond_10mm").cited == "in our words"
    with pytest.raises(ValidationError, match="where it was read"):
        EligibilityRule.model_validate(eligibility_rules().rules[0].model_dump() | {"quoted_from": ""})
