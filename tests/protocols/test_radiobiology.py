"""BED and EQD2 against published conversions and an independent computation."""

import numpy as np
import pytest

from protocols import ProtocolError, bed, eqd2, lq_validity

# Total Gy, fractions, BED10, EQD2_10: an independent stdlib computation of D (1 + d / 10), printed to 0.1 Gy;
# the rows agree with the BED10 that the trials print (van der Pool 2010 112.5, Rusthoven 2009 180, Rule 2011
# 100 and 132).
SCHEMES = [
    (26, 1, 93.6, 78.0), (30, 1, 120.0, 100.0), (35, 1, 157.5, 131.2), (40, 1, 200.0, 166.7), (30, 3, 60.0,
    50.0), (37.5, 3, 84.4, 70.3), (45, 3, 112.5, 93.8), (54, 3, 151.2, 126.0), (60, 3, 180.0, 150.0), (75, 3,
    262.5, 218.8), (48, 4, 105.6, 88.0), (35, 5, 59.5, 49.6), (40, 5, 72.0, 60.0), (50, 5, 100.0, 83.3), (55,
    5, 115.5, 96.2), (60, 5, 132.0, 110.0), (42, 6, 71.4, 59.5), (54, 6, 102.6, 85.5), (60, 6, 120.0, 100.0),
    (60, 8, 105.0, 87.5), (60, 12, 90.0, 75.0),
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
