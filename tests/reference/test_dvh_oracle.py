"""Histograms of a real plan against the band of the tables that Eclipse, CERR and SlicerRT made of it.

What lies behind the band:

- End slices. Our end contours stand for a whole slice, half of it beyond the contour, and so do CERR's: the volumes
  are within 0.2 %. Those of Eclipse and SlicerRT are 0.4 to 1.4 % smaller: if ours reached a quarter of a slice beyond
  the end contours, they would be 117.0, 49.3, 50.1, 48.7 and 30.3 cc; Eclipse's are 116.8, 49.2, 50.0, 48.6 and 30.3.
- Bins. CERR's table names the middle of a bin of 0.2 Gy and counts what lies above its upper edge, so its curves,
  means and doses lie 0.1 Gy low (0.09 to 0.16 Gy in the mean). Read at that edge they agree with the other two, and
  this is the band asked for here: it is the narrower one.
- Interpolation. All three take the dose between the voxel centres of the 2.5 mm grid. One dose per voxel leaves the
  band: by 2.3 points of the rectum's volume (44.1 Gy), 0.15 Gy in its D50% and 0.3 to 0.7 points on the other curves.
  Hence `optimize.sampling`, on which everything here is measured but the last test.
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
from optimize.sampling import Samples, samples_of

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dvh_oracle"
NAMES = ("Bladder", "Femoral Head Lt", "Femoral Head RT", "PTV", "Rectum")
SYSTEMS = ("Eclipse", "CERR", "SlicerRT")
CERR_HALF_BIN_GY = 0.1

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
    """By system; CERR's curves read at the upper edges of their bins."""
    found = {system: read_table(system) for system in SYSTEMS}
    found["CERR"] = {
        name: (np.where(level > 0, level + CERR_HALF_BIN_GY, 0.0), percent, volume)
        for name, (level, percent, volume) in found["CERR"].items()
    }
    return found


def curve_of(samples: Samples, level: np.ndarray) -> np.ndarray:
    """Percent of the volume with at least each dose."""
    return np.array([100.0 * volume_at_dose(samples.dose_gy, samples.cc, gy) for gy in level]) / samples.cc.sum()


def outside(value: np.ndarray, band: np.ndarray) -> np.ndarray:
    """How far `value` (n,) lies outside the band that the rows of `band` (3, n) span; 0 inside."""
    return np.maximum(0.0, np.maximum(value - band.max(axis=0), band.min(axis=0) - value))


@pytest.mark.parametrize("number", range(1, 6))
def test_volume_and_doses_lie_in_the_band(number: int, dose: Volume, tables: dict) -> None:
    """Volume, mean, D95%, D50% and D2% inside the band or within 0.5 % of its edge.

    Seen: at most 0.18 % outside in the volume (rectum, above CERR), 0.15 % in D95% (rectum), 0.04 % in the mean, and
    0.01 % in D50% and D2%.
    """
    structure = read_contours(number)
    samples = samples_of(dose, structure)
    ours = [structure.volume_cc, mean_dose(samples.dose_gy, samples.cc)]
    ours += [dose_at_volume(samples.dose_gy, samples.cc, share * samples.cc.sum()) for share in (0.95, 0.50, 0.02)]
    band = []
    for system in SYSTEMS:
        level, percent, volume = tables[system][structure.name.replace(" ", "")]
        mean = np.trapezoid(percent / 100.0, level)
        band.append([volume, mean, *(np.interp(-share, -percent, level) for share in (95.0, 50.0, 2.0))])
    low, high = np.min(band, axis=0), np.max(band, axis=0)
    beyond = outside(np.array(ours), np.array(band)) / np.where(np.array(ours) > high, high, low)
    for what, *row in zip(
        ("volume cc", "mean Gy", "D95% Gy", "D50% Gy", "D2% Gy"), low, high, ours, beyond, strict=True
    ):
        print(f"{structure.name:16s} {what:10s} [{row[0]:8.3f}, {row[1]:8.3f}] ours {row[2]:8.3f} out {row[3]:.2%}")
    assert np.all(beyond <= 0.005)


@pytest.mark.parametrize("number", range(1, 6))
def test_curve_lies_in_the_band(number: int, dose: Volume, tables: dict) -> None:
    """At every level of SlicerRT's table: inside the band or within 0.5 points of volume.

    Seen: at most 0.39 points, in the rectum's coldest tail at 11.1 Gy, which is our half slice beyond its lower end;
    0.19 points elsewhere.
    """
    structure = read_contours(number)
    key = structure.name.replace(" ", "")
    level = tables["SlicerRT"][key][0]
    ours = curve_of(samples_of(dose, structure), level)
    band = np.array([np.interp(level, *tables[system][key][:2], right=0.0) for system in SYSTEMS])
    beyond = outside(ours, band)
    worst = int(beyond.argmax())
    for k in sorted({worst, *(int(np.argmin(np.abs(band.mean(axis=0) - share))) for share in (98, 90, 50, 10, 2))}):
        print(f"{structure.name:16s} {level[k]:5.1f} Gy [{band[:, k].min():7.3f}, {band[:, k].max():7.3f}]"
              f" ours {ours[k]:7.3f} out {beyond[k]:.3f}")  # fmt: skip
    assert beyond.max() <= 0.5


def test_one_dose_per_voxel_leaves_the_band(dose: Volume, tables: dict) -> None:
    """What sampling is for: the rectum's curve by voxel centres lies 2.3 points outside the band."""
    structure = read_contours(5)
    voxels = structure.on(dose.grid)
    level = tables["SlicerRT"]["Rectum"][0]
    coarse = Samples(dose.values.reshape(-1)[voxels.indices], voxels.cc, (1, 1, 1))
    band = np.array([np.interp(level, *tables[system]["Rectum"][:2], right=0.0) for system in SYSTEMS])
    assert outside(curve_of(coarse, level), band).max() == pytest.approx(2.3, abs=0.1)
