"""Histograms of a real plan against the tables that Eclipse, CERR and SlicerRT made of it.

The three systems disagree among themselves, through end slices, interpolation and partial volumes; this test
asks to stay within that kind of distance of each, and prints where we lie.
"""

from __future__ import annotations

import base64
import csv
import gzip
import re
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Contours, Structure
from optimize.metrics import dose_at_volume, mean_dose, volume_at_dose

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dvh_oracle"
NAMES = ("Bladder", "Femoral Head Lt", "Femoral Head RT", "PTV", "Rectum")
SYSTEMS = ("Eclipse", "CERR", "SlicerRT")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the reference histograms are not beside the project"),
]


def read_dose() -> Volume:
    """The NRRD dose: text header, empty line, gzip stream of float32 in x, y, z order."""
    header, data = (FOLDER / "EclipseProstate_Dose.nrrd").read_bytes().split(b"\n\n", 1)
    fields = dict(re.findall(r"^([\w ]+): (.*)$", header.decode(), flags=re.M))
    assert fields["space"] == "left-posterior-superior"
    nx, ny, nz = (int(n) for n in fields["sizes"].split())
    origin = tuple(float(v) for v in fields["space origin"].strip("()").split(","))
    values = np.frombuffer(gzip.decompress(data), dtype="<f4").reshape(nz, ny, nx)
    return Volume(Grid(origin, (2.5, 2.5, 2.5), (nz, ny, nx)), values)


def unpack(text: str) -> bytes:
    """VTK's inline binary: base64 of a block table (count, size, last size, sizes), then zlib blocks."""
    text = text.strip()
    count = struct.unpack("<I", base64.b64decode(text[:8])[:4])[0]
    table = 4 * (3 + count)
    coded = (table + 2) // 3 * 4
    sizes = struct.unpack(f"<{3 + count}I", base64.b64decode(text[:coded])[:table])[3:]
    body, ends = base64.b64decode(text[coded:]), np.cumsum((0, *sizes))
    return b"".join(zlib.decompress(body[a:b]) for a, b in pairwise(ends))


def read_contours(number: int) -> Structure:
    """One structure's planar contours, turned from the file's RAS to LPS."""
    root = ElementTree.parse(
        FOLDER / "EclipseProstate_Structures.seg" / f"EclipseProstate_Structures.seg_{number}.vtp"
    ).getroot()
    lines = {array.get("Name"): array for array in root.iterfind(".//Lines/DataArray")}
    points_array = root.find(".//Points/DataArray")
    points = np.frombuffer(unpack(points_array.text), "<f4").reshape(-1, 3) * (-1.0, -1.0, 1.0)
    connectivity, ends = (np.frombuffer(unpack(lines[key].text), "<i8") for key in ("connectivity", "offsets"))
    loops = [points[part] for part in np.split(connectivity, ends[:-1])]
    polygons = tuple(loop[:-1, :2] if (loop[0] == loop[-1]).all() else loop[:, :2] for loop in loops)
    return Structure(NAMES[number - 1], "ORGAN", Contours(tuple(float(loop[0, 2]) for loop in loops), polygons))


def read_table(system: str) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Dose in Gy, volume in percent and total cc of each structure, by its name without spaces."""
    with (FOLDER / f"EclipseProstate_DvhTable_{system}.csv").open(newline="", encoding="utf-8") as stream:
        head, *body = list(csv.reader(stream))
    curves = {}
    for column in range(0, len(head) - 1, 2):
        name = re.split(r"_DvhArray| Dose", head[column])[0].replace(" ", "")
        cells = [row[column : column + 2] for row in body if len(row) > column + 1 and row[column + 1].strip()]
        dose, percent = np.array(cells, dtype=np.float64).T
        curves[name] = (dose, percent, float(re.search(r"% of ([\d.]+) cc", head[column + 1])[1]))
    return curves


@pytest.fixture(scope="module")
def dose() -> Volume:
    return read_dose()


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, tuple[np.ndarray, np.ndarray, float]]]:
    return {system: read_table(system) for system in SYSTEMS}


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("system", SYSTEMS)
def test_volume_mean_median_and_curve(number: int, system: str, dose: Volume, tables: dict) -> None:
    """Bounds: 1.5 % of the volume, 0.15 Gy in the mean, 0.3 Gy in the median, 0.6 points between the curves.

    Seen, in that order: Eclipse and SlicerRT up to 1.4 %, 0.04 Gy, 0.27 Gy (rectum, in a steep gradient; else
    0.01 Gy) and 0.55 points; CERR 0.2 %, 0.11 Gy, 0.29 Gy and 0.4 points: its doses lie half a bin of 0.2 Gy
    below those of the other two systems.
    """
    structure = read_contours(number)
    voxels = structure.on(dose.grid)
    values = dose.values.reshape(-1)[voxels.indices]
    level, percent, volume = tables[system][structure.name.replace(" ", "")]
    ours = np.array([100 * volume_at_dose(values, voxels.cc, gy) / voxels.volume_cc for gy in level])
    found = (
        voxels.volume_cc / volume - 1.0,
        float(np.abs(ours - percent).mean()),
        mean_dose(values, voxels.cc) - float(np.trapezoid(percent / 100.0, level)),
        dose_at_volume(values, voxels.cc, voxels.volume_cc / 2) - float(np.interp(-50.0, -percent, level)),
    )
    print(f"{structure.name:16s} {system:9s}", *(f"{value:+.4f}" for value in found))
    assert np.all(np.abs(found) <= (0.015, 0.6, 0.15, 0.3))
