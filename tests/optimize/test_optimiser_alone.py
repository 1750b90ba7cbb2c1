"""The Python blocks of docs/optimiser_alone.md, run as printed, one after the other."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from ..cases.matrad import matrad_stf, save_matrad

PAGE = Path(__file__).resolve().parents[2] / "docs" / "optimiser_alone.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("page")
    save_matrad(folder, None, matrad_stf())
    script = folder / "page.py"
    script.write_text("\n".join(BLOCKS), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return runpy.run_path(str(script))


@pytest.mark.parametrize("which", ["found", "smooth", "same"])
def test_limits_hold_and_the_target_is_raised_to_them(names, which) -> None:
    found = names[which]
    dose = names["matrix"] @ found.fluence
    gut, cord, target = names["gut"], names["cord"], names["target"]
    assert gut.cc[dose[gut.positions] > 10.01].sum() < 0.2
    assert dose[cord.positions].mean() <= 4.0
    inside = np.sort(dose[target.positions])
    assert inside[int(0.05 * inside.size)] >= found.prescription_gy - 0.01
    assert inside[-1] <= 1.6 * found.prescription_gy + 0.1
    assert found.prescription_gy == pytest.approx(60.0, abs=0.05)  # all that was asked for


def test_pairs_of_neighbours_make_the_fluence_smoother(names) -> None:
    jumps = [
        np.abs(np.diff(names[w].fluence.reshape(5, 13))).mean() / names[w].fluence.mean() for w in ("found", "smooth")
    ]
    assert jumps[1] < jumps[0]


def test_a_matrix_and_its_verbs_give_the_same(names) -> None:
    """Their products round differently: within the solver's tolerance, doses that hardly count may settle elsewhere."""
    same, found = names["same"], names["found"]
    assert same.prescription_gy == pytest.approx(found.prescription_gy, rel=1e-6)
    assert [level.value for level in same.levels] == pytest.approx([level.value for level in found.levels], abs=2e-6)
    np.testing.assert_allclose(names["matrix"] @ same.fluence, names["matrix"] @ found.fluence, atol=0.1)


def test_voxels_that_matrad_lists_lie_where_it_means(names) -> None:
    """The last voxel, and the one before it: y counts fastest."""
    np.testing.assert_array_equal(names["centres_mm"][names["organ"].positions], [[4, 13, 22], [4, 16, 22]])
    np.testing.assert_array_equal(names["operator"].rows(names["organ"].positions), [[0, 0, 0, 0], [0, 0, 1, 1]])
    assert names["organ"].cc == pytest.approx(2 * [0.03])


def test_a_term_of_the_users_own_holds_in_the_end(names) -> None:
    found, own = ((names["matrix"] @ names[which].fluence)[names["cord"].positions] for which in ("found", "own"))
    assert found.max() > 6.0
    assert own.max() <= 5.001
    assert 45.0 < names["own"].prescription_gy <= 60.05  # what the term costs
