"""Named cases: every odd input gets its expected error, and its valid neighbour reads to known numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosecalc.errors import DosecalcError

from . import ct, ct_files, dij, hu_tables, images, rois, rt, rt_dose, values
from .inputs import judge, make, read
from .model import Case
from .table import TABLE, table

_MODULES = ct, ct_files, values, hu_tables, rt, rt_dose, rois, images, dij
CASES: list[Case] = [case for module in _MODULES for case in module.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_broken_input_is_refused(case: Case, tmp_path: Path) -> None:
    make(case.kind, tmp_path)
    case.breaks(tmp_path)
    with pytest.raises(DosecalcError, match=case.words) as caught:
        read(case.kind, tmp_path, case.options)
    assert caught.value.code == case.code
    assert caught.value.where or caught.value.remedy


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_its_valid_twin_is_read(case: Case, tmp_path: Path) -> None:
    make(case.kind, tmp_path)
    case.keeps(tmp_path)
    found = read(case.kind, tmp_path, case.valid_options)
    if case.numbers is not None:
        case.numbers(found)
    else:
        judge(case.kind, found)


def test_there_are_sixty_and_more_each_once() -> None:
    names = [(case.kind, case.name) for case in CASES]
    assert len(names) >= 60
    assert len(set(names)) == len(names)


def test_the_table_in_the_documentation_is_this_one() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(CASES), "run: python -m tests.cases"
