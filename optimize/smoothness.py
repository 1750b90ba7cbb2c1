"""Roughness of a fluence: differences between neighbouring beamlets of the same beam."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse


def neighbour_differences(neighbours: npt.NDArray[Any], beamlets: int) -> sparse.csr_array:
    """Matrix (n, B) that takes a fluence to the differences between neighbouring beamlets.

    Parameters
    ----------
    neighbours : (n, 2) int
        Pairs of beamlets that share an edge.
    beamlets : int
        Number of beamlets B.

    Returns
    -------
    scipy.sparse.csr_array
        One row per pair, +1 and -1.
    """
    count = len(neighbours)
    rows = np.arange(count)
    values = np.concatenate([np.ones(count), -np.ones(count)])
    return sparse.csr_array((values, (np.tile(rows, 2), neighbours.T.ravel())), shape=(count, beamlets))


def roughness(neighbours: npt.NDArray[Any], beamlets: int) -> sparse.csc_array:
    """Quadratic form (B, B) of the mean squared difference between neighbours; zero where none are known."""
    differences = neighbour_differences(neighbours, beamlets)
    return sparse.csc_array(differences.T @ differences) / max(differences.shape[0], 1)
