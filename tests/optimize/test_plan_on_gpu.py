"""A whole plan with dose and solver on a GPU, beside the same one of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from ..backends import backend_named
from .small_case import make_plan


@pytest.mark.cuda
def test_a_plan_of_the_gpu_is_that_of_the_cpu(request, planned, patient) -> None:
    """Within 1e-3 of the maximum anywhere and 1e-4 on average; what goals read within 0.05 Gy (or cc)."""
    backend_named("cupy", request)
    there = make_plan(patient, planned.protocol, planned.machine, backend="cupy")
    assert there.provenance.backend == "cupy"
    assert there.provenance.solver == planned.provenance.solver == "INTERIOR_POINT"
    apart = np.abs(np.asarray(there.dose.values) - planned.dose.values) / np.max(planned.dose.values)
    assert apart.max() <= 1e-3
    assert apart.mean() <= 1e-4
    for ours, stated in zip(there.evaluation.goals, planned.evaluation.goals, strict=True):
        assert ours.id == stated.id and ours.met == stated.met
        if stated.value is not None:
            assert ours.value == pytest.approx(stated.value, abs=0.05)
