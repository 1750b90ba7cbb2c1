"""CT numbers to relative electron density: the table, padding, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.density import HuCalibration, to_density
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.machine import available_machines, load_machine

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


def test_default_table_lies_beside_a_published_measured_one(default: HuCalibration) -> None:
    """Thomas, Br J Radiol 72:781 (1999): 1 + HU/1000 up to 100 HU, 1 + HU/1950 beyond (quoted, not read again).

    Fat lies above that line, by its hydrogen: ICRU Report 44 gives adipose tissue 0.951 and the line 0.92 at -80 HU.
    """
    hu = np.array([-1000.0, -800, -700, -500, -300, -80, 0, 50, 100, 300, 600, 1000, 1500])
    published = np.where(hu <= 100, 1 + hu / 1000, 1 + hu / 1950)
    np.testing.assert_allclose(to_density(volume(list(hu)), default).values.ravel(), published, atol=0.035)


@pytest.mark.parametrize(
    ("hu", "parts", "g_per_cc"),
    [
        # ICRU Report 44, mass shares in percent of H, C, N, O and of all heavier elements (Z/A about 0.49)
        (55.0, (10.2, 13.9, 3.0, 71.6, 1.3), 1.06),  # liver, not enhanced: 50 to 60 HU
        (50.0, (10.2, 11.0, 3.3, 74.5, 1.0), 1.06),  # blood
    ],
)
def test_organs_that_the_table_was_not_made_from(
    default: HuCalibration, hu: float, parts: tuple[float, ...], g_per_cc: float
) -> None:
    per_gram = np.dot(parts, [0.99212, 0.49954, 0.49976, 0.50002, 0.49]) / 100
    expected = g_per_cc * per_gram / WATER[1]
    assert float(to_density(volume([hu]), default).values[0, 0, 0]) == pytest.approx(expected, abs=0.012)


def test_every_shipped_machine_has_the_same_default(default: HuCalibration) -> None:
    for name in available_machines():
        table = load_machine(name).calibration
        assert np.array_equal(table.hu, default.hu)
        assert np.array_equal(table.relative_electron_density, default.relative_electron_density)
        assert "ICRU Report 44" in table.source
