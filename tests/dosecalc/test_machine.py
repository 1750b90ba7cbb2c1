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

from dosecalc import Beam, Grid, Volume, dose_influence, open_field
from dosecalc.errors import InputError, UnsafeInputError
from dosecalc.field_dose import square_field_dose
from dosecalc.head_scatter import ExtraFocal, collimator_scatter, with_extra_focal
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


@pytest.mark.parametrize("name", ["generic_6mv", "generic_6fff", "generic_10fff"])
def test_the_operator_gives_the_stated_dose_at_the_reference_point(name: str) -> None:
    """The whole engine, off-axis profile included: 10 x 10 cm2 of 5 mm beamlets, 1 MU, water at SSD 900 mm."""
    machine = load_machine(name)
    water = Volume(Grid((0.0, 50.0, 0.0), (800.0, 300.0, 800.0), (1, 1, 1)), np.ones((1, 1, 1), np.float32))
    field = open_field(Beam(0.0), x_mm=(-50.0, 50.0), y_mm=(-50.0, 50.0), width_mm=5.0)
    point = Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1, 1, 1))
    dose = dose_influence(water, point, field, machine, precision="reference").dose(np.ones(field.count))
    assert dose[0] == pytest.approx(machine.reference.dose_gy_per_mu, rel=1e-9)


def test_unflattened_beams_fall_off_axis() -> None:
    ratio = {
        name: float(np.interp(50.0, model.off_axis_radius_mm, model.off_axis_ratio))
        for name, model in ((n, load_machine(n)) for n in available_machines())
    }
    assert ratio["generic_6mv"] == 1.0
    assert ratio["generic_6fff"] == pytest.approx(0.879, abs=0.005)
    assert ratio["generic_10fff"] == pytest.approx(0.787, abs=0.005)
    assert load_machine("generic_10fff").provisional


# Followill et al, J Appl Clin Med Phys 13:3962 (2012), Table 2: means of Elekta 6 MV, 10 cm depth, SSD 100 cm.
@pytest.mark.parametrize(
    ("side_mm", "published", "tolerance"), [(60, 0.930, 0.02), (40, 0.878, 0.02), (30, 0.842, 0.02), (20, 0.790, 0.03)]
)
def test_output_factors_meet_published_means(
    machine: BeamModel, side_mm: float, published: float, tolerance: float
) -> None:
    dose = [
        collimator_scatter(machine, side, side)
        * square_field_dose(machine.mixture, machine.source_sigma_mm, depth_mm=100.0, field_mm=side, scale=1.1)
        for side in (side_mm, 100.0)
    ]
    print(f"{side_mm:g} mm: {dose[0] / dose[1]:.4f} against {published}")
    assert dose[0] / dose[1] == pytest.approx(published, rel=tolerance)


def test_collimator_scatter_is_one_for_the_reference_field_and_grows_to_its_limit(machine: BeamModel) -> None:
    sides = np.array([20.0, 50.0, 100.0, 200.0, 300.0])
    output = np.array([collimator_scatter(machine, s, s) for s in sides])
    assert output[2] == 1.0
    assert (np.diff(output) > 0).all()
    # The visible half width of 100 mm at a jaw 400 mm and a filter 125 mm from the target: 50 x 0.4 x 875/600 mm.
    seen = erf(50 * 0.4 * 875 / 600 / (np.sqrt(2) * 23.0)) ** 2
    assert output[4] == pytest.approx(1 / (1 - 0.089 + 0.089 * seen), rel=1e-3)
    with pytest.raises(InputError, match="jaw opening of 400 mm lies outside"):
        collimator_scatter(machine, 100.0, 400.0)


def test_extra_focal_source_is_a_second_wider_source(machine: BeamModel) -> None:
    mixture, spot = machine.mixture, machine.source_sigma_mm
    both = with_extra_focal(mixture, ExtraFocal(weight=0.1, sigma_mm=40.0))
    for field in (20.0, 100.0, 300.0):
        sharp = square_field_dose(mixture, spot, depth_mm=100.0, field_mm=field)
        wide = square_field_dose(mixture, (np.hypot(spot[0], 40.0),) * 2, depth_mm=100.0, field_mm=field)
        together = square_field_dose(both, spot, depth_mm=100.0, field_mm=field)
        assert together == pytest.approx(0.9 * sharp + 0.1 * wide, rel=1e-12)


