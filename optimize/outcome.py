"""What published models say of plans like this: complications of organs, and local control as a range.

Tumour and organs are converted by the same survival curve, voxel by voxel before any reduction, once by the
linear-quadratic model and once by the LQ-L, because the fractions of stereotactic treatments lie beyond what the first
is supported for. Nothing here is optimised on (`risk` does that), and nothing predicts a
patient (`outcome_results.STATEMENT`).
"""

from __future__ import annotations

import dataclasses

from dosecalc.errors import UsageError
from dosecalc.grid import Volume
from dosecalc.structures import StructureSet
from protocols import outcome_models
from protocols.outcome_models import (
    ControlCurve,
    ControlStrata,
    ControlThreshold,
    Lyman,
    MeanLimits,
    OrganModel,
    OutcomeModels,
    Scenario,
    TumourModel,
)
from protocols.tissues import AlphaBeta, alpha_beta_of

from .escalation_results import RISK
from .organ_risk import liver_room, organ_values
from .outcome_results import STATEMENT_WITH_RISK, LesionControl, ModelResult, ModelValue, Outcome
from .regions import Region, regions_on
from .results import PlanEvaluation
from .tumour_control import biological, control_ranges, control_values, gtv_doses, target_doses

LIVER = "Liver-GTV"
_TUMOUR = (ControlCurve, ControlStrata, ControlThreshold)


def with_outcome(
    judged: PlanEvaluation,
    dose: Volume,
    structures: StructureSet,
    *,
    cut_structures: tuple[str, ...] = (),
    scenarios: tuple[str, ...] = (),
) -> PlanEvaluation:
    """The evaluation with what published models say of its dose.

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
        Ids of scenarios, off by default.

    Raises
    ------
    UsageError
        A scenario is unknown.
    """
    models = outcome_models()
    named = {model.structure for model in models.models if not isinstance(model, _TUMOUR)}
    unused = tuple(s.name for s in structures if s.name not in named and s.role != "GTV" and s.name != "GTV")
    regions = regions_on(dose, structures.without(unused), cut_structures)
    found = outcome(
        regions,
        judged.prescription.dose_gy,
        judged.fractions,
        scenarios=scenarios,
        alpha_beta=judged.alpha_beta,
        lesions=tuple(s.name for s in structures if s.role == "GTV"),
    )
    if any(goal.id == RISK for goal in judged.goals):
        found = dataclasses.replace(found, statement=STATEMENT_WITH_RISK)
    return dataclasses.replace(judged, outcome=found)


def outcome(
    regions: dict[str, Region],
    reached_gy: float,
    fractions: int,
    *,
    scenarios: tuple[str, ...] = (),
    alpha_beta: tuple[AlphaBeta, ...] = (),
    lesions: tuple[str, ...] = (),
) -> Outcome:
    """What published models say.

    Parameters
    ----------
    regions : dict of str to Region
        Organs by TG-263 name, and "GTV".
    reached_gy : float
        Reached dose of the prescription, course total.
    fractions : int
    scenarios : tuple of str
        Ids of named scenarios (factors on the hazard of local failure).
    alpha_beta : tuple of AlphaBeta
        Stated in the place of shipped ones: models of Lyman's kind are told for them as well. A model's own value
        stays, as its parameters were fitted with it, and so does that of a threshold that was published as BED.
    lesions : tuple of str
        GTVs of the lesions: where there are several, control is told for each as well.
    """
    models = _also_for(outcome_models(), alpha_beta)
    asked = _scenarios(models, scenarios)
    doses = target_doses(reached_gy, regions.get("GTV")) if reached_gy > 0 else ()
    organs = [_organ_result(m, regions, fractions, reached_gy) for m in models.models if not isinstance(m, _TUMOUR)]
    control = tuple((m, control_values(m, doses, fractions)) for m in models.models if isinstance(m, _TUMOUR))
    liver = regions.get(LIVER)
    curves = tuple(m for m in models.models if isinstance(m, Lyman) and m.structure == LIVER)
    limits = tuple(m for m in models.models if isinstance(m, MeanLimits))
    return Outcome(
        doses=tuple(biological(dose, fractions) for dose in doses),
        models=(*organs, *(_tumour_result(model, values) for model, values in control)),
        control=control_ranges(control, asked),
        liver_room=liver_room(liver, fractions, curves, limits) if liver else (),
        scenarios=tuple(_scenario_line(scenario) for scenario in asked),
        lesions=tuple(_lesion(gtv, models, fractions, asked) for gtv in _separate(regions, lesions)),
    )


