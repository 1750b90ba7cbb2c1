"""The operator behind and in lung against EGSnrc: 5 cm of water, 8 cm of lung (0.26), water; 3x3 cm2, point source.

The Monte Carlo source has the spectrum of the shipped machine (`test_kernel_derivation`). One scale for all, from the
same field in water; nothing is fitted to the slab.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence

from .test_depth_dose import MONTE_CARLO, MonteCarlo, read_3ddose

pytestmark = pytest.mark.shared

WATER = ((350.0, 1.0),)
SLAB = ((50.0, 1.0), (80.0, 0.26), (220.0, 1.0))
FIELD_MM = 30.0
AXIS_MM, EDGE_MM = 6.0, (9.0, 24.0)
"""Columns of the axis and those around the field's edge, |x|."""
REGIONS = {
    "water, 20-50 mm": (20, 50),
    "proximal lung": (50, 70),
    "mid lung": (70, 110),
    "distal lung": (110, 130),
    "0-5 mm beyond": (130, 135),
    "5-20 mm beyond": (135, 150),
    "20-70 mm beyond": (150, 200),
    "70-170 mm beyond": (200, 300),
}


def layers(slabs) -> Volume:
    """Slabs along y below the surface y = 0, 400 mm wide and long."""
    column = np.concatenate([np.full(round(t / 5.0), r, np.float32) for t, r in slabs])
    grid = Grid((-180.0, 2.5, -180.0), (40.0, 5.0, 40.0), (10, column.size, 10))
    return Volume(grid, np.broadcast_to(column[None, :, None], grid.shape).copy())


def in_bins(run: MonteCarlo, machine, slabs, heterogeneity) -> np.ndarray:
    """Dose of the model averaged over the Monte Carlo voxels of the central row, (depth bins to 300 mm, x)."""
    grid = Grid((run.x_mm[1] + 0.5, 0.5, -2.0), (1.0, 1.0, 2.0), (3, 300, round(run.x_mm[-2] - run.x_mm[1])))
    half = FIELD_MM / 2
    field = open_field(Beam(0), x_mm=(-half, half), y_mm=(-half, half), width_mm=FIELD_MM)
    operator = dose_influence(layers(slabs), grid, field, machine, precision="reference", heterogeneity=heterogeneity)
    fine = operator.dose(np.ones(1)).reshape(grid.shape).mean(axis=0).reshape(300, -1, 3).mean(axis=2)
    edges = np.rint(run.z_mm[run.z_mm < 301]).astype(int)
    return np.stack([fine[low:high].mean(axis=0) for low, high in itertools.pairwise(edges)])


def mean_ratio(run: MonteCarlo, model: np.ndarray, depths: tuple[float, float], columns: np.ndarray) -> float:
    """Model over Monte Carlo of the summed dose of some voxels of the central row."""
    middle = 0.5 * (run.z_mm[1:] + run.z_mm[:-1])[: len(model)]
    rows = (middle > depths[0]) & (middle < depths[1])
    return float(model[rows][:, columns].sum() / run.dose[: len(model), 1, 1:-1][rows][:, columns].sum())


@pytest.fixture(scope="module")
def errors(machine) -> dict[str, dict[str, tuple[float, float]]]:
    """Per heterogeneity and region: error on the axis, and largest error at the field's edge, in % of the axis."""
    point = dataclasses.replace(machine, source_sigma_mm=(0.0, 0.0))
    in_water, slab = (read_3ddose(MONTE_CARLO / f"{name}.3ddose") for name in ("w3", "slab_lung_3x3"))
    x = 0.5 * (slab.x_mm[1:] + slab.x_mm[:-1])[1:-1]
    axis, edge = np.abs(x) < AXIS_MM, (np.abs(x) > EDGE_MM[0]) & (np.abs(x) < EDGE_MM[1])
    unit = mean_ratio(in_water, in_bins(in_water, point, WATER, "depth_scaling"), (20, 200), axis)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for heterogeneity in ("depth_scaling", "density_scaling"):
        model = in_bins(slab, point, SLAB, heterogeneity) / unit
        middle = 0.5 * (slab.z_mm[1:] + slab.z_mm[:-1])[: len(model)]
        found[heterogeneity] = {}
        for name, (low, high) in REGIONS.items():
            rows = (middle > low) & (middle < high)
            measured = slab.dose[: len(model), 1, 1:-1][rows].mean(axis=0)
            off = np.abs(model[rows].mean(axis=0) - measured)[edge].max() / measured[axis].mean()
            found[heterogeneity][name] = (100 * (mean_ratio(slab, model, (low, high), axis) - 1), 100 * float(off))
    print(f"\n{'region':<18}{'depth scaling: axis':>22}{'edge':>7}{'density scaling: axis':>24}{'edge':>7}   (%)")
    for name in REGIONS:
        (a, b), (c, d) = (found[h][name] for h in ("depth_scaling", "density_scaling"))
        print(f"{name:<18}{a:>+22.1f}{b:>7.1f}{c:>+24.1f}{d:>7.1f}")
    return found


def test_density_scaling_meets_monte_carlo(errors) -> None:
    scaled = {name: axis for name, (axis, _) in errors["density_scaling"].items()}
    assert abs(scaled["water, 20-50 mm"]) < 1.5
    assert abs(scaled["proximal lung"]) < 7
    assert abs(scaled["mid lung"]) < 6
    assert abs(scaled["distal lung"]) < 4
    assert abs(scaled["0-5 mm beyond"]) < 6
    assert abs(scaled["5-20 mm beyond"]) < 4
    assert abs(scaled["20-70 mm beyond"]) < 3  # Venselaar et al., Radiother Oncol 60:191 (2001): 3 % beyond lung
    assert abs(scaled["70-170 mm beyond"]) < 3


def test_depth_scaling_alone_overdoses_lung_and_what_lies_behind(errors) -> None:
    """What the lateral scaling is for: without it the errors are several times as large."""
    plain, scaled = (errors[h] for h in ("depth_scaling", "density_scaling"))
    assert plain["mid lung"][0] > 12
    for name in ("mid lung", "distal lung", "0-5 mm beyond", "5-20 mm beyond"):
        assert abs(scaled[name][0]) < 0.6 * abs(plain[name][0])
    for name in ("mid lung", "distal lung"):
        assert scaled[name][1] < 6 < 20 < plain[name][1]
