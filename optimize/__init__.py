"""Goals to CVXPY terms, escalation, evaluation and the planning path.

Public names are loaded on first use: CVXPY alone takes about a second.
"""

import importlib
from typing import TYPE_CHECKING

# At once, because importing the submodule later would put the module in the place of the function.
from .evaluate import evaluate

if TYPE_CHECKING:
    from .anatomy import Anatomy, prepare_anatomy
    from .arrangements import parse_beams
    from .densities import Densities
    from .eligibility import PatientFacts
    from .findings import with_findings
    from .fluence_file import read_earlier_plan
    from .goals import (
        ConvexLimit,
        DoseVolumeLimit,
        MeanLimit,
        PlanGoals,
        Region,
        RelativeLimit,
        goals_from_regions,
        resolve_goals,
    )
    from .job import Job, run_job
    from .matrix import MatrixInfluence, as_operator
    from .operator import Operator
    from .peer_matrices import load_matrad_dij, load_pyradplan_dij, matrad_positions
    from .plain_goals import goals_from_limits
    from .planning import Plan, plan
    from .prior_treatment import PriorTreatment
    from .provenance import Provenance
    from .results import Certificate, GoalResult, PlanEvaluation
    from .retreatment import with_prior
    from .rounds import Round
    from .saving import save_plan
    from .targets import Target
    from .warm_start import WarmStart

__all__ = [
    "Anatomy",
    "Certificate",
    "ConvexLimit",
    "Densities",
    "DoseVolumeLimit",
    "GoalResult",
    "Job",
    "MatrixInfluence",
    "MeanLimit",
    "Operator",
    "PatientFacts",
    "Plan",
    "PlanEvaluation",
    "PlanGoals",
    "PriorTreatment",
    "Provenance",
    "Region",
    "RelativeLimit",
    "Round",
    "Target",
    "WarmStart",
    "as_operator",
    "evaluate",
    "goals_from_limits",
    "goals_from_regions",
    "load_matrad_dij",
    "load_pyradplan_dij",
    "matrad_positions",
    "parse_beams",
    "plan",
    "prepare_anatomy",
    "read_earlier_plan",
    "resolve_goals",
    "run_job",
    "save_plan",
    "with_findings",
    "with_prior",
]

_NAMES_OF = {
    "anatomy": ("Anatomy", "prepare_anatomy"),
    "arrangements": ("parse_beams",),
    "eligibility": ("PatientFacts",),
    "findings": ("with_findings",),
    "densities": ("Densities",),
    "fluence_file": ("read_earlier_plan",),
    "goals": (
        "ConvexLimit",
        "DoseVolumeLimit",
        "MeanLimit",
        "PlanGoals",
        "Region",
        "RelativeLimit",
        "goals_from_regions",
        "resolve_goals",
    ),
    "job": ("Job", "run_job"),
    "matrix": ("MatrixInfluence", "as_operator"),
    "operator": ("Operator",),
    "peer_matrices": ("load_matrad_dij", "load_pyradplan_dij", "matrad_positions"),
    "plain_goals": ("goals_from_limits",),
    "planning": ("Plan", "plan"),
    "provenance": ("Provenance",),
    "results": ("Certificate", "GoalResult", "PlanEvaluation"),
    "prior_treatment": ("PriorTreatment",),
    "retreatment": ("with_prior",),
    "rounds": ("Round",),
    "saving": ("save_plan",),
    "targets": ("Target",),
    "warm_start": ("WarmStart",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

# Hidden from type checkers: they would take any misspelt name for a dynamic one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
