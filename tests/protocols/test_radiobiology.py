"""BED, EQD2, LQ-L and USC against published conversions, an independent computation, and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import H460, ProtocolError, UniversalSurvival, bed, dose_of_bed, dose_of_eqd2, eqd2, lq_validity

# Total Gy, fractions, BED10, EQD2_10: an independent stdlib computation of D (1 + d / 10), printed to 0.1 Gy;
# the rows agree with the BED10 that the trials print (van der Pool 2010 112.5, Rusthoven 2009 180, Rule 2011
# 100 and 132).
SCHEMES = [
    (26, 1, 93.6, 78.0), (30, 1, 120.0, 100.0), (35, 1, 157.5, 131.2), (40, 1, 200.0, 166.7), (30, 3, 60.0,
    50.0), (37.5, 3, 84.4, 70.3), (45, 3, 112.5, 93.8), (54, 3, 151.2, 126.0), (60, 3, 180.0, 150.0), (75, 3,
    262.5, 218.8), (48, 4, 105.6, 88.0), (35, 5, 59.5, 49.6), (40, 5, 72.0, 60.0), (50, 5, 100.0, 83.3), (55,
    5, 115.5, 96.2), (60, 5, 132.0, 110.0), (42, 6, 71.4, 59.5), (54, 6, 102.6, 85.5), (60, 6, 120.0, 100.0),
    (60, 8, 105.0, 87.5), (60, 12, 90.0, 75.0), (46, 3, 116.5, 97.1), (48, 3, 124.8, 104.0), (52, 3, 142.1, 118.4),
]  # fmt: skip

# Mean liver dose, fractions, EQD2 at alpha/beta 2.5 Gy, from the same computation.
LIVER = [(15, 3, 25.0), (18.3, 5, 25.1), (20, 6, 25.9), (13, 3, 19.7), (18, 6, 22.0), (13, 5, 14.7)]


@pytest.mark.parametrize(("dose_gy", "fractions", "bed10", "eqd2_10"), SCHEMES)
def test_schemes_at_alpha_beta_ten(dose_gy: float, fractions: int, bed10: float, eqd2_10: float) -> None:
    # 157.5 / 1.2 = 131.25 prints as 131.2: half of the last digit is the tolerance.
    assert bed(dose_gy, fractions, 10.0) == pytest.approx(bed10, abs=0.0501)
    assert eqd2(dose_gy, fractions, 10.0) == pytest.approx(eqd2_10, abs=0.0501)


@pytest.mark.parametrize(("dose_gy", "fractions", "expected"), LIVER)
def test_liver_doses_at_alpha_beta_two_and_a_half(dose_gy: float, fractions: int, expected: float) -> None:
    assert eqd2(dose_gy, fractions, 2.5) == pytest.approx(expected, abs=0.0501)


def test_two_gy_fractions_are_their_own_equivalent() -> None:
    assert eqd2(60.0, 30, 10.0) == pytest.approx(60.0, rel=1e-15)


def test_many_small_fractions_approach_the_physical_dose() -> None:
    assert bed(60.0, 10**9, 10.0) == pytest.approx(60.0, rel=1e-6)


def test_arrays_are_converted_voxel_by_voxel() -> None:
    dose = np.array([[0.0, 45.0], [54.0, 60.0]])
    before = dose.copy()
    np.testing.assert_allclose(bed(dose, 3, 10.0), [[0.0, 112.5], [151.2, 180.0]], rtol=1e-14)
    np.testing.assert_array_equal(dose, before)


@pytest.mark.parametrize(
    ("dose_gy", "fractions", "word"), [(50, 5, "validated"), (54, 3, "plausible"), (60, 3, "beyond")]
)
def test_validity_follows_the_dose_per_fraction(dose_gy: float, fractions: int, word: str) -> None:
    assert lq_validity(dose_gy, fractions) == word


@pytest.mark.parametrize(("fractions", "alpha_beta"), [(0, 10.0), (-1, 10.0), (3, 0.0), (3, float("nan"))])
def test_impossible_fractionations_are_refused(fractions: int, alpha_beta: float) -> None:
    with pytest.raises(ProtocolError):
        bed(60.0, fractions, alpha_beta)


# Total Gy, fractions, LQ-L BED10 with the transition at 10 Gy, BED of the universal survival curve: an independent
# stdlib computation of the piecewise formulas, printed to 0.1 Gy.
LARGE_FRACTIONS = [
    (26, 1, 68.0, 58.7), (40, 1, 110.0, 92.6), (30, 3, 60.0, 59.6), (37.5, 3, 82.5, 77.8), (54, 3, 132.0, 117.8),
    (60, 3, 150.0, 132.4), (75, 3, 195.0, 168.7), (48, 4, 104.0, 98.9), (35, 5, 59.5, 63.0), (50, 5, 100.0, 99.4),
    (30, 1, 80.0, 68.4), (35, 1, 95.0, 80.5), (45, 3, 105.0, 96.0), (40, 5, 72.0, 75.2), (55, 5, 115.0, 111.5),
    (54, 6, 102.6, 104.7), (60, 5, 130.0, 123.6), (42, 6, 71.4, 75.6), (60, 6, 120.0, 119.3), (60, 8, 105.0, 110.5),
    (60, 12, 90.0, 94.9),
]  # fmt: skip


@pytest.mark.parametrize(("dose_gy", "fractions", "lql", "usc"), LARGE_FRACTIONS)
def test_straight_survival_at_large_fractions(dose_gy: float, fractions: int, lql: float, usc: float) -> None:
    assert bed(dose_gy, fractions, 10.0, transition_gy=10.0) == pytest.approx(lql, abs=0.0501)
    assert H460.bed(dose_gy, fractions) == pytest.approx(usc, abs=0.0501)


def test_the_universal_curve_has_the_published_beta() -> None:
    # Park et al. 2008 print beta 0.0383 / Gy^2 beside alpha and D0; the other two are of the same computation.
    assert H460.beta_per_gy2 == pytest.approx(0.0383, abs=1e-4)
    assert H460.transition_gy == pytest.approx(6.13, abs=0.005)
    assert H460.alpha_beta_gy == pytest.approx(8.60, abs=0.01)


@pytest.mark.parametrize(("dose_gy", "fractions"), [(60.0, 3), (40.0, 1), (20.0, 3)])
def test_the_universal_curve_is_its_own_formula(dose_gy: float, fractions: int) -> None:
    """Park's (D - n Dq) / (alpha D0) above the transition, where this code has a tangent to a parabola."""
    stated = (dose_gy - fractions * 1.8) / (0.33 * 1.25)
    assert H460.bed(dose_gy, fractions) == pytest.approx(stated, rel=1e-12)


