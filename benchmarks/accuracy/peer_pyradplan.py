"""Run inside an environment with pyRadPlan (BSD-3): dose of open fields in water and in TG119, written as npz.

Usage: PYTHON peer_pyradplan.py OUT.npz [ROUNDS [cupy] [through-ct]]. With ROUNDS it makes the dose-influence matrix of
TG119 alone, as often as that, cut off where pyRadPlan does by default, and writes where it has entries and the
processor and wall seconds of each round; with "cupy" on a GPU; with "through-ct" rays are traced through the CT, where
pyRadPlan's default is a density sampled at the dose grid. It imports nothing of this project. pyRadPlan 0.5.0 needs
pydantic < 2.12.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import SimpleITK
from pyRadPlan import PhotonPlan, calc_dose_influence, generate_stf, load_tg119, settings
from pyRadPlan.core.xp_utils import choose_array_api_namespace
from pyRadPlan.ct import validate_ct
from pyRadPlan.ct._hlut import default_hlut
from pyRadPlan.dose.engines import PhotonPencilBeamSVDEngine

GRID_MM = 5.0
BIXEL_MM = 5.0
CUTOFF_MM = 150.0
MATRIX_CUTOFF_MM = 50.0  # geometric_lateral_cutoff of pyRadPlan 0.5.0 unless told otherwise
GANTRY_DEG = [0.0, 120.0, 240.0]
SURFACE_MM = -116.5
"""Top of the water in LPS y; the isocentre of TG119 lies about 100 mm below."""


def in_water(ct: Any) -> Any:
    """TG119's CT with water below `SURFACE_MM` and air above."""
    values = SimpleITK.GetArrayFromImage(ct.cube_hu)
    y = ct.cube_hu.GetOrigin()[1] + ct.cube_hu.GetSpacing()[1] * np.arange(values.shape[1])
    values[:] = np.where(y > SURFACE_MM, 0, -1000)[None, :, None]
    image = SimpleITK.GetImageFromArray(values)
    image.CopyInformation(ct.cube_hu)
    return validate_ct(cube_hu=image)


def planned(ct: Any, cst: Any, gantry_deg: list[float], cutoff_mm: float) -> tuple[Any, Any]:
    """A plan and its beamlets: all that see the target."""
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {
        "gantry_angles": gantry_deg, "couch_angles": [0.0] * len(gantry_deg), "bixel_width": BIXEL_MM,
    }  # fmt: skip
    plan.prop_dose_calc = {
        "dose_grid": {"resolution": dict.fromkeys("xyz", GRID_MM)},
        "geometric_lateral_cutoff": cutoff_mm,
        "ignore_outside_densities": False,
    }
    return plan, generate_stf(ct, cst, plan)


def case(ct: Any, cst: Any, gantry_deg: list[float]) -> dict[str, Any]:
    """Dose of weight 1 in every beamlet that sees the target, and all that is needed to repeat it."""
    plan, stf = planned(ct, cst, gantry_deg, CUTOFF_MM)
    dij = calc_dose_influence(ct, cst, stf, plan)
    matrix = dij.physical_dose.flat[0]
    shape = tuple(int(n) for n in dij.dose_grid.dimensions[::-1])
    dose = np.asarray(matrix @ np.ones(matrix.shape[1])).reshape(shape)
    return {"dose": dose, **setup(ct, stf, dij.dose_grid, gantry_deg)}


@contextmanager
def counted(methods: tuple[str, ...], spent: list[float]) -> Iterator[None]:
    """Add the processor seconds of some methods of the photon engine to `spent`."""
    originals = {name: getattr(PhotonPencilBeamSVDEngine, name) for name in methods}

    def timed(original: Any) -> Any:
        def call(*arguments: Any) -> Any:
            began = time.process_time()
            try:
                return original(*arguments)
            finally:
                spent[0] += time.process_time() - began

        return call

    try:
        for name, original in originals.items():
            setattr(PhotonPencilBeamSVDEngine, name, timed(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(PhotonPencilBeamSVDEngine, name, original)


def timed_matrix(ct: Any, cst: Any, rounds: int, *, through_ct: bool) -> dict[str, Any]:
    """Where the matrix has entries (by columns), and the processor seconds of each round, set-up of beams apart."""
    plan, stf = planned(ct, cst, GANTRY_DEG, MATRIX_CUTOFF_MM)
    plan.prop_dose_calc["trace_on_dose_grid"] = not through_ct
    cpu_s, setup_s, wall_s = [], [], []
    for _ in range(rounds):
        spent = [0.0]
        with counted(("_init_dose_calc", "_init_beam"), spent):
            began, wall = time.process_time(), time.perf_counter()
            dij = calc_dose_influence(ct, cst, stf, plan)
            cpu_s.append(time.process_time() - began)
            wall_s.append(time.perf_counter() - wall)
        setup_s.append(spent[0])
    matrix = dij.physical_dose.flat[0]
    matrix = matrix.get() if hasattr(matrix, "get") else matrix
    return {
        "cpu_s": np.array(cpu_s),
        "wall_s": np.array(wall_s),
        "arrays": np.array("cupy" if "cupy" in choose_array_api_namespace().__name__ else "other"),
        "setup_s": np.array(setup_s),
        "cutoff_mm": MATRIX_CUTOFF_MM,
        "rows": matrix.indices.astype(np.int32),
        "column_starts": matrix.indptr,
        "dose_shape": np.array(dij.dose_grid.dimensions[::-1], dtype=int),
        **setup(ct, stf, dij.dose_grid, GANTRY_DEG),
    }


def setup(ct: Any, stf: Any, grid: Any, gantry_deg: list[float]) -> dict[str, Any]:
    """Density, dose grid, beams and beamlets."""
    table = default_hlut("photons")
    hu = SimpleITK.GetArrayFromImage(ct.cube_hu)
    return {
        "dose_origin_mm": np.asarray(grid.origin, float),
        "dose_spacing_mm": np.array([grid.resolution[a] for a in "xyz"]),
        "density": np.interp(hu, table[:, 0], table[:, 1]).astype(np.float32),
        "origin_mm": np.asarray(ct.cube_hu.GetOrigin()),
        "spacing_mm": np.asarray(ct.cube_hu.GetSpacing()),
        "isocentre_mm": np.asarray(stf.beams[0].iso_center, float),
        "gantry_deg": np.array(gantry_deg),
        "beam": np.concatenate([[b] * len(beam.rays) for b, beam in enumerate(stf.beams)]),
        "u_mm": np.array([ray.ray_pos_bev[0] for beam in stf.beams for ray in beam.rays]),
        "v_mm": np.array([ray.ray_pos_bev[2] for beam in stf.beams for ray in beam.rays]),
    }


def main() -> None:
    """Both cases, or the matrix."""
    if "cupy" in sys.argv[3:]:
        settings.xp.prefer_gpu, settings.xp.preferred_gpu_array_backend = True, "cupy"
    ct, cst = load_tg119()
    if len(sys.argv) > 2:
        found = {"matrix": timed_matrix(ct, cst, int(sys.argv[2]), through_ct="through-ct" in sys.argv[3:])}
    else:
        found = {"water": case(in_water(ct), cst, [0.0]), "tg119": case(ct, cst, GANTRY_DEG)}
    arrays = {f"{name}_{key}": value for name, one in found.items() for key, value in one.items()}
    np.savez_compressed(sys.argv[1], version=np.array(version("pyRadPlan")), bixel_mm=BIXEL_MM, **arrays)


if __name__ == "__main__":
    main()
