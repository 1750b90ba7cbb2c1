"""The fluence of a plan is kept whatever follows, and starts another plan of the same beams and beamlets only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dosecalc.beams import Beam, Beamlets, open_field
from dosecalc.errors import InputError, InterruptionError
from optimize.fluence_file import FLUENCE_FILE, read_earlier_plan, write_fluence
from optimize.rescue import rescued

FIELD = {"x_mm": (-10.0, 10.0), "y_mm": (-5.0, 5.0), "width_mm": 5.0}


def beamlets(*gantry_deg: float, x_mm: float = 0.0, width_mm: float = 5.0) -> Beamlets:
    """Two fields of eight beamlets."""
    parts = [open_field(Beam(g, isocentre_mm=(x_mm, 0.0, 0.0)), **FIELD | {"width_mm": width_mm}) for g in gantry_deg]
    return parts[0] + parts[1] if len(parts) == 2 else parts[0]


PLANNED = beamlets(0.0, 90.0)
FLUENCE = np.arange(16.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_fluence(tmp_path, FLUENCE, PLANNED, interrupted=True)
    return tmp_path


def test_what_was_written_is_read(folder: Path) -> None:
    start = read_earlier_plan(folder).start_for(PLANNED)
    np.testing.assert_array_equal(start.fluence, FLUENCE)
    assert not start.finished


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (beamlets(0.0), "it has 2 beams, this plan has 1"),
        (beamlets(0.0, 91.0), r"beam 2: gantry in degrees is 90.* there, 91.* here"),
        (beamlets(0.0, 90.0, x_mm=0.5), r"beam 1: isocentre in mm is \[0. 0. 0.\] there, \[0.5 0.  0. \] here"),
        (beamlets(0.0, 90.0, width_mm=2.5), "it has 16 beamlets, this plan has 64"),
    ],
)
def test_a_plan_of_other_beamlets_is_refused_with_the_difference(folder: Path, now: Beamlets, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        read_earlier_plan(folder).start_for(now)
    assert FLUENCE_FILE in str(refusal.value)


def test_a_file_that_holds_no_fluence_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InputError, match="no fluence can be read"):
        read_earlier_plan(folder / "nowhere")
    with np.load(folder / FLUENCE_FILE) as saved:
        whole = dict(saved)
    faults = {"u_mm": whole["u_mm"][1:], "fluence": -FLUENCE, "isocentre_mm": np.zeros((2, 2))}
    for name, wrong in faults.items():
        np.savez(folder / FLUENCE_FILE, **whole | {name: wrong})
        with pytest.raises(InputError, match=r"shape|negative"):
            read_earlier_plan(folder)
    del whole["gantry_deg"]
    np.savez(folder / FLUENCE_FILE, **whole)
    with pytest.raises(InputError, match="lacks gantry_deg"):
        read_earlier_plan(folder)


@pytest.mark.parametrize(
    ("error", "ends_as"), [(ValueError("bad"), ValueError), (KeyboardInterrupt(), InterruptionError)]
)
def test_a_failure_after_the_optimisation_keeps_the_fluence(
    tmp_path: Path, error: BaseException, ends_as: type[BaseException]
) -> None:
    told: list[str] = []
    with pytest.raises(ends_as) as ended, rescued(tmp_path / "out", told.append) as on_fluence:
        on_fluence(FLUENCE, PLANNED, False)
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["out.incomplete"]
    start = read_earlier_plan(tmp_path / "out.incomplete").start_for(PLANNED)
    np.testing.assert_array_equal(start.fluence, FLUENCE)
    assert start.finished
    assert "--warm-start out.incomplete" in (*told, str(ended.value))[0]


def test_a_failure_before_it_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), rescued(tmp_path / "out", print):
        raise ValueError("bad")
    assert not list(tmp_path.iterdir())
