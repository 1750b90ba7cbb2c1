"""Gamma of two dose planes by pymedphys (Apache-2.0), which shares no code with this project."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SOURCE = "pymedphys.gamma"


def pass_rate(
    reference_axes: Sequence[Array],
    reference: Array,
    axes: Sequence[Array],
    dose: Array,
    *,
    percent: float,
    distance_mm: float,
    keep: Array | None = None,
) -> float | None:
    """Share of the reference points above 10 % of the maximum with gamma <= 1, in %; global dose difference.

    Parameters
    ----------
    reference_axes, axes : sequence of (n_i,)
        Coordinates in mm of the reference and of our dose; ours should be the finer and wider.
    reference, dose : arrays on these axes
    percent, distance_mm : float
        Criteria.
    keep : bool array like `reference`, optional
        Points that count; default all.

    Returns
    -------
    float or None
        None where pymedphys is not installed.
    """
    try:
        import pymedphys
    except ImportError:
        return None
    with redirect_stdout(io.StringIO()):
        values = pymedphys.gamma(
            tuple(reference_axes), reference, tuple(axes), dose, percent, distance_mm,
            lower_percent_dose_cutoff=10, interp_fraction=10, max_gamma=1.1, quiet=True,
        )  # fmt: skip
    counted = np.isfinite(values) if keep is None else np.isfinite(values) & keep
    return float(100 * np.mean(values[counted] <= 1))
