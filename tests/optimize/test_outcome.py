"""Published outcome models against an independent computation, the numbers they were published with, and laws."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dosecalc.errors import InputError, UsageError
from optimize.geud import geud
from optimize.organ_risk import (
    effective_volume_pct,
    lyman_dose,
    lyman_eud,
    lyman_probability,
    mean_probability,
)
from optimize.outcome import outcome
from optimize.outcome_results import ModelResult, Outcome, percent_words, whole_percent
from optimize.regions import Region
from optimize.tumour_control import control_probability
from protocols import LQ, LQL, bed, dose_of_bed, eqd2, outcome_models
from protocols.outcome_models import Lyman
from protocols.tissues import AlphaBeta

MODELS = {model.id: model for model in outcome_models().models}
METASTASES, PRIMARY = MODELS["liver_lkb_metastases"], MODELS["liver_lkb_primary"]


def region(name: str, *parts: tuple[float, float], cut_by: str = "") -> Region:
    """A structure of parts (Gy, cc), hottest first."""
    ordered = sorted(parts, reverse=True)
    dose, cc = (np.array(values, dtype=float) for values in zip(*ordered, strict=True))
    return Region(name, np.arange(dose.size), dose, cc, cut_by)


def liver(*parts: tuple[float, float], cut_by: str = "") -> Region:
    return region("Liver-GTV", *parts, cut_by=cut_by)


def found(result: Outcome, model: str) -> ModelResult:
    return next(row for row in result.models if row.id == model)


# --- gEUD ---

DOSES = arrays(float, 6, elements=st.floats(0.1, 90.0))


@given(DOSES, st.floats(-20.0, 20.0).filter(lambda a: abs(a) > 0.05), st.floats(0.1, 3.0))
def test_geud_is_a_power_mean(dose: np.ndarray, a: float, factor: float) -> None:
    cc = np.linspace(0.5, 2.0, dose.size)
    value = geud(dose, cc, a)
    assert dose.min() * (1 - 1e-9) <= value <= dose.max() * (1 + 1e-9)
    assert geud(factor * dose, cc, a) == pytest.approx(factor * value, rel=1e-9)
    assert geud(dose, cc, a + 0.01 if abs(a + 0.01) > 0.01 else 0.05) >= value * (1 - 1e-9)


def test_geud_has_its_known_limits() -> None:
    dose, cc = np.array([10.0, 20.0, 60.0]), np.array([2.0, 1.0, 1.0])
    assert geud(dose, cc, 1.0) == pytest.approx(25.0)
    assert geud(dose, cc, 2.0) == pytest.approx(math.sqrt((2 * 100 + 400 + 3600) / 4))
    assert geud(dose, cc, 2000.0) == pytest.approx(60.0, rel=1e-3)
    assert geud(dose, cc, -2000.0) == pytest.approx(10.0, rel=1e-3)
    assert geud(np.array([0.0, 20.0]), np.ones(2), -5.0) == 0.0
    with pytest.raises(InputError, match="not 0"):
        geud(dose, cc, 0.0)


# --- liver ---


def test_the_liver_curve_in_fractions_of_two_gy() -> None:
    # One clinic's program stores 35.4 Gy for the 39.8 Gy of the paper; both from the independent computation.
    assert METASTASES.td50_eqd2_gy(2.5) == pytest.approx(40.71, abs=0.005)
    assert PRIMARY.td50_eqd2_gy(2.5) == pytest.approx(35.38, abs=0.005)


@pytest.mark.parametrize(
    ("risk", "metastases", "primary"), [(0.05, 32.67, 28.40), (0.10, 34.45, 29.94), (0.20, 36.60, 31.81)]
)
def test_doses_at_a_risk(risk: float, metastases: float, primary: float) -> None:
    for model, expected in ((METASTASES, metastases), (PRIMARY, primary)):
        dose = lyman_dose(risk, model.td50_eqd2_gy(2.5), model.m)
        assert dose == pytest.approx(expected, abs=0.0101)
        assert lyman_probability(dose, model.td50_eqd2_gy(2.5), model.m) == pytest.approx(risk, rel=1e-9)


@pytest.mark.parametrize(
    ("dose_gy", "fractions", "metastases", "primary"),
    [
        (15.0, 3, 0.0007, 0.0072),
        (18.3, 5, 0.0007, 0.0075),
        (20.0, 6, 0.0012, 0.0130),
        (13.0, 3, 0.0, 0.0001),
        (18.0, 6, 0.0001, 0.0008),
    ],
)
def test_uniform_livers_at_the_mean_dose_limits(
    dose_gy: float, fractions: int, metastases: float, primary: float
) -> None:
    for model, expected in ((METASTASES, metastases), (PRIMARY, primary)):
        eud = lyman_eud(model, liver((dose_gy, 1200.0)), fractions, LQ, 2.5)
        assert lyman_probability(eud, model.td50_eqd2_gy(2.5), model.m) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("shares", "mean", "mean_eqd2", "risk"),
    [((0.15, 0.20, 0.65), 14.0, 37.4, 0.2495), ((0.10, 0.20, 0.70), 12.0, 28.9, 0.0078)],
)
def test_hot_voxels_are_converted_before_they_are_averaged(
    shares: tuple[float, ...], mean: float, mean_eqd2: float, risk: float
) -> None:
    """45, 20 and 5 Gy in 3 fractions: the mean dose passes 15 Gy in both, the risk differs by a factor of 30."""
    dose, cc = np.array([45.0, 20.0, 5.0]), np.array(shares)
    assert np.average(dose, weights=cc) == pytest.approx(mean, abs=0.0501)
    assert geud(eqd2(dose, 3, 2.5), cc, 1.0) == pytest.approx(mean_eqd2, abs=0.0501)
    # The independent computation has a volume effect of 1 and TD50 rounded to 40.71 Gy.
    assert lyman_probability(geud(eqd2(dose, 3, 2.5), cc, 1.0), 40.71, 0.12) == pytest.approx(risk, abs=5e-5)
    whole = lyman_eud(METASTASES, liver(*zip(dose, cc, strict=True)), 3, LQ, 2.5)
    after = eqd2(geud(dose, cc, 1 / 0.97), 3, 2.5)
    assert whole > after


@pytest.mark.parametrize(("mean", "risk"), [(13, 0.0523), (15, 0.0661), (18, 0.0916), (20, 0.1124)])
def test_the_probit_of_the_mean_dose(mean: float, risk: float) -> None:
    assert mean_probability(mean, MODELS["liver_hytec_probit"]) == pytest.approx(risk, abs=5e-5)


def test_either_liver_test_may_come_first() -> None:
    """A few hot voxels bring the risk first, a uniform dose the mean dose."""
    hot = outcome({"Liver-GTV": liver((45.0, 150.0), (20.0, 200.0), (5.0, 650.0))}, 54.0, 3)
    even = outcome({"Liver-GTV": liver((12.0, 1000.0))}, 54.0, 3)
    first = [result.liver_room[0].test for result in (hot, even)]
    assert first[0].startswith("Liver NTCP") and first[1].startswith("Mean liver dose")
    metastases = [row for row in hot.liver_room if row.test == "Liver NTCP, metastases (LKB), 5 %"]
    assert [row.conversion for row in metastases] == ["LQ", "LQ-L"]
    for row, conversion in zip(metastases, (LQ, LQL), strict=True):
        scaled = liver((45.0 * row.factor, 150.0), (20.0 * row.factor, 200.0), (5.0 * row.factor, 650.0))
        assert lyman_eud(METASTASES, scaled, 3, conversion, 2.5) == pytest.approx(32.67, abs=0.0101)
    mean = next(row for row in hot.liver_room if row.test.startswith("Mean liver dose, metastases"))
    assert mean.factor == pytest.approx(15.0 / 14.0)


@pytest.mark.parametrize(("fractions", "gy"), [(1, 10.9), (3, 17.8), (5, 22.0), (6, 23.7), (8, 26.5)])
def test_focal_loss_begins_at_the_published_dose(fractions: int, gy: float) -> None:
    assert dose_of_bed(MODELS["liver_focal_normal"].bed_gy, fractions, 2.0) == pytest.approx(gy, abs=0.0501)
    parts = ((gy + 0.1, 30.0), (gy - 0.1, 900.0))
    row = found(outcome({"Liver-GTV": liver(*parts)}, 50.0, fractions), "liver_focal_normal")
    assert [v.value for v in row.values if v.conversion == "LQ"] == [30.0]


@pytest.mark.parametrize(
    ("mean_pct", "says"),
    [
        (20.0, "up to 50 Gy"),
        (27.0, "up to 45 Gy"),
        (33.0, "up to 40 Gy"),
        (60.0, "up to 27.5 Gy"),
        (70.0, "ineligible"),
    ],
)
def test_the_ladder_by_effective_volume(mean_pct: float, says: str) -> None:
    organ = liver((50.0, mean_pct), (0.0, 100.0 - mean_pct))
    assert effective_volume_pct(organ, 50.0, 1.0) == pytest.approx(mean_pct)
    assert effective_volume_pct(liver((25.0, 10.0)), 50.0, 0.5) == pytest.approx(25.0)
    row = found(outcome({"Liver-GTV": organ}, 50.0, 5), "liver_ladder")
    assert row.values[0].says.startswith(says)
    assert "made for 5" in found(outcome({"Liver-GTV": organ}, 50.0, 3), "liver_ladder").note


@pytest.mark.parametrize(("fractions", "bed10", "gy"), [(3, 72.0, 33.8), (3, 66.0, 32.0), (5, 72.0, 40.0)])
def test_biliary_thresholds_are_the_printed_doses(fractions: int, bed10: float, gy: float) -> None:
    assert dose_of_bed(bed10, fractions, 10.0) == pytest.approx(gy, abs=0.0501)
    tract = region("cHBT_15mm", (gy + 0.1, 22.0), (10.0, 50.0))
    row = found(outcome({"cHBT_15mm": tract}, 50.0, fractions), f"biliary_osmundson_{bed10:.0f}")
    assert row.values[0].value == 22.0
    assert row.values[0].says == ("beyond 21 cc" if bed10 == 72 else "within 24 cc")


def test_what_cannot_be_said_is_not_said() -> None:
    result = outcome({"Liver-GTV": liver((15.0, 900.0), cut_by="the scan")}, 50.0, 5)
    assert found(result, "liver_lkb_metastases").note == "NOT ASSESSED: the scan cuts the organ"
    assert "a lower bound" in found(result, "liver_focal_normal").values[0].note
    assert found(result, "stomach_lkb").note == "NOT ASSESSED: not contoured"
    assert "3 and 6 fractions only" in found(result, "liver_mean_metastases").note
    assert result.liver_room == ()
    assert {row.basis for row in result.control} == {"edge"}
    undosed = outcome({"Liver-GTV": liver((0.0, 900.0))}, 0.0, 5)
    assert undosed.doses == undosed.control == undosed.liver_room == ()


# --- tumour ---

# Total Gy, fractions, local control by the HyTEC logistic at 2 years and by the colorectal logistic at 6 months: the
# independent computation, printed to three digits; inside the data of the first.
CONTROL = [
    (26, 1, 0.741, 0.669), (30, 1, 0.803, 0.933), (40, 1, 0.923, 1.000), (30, 3, 0.644, 0.147), (37.5, 3, 0.716, 0.507),
    (45, 3, 0.787, 0.890), (54, 3, 0.861, 0.993), (60, 3, 0.902, 0.999), (40, 5, 0.681, 0.293), (50, 5, 0.757, 0.763),
    (60, 5, 0.827, 0.971), (54, 6, 0.763, 0.796), (60, 8, 0.769, 0.823), (60, 12, 0.731, 0.608),
    (35, 1, 0.871, 0.995), (48, 4, 0.770, 0.829), (35, 5, 0.643, 0.143), (55, 5, 0.793, 0.909), (42, 6, 0.679, 0.284),
    (60, 6, 0.803, 0.933),
]  # fmt: skip


@pytest.mark.parametrize(("dose_gy", "fractions", "hytec", "colorectal"), CONTROL)
def test_control_curves(dose_gy: float, fractions: int, hytec: float, colorectal: float) -> None:
    biological = bed(dose_gy, fractions, 10.0)
    assert control_probability(MODELS["control_hytec"], biological) == (pytest.approx(hytec, abs=5.01e-4), False)
    found_colorectal, _ = control_probability(MODELS["control_colorectal"], biological)
    assert found_colorectal == pytest.approx(colorectal, abs=5.01e-4)


def test_the_published_curve_is_held_at_the_ends_of_its_data() -> None:
    curve = MODELS["control_hytec"]
    for outside, end in ((0.0, 40.0), (262.5, 200.0)):
        assert control_probability(curve, outside) == (control_probability(curve, end)[0], True)
    # The bare equation: 0.446 at no dose, 90 % at 179 Gy.
    assert 1 / (1 + math.exp(curve.d50_gy / curve.slope_gy)) == pytest.approx(0.446, abs=5e-4)
    assert control_probability(curve, 179.0)[0] == pytest.approx(0.90, abs=1e-3)
    assert MODELS["control_colorectal"].slope_gy == pytest.approx(11.378, abs=5e-4)


@pytest.mark.parametrize(("dose_gy", "fractions", "spread"), [(40, 5, 0.39), (37.5, 3, 0.21), (54, 6, 0.03)])
def test_the_curves_disagree_as_far_as_they_do(dose_gy: float, fractions: int, spread: float) -> None:
    biological = bed(dose_gy, fractions, 10.0)
    values = [control_probability(MODELS[name], biological)[0] for name in ("control_hytec", "control_colorectal")]
    assert abs(values[0] - values[1]) == pytest.approx(spread, abs=0.0051)


@given(st.floats(0.0, 300.0), st.floats(0.0, 50.0))
def test_more_dose_never_means_less_control_or_less_risk(dose: float, more: float) -> None:
    for name in ("control_hytec", "control_colorectal"):
        assert control_probability(MODELS[name], dose + more)[0] >= control_probability(MODELS[name], dose)[0]
    for conversion in (LQ, LQL):
        euds = [
            lyman_eud(METASTASES, liver((gy, 900.0), (0.1 * gy, 300.0)), 5, conversion, 2.5)
            for gy in (dose, dose + more)
        ]
        assert euds[1] >= euds[0] * (1 - 1e-12)


def test_control_is_a_range_in_whole_percent() -> None:
    gtv = region("GTV", (60.0, 5.0), (45.0, 5.0))
    result = outcome({"GTV": gtv}, 54.0, 3)
    ranges = {(row.basis, row.conversion): row for row in result.control}
    assert {basis for basis, _ in ranges} == {"edge", "GTV minimum", "GTV mean"}
    edge = ranges["edge", "LQ"]
    # BED10 151: 86 and 99 % by the curves, 93, 84 and 62 % in the strata.
    assert (edge.low_pct, edge.high_pct) == (62, 99)
    assert (edge.earliest_years, edge.latest_years) == (0.5, 3.0)
    assert "strata_rule" not in edge.models and "strata_joo" not in edge.models
    assert ranges["edge", "LQ-L"].high_pct <= edge.high_pct
    mean = next(row for row in result.doses if row.basis == "GTV mean")
    assert mean.dose_gy == pytest.approx(52.5)
    assert mean.lq_gy == pytest.approx((bed(60.0, 3, 10.0) + bed(45.0, 3, 10.0)) / 2)
    texts = [value.says for row in result.models for value in row.values if value.percent is not None]
    assert texts and not any("." in text for text in texts)


def test_several_lesions_are_told_one_by_one() -> None:
    """Each by its own dose, as if it were alone; the union is led by the colder one."""
    cold, hot = region("cold", (45.0, 5.0)), region("hot", (60.0, 5.0))
    both = region("GTV", (60.0, 5.0), (45.0, 5.0))
    result = outcome({"GTV": both, "cold": cold, "hot": hot}, 45.0, 3, lesions=("GTV", "cold", "hot"))
    assert [lesion.name for lesion in result.lesions] == ["cold", "hot"]
    for lesion, gtv in zip(result.lesions, (cold, hot), strict=True):
        alone = outcome({"GTV": dataclasses.replace(gtv, name="GTV")}, 45.0, 3)
        assert lesion.control == tuple(row for row in alone.control if row.basis != "edge")
    minimum = {row.conversion: row for row in result.control if row.basis == "GTV minimum"}
    assert minimum["LQ"] == next(row for row in result.lesions[0].control if row.basis == "GTV minimum")
    # One lesion says nothing more; nor do parts that leave out a lesion which bears the name of the union.
    assert outcome({"GTV": hot, "hot": hot}, 45.0, 3, lesions=("GTV", "hot")).lesions == ()
    third = region("GTV", (60.0, 5.0), (45.0, 5.0), (50.0, 5.0))
    assert outcome({"GTV": third, "cold": cold, "hot": hot}, 45.0, 3, lesions=("GTV", "cold", "hot")).lesions == ()
    cut = outcome({"cold": dataclasses.replace(cold, cut_by="the scan"), "hot": hot}, 45.0, 3, lesions=("cold", "hot"))
    assert (cut.lesions[0].control, cut.lesions[0].note) == ((), "the scan cuts it")


def test_a_stated_alpha_beta_is_told_beside_the_published_one() -> None:
    """16 Gy in 4 fractions to the whole liver: TD50 and dose are both converted at 4 Gy, so the risk hardly moves."""
    organ = {"Liver-GTV": liver((16.0, 1000.0))}
    stated = AlphaBeta(("Liver",), 4.0, "a test", "VERIFIED", "a test")
    before, after = (outcome(organ, 50.0, 4, alpha_beta=given) for given in ((), (stated,)))
    for old, new in zip(before.models, after.models, strict=True):
        told = [v for v in new.values if v.alpha_beta_gy == 4.0]
        assert new.values[: len(old.values)] == old.values
        assert bool(told) == (isinstance(MODELS[new.id], Lyman) and bool(old.values))
        for value in told:
            assert value.value == pytest.approx(16.0 * (4.0 + 4.0) / (2.0 + 4.0))


def test_doses_are_told_under_three_curves_with_their_validity() -> None:
    (edge,) = outcome({}, 60.0, 3).doses
    assert (edge.lq_gy, edge.lql_gy) == (pytest.approx(180.0), pytest.approx(150.0))
    assert edge.usc_gy == pytest.approx(132.4, abs=0.0501)
    assert (edge.per_fraction_gy, edge.validity) == (20.0, "beyond")


@pytest.mark.parametrize(
    ("dose_gy", "fractions", "says"), [(50.0, 5, "62 %"), (49.0, 5, None), (60.0, 8, None), (60.0, 3, "62 %")]
)
def test_strata_answer_in_their_own_range_only(dose_gy: float, fractions: int, says: str | None) -> None:
    row = found(outcome({}, dose_gy, fractions), "strata_doi")
    if says is None:
        assert "NOT ASSESSED" in row.note or all(v.conversion != "LQ" for v in row.values)
    else:
        assert row.values[0].says.startswith(says)


def test_a_minimum_of_the_gtv_is_held_against_its_threshold() -> None:
    row = found(outcome({"GTV": region("GTV", (60.0, 5.0), (47.0, 1.0))}, 54.0, 3), "threshold_gtv_minimum")
    assert row.values[0].value == pytest.approx(bed(47.0, 3, 10.0))
    assert row.values[0].says.startswith("at or above 120 Gy")
    assert row.values[0].percent is None


# --- scenarios ---


@pytest.mark.parametrize(
    ("name", "ratio"), [("kras", 2.76), ("kras_tp53", 4.34), ("ptv_10_to_100cc", 2.94), ("ptv_above_100cc", 16.01)]
)
def test_hazard_ratios(name: str, ratio: float) -> None:
    scenario = next(row for row in outcome_models().scenarios if row.id == name)
    assert scenario.hazard_ratio == pytest.approx(ratio, abs=0.0051)
    assert (scenario.reference_pct / 100) ** scenario.hazard_ratio == pytest.approx(scenario.pct / 100)


def test_scenarios_are_off_until_named() -> None:
    plain, named = outcome({}, 54.0, 3), outcome({}, 54.0, 3, scenarios=("kras",))
    assert plain.scenarios == () and {row.scenario for row in plain.control} == {""}
    assert named.control[: len(plain.control)] == plain.control
    under = [row for row in named.control if row.scenario == "KRAS mutated"]
    assert all(a.low_pct < b.low_pct for a, b in zip(under, plain.control, strict=True))
    assert "protons" in outcome_models().scenarios[0].population and "2.8" in named.scenarios[0]
    with pytest.raises(UsageError, match="kras_tp53"):
        outcome({}, 54.0, 3, scenarios=("krsa",))


# --- words and data ---


def test_no_certainty_is_printed() -> None:
    assert (percent_words(0.0), percent_words(1.0), percent_words(0.756)) == ("below 1 %", "above 99 %", "about 76 %")
    assert (whole_percent(0.0), whole_percent(1.0)) == (1, 99)


def test_every_model_says_what_it_rests_on() -> None:
    models = outcome_models()
    assert len({model.id for model in models.models}) == len(models.models)
    for model in (*models.models, *models.scenarios):
        assert model.source and model.population and model.endpoint
        if model.status in ("REMEMBERED", "COMPUTED"):
            assert model.caveat and not (getattr(model, "counted", False) and model.status == "REMEMBERED")


def test_nothing_pretends_to_predict_a_patient() -> None:
    assert "none of them predicts what happens to a patient" in outcome({}, 54.0, 3).statement
