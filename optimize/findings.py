"""What is told beside the verdicts of a finished evaluation: published models, and selection rules."""

from __future__ import annotations

import dataclasses

from dosecalc.grid import Volume
from dosecalc.structures import StructureSet

from .eligibility import PatientFacts, eligibility
from .outcome import with_outcome
from .results import PlanEvaluation


def with_findings(
    judged: PlanEvaluation,
    dose: Volume,
    structures: StructureSet,
    *,
    cut_structures: tuple[str, ...] = (),
    scenarios: tuple[str, ...] = (),
    facts: PatientFacts | None = None,
) -> PlanEvaluation:
    """The evaluation with what published models and selection rules say of its dose.

    Parameters
    ----------
    judged : PlanEvaluation
    dose : Volume
        The dose that was judged, Gy.
    structures : StructureSet
        What it was judged on.
    cut_structures : tuple of str
        As for `evaluate`.
    scenarios : tuple of str
        As for `with_outcome`.
    facts : PatientFacts, optional
        What the images do not show; without it selection rules are left out.
    """
    told = with_outcome(judged, dose, structures, cut_structures=cut_structures, scenarios=scenarios)
    if facts is None:
        return told
    rules = eligibility(
        dose, structures, judged.fractions, cut_structures=cut_structures, facts=facts, alpha_beta=judged.alpha_beta
    )
    return dataclasses.replace(told, eligibility=rules)