def _separate(regions: dict[str, Region], lesions: tuple[str, ...]) -> list[Region]:
    """The GTVs of several lesions; none where one of them bears the name of their union, which took its place."""
    found = [regions[name] for name in lesions if name != "GTV" and name in regions]
    whole = regions["GTV"].total_cc if "GTV" in regions else 0.0
    return found if len(found) > 1 and sum(gtv.total_cc for gtv in found) >= 0.99 * whole else []


def _lesion(gtv: Region, models: OutcomeModels, fractions: int, asked: tuple[Scenario, ...]) -> LesionControl:
    """Control of one of several lesions by its own dose: that of the union is led by the coldest and averages all."""
    doses = gtv_doses(gtv)
    control = tuple((m, control_values(m, doses, fractions)) for m in models.models if isinstance(m, _TUMOUR))
    note = f"{gtv.cut_by} cuts it" if gtv.cut_by else ""
    return LesionControl(gtv.name, control_ranges(control, asked), note)


def _also_for(models: OutcomeModels, stated: tuple[AlphaBeta, ...]) -> OutcomeModels:
    """The models with a stated alpha/beta among those that a complication probability is told for."""
    if not stated:
        return models

    def told(model: OrganModel | TumourModel) -> OrganModel | TumourModel:
        found = alpha_beta_of(model.structure, stated) if isinstance(model, Lyman) else None
        if not isinstance(model, Lyman) or found not in stated:
            return model
        other = (found.alpha_beta_gy,)
        return model.model_copy(update={"also_alpha_beta_gy": (*model.also_alpha_beta_gy, *other)})

    return models.model_copy(update={"models": tuple(map(told, models.models))})


def _scenarios(models: OutcomeModels, asked: tuple[str, ...]) -> tuple[Scenario, ...]:
    known = {scenario.id: scenario for scenario in models.scenarios}
    if unknown := [name for name in asked if name not in known]:
        raise UsageError(f"scenario {unknown[0]!r} is unknown; there are {', '.join(known)}.")
    return tuple(known[name] for name in dict.fromkeys(asked))


def _scenario_line(scenario: Scenario) -> str:
    return (
        f"{scenario.title}: {scenario.endpoint} {scenario.pct:g} against {scenario.reference_pct:g} %, hazard of "
        f"failure times {scenario.hazard_ratio:.1f}; {scenario.population} ({scenario.source}). {scenario.caveat}"
    )


def _organ_result(model: OrganModel, regions: dict[str, Region], fractions: int, reached_gy: float) -> ModelResult:
    region = regions.get(model.structure)
    if region is None:
        return _result(model, model.structure, (), "NOT ASSESSED: not contoured")
    answer = organ_values(model, region, fractions, reached_gy)
    if isinstance(answer, str):
        return _result(model, model.structure, (), f"NOT ASSESSED: {answer}")
    return _result(model, model.structure, answer)


def _tumour_result(model: TumourModel, values: tuple[ModelValue, ...]) -> ModelResult:
    left_out = isinstance(model, ControlThreshold) or not model.counted
    if not values:
        return _result(model, "target", (), "NOT ASSESSED: no stratum or dose of this kind in the plan")
    return _result(model, "target", values, "not counted in the range" if left_out else "")


def _result(
    model: OrganModel | TumourModel, structure: str, values: tuple[ModelValue, ...], note: str = ""
) -> ModelResult:
    group = "tumour" if isinstance(model, _TUMOUR) else "liver" if structure == LIVER else "organs"
    return ModelResult(
        model.id,
        model.title,
        group,
        structure,
        model.endpoint,
        model.population,
        model.source,
        model.status,
        model.caveat,
        values,
        note,
    )
