"""The synthetic patient: sizes, distances, asymmetry, contours, and its DICOM files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from dosecalc.dicom import read_ct_series, read_rtstruct
from dosecalc.phantom import GRID, NOISE_HU, SyntheticPatient, _with_noise, write_synthetic_patient
from dosecalc.phantom_anatomy import GTV_RADII_MM, GTV_TO_DUODENUM_MM
from dosecalc.plausibility import findings
from dosecalc.structures import Structure

Planes = dict[float, shapely.Geometry]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticPatient]:
    folder = tmp_path_factory.mktemp("patient")
    return folder, write_synthetic_patient(folder)


@pytest.fixture(scope="module")
def patient(written: tuple[Path, SyntheticPatient]) -> SyntheticPatient:
    return written[1]


@pytest.fixture(scope="module")
def planes(patient: SyntheticPatient) -> dict[str, Planes]:
    return {s.name: outline(s) for s in patient.structures}


def outline(structure: Structure) -> Planes:
    """Each plane's region, combined by exclusive or with shapely alone."""
    found: Planes = {}
    for z, ring in zip(structure.geometry.z_mm, structure.geometry.polygons_mm, strict=True):
        polygon = shapely.Polygon(ring)
        assert polygon.is_valid, (structure.name, z)
        found[z] = found[z].symmetric_difference(polygon) if z in found else polygon
    return found


def volume_cc(planes: Planes) -> float:
    return sum(region.area for region in planes.values()) * GRID.spacing_mm[2] / 1000.0


def points(planes: Planes) -> np.ndarray:
    rows = [
        np.column_stack([xy, np.full(len(xy), z)])
        for z, region in planes.items()
        for xy in [shapely.get_coordinates(shapely.segmentize(region.boundary, 1.0))]
    ]
    return np.concatenate(rows)


def distance_mm(a: Planes, b: Planes) -> float:
    pa, pb = points(a), points(b)
    return min(float(np.linalg.norm(pb - p, axis=1).min()) for p in pa)


def test_volumes(planes: dict[str, Planes]) -> None:
    assert 1350 < volume_cc(planes["Liver"]) < 1650
    a, b, c = GTV_RADII_MM
    assert volume_cc(planes["GTV"]) == pytest.approx(4 / 3 * np.pi * a * b * c / 1000, rel=0.01)
    for kidney in ("Kidney_L", "Kidney_R"):
        assert 100 < volume_cc(planes[kidney]) < 200
    assert volume_cc(planes["Kidney_L"]) + volume_cc(planes["Kidney_R"]) > 220


def test_gtv_is_30_to_45_mm_wide(planes: dict[str, Planes]) -> None:
    cloud = points(planes["GTV"])
    extent = np.ptp(cloud, axis=0)
    assert ((extent > 30) & (extent < 45)).all()


def test_gtv_lies_in_the_liver_near_portal_vein_and_duodenum(planes: dict[str, Planes]) -> None:
    gtv = planes["GTV"]
    assert all(planes["Liver"][z].contains(region) for z, region in gtv.items())
    gap = distance_mm(gtv, planes["Duodenum"])
    assert gap == pytest.approx(GTV_TO_DUODENUM_MM, abs=1.5)  # slices of 3 mm
    assert gap < 25
    assert distance_mm(gtv, planes["V_Portal"]) < 15


def test_organs_lie_inside_the_body_and_apart(planes: dict[str, Planes]) -> None:
    organs = {name: region for name, region in planes.items() if name != "Body"}
    for name, regions in organs.items():
        outside = sum(r.difference(planes["Body"][z]).area for z, r in regions.items())
        assert outside == 0, name
    inside_liver = {"GTV", "V_Portal", "Liver"}
    listed = sorted(organs)
    for i, a in enumerate(listed):
        for b in listed[i + 1 :]:
            shared = sum(organs[a][z].intersection(organs[b][z]).area for z in organs[a].keys() & organs[b])
            if not {a, b} <= inside_liver:
                assert shared * GRID.spacing_mm[2] < 50, (a, b)  # mm3: contour detail along shared borders


