"""Gamma against closed forms and against pymedphys, which shares no code with this project."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from dosecalc import Grid, InputError, UsageError, Volume, gamma_index, write_rtdose
from dosecalc.dicom import synthetic_series
from optimize.cli import app

from ..backends import CPU, backend_named

GRID = Grid((-20.0, -30.0, 5.0), (2.0, 2.0, 2.5), (9, 17, 21))
MOST = 1.2
"""Ends the readable search, which takes one offset after another, in a second."""


def volume(function, grid=GRID):
    """A dose given by a function of x, y and z in mm."""
    return Volume(grid, function(*grid.centres_mm().T).reshape(grid.shape))


@pytest.fixture(params=CPU)
def backend(request):
    return backend_named(request.param, request).name


def test_flat_dose_differs_by_its_difference(backend):
    """Nothing is nearer elsewhere: 1.5 % of a flat dose at a criterion of 3 % is 0.5."""
    found = gamma_index(volume(lambda x, y, z: 40 + 0 * x), volume(lambda x, y, z: 40.6 + 0 * x), backend=backend)
    assert found.values == pytest.approx(0.5, abs=1e-12)
    assert found.uncovered == 0


def test_no_more_than_asked_for(backend):
    """Far beyond the criteria the search ends where it was told to; nothing passes."""
    flat, higher = (volume(lambda x, y, z, d=d: d + 0 * x) for d in (40, 50))
    found = gamma_index(flat, higher, most=MOST, backend=backend)
    assert np.all(found.compared == MOST)
    assert found.pass_percent == 0


@pytest.mark.parametrize(("gradient", "shift"), [(1.0, 1.0), (4.0, 1.0), (0.2, 2.5)], ids=["even", "steep", "shallow"])
def test_shifted_ramp(backend, gradient, shift):
    """A ramp of g Gy/mm shifted by s: gamma = s / sqrt(distance^2 + (difference / g)^2), for any point inside."""
    difference = 1.2
    ramp, moved = (volume(lambda x, y, z, s=s: 100 + gradient * (x - s)) for s in (0.0, shift))
    found = gamma_index(
        ramp,
        moved,
        percent=3.0,
        distance_mm=2.0,
        maximum_gy=difference / 0.03,
        threshold_percent=0,
        most=MOST,
        backend=backend,
    )
    wanted = shift / np.hypot(2.0, difference / gradient)
    assert wanted < MOST
    inner = found.values[:, :, 4:-4]
    assert inner == pytest.approx(wanted, abs=1e-9)


def test_local_criterion(backend):
    """The difference counts against each point's own dose: 2 % of it everywhere at 4 % is one half."""
    low = volume(lambda x, y, z: np.where(z > 15, 10.0, 50.0))
    high = Volume(GRID, low.values * 1.02)
    found = gamma_index(low, high, percent=4.0, distance_mm=0.5, local=True, most=MOST, backend=backend)
    assert found.compared.max() == pytest.approx(0.5, abs=1e-9)


def hill(x, y, z):
    return 60 * np.exp(-(((x + 2) / 12) ** 2) - ((y + 15) / 9) ** 2 - ((z - 16) / 8) ** 2)


def test_against_pymedphys():
    """A hill moved by 0.7 mm and scaled by 2 %, on another grid, against a search three times as fine."""
    pymedphys = pytest.importorskip("pymedphys")
    finer = Grid((-30.0, -41.0, -3.0), (1.5, 1.5, 1.5), (24, 35, 34))
    reference, evaluated = volume(hill), volume(lambda x, y, z: 1.02 * hill(x - 0.7, y, z), finer)
    found = gamma_index(reference, evaluated)
    axes = [
        tuple(grid.origin_mm[i] + grid.spacing_mm[i] * np.arange(grid.shape[2 - i]) for i in (2, 1, 0))
        for grid in (GRID, finer)
    ]
    with redirect_stdout(io.StringIO()):
        stated = pymedphys.gamma(
            axes[0], reference.values, axes[1], evaluated.values, 3, 2,
            lower_percent_dose_cutoff=10, interp_fraction=30, max_gamma=2,
        )  # fmt: skip
    assert np.array_equal(np.isfinite(found.values), np.isfinite(stated))
    extra = (found.values - stated)[np.isfinite(stated)]
    # A search by sampling finds more than there is, by its spacing times the slope of the dose.
    assert extra.min() > -0.05 and extra.max() < 0.005
    assert found.pass_percent == pytest.approx(100 * np.mean(stated[np.isfinite(stated)] <= 1), abs=0.5)


