"""CT numbers to relative electron density: the table, padding, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.density import HuCalibration, to_density
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.machine import load_machine

# ICRU Report 44 tissues in NISTIR 5632 (Hubbell & Seltzer): density in g/cm3, Z/A, mass attenuation
# coefficient at 60 and 80 keV in cm2/g.
WATER = (1.000, 0.55508, 0.2059, 0.1837)
TISSUES = {
    "inflated lung": (0.26, 0.55048, 0.2053, 0.1826),
    "adipose": (0.95, 0.55579, 0.1974, 0.1800),
    "water": WATER,
    "skeletal muscle": (1.05, 0.55000, 0.2048, 0.1823),
    "cortical bone": (1.92, 0.51478, 0.3148, 0.2229),
}


@pytest.fixture(scope="module")
def default() -> HuCalibration:
    return load_machine("generic_6mv").calibration


def volume(hu: list[float], dtype: str = "float32") -> Volume:
    return Volume(Grid((0, 0, 0), (1, 1, 1), (1, 1, len(hu))), np.array(hu, dtype=dtype).reshape(1, 1, -1))


def attenuation_at_70_kev(tissue: tuple[float, float, float, float]) -> float:
    density, _, low, high = tissue
    t = np.log(70 / 60) / np.log(80 / 60)
    return density * float(np.exp((1 - t) * np.log(low) + t * np.log(high)))


@pytest.mark.parametrize("name", TISSUES)
def test_default_table_meets_the_tissues_it_cites(default: HuCalibration, name: str) -> None:
    tissue = TISSUES[name]
    hu = 1000 * (attenuation_at_70_kev(tissue) / attenuation_at_70_kev(WATER) - 1)
    expected = tissue[0] * tissue[1] / WATER[1]
    got = float(to_density(volume([hu]), default).values[0, 0, 0])
    assert got == pytest.approx(expected, abs=2e-3)


def test_default_table_covers_what_scanners_write(default: HuCalibration) -> None:
    assert default.hu[0] == -1000
    assert default.hu[-1] >= 4000
    assert "Default" in default.source
    assert to_density(volume([0.0]), default).values[0, 0, 0] == 1.0


def test_padding_and_noise_below_air_are_air(default: HuCalibration) -> None:
    density = to_density(volume([-3024, -2000, -1207, -1024, -1000], "int16"), default)
    assert np.unique(density.values).size == 1
    assert density.values[0, 0, 0] == pytest.approx(0.001)


def test_density_follows_the_table_between_entries_and_keeps_the_grid(default: HuCalibration) -> None:
    table = HuCalibration(np.array([-1000.0, 0.0, 1000.0]), np.array([0.0, 1.0, 1.6]), "test")
    ct = volume([-500, 0, 250, 1000], "int16")
    before = ct.values.copy()
    density = to_density(ct, table)
    assert np.allclose(density.values.ravel(), [0.5, 1.0, 1.15, 1.6])
    assert density.values.dtype == np.float32
    assert density.grid == ct.grid
    assert np.array_equal(ct.values, before)


def test_above_the_table_is_refused_with_count_and_remedy(default: HuCalibration) -> None:
    with pytest.raises(InputError, match=r"2 of 3 CT voxels lie above 4000 HU.*highest 30000") as caught:
        to_density(volume([40.0, 4001.0, 30000.0]), default)
    assert "Override metal" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_refused(default: HuCalibration, bad: float) -> None:
    with pytest.raises(InputError, match="1 voxels that are not finite"):
        to_density(volume([0.0, bad]), default)


@pytest.mark.parametrize(
    ("hu", "density", "source", "words"),
    [
        ([-1000, 0, 0], [0, 1, 1.1], "x", "do not increase"),
        ([-1000, 0, 100], [0, 1, 0.9], "x", "negative or decrease"),
        ([-1000, 0], [-0.1, 1], "x", "negative or decrease"),
        ([-500, 0], [0.5, 1], "x", "expected air"),
        ([-1000, 0], [0, 1, 2], "x", "two equal columns"),
        ([-1000], [0], "x", "2 or more"),
        ([-1000, np.nan], [0, 1], "x", "not a finite number"),
        ([-1000, 0], [0, 1], " ", "source is not stated"),
    ],
)
def test_a_wrong_calibration_is_refused(hu: list[float], density: list[float], source: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        HuCalibration(np.array(hu, dtype=float), np.array(density, dtype=float), source)