def test_one_fraction_of_forty_against_five_of_twelve_is_ranked_both_ways() -> None:
    """200 against 132 Gy by the linear-quadratic model, 93 against 124 Gy by the universal curve."""
    assert bed(40.0, 1, 10.0) > bed(60.0, 5, 10.0)
    assert H460.bed(40.0, 1) < H460.bed(60.0, 5)


DOSE, FRACTIONS = st.floats(0.0, 200.0), st.integers(1, 40)
RATIO, TRANSITION = st.floats(0.5, 20.0), st.one_of(st.just(math.inf), st.floats(1.0, 20.0))


@given(DOSE, FRACTIONS, RATIO, TRANSITION)
def test_inverses_bring_the_dose_back(dose: float, fractions: int, ratio: float, transition: float) -> None:
    there = bed(dose, fractions, ratio, transition_gy=transition)
    assert dose_of_bed(there, fractions, ratio, transition_gy=transition) == pytest.approx(dose, rel=1e-9, abs=1e-12)
    equal = eqd2(dose, fractions, ratio, transition_gy=transition)
    assert dose_of_eqd2(equal, fractions, ratio, transition_gy=transition) == pytest.approx(dose, rel=1e-9, abs=1e-12)


@given(st.floats(0.0, 200.0), st.floats(0.01, 50.0), FRACTIONS, RATIO, TRANSITION)
def test_more_dose_has_more_effect_and_more_fractions_less(
    dose: float, more: float, fractions: int, ratio: float, transition: float
) -> None:
    def effect(gy: float, n: int) -> float:
        return bed(gy, n, ratio, transition_gy=transition)

    assert effect(dose + more, fractions) > effect(dose, fractions)
    assert effect(dose, fractions + 1) <= effect(dose, fractions) * (1 + 1e-12)
    assert dose * (1 - 1e-12) <= effect(dose, fractions) <= bed(dose, fractions, ratio) * (1 + 1e-12)


@given(FRACTIONS, RATIO, st.floats(1.0, 20.0))
def test_the_straight_part_is_the_tangent(fractions: int, ratio: float, transition: float) -> None:
    """No step and no kink at the transition; straight beyond it."""
    at, step = fractions * transition, fractions * transition * 1e-4

    def effect(gy: float) -> float:
        return bed(gy, fractions, ratio, transition_gy=transition)

    slope = 1 + 2 * transition / ratio
    assert effect(at) == pytest.approx(bed(at, fractions, ratio), rel=1e-12)
    assert (effect(at + step) - effect(at)) / step == pytest.approx(slope, rel=1e-6)
    assert (effect(at) - effect(at - step)) / step == pytest.approx(slope, rel=1e-3)
    assert effect(at + 2 * step) - effect(at + step) == pytest.approx(effect(at + step) - effect(at), rel=1e-6)


def test_inverses_convert_voxel_by_voxel() -> None:
    dose = np.array([[0.0, 12.0], [45.0, 60.0]])
    there = bed(dose, 3, 10.0, transition_gy=10.0)
    np.testing.assert_allclose(there, [[0.0, 16.8], [105.0, 150.0]], rtol=1e-14)
    np.testing.assert_allclose(dose_of_bed(there, 3, 10.0, transition_gy=10.0), dose, rtol=1e-12, atol=1e-12)


# Uniform liver dose whose EQD2 (2.5 Gy) is 32.67 Gy: fractions and Gy, from the independent computation.
@pytest.mark.parametrize(("fractions", "gy"), [(1, 10.9), (3, 17.6), (5, 21.6), (6, 23.1), (8, 25.7)])
def test_a_dose_of_equal_effect_in_other_fractions(fractions: int, gy: float) -> None:
    assert dose_of_eqd2(32.67, fractions, 2.5) == pytest.approx(gy, abs=0.0501)


@pytest.mark.parametrize("values", [(0.0, 1.25, 1.8), (0.33, -1.0, 1.8), (0.9, 1.25, 1.8), (0.33, 1.25, math.nan)])
def test_survival_curves_that_bend_upwards_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ProtocolError):
        UniversalSurvival(*values)


def test_impossible_inverses_are_refused() -> None:
    with pytest.raises(ProtocolError, match="negative"):
        dose_of_bed(np.array([1.0, -0.1]), 3, 10.0)
    with pytest.raises(ProtocolError, match="transition"):
        bed(60.0, 3, 10.0, transition_gy=0.0)
