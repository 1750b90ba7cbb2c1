"""Machine folders: the reference dose, provenance, and every fault a file can have."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from dosecalc.errors import InputError, UnsafeInputError
from dosecalc.machine import SHIPPED, BeamModel, available_machines, load_machine


@pytest.fixture(scope="module")
def machine() -> BeamModel:
    return load_machine("generic_6mv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "generic_6mv", tmp_path / "mine"))


def edit(folder: Path, *changes: tuple[str, str]) -> None:
    path = folder / "machine.toml"
    text = path.read_text()
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{old!r} is not in machine.toml")
        text = text.replace(old, new, 1)
    path.write_text(text)


def test_beamlets_of_one_mu_over_the_reference_field_give_the_stated_dose(machine: BeamModel) -> None:
    """20 x 20 beamlets of 5 mm, SSD 900 mm, depth 100 mm: 0.812 cGy/MU (pymedphys, Elekta 6 MV)."""
    edges = np.linspace(-50.0, 50.0, 21)
    weights = machine.mixture.weights(100.0, 1.0, 1.0)[0]
    dose = 0.0
    for c, a in enumerate(weights):
        sigma = np.sqrt(2) * np.hypot(machine.mixture.width_mm[c], machine.source_sigma_mm[0])
        strip = 0.5 * (erf(edges[1:] / sigma) - erf(edges[:-1] / sigma))
        dose += a * np.outer(strip, strip).sum()
    assert machine.gy_per_fluence * dose == pytest.approx(0.00812, rel=1e-12)


def test_shipped_machines_state_where_they_come_from(machine: BeamModel) -> None:
    assert "generic_6mv" in available_machines()
    for name in available_machines():
        model = load_machine(name)
        assert model.name == name
        assert {"focal_spot", "reference", "off_axis", "head_scatter", "kernel", "calibration"} <= set(
            dict(model.sources)
        )
        assert all(entry.licence and entry.source for entry in model.provenance)
        assert len(model.sha256) == 64
    assert machine.sad_mm == 1000.0
    assert machine.nominal_energy == "6 MV"
    assert (SHIPPED / "generic_6mv" / "NOTICE.md").read_text().count("MIT License") == 1


def test_model_is_frozen_and_read_only(machine: BeamModel) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        machine.sad_mm = 900.0  # type: ignore[misc]
    for column in (machine.off_axis_radius_mm, machine.off_axis_ratio, machine.calibration.hu):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1.0


def test_loading_again_is_fast_and_a_changed_file_is_seen(folder: Path) -> None:
    first = load_machine(folder)
    start = time.perf_counter()
    again = load_machine(folder)
    assert time.perf_counter() - start < 0.2
    assert again.mixture is first.mixture
    edit(folder, ("dose_gy_per_mu = 0.00812", "dose_gy_per_mu = 0.01"))
    changed = load_machine(folder)
    assert changed.sha256 != first.sha256
    assert changed.gy_per_fluence / first.gy_per_fluence == pytest.approx(0.01 / 0.00812)


def test_a_folder_gives_the_same_beam_as_its_name(folder: Path, machine: BeamModel) -> None:
    assert load_machine(folder).sha256 == machine.sha256
    assert load_machine(str(folder)).gy_per_fluence == machine.gy_per_fluence


def test_reference_off_the_isocentre_includes_inverse_square(folder: Path, machine: BeamModel) -> None:
    edit(folder, ("ssd_mm = 900.0", "ssd_mm = 1000.0"))
    moved = load_machine(folder)
    ratio = moved.gy_per_fluence / machine.gy_per_fluence
    assert 1.1**2 * 0.97 < ratio < 1.1**2 * 1.03


def test_unknown_machine_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown machine 'generic_6vm'.*Nearest name: generic_6mv"):
        load_machine("generic_6vm")


def test_all_faults_are_reported_together_with_the_nearest_key(folder: Path) -> None:
    edit(
        folder,
        ("sad_mm = 1000.0", "sad_m = 1000.0"),
        ("sigma_mm = [1.5, 1.5]", "sigma_mm = [-1.5, 1.5]"),
        ("weight = 0.089", "wieght = 0.089"),
        ("tpr20_10 = 0.667", 'tpr20_10 = "high"'),
        ('quantity = "electron density relative to water"', 'quantity = "mass density"'),
        ("dose_gy_per_mu = 0.00812", "dose_gy_per_mu = inf"),
    )
    with pytest.raises(InputError) as caught:
        load_machine(folder)
    text = str(caught.value)
    assert "8 faults" in text
    for words in (
        "sad_m: unknown key, nearest known is 'sad_mm'",
        "sad_mm: field required",
        "focal_spot.sigma_mm.0",
        "head_scatter.wieght: unknown key, nearest known is 'weight'",
        "head_scatter.weight: field required",
        "kernel.tpr20_10",
        "calibration.quantity",
        "reference.dose_gy_per_mu",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('file = "pencil_kernel.npz"', 'file = "../pencil_kernel.npz"', "kernel.file"),
        ('file = "pencil_kernel.npz"', 'file = "/etc/passwd"', "kernel.file"),
        ('file = "pencil_kernel.npz"', 'file = "other.npz"', "cannot read"),
        ("radius_mm = [0.0, 400.0]", "radius_mm = [0.0, 200.0, 400.0]", "off-axis profile"),
        ("radius_mm = [0.0, 400.0]", "radius_mm = [10.0, 400.0]", "off-axis profile"),
        ("hu = [-1000.0, -741.0", "hu = [-1000.0, -1741.0", "CT numbers do not increase"),
        ('name = "generic_6mv"', 'name = "a b', "not a TOML file"),
        ("sad_mm = 1000.0", "sad_mm = 1000.0\nsad_mm = 1000.0", "not a TOML file"),
    ],
)
def test_faulty_machine_files_are_refused(folder: Path, old: str, new: str, words: str) -> None:
    edit(folder, (old, new))
    with pytest.raises(InputError, match=words):
        load_machine(folder)


def _pickled(path: Path) -> None:
    np.savez(path, depth_mm=np.array([{}], dtype=object))


def _incomplete(path: Path) -> None:
    np.savez(path, depth_mm=np.arange(3.0), primary=np.ones((3, 1)))


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3000:3040] = bytes(40)
    path.write_bytes(bytes(content))


def _text(path: Path) -> None:
    path.write_text("not a table")


@pytest.mark.parametrize("damage", [_pickled, _incomplete, _truncated, _damaged, _text])
def test_faulty_kernel_tables_are_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder / "pencil_kernel.npz")
    with pytest.raises(InputError, match="kernel table"):
        load_machine(folder)


def test_an_inflating_table_is_refused_before_it_is_unpacked(folder: Path) -> None:
    np.savez_compressed(folder / "pencil_kernel.npz", depth_mm=np.zeros(20_000_000))
    with pytest.raises(UnsafeInputError, match="unpacks to"):
        load_machine(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"A machine is a folder with machine\.toml"):
        load_machine(tmp_path)
