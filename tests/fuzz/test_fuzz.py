"""Some mutants of each format, the same every time; larger campaigns: ``python -m tests.fuzz``."""

from __future__ import annotations

import random

import pytest

from dosecalc.errors import DosecalcError

from .campaign import run
from .mutators import mutate
from .seeds import FORMATS
from .seeds_texts import TEXTS

MUTANTS, SURVEYS = 100, 25  # a survey reads a dozen files
CUTS = 12


@pytest.mark.parametrize("name", FORMATS)
def test_readers_end_in_a_value_or_a_typed_refusal(name):
    mutants = SURVEYS if name == "survey" else MUTANTS
    outcome = run(name, mutants)
    assert outcome.faults == []
    assert outcome.counts["refused"] + outcome.counts["told"] > 0.2 * mutants
    assert outcome.counts.total() == mutants


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if name not in (*TEXTS, "survey")])
def test_truncated_files_are_noticed(tmp_path, name):
    """Cut anywhere: refused, told, or as the whole file reads (a byte of padding is gone)."""
    kind = FORMATS[name]
    kind.make(tmp_path)
    whole = kind.read(tmp_path)
    for file in (p for p in sorted(tmp_path.rglob("*")) if p.is_file()):
        data = file.read_bytes()
        for length in (*range(0, len(data), len(data) // CUTS), len(data) - 1):
            file.write_bytes(data[:length])
            try:
                cut = kind.read(tmp_path)
            except DosecalcError:
                continue
            assert cut.content == whole.content or cut.notices != whole.notices, (file.name, length)
        file.write_bytes(data)


def test_mutants_are_reproducible():
    files = {"a.nii": bytes(range(256)) * 2}
    first, again = (mutate(random.Random("x 3"), files) for _ in range(2))
    assert first == again
    assert first.files != files
