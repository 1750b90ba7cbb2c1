"""Speed and memory of reading: a CT series of 512 x 512 x 200 with 20 structures, rasterised on the CT's own grid.

Measure with (the figures come last)::

    pytest benchmarks/test_bench_reading.py --benchmark-enable --full-size -s

The process that reads is a fresh one, so that its peak memory is that of reading alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dosecalc import Contours, Grid, Structure, StructureSet, Volume, write_ct_series
from dosecalc.dicom import write_rtstruct

# (slices, rows, columns; structures; points of a contour)
SIZES = {"tiny": ((12, 32, 32), 3, 20), "small": ((60, 256, 256), 20, 150), "full": ((200, 512, 512), 20, 300)}
FIELD_MM, STEP_MM = 500.0, 2.0
READ = """
import json, resource, sys, time
from dosecalc import read_ct_series, read_structures
begin = time.perf_counter()
ct = read_ct_series(sys.argv[1])
read = time.perf_counter()
structures = read_structures(sys.argv[2], ct=ct)
volumes = [structure.on(ct.volume.grid).volume_cc for structure in structures]
end = time.perf_counter()
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"ct_s": read - begin, "structures_s": end - read, "peak_mb": peak_mb, "cc": volumes}))
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, size: str) -> tuple[Path, list[float]]:
    """A folder with ct/ and rtstruct.dcm, and the volumes of the elliptic cylinders in it, cc."""
    (slices, rows, columns), count, points = SIZES[size]
    spacing = FIELD_MM / columns, FIELD_MM / rows, STEP_MM
    grid = Grid((-FIELD_MM / 2, -FIELD_MM / 2, 0.0), spacing, (slices, rows, columns))
    folder = tmp_path_factory.mktemp("patient")
    noise = np.random.default_rng(1).normal(0.0, 20.0, grid.shape).astype(np.float32)
    y, x = np.ogrid[:rows, :columns]
    body = ((x / columns - 0.5) / 0.35) ** 2 + ((y / rows - 0.5) / 0.25) ** 2 < 1
    series = write_ct_series(folder / "ct", Volume(grid, np.where(body, noise, noise - 980.0).astype(np.float32)))
    drawn = [_cylinder(k, points, slices) for k in range(count)]
    write_rtstruct(folder / "rtstruct.dcm", StructureSet(tuple(s for s, _ in drawn)), series)
    return folder, [cc for _, cc in drawn]


def _cylinder(number: int, points: int, slices: int) -> tuple[Structure, float]:
    """An elliptic cylinder through most slices, and its volume in cc."""
    half_x, half_y = 20.0 + 5.0 * number, 15.0 + 4.0 * number
    planes = [STEP_MM * k for k in range(1, slices - 1)]
    angle = np.linspace(0.0, 2 * np.pi, points, endpoint=False)
    ring = np.stack([half_x * np.cos(angle), half_y * np.sin(angle)], axis=1)
    area = 0.5 * points * np.sin(2 * np.pi / points) * half_x * half_y
    contours = Contours(tuple(planes), (ring,) * len(planes))
    return Structure(f"organ_{number}", "ORGAN", contours), area * STEP_MM * len(planes) / 1000.0


def test_reading(benchmark, patient, size):
    folder, volumes_cc = patient
    command = [sys.executable, "-c", READ, str(folder / "ct"), str(folder / "rtstruct.dcm")]

    def read() -> dict[str, object]:
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    found = benchmark.pedantic(read, rounds=1 if size == "tiny" else 3)
    np.testing.assert_allclose(found["cc"], volumes_cc, rtol=1e-5)
    if size != "tiny":
        benchmark.extra_info.update(found)
        print(f"\n{SIZES[size]}: CT {found['ct_s']:.1f} s, structures {found['structures_s']:.1f} s, "
              f"peak {found['peak_mb']:.0f} MB")  # fmt: skip
