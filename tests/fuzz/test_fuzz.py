"""Five hundred mutants of each format; larger campaigns: ``python -m tests.fuzz``."""

from __future__ import annotations

import random

import pytest

from .campaign import run
from .mutators import mutate
from .seeds import FORMATS

MUTANTS = 500


@pytest.mark.parametrize("name", FORMATS)
def test_readers_end_in_a_value_or_a_typed_refusal(name):
    outcome = run(name, MUTANTS)
    assert outcome.faults == []
    assert outcome.counts["refused"] > 0.2 * MUTANTS
    assert outcome.counts["same"] > 0


def test_mutants_are_reproducible():
    files = {"a.nii": bytes(range(256)) * 2}
    first, again = (mutate(random.Random("x 3"), "nifti", files) for _ in range(2))
    assert first == again
    assert first.files != files
