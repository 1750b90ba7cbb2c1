"""The Python blocks of README, run as printed."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def run_block(number: int, folder: Path) -> dict[str, object]:
    """Run one block from a file in `folder`; what it defined."""
    script = folder / f"block_{number}.py"
    script.write_text(BLOCKS[number], encoding="utf-8")
    return runpy.run_path(str(script))


@pytest.mark.slow
def test_the_main_path_plans_the_synthetic_patient(tmp_path, monkeypatch, capsys):
    """The demonstration's job: nine beams, 3 mm, through the DICOM readers; limits hold on both grids."""
    monkeypatch.chdir(tmp_path)
    run_block(0, tmp_path)
    printed = capsys.readouterr().out
    assert "PTV_opt D95%" in printed
    evaluation = json.loads((tmp_path / "plan1" / "evaluation.json").read_text())
    assert evaluation["status"] == "ok"
    assert evaluation["prescription"]["dose_gy"] >= 59.9
    assert evaluation["certificate"]["max_violation_gy"] <= 0.01
    mandatory = [g for g in evaluation["goals"] if g["level"] == "mandatory" and g["assessed"]]
    assert len(mandatory) >= 15
    assert all(g["met"] for g in mandatory)
    again = {g["id"]: g for g in evaluation["verification"]["goals"]}
    assert "C018" in again
    assert all(g["met"] for g in again.values())
    written = {p.name for p in (tmp_path / "plan1").iterdir()}
    assert written >= {"report.html", "rtdose.dcm", "rtstruct.dcm", "dvh.csv", "run.json", "fluence.npz"}


def test_dose_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_block(1, tmp_path)
    dose = names["dose_gy"]
    gradient = names["gradient"]
    assert dose.shape == (50**3,)
    assert 0.5 < dose.max() < 1.5
    assert gradient.sum() * 100.0 == pytest.approx(dose.sum(), rel=1e-5)


def test_a_term_of_ones_own(tmp_path, monkeypatch):
    """It states a convex penalty and a limit on the structure that it names, and they are what it says."""
    monkeypatch.chdir(tmp_path)
    term, asked = run_block(2, tmp_path)["spare_cord"], []
    fluence = cp.Variable(3, nonneg=True)

    def rows(name):
        asked.append(name)
        return np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]])

    penalty, constraints = term(fluence, rows)
    problem = cp.Problem(cp.Minimize(penalty), constraints)
    assert asked == ["SpinalCord"] and problem.is_dcp()
    fluence.value = np.array([1.0, 3.0, 0.0])  # 7 and 3 Gy: 5 and 1 beyond 2 Gy, 0.05 each over two voxels
    assert penalty.value == pytest.approx(0.15)
    assert constraints[0].value()
    fluence.value = np.array([1.0, 5.0, 0.0])
    assert not constraints[0].value()