def test_machine_with_an_extra_focal_source_is_calibrated_with_it(folder: Path, machine: BeamModel) -> None:
    text = (folder / "machine.toml").read_text()
    start, end = text.index("[head_scatter]"), text.index("[transmission]")
    section = '[extra_focal]\nweight = 0.089\nsigma_mm = 39.4\nsource = "a test"\n\n'
    (folder / "machine.toml").write_text(text[:start] + section + text[end:])
    model = load_machine(folder)
    assert model.head_scatter is None
    assert collimator_scatter(model, 20.0, 20.0) == 1.0
    dose = square_field_dose(model.mixture, model.source_sigma_mm, depth_mm=100.0, field_mm=100.0)
    assert model.gy_per_fluence * dose == pytest.approx(0.00812, rel=1e-9)
    small = square_field_dose(model.mixture, model.source_sigma_mm, depth_mm=100.0, field_mm=20.0) / dose
    plain = [square_field_dose(machine.mixture, (1.5, 1.5), depth_mm=100.0, field_mm=f) for f in (20.0, 100.0)]
    assert small == pytest.approx(plain[0] / plain[1] * collimator_scatter(machine, 20.0, 20.0), rel=0.01)


def test_shipped_machines_state_where_they_come_from(machine: BeamModel) -> None:
    assert "generic_6mv" in available_machines()
    for name in available_machines():
        model = load_machine(name)
        assert model.name == name
        assert {"focal_spot", "reference", "off_axis", "head_scatter", "transmission", "kernel", "calibration"} <= set(
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


EXTRA_FOCAL = '[extra_focal]\nweight = 0.1\nsigma_mm = 40\nsource = "s"\n'
TARGET = '[[target]]\nquantity = "{}"\nfield_mm = {}\n{}value = 0.9\ntolerance = 0.1\nuse = "judged"\nsource = "s"\n'
OFF_AXIS = "ssd_mm = 900\ndepth_mm = 100\noff_axis_mm = {}\n"


def _first_target(quantity: str, places: str, field_mm: float = 100) -> str:
    return TARGET.format(quantity, field_mm, places) + "\n[[target]]"


@pytest.mark.parametrize(
    ("old", "broken", "valid", "words"),
    [
        ("tpr20_10 = 0.667", "tpr20_10 = 0.673", "tpr20_10 = 0.671",
         r"kernel.tpr20_10: 0.673 is stated.*0.667: it belongs to another beam"),
        ("depth_mm = [0.0, 600.0]", "depth_mm = [0.0, 601.0]", "depth_mm = [0.0, 599.0]",
         "validity.depth_mm: ends at 601 mm, the kernel table at 600"),
        ("density = [0.2, 1.8]", "density = [1.8, 0.2]", "density = [0.3, 1.7]",
         "validity.density: 1.8 to 0.2 is empty"),
        ("density = [0.2, 1.8]", "density = [0.1, 1.8]", "density = [0.15, 1.8]",
         r"validity.density: 0.1 to 1.8 leaves the kernel table, 0.15"),
        ("field_mm = [5.0, 300.0]", "field_mm = [5.0, 90.0]", "field_mm = [5.0, 200.0]",
         "reference.field_mm: 100 mm lies outside validity"),
        ("radius_mm = [0.0, 400.0]", "radius_mm = [0.0, 210.0]", "radius_mm = [0.0, 213.0]",
         "corner of the largest field lies at 212 mm"),
        ("ratio = [1.0, 1.0]", "ratio = [0.99, 1.0]", "ratio = [1.0, 0.99]", "off_axis.ratio: begins with 0.99"),
        ("filter_distance_mm = 125.0", "filter_distance_mm = 401.0", "filter_distance_mm = 399.0",
         "head_scatter: filter at 401 mm"),
        ("[transmission]", EXTRA_FOCAL + "[transmission]", "[transmission]", "head_scatter, extra_focal: both given"),
        ("[[target]]", _first_target("off_axis", OFF_AXIS.format(50)), _first_target("off_axis", OFF_AXIS.format(49)),
         "target.0.off_axis_mm: 50 mm lies outside the field of 100 mm"),
        ("[[target]]", _first_target("off_axis", "ssd_mm = 900\ndepth_mm = 100\n"),
         _first_target("penumbra", "ssd_mm = 900\ndepth_mm = 100\n"),
         "target.0.off_axis_mm: missing, but every off_axis has one"),
        ("[[target]]", _first_target("air_output", "ssd_mm = 900\n"), _first_target("air_output", ""),
         "target.0.ssd_mm: given, but no air_output has one"),
        ("[[target]]", _first_target("air_output", "", 301), _first_target("air_output", "", 300),
         "target.0.field_mm: 301 mm lies outside validity.field_mm, 5 to 300 mm"),
    ],
)  # fmt: skip
def test_contradictory_machine_files_are_refused_and_their_valid_twins_load(
    folder: Path, old: str, broken: str, valid: str, words: str
) -> None:
    text = (folder / "machine.toml").read_text()
    edit(folder, (old, broken))
    with pytest.raises(InputError, match=f"contradict themselves: .*{words}"):
        load_machine(folder)
    (folder / "machine.toml").write_text(text)
    edit(folder, (old, valid))
    assert load_machine(folder).name == "generic_6mv"


@pytest.mark.parametrize(
    ("old", "broken", "valid", "words"),
    [
        (
            "leaves = 0.017",
            "leaves = 0.051",
            "leaves = 0.05",
            "transmission.leaves: input should be less than or equal",
        ),
        ("leaves = 0.017", "leaves = -0.001", "leaves = 0.0", "transmission.leaves: input should be greater than or"),
        ("leaves = 0.017", "", "leaves = 0", "transmission.leaves: field required"),
        ("[transmission]", "[transmision]", "[transmission]", "transmision: unknown key, nearest known is 'transm"),
        (
            'use = "judged"',
            'use = "ignored"',
            'use = "information"',
            "target.0.use: input should be 'judged', 'fitted'",
        ),
        (
            'quantity = "output_factor"',
            'quantity = "scp"',
            'quantity = "depth_dose"',
            "target.0.quantity: input should",
        ),
        (
            "tolerance = 0.02",
            "tolerence = 0.02",
            "tolerance = 0.03",
            "target.0.tolerence: unknown key, nearest known is",
        ),
        ("tolerance = 0.02", "tolerance = 0", "tolerance = 0.001", "target.0.tolerance: input should be greater"),
    ],
)
def test_a_machine_that_lacks_or_misspells_something_is_refused_with_the_key(
    folder: Path, old: str, broken: str, valid: str, words: str
) -> None:
    text = (folder / "machine.toml").read_text()
    edit(folder, (old, broken))
    with pytest.raises(InputError, match=words):
        load_machine(folder)
    (folder / "machine.toml").write_text(text)
    edit(folder, (old, valid))
    assert load_machine(folder).leaf_transmission <= 0.05


def test_a_machine_without_any_head_is_refused_and_its_twin_with_one_loads(folder: Path) -> None:
    text = (folder / "machine.toml").read_text()
    start, end = text.index("[head_scatter]"), text.index("[transmission]")
    (folder / "machine.toml").write_text(text[:start] + text[end:])
    with pytest.raises(InputError, match="head_scatter, extra_focal: neither given, expected one"):
        load_machine(folder)
    (folder / "machine.toml").write_text(text[:start] + EXTRA_FOCAL + text[end:])
    assert load_machine(folder).extra_focal == ExtraFocal(0.1, 40.0)


def test_a_kernel_of_another_beam_is_refused(folder: Path) -> None:
    shutil.copy(SHIPPED / "generic_10fff" / "pencil_kernel.npz", folder / "pencil_kernel.npz")
    with pytest.raises(InputError, match=r"0.667 is stated, the table pencil_kernel.npz has 0.708"):
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
    np.savez_compressed(folder / "pencil_kernel.npz", depth_mm=np.zeros(6_000_000))
    with pytest.raises(UnsafeInputError, match="unpacks to"):
        load_machine(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"A machine is a folder with machine\.toml"):
        load_machine(tmp_path)
