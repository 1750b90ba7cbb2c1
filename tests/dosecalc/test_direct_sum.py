"""The direct sum of error functions against SciPy's error function, term by term as the dose model states it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from dosecalc.kernels import numba_kernels, numpy_kernels

SIGMA_MM = np.array([0.0, 1.5, 4.0, 15.0, 90.0, 320.0])
# Beamlets along one axis: centres and widths in mm.
LATTICES = {
    "touching": (np.arange(-6, 7) * 5.0, np.full(13, 5.0)),
    "a gap": (np.array([-20.0, -15.0, 10.0, 15.0]), np.full(4, 5.0)),
    "two widths": (np.array([-10.0, -5.0, -1.25, 1.25, 5.0]), np.array([5.0, 5.0, 2.5, 2.5, 5.0])),
    "overlapping": (np.array([-5.0, 0.0, 0.0, 4.0]), np.array([5.0, 2.5, 40.0, 5.0])),
    "one": (np.array([3.0]), np.array([7.0])),
    "many": (np.arange(27) * 2.5 - 30.0, np.full(27, 2.5)),
}


def blurred(t_mm: np.ndarray, centre_mm: np.ndarray, width_mm: np.ndarray) -> np.ndarray:
    """E_c(t) of every beamlet, (n, C, J): the equation of `dosecalc.pencil_beam`, beamlet by beamlet."""
    offset, half = t_mm[:, None, None] - centre_mm, width_mm / 2
    with np.errstate(divide="ignore"):
        scale = (1.0 / (np.sqrt(2.0) * SIGMA_MM))[:, None]
    with np.errstate(invalid="ignore"):
        return 0.5 * (erf((offset + half) * scale) - erf((offset - half) * scale))


def case(name: str) -> tuple[tuple, tuple, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Columns, rows, and voxels (u, v, weights) with a field: near, far and beyond the beamlets; some weights are 0."""
    rng, columns = np.random.default_rng(7), LATTICES[name]
    rows = LATTICES["two widths" if name == "touching" else "touching"]
    u, v = rng.normal(0.0, 60.0, 999), rng.normal(0.0, 60.0, 999)
    weights = rng.random((999, SIGMA_MM.size))
    weights[::3, -1], weights[::5, :] = 0.0, 0.0
    field = rng.random((len(rows[0]), len(columns[0])))
    return (*columns, SIGMA_MM), (*rows, SIGMA_MM), (u, v, weights, field)


@pytest.mark.parametrize("kernels", [numpy_kernels, numba_kernels], ids=["numpy", "numba"])
@pytest.mark.parametrize("name", LATTICES)
def test_dose_and_rows_term_by_term(name: str, kernels) -> None:
    columns, rows, (u, v, weights, field) = case(name)
    across, along = blurred(u, *columns[:2]), blurred(v, *rows[:2])
    pairs = np.einsum("nc,ncj,nck->njk", weights, along, across)
    expected = np.einsum("njk,jk->n", pairs, field)
    dose = kernels.direct_dose(u, v, weights, field, columns, rows)
    assert np.abs(dose - expected).max() <= 1e-13 * expected.max()
    row, column = (index.ravel() for index in np.indices(field.shape))
    result = np.empty((len(u), field.size))
    kernels.direct_rows(u, v, weights, columns, rows, row, column, np.full(field.size, 0.5), result)
    assert np.abs(result - 0.5 * pairs.reshape(len(u), -1)).max() <= 1e-13 * pairs.max()


def test_a_voxel_on_a_sharp_edge_sees_half_of_it() -> None:
    """A point source: what the sum of two signs gives, at the outermost edges too."""
    columns = (np.array([0.0]), np.array([10.0]), np.array([0.0]))
    u, ones = np.array([-5.0, -4.999, 0.0, 5.0, 5.001]), np.ones((5, 1))
    for kernels in (numpy_kernels, numba_kernels):
        dose = kernels.direct_dose(u, np.zeros(5), ones, np.ones((1, 1)), columns, columns)
        assert dose == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0], abs=2e-15)
