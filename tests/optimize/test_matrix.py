"""A matrix in the place of the operator, goals without a protocol, and what cannot stand in for either."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from dosecalc.beams import neighbouring_beamlets
from dosecalc.errors import InputError, UsageError
from optimize.escalate import escalate
from optimize.goals import DoseVolumeLimit, MeanLimit, Region, goals_from_regions
from optimize.matrix import MatrixInfluence, as_operator
from optimize.plain_goals import goals_from_limits
from optimize.planning import Plan
from optimize.room import spared_dose

SMALL = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.25, 0.0, 4.0], [0.0, 0.0, 0.0]])


class Verbs:
    """The least that can be optimised over."""

    shape = SMALL.shape

    def dose(self, fluence: np.ndarray) -> np.ndarray:
        return SMALL @ fluence

    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        return SMALL.T @ weights

    def rows(self, positions: np.ndarray) -> np.ndarray:
        return SMALL[positions]


@pytest.mark.parametrize(
    "given", [SMALL, SMALL.astype(np.float32), sparse.csc_matrix(SMALL), sparse.coo_array(SMALL), Verbs()]
)
def test_every_stand_in_has_the_dose_of_the_matrix(given: Any) -> None:
    operator = as_operator(given)
    x, w = np.array([0.5, 3.0, 2.0]), np.array([1.0, -2.0, 0.5, 7.0])
    assert operator.shape == (4, 3)
    np.testing.assert_allclose(operator.dose(x), SMALL @ x)
    np.testing.assert_allclose(operator.adjoint(w), SMALL.T @ w)
    np.testing.assert_allclose(operator.rows(np.array([2, 0])), SMALL[[2, 0]])
    part = operator.restricted_to(np.array([3, 2])).restricted_to(np.array([1]))
    assert part.shape == (1, 3)
    np.testing.assert_allclose(part.dose(x), SMALL[[2]] @ x)
    np.testing.assert_allclose(part.adjoint(np.array([2.0])), 2.0 * SMALL[2])
    np.testing.assert_allclose(part.at_reference().rows(np.array([0])), SMALL[[2]])


def test_rows_may_be_changed_without_changing_the_operator() -> None:
    """The optimiser scales rows in place."""

    class Views(Verbs):
        def rows(self, positions: np.ndarray) -> np.ndarray:
            return SMALL[positions[0] : positions[-1] + 1]

    for given in (SMALL, sparse.csr_array(SMALL), Views()):
        operator, before = as_operator(given), SMALL.copy()
        rows = operator.rows(np.array([0, 1]))
        rows *= 100.0
        np.testing.assert_array_equal(operator.rows(np.array([0, 1])), before[:2])


def test_products_are_in_double_precision() -> None:
    operator = MatrixInfluence(np.full((1, 4096), 0.1, np.float32))
    assert operator.dose(np.ones(4096))[0] == pytest.approx(4096 * float(np.float32(0.1)), rel=1e-14)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.where(SMALL == 2.0, -2.0, SMALL), "0 entries .* not finite and 1 are negative"),
        (np.where(SMALL == 2.0, np.nan, SMALL), "1 entries .* not finite and 0 are negative"),
        (np.where(SMALL == 2.0, np.inf, SMALL), "1 entries"),
        (SMALL.astype(np.int32), "dtype int32"),
        (SMALL.astype(complex), "dtype complex128"),
        (SMALL[0], r"shape \(3,\)"),
        (SMALL[:, :0], r"shape \(4, 0\)"),
    ],
    ids=["negative", "NaN", "infinite", "integers", "complex", "one dimension", "no beamlet"],
)
def test_what_is_no_dose_influence_matrix_is_refused(given: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        MatrixInfluence(given)


def test_damaged_indices_are_refused() -> None:
    matrix = sparse.csr_array(SMALL)
    matrix.indices[0] = 17
    with pytest.raises(InputError, match="indices of the dose-influence matrix are damaged"):
        MatrixInfluence(matrix)


@pytest.mark.parametrize("pairs", [[[0, 3]], [[-1, 0]], [[0, 1, 2]], [[0.0, 1.0]]])
def test_pairs_that_are_no_beamlets_are_refused(pairs: list[list[float]]) -> None:
    with pytest.raises(InputError, match="neighbours must be"):
        MatrixInfluence(SMALL, np.array(pairs))


def test_what_lacks_a_verb_is_refused_by_its_name() -> None:
    with pytest.raises(UsageError, match="str cannot be optimised over: it has no shape, dose, adjoint, rows"):
        as_operator("dij.mat")


def test_neighbours_share_an_edge_and_a_beam() -> None:
    # An L of three beamlets in any order, and a fourth in the same place of another beam.
    pairs = neighbouring_beamlets([1, 1, 0, 1], [0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, 5.0], 5.0)
    assert sorted(map(sorted, pairs.tolist())) == [[0, 1], [0, 3]]


@pytest.mark.parametrize(
    ("positions", "cc", "words"),
    [
        ([3, 1], [1.0, 1.0], "strictly ascending"),
        ([1, 1], [1.0, 1.0], "strictly ascending"),
        ([-1, 1], [1.0, 1.0], ">= 0"),
        ([True, False], [1.0, 1.0], "integer voxel positions"),
        ([1, 2], [1.0], "one volume in cc"),
        ([1, 2], [1.0, np.nan], "one volume in cc"),
    ],
)
def test_a_region_that_is_none_is_refused(positions: list[int], cc: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Region("Liver", np.array(positions), np.array(cc))


def test_regions_that_a_protocol_needs_are_asked_for(planned: Plan) -> None:
    one = Region("PTV", np.array([0]), np.array([1.0]))
    with pytest.raises(InputError, match=r"needs voxels of Body, .*Duodenum.*; given are PTV, PTV_opt\."):
        goals_from_regions(planned.protocol, {"PTV": one, "PTV_opt": one}, voxel_cc=1.0)


# A line of 40 voxels of 1 cc: the target in the middle, an organ beside it.
LINE = np.arange(40.0)
TARGET = Region("target", np.arange(15, 25), np.ones(10))
ORGAN = Region("organ", np.arange(26, 36), np.ones(10))


def gaussian_line() -> np.ndarray:
    """Beamlets every 2 voxels with a penumbra of 1.5 voxels, over a background of a tenth."""
    centres = np.arange(10.0, 31.0, 2.0)
    return np.exp(-0.5 * ((LINE[:, None] - centres) / 1.5) ** 2) + 0.1


def test_a_limit_on_the_mean_of_a_uniform_background_is_reached() -> None:
    """One beamlet with dose 1 in the target and 0.1 in the organ: a mean of 2 Gy allows 20 Gy."""
    matrix = np.where((LINE >= 15) & (LINE < 25), 1.0, 0.1)[:, None]
    goals = goals_from_limits(TARGET, [MeanLimit("organ_mean", True, ORGAN, 2.0)], target_gy=60.0, hot_spot_ratio=1.5)
    found = escalate(matrix, goals)
    assert found.prescription_gy == pytest.approx(20.0, rel=0.02)
    assert (matrix @ found.fluence)[ORGAN.positions].mean() <= 2.0


def test_limits_alone_are_kept_and_the_volume_that_may_exceed_is_used() -> None:
    matrix = gaussian_line()
    strict = DoseVolumeLimit("organ", True, ORGAN, 10.0, 0.0)
    raised = []
    for limit in (strict, dataclasses.replace(strict, spare_cc=1.5)):
        found = escalate(
            sparse.csr_array(matrix), goals_from_limits(TARGET, [limit], target_gy=60.0, hot_spot_ratio=1.5)
        )
        dose = matrix @ found.fluence
        assert ORGAN.cc[dose[ORGAN.positions] > 10.01].sum() <= limit.spare_cc
        raised.append(found.prescription_gy)
    assert raised[1] > 1.1 * raised[0]


def test_without_coordinates_voxels_beside_a_capped_organ_have_the_least_room() -> None:
    cap = np.full(40, np.inf)
    cap[ORGAN.positions] = 10.0
    room = spared_dose(as_operator(gaussian_line()), TARGET.positions, cap, 60.0)
    assert (np.diff(room[5:]) < 0).all()
    cap[20] = 30.0
    assert spared_dose(as_operator(gaussian_line()), TARGET.positions, cap, 60.0)[5] == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"floor_gy": 70.0}, "floor from 0 to the target dose"),
        ({"target_gy": 0.0}, "a target dose above 0"),
        ({"hot_spot_ratio": 1.0}, "hot-spot ratio above 1"),
    ],
)
def test_doses_out_of_order_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        goals_from_limits(TARGET, [], **{"target_gy": 60.0, "hot_spot_ratio": 1.5} | changes)


def test_an_empty_region_and_one_beyond_the_matrix_are_refused() -> None:
    nothing = Region("cord", np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(InputError, match="'cord' has no volume"):
        goals_from_limits(TARGET, [MeanLimit("m", True, nothing, 1.0)], target_gy=60.0, hot_spot_ratio=1.5)
    goals = goals_from_limits(TARGET, [], target_gy=60.0, hot_spot_ratio=1.5)
    with pytest.raises(InputError, match=r"region 'target' names voxel 24, the operator has 0\.\.19"):
        escalate(gaussian_line()[:20], goals)
    with pytest.raises(InputError, match=r"centres_mm must be \(40, 3\)"):
        escalate(gaussian_line(), dataclasses.replace(goals, centres_mm=np.zeros((39, 3))))
