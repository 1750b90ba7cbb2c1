"""A quick share of the accuracy table (`python -m benchmarks.accuracy`), and the figures it is made of."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf, ndtri

from benchmarks.accuracy import elekta, machines, monte_carlo, peers, profiles, published, rows
from benchmarks.accuracy.phantom import Setup, axis_dose
from dosecalc.head_scatter import ExtraFocal
from dosecalc.machine import BeamModel


@pytest.fixture(scope="module")
def point_source(machine: BeamModel, shared: Path) -> BeamModel:
    """The generic machine with the source of the runs, whose spectrum is its own; 1 MU is 1 photon per cm2."""
    energy, photons = machines.read_spectrum(shared / "physics" / "monte_carlo" / "x6.spectrum")
    mean = (energy * photons).sum() / photons.sum()
    return dataclasses.replace(machine, source_sigma_mm=(0.0, 0.0), gy_per_fluence=float(mean) * machines.GY_G_PER_MEV)


def missed(found: list[rows.Row]) -> list[str]:
    return [" ".join(rows.cells(row)) for row in found if row.verdict == "MISSED"]


@pytest.mark.shared
@pytest.mark.parametrize("case", monte_carlo.CASES, ids=lambda c: c.file)
def test_absolute_dose_meets_monte_carlo(point_source: BeamModel, shared: Path, case: monte_carlo.Case) -> None:
    """Depth dose within 1 %, penumbra 1 mm, tails 1 % of the axis, 2 cm beyond lung 3 %: nothing is normalised."""
    run = monte_carlo.read_3ddose(shared / "physics" / "monte_carlo" / f"{case.file}.3ddose")
    found = list(monte_carlo.case_rows(point_source, case, run, with_gamma=False))
    print(rows.as_text(found))
    assert sum(row.verdict == "met" for row in found) == (1 if case.layers else 13)
    assert missed(found) == []


def test_textbook_output_factors_and_closed_forms(machine: BeamModel) -> None:
    parts = (published.textbook_rows, published.output_rows, published.closed_forms)
    found = [row for part in parts for row in part(machine)]
    print(rows.as_text(found))
    assert sum(row.verdict == "met" for row in found) == 10
    assert missed(found) == []


@pytest.mark.shared
def test_measured_penumbrae_are_read_as_published(shared: Path) -> None:
    """Elekta 6 MV, 10x10: 80-20 at 15/50/100/200 mm, inplane and crossplane, read by others from the same scans."""
    scans = elekta.read_mcc(shared / "physics" / "pymedphys_6MV_elekta" / "06MV_10x10.mcc")
    assert [scan.kind for scan in scans].count("pdd") == 1
    assert len(scans) == 9
    for kind, expected in (("inplane", (3.3, 3.9, 4.7, 6.3)), ("crossplane", (4.8, 5.6, 6.6, 8.6))):
        own = sorted((s for s in scans if s.kind == kind), key=lambda s: s.depth_mm)
        assert [s.depth_mm for s in own] == [15, 50, 100, 200]
        assert [profiles.penumbra(s.t_mm, s.dose) for s in own] == pytest.approx(expected, abs=0.06)


def test_penumbra_width_and_tail_of_a_blurred_step() -> None:
    t = np.arange(-120.0, 120.1, 0.5)
    blurred = 0.5 * (erf((t + 50) / np.sqrt(2) / 3.0) - erf((t - 50) / np.sqrt(2) / 3.0))
    assert profiles.penumbra(t, 7 * blurred) == pytest.approx(2 * ndtri(0.8) * 3.0, abs=0.02)
    assert profiles.width(t, blurred) == pytest.approx(100.0, abs=0.01)
    row = profiles.tail_difference("c", "q", t, blurred + 0.02 * (np.abs(t) > 65), blurred, 50.0, 1.0, "s")
    assert row.difference == pytest.approx(2.0)
    assert row.verdict == "MISSED"


def test_extra_focal_source_brings_the_output_of_open_fields(machine: BeamModel) -> None:
    """Head scatter inside the dose gives the tails, and the output factor that it gives outside, within 0.2 %."""
    inside = elekta.with_head_in_the_dose(machine)
    assert isinstance(inside.extra_focal, ExtraFocal)
    small, large = (axis_dose(inside, Setup(side, 1000.0), 100.0)[0] for side in (50.0, 100.0))
    listed = [row for row in published.output_rows(machine) if row.quantity.startswith("6x6 over")]
    six = axis_dose(inside, Setup(60.0, 1000.0), 100.0)[0] / large
    assert six == pytest.approx(listed[0].ours, rel=2e-3)
    assert 0.88 < small / large < six


def test_rows_without_data_stay_in_the_table(tmp_path: Path) -> None:
    found = [*monte_carlo.rows(tmp_path), *elekta.rows(tmp_path), *peers.rows(None)]
    assert {row.verdict for row in found} == {rows.ABSENT}
    assert len(found) == 6
    rows.write(found, tmp_path / "table.md")
    rows.write(found, tmp_path / "table.json")
    assert (tmp_path / "table.md").read_text().count("data absent |") == 6
    assert [one["verdict"] for one in json.loads((tmp_path / "table.json").read_text())] == [rows.ABSENT] * 6


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (rows.relative("c", "q", 1.011, 1.0, "", 1.0, "s"), "MISSED"),
        (rows.relative("c", "q", 0.991, 1.0, "", 1.0, "s"), "met"),
        (rows.relative("c", "q", 0.991, 1.0, "", 1.0, "s", "fitted"), "fitted"),
        (rows.relative("c", "q", 0.991, 1.0, "", None, "s"), "information"),
        (rows.absolute("c", "q", 3.0, 4.5, "mm", 1.0, "s"), "MISSED"),
        (rows.passing("c", "q", 98.9, 99.0, "s"), "MISSED"),
        (rows.passing("c", "q", 99.1, 99.0, "s"), "met"),
    ],
)
def test_verdicts(row: rows.Row, verdict: str) -> None:
    assert row.verdict == verdict
