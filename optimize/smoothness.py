"""Roughness of a fluence: differences between neighbouring beamlets of the same beam."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from dosecalc.beams import Beamlets


def neighbour_differences(beamlets: Beamlets) -> sparse.csr_array:
    """Matrix (pairs, B) that takes a fluence to the differences between beamlets that share an edge.

    Parameters
    ----------
    beamlets : Beamlets

    Returns
    -------
    scipy.sparse.csr_array
        One row per neighbouring pair, +1 and -1.
    """
    pairs = []
    for beam in range(len(beamlets.beams)):
        part = beamlets.of_beam(beam)
        centres = np.stack([beamlets.u_mm[part], beamlets.v_mm[part]], axis=1)
        if len(centres) > 1:
            width = max(beamlets.width_u_mm[part].max(), beamlets.width_v_mm[part].max())
            # Edge neighbours lie one width apart, diagonal ones 1.41 widths.
            pairs.append(cKDTree(centres).query_pairs(1.1 * width, output_type="ndarray") + part.start)
    joined = np.concatenate(pairs) if pairs else np.zeros((0, 2), int)
    rows = np.arange(len(joined))
    values = np.concatenate([np.ones(len(joined)), -np.ones(len(joined))])
    return sparse.csr_array((values, (np.tile(rows, 2), joined.T.ravel())), shape=(len(joined), beamlets.count))


def roughness(beamlets: Beamlets) -> sparse.csc_array:
    """Quadratic form (B, B) of the mean squared difference between neighbouring beamlets."""
    differences = neighbour_differences(beamlets)
    return sparse.csc_array(differences.T @ differences) / max(differences.shape[0], 1)