def test_head_first_supine(patient: SyntheticPatient, planes: dict[str, Planes]) -> None:
    centre = {name: points(region).mean(axis=0) for name, region in planes.items()}
    assert centre["Liver"][0] < centre["Stomach"][0]  # the liver is on the right: lower x
    assert centre["SpinalCord"][1] > centre["GreatVes"][1] > centre["Stomach"][1]  # behind: higher y
    assert centre["Heart"][2] > centre["Liver"][2] > centre["Bowel_Small"][2]  # towards the head: higher z


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_mirror_symmetry(patient: SyntheticPatient, axis: int) -> None:
    hu = np.clip(patient.ct.values.astype(float), -1000, 300)
    flipped = np.flip(hu, axis)
    both = (hu > -950) & (flipped > -950)
    assert np.corrcoef(hu[both], flipped[both])[0, 1] < 0.7


def test_grid_tells_axes_apart(patient: SyntheticPatient) -> None:
    assert len(set(patient.ct.grid.shape)) == 3
    assert len(set(patient.ct.grid.spacing_mm)) == 3


@pytest.mark.parametrize(("organ", "low", "high"), [("Liver", 50, 65), ("Lung_R", -800, -720), ("SpinalCord", 25, 45)])
def test_hu_belong_to_the_organs(patient: SyntheticPatient, organ: str, low: float, high: float) -> None:
    voxels = patient.structures[organ].on(patient.ct.grid)
    whole = voxels.cc > 0.999 * patient.ct.grid.voxel_cc
    assert low < np.median(patient.ct.values.ravel()[voxels.indices[whole]]) < high


def test_gas_and_bone_are_there(patient: SyntheticPatient) -> None:
    stomach = patient.structures["Stomach"].on(patient.ct.grid).indices
    assert (patient.ct.values.ravel()[stomach] < -900).mean() > 0.05
    ribs = patient.structures["Rib"].on(patient.ct.grid)
    whole = ribs.cc > 0.999 * patient.ct.grid.voxel_cc
    assert 400 < np.median(patient.ct.values.ravel()[ribs.indices[whole]]) < 700


def test_the_seed_decides_the_noise() -> None:
    block = np.full((6, 8, 10), 40.0, dtype=np.float32)
    first, again, other = (_with_noise(block, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_has_the_stated_spread_inside_and_none_outside(patient: SyntheticPatient) -> None:
    liver = patient.structures["Liver"].on(GRID)
    hu = patient.ct.values.ravel()[liver.indices[liver.cc > 0.999 * GRID.voxel_cc]]
    assert np.subtract(*np.percentile(hu, [75, 25])) / 1.349 == pytest.approx(NOISE_HU, rel=0.2)
    assert patient.ct.values[:, :4].max() == patient.ct.values[:, :4].min() == -1000


def test_files_read_back(written: tuple[Path, SyntheticPatient]) -> None:
    folder, patient = written
    series = read_ct_series(folder / "ct")
    assert np.array_equal(series.volume.values, patient.ct.values)
    assert np.allclose(series.volume.grid.origin_mm, patient.ct.grid.origin_mm)
    assert np.allclose(series.volume.grid.spacing_mm, patient.ct.grid.spacing_mm)
    structures = read_rtstruct(folder / "rtstruct.dcm", ct=series)
    assert structures.names == patient.structures.names
    for read, made in zip(structures, patient.structures, strict=True):
        assert read.role == made.role
        assert read.volume_cc == pytest.approx(made.volume_cc, rel=1e-4)


def test_it_is_plausible_as_a_ct(patient: SyntheticPatient) -> None:
    found = findings(patient.ct)
    assert (found.faults, found.doubts) == ((), ())
    assert found.air_hu == -1000.0
    assert -20 <= found.tissue_hu <= 60