def test_against_dense_sampling():
    """What 350,000 places around each of some points show, by another library's interpolation."""
    finer = Grid((-30.0, -41.0, -3.0), (1.5, 1.5, 1.5), (24, 35, 34))
    reference, evaluated = volume(hill), volume(lambda x, y, z: 1.02 * hill(x - 0.7, y, z), finer)
    found = gamma_index(reference, evaluated)
    rng = np.random.default_rng(0)
    compared = np.flatnonzero(np.isfinite(found.values))
    inner = compared[(found.values.ravel()[compared] > 0.1) & (found.values.ravel()[compared] < 0.9)]
    steps = np.linspace(-1, 1, 71)
    around = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    for n in rng.choice(inner, 15, replace=False):
        places = finer.index_coordinates(GRID.centres_mm(np.array([n]))) + around * 2.0 / 1.5
        sampled = ndimage.map_coordinates(evaluated.values, places[:, ::-1].T, order=1)
        excess = (sampled - reference.values.flat[n]) / (0.03 * reference.values.max())
        dense = np.sqrt((np.square(around).sum(axis=1) + excess**2).min())
        # spacing 0.03 in distance, and the dose across half of it
        assert -0.02 < found.values.flat[n] - dense < 0.003


def test_backends_agree():
    """The compiled search is the readable one."""
    doses = volume(hill), volume(lambda x, y, z: 1.04 * hill(x - 1.5, y, z))
    numpy, numba = (gamma_index(*doses, backend=name).values for name in CPU)
    assert np.array_equal(np.isnan(numpy), np.isnan(numba))
    assert np.nanmax(np.abs(numpy - numba)) < 1e-12


def test_closer_criteria_fail_more():
    """Pass rates fall with the criteria."""
    doses = volume(hill), volume(lambda x, y, z: 1.03 * hill(x - 1.2, y, z))
    rates = [gamma_index(*doses, percent=p, distance_mm=d).pass_percent for p, d in ((3, 3), (3, 2), (2, 1), (1, 0.5))]
    assert all(looser >= closer for looser, closer in pairwise(rates))
    assert rates[0] > rates[-1]


def test_uncovered_points_are_counted(backend):
    """Reference points beside the evaluated dose are not compared, and told; what lies inside is."""
    narrow = Grid(GRID.origin_mm, GRID.spacing_mm, (9, 17, 11))
    flat = volume(lambda x, y, z: 40 + 0 * x)
    found = gamma_index(flat, volume(lambda x, y, z: 40 + 0 * x, narrow), backend=backend)
    assert found.uncovered == 9 * 17 * 10
    assert found.compared.size == 9 * 17 * 11
    assert np.all(found.compared == 0)


@pytest.mark.parametrize("wrong", [{"percent": 0}, {"distance_mm": -1}, {"most": np.nan}, {"threshold_percent": 100}])
def test_impossible_criteria(wrong):
    flat = volume(lambda x, y, z: 40 + 0 * x)
    with pytest.raises(UsageError, match=next(iter(wrong)).split("_")[0]):
        gamma_index(flat, flat, **wrong)


def test_nothing_to_compare():
    flat = volume(lambda x, y, z: 40 + 0 * x)
    away = volume(lambda x, y, z: 40 + 0 * x, Grid((500.0, 0.0, 0.0), (2.0, 2.0, 2.0), (5, 5, 5)))
    with pytest.raises(InputError, match="none of the 3213 reference points"):
        gamma_index(flat, away)
    with pytest.raises(InputError, match="no dose"):
        gamma_index(Volume(GRID, np.zeros(GRID.shape)), flat)
    with pytest.raises(InputError, match="evaluated dose has values that are not finite"):
        gamma_index(flat, Volume(GRID, np.full(GRID.shape, np.nan)))


def test_two_files_on_the_command_line(tmp_path):
    """A dose against itself 1 % higher: a third at 3 %; another frame of reference is refused."""
    series, elsewhere = (synthetic_series(Volume(GRID, np.zeros(GRID.shape))) for _ in range(2))
    for name, factor in (("a", 1.0), ("b", 1.01)):
        write_rtdose(tmp_path / f"{name}.dcm", Volume(GRID, np.full(GRID.shape, 40.0 * factor)), series)
    write_rtdose(tmp_path / "c.dcm", Volume(GRID, np.full(GRID.shape, 40.0)), elsewhere)
    ran = CliRunner().invoke(app, ["gamma", str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm"), "--json"])
    record = json.loads(ran.stdout)
    assert record["pass_percent"] == 100 and record["points_compared"] == 9 * 17 * 21
    assert record["largest"] == pytest.approx(1 / 3, abs=1e-6)
    ran = CliRunner().invoke(app, ["gamma", str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm")])
    assert "100.00 % of 3213 points" in ran.stdout
    refused = CliRunner().invoke(app, ["gamma", str(tmp_path / "a.dcm"), str(tmp_path / "c.dcm")])
    assert isinstance(refused.exception, InputError) and "frame of reference" in str(refused.exception)
