"""What a plan comes to, in sentences and short tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from protocols import bed, eqd2

from ..limiting import limiting, price_text
from ..results import PlanEvaluation, StructureSummary
from . import words

if TYPE_CHECKING:
    from ..planning import Plan

# Nearer than this a dose prints as the one asked for.
_NEAR_GY = 0.05
# A dose within this share of its bound has met it.
_MET = 1e-6


def biology(judged: PlanEvaluation) -> list[tuple[str, float, float, float]]:
    """What was reached and asked for: name, course-total dose, BED10 and EQD2 (alpha/beta 10 Gy)."""
    reached = judged.prescription
    doses = {"floor": reached.floor_gy, "target": reached.target_gy, "cap": reached.cap_gy}
    asked = [(k, d, bed(d, judged.fractions, 10.0), eqd2(d, judged.fractions, 10.0)) for k, d in doses.items()]
    return [("reached", reached.dose_gy, reached.bed10_gy, reached.eqd2_gy), *asked]


def standing(judged: PlanEvaluation) -> str:
    """Where the prescription stands, and how to read the limits below."""
    reached = judged.prescription
    what = f"{reached.structure} {reached.basis}% reached {words.number(reached.dose_gy)} Gy (course total)"
    if judged.status != "ok":
        return f"{what}, but not every mandatory goal is met: see the top of the page."
    for name, asked in (("cap", reached.cap_gy), ("target", reached.target_gy)):
        if reached.dose_gy >= asked - _NEAR_GY:
            full = f"{what}: the {name} of {words.number(asked)} Gy"
            return f"{full}. The {name}, not an organ, ends the escalation."
    missing = words.number(reached.target_gy - reached.dose_gy)
    held = any(g.binding and g.level == "mandatory" and g.comparator in ("<", "<=") for g in judged.goals)
    why = (
        "Relaxing one of the mandatory limits below may allow more; the others would have to hold."
        if held
        else "No mandatory upper limit is at its value."
    )
    return f"{what}, {missing} Gy below the target of {words.number(reached.target_gy)} Gy. {why}"


def structure_rows(judged: PlanEvaluation) -> list[StructureSummary]:
    """Every structure, those that the prescription or a goal names first."""
    named = dict.fromkeys(
        [row.structure for row in judged.prescription.bases] + [goal.structure for goal in judged.goals]
    )
    order = {name: k for k, name in enumerate(named)}
    return sorted(judged.structures, key=lambda row: order.get(row.name, len(order)))


def certificate(judged: PlanEvaluation) -> list[tuple[str, str]]:
    """What the optimiser states about the plan, in words."""
    stated = judged.certificate
    excess = words.number(stated.max_violation_gy, 3)
    return [
        ("Largest excess over a mandatory dose limit on the reference dose, Gy", excess),
        ("Duality gap of the last rise of D95, released voxels fixed", words.power(stated.gap_fixed)),
        (f"Distance to a bound on D95, whichever voxels are released{_bound(judged)}", _percent(stated.gap_bound)),
        ("Largest residual of the optimality conditions of that problem, on the full grid", words.power(stated.kkt)),
    ]


def _bound(judged: PlanEvaluation) -> str:
    """What the bound is; that it says nothing new where it is only what was asked for."""
    bound = judged.escalation.d95_bound_gy if judged.escalation else None
    if bound is None:
        return ""
    asked = {judged.prescription.target_gy: "target", judged.prescription.cap_gy: "cap"}.get(bound)
    said = f": {words.number(bound)} Gy"
    if asked is None:
        return said
    met = judged.certificate.gap_bound is not None and judged.certificate.gap_bound < _MET
    return f"{said}, the {asked}, {'which is met' if met else 'as no lower bound was found'}"


def _percent(share: float | None) -> str:
    return words.NOTHING if share is None else f"{words.number(100.0 * share)} %"


def cautions(plan: Plan) -> list[str]:
    """Warnings of every stage, each once, in the order in which they arose."""
    told = (*plan.provenance.warnings, *plan.anatomy.warnings, *plan.evaluation.warnings)
    if plan.machine.provisional:
        told = (f"machine {plan.machine.name}: its data are provisional.", *told)
    return grouped(dict.fromkeys(told))


def grouped(warnings: Iterable[str]) -> list[str]:
    """Warnings "NAME: text" with the same text as one, "NAME, NAME: text"; the others as they are."""
    subjects: dict[str, list[str]] = {}
    for warning in warnings:
        subject, colon, text = warning.partition(": ")
        subjects.setdefault(text if colon else warning, []).append(subject if colon else "")
    return [f"{', '.join(names)}: {text}" if names[0] else text for text, names in subjects.items()]


def limiting_rows(judged: PlanEvaluation) -> list[tuple[str, ...]]:
    """Structure, metric, limit, value, slack, uncertainty, state and price of what limits the dose, in its order."""
    return [
        (
            goal.structure,
            goal.metric,
            words.limit_text(goal),
            words.value_text(goal),
            words.slack_text(goal),
            f"{words.number(goal.uncertainty)} {goal.unit}" if goal.uncertainty is not None else words.NOTHING,
            state,
            price_text(goal, judged) or words.NOTHING,
        )
        for state, goal in limiting(judged)
    ]


def binding(judged: PlanEvaluation) -> list[tuple[str, list[str]]]:
    """Sentences on the goals at their limit: mandatory limits, optimal limits, and what targets ask for."""
    at_limit = [goal for goal in judged.goals if goal.binding]
    upper = [goal for goal in at_limit if goal.comparator in ("<", "<=")]
    groups = [
        ("Mandatory limits at their value", [g for g in upper if g.level == "mandatory"]),
        ("Optimal limits at their value", [g for g in upper if g.level == "optimal"]),
        ("Minimum doses and volumes at their value", [g for g in at_limit if g not in upper]),
    ]
    return [(name, [words.binding_sentence(g) for g in goals]) for name, goals in groups if goals]
