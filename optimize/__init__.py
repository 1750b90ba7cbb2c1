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
    from .goals import PlanGoals, resolve_goals
    from .job import Job, run_job
    from .planning import Plan, plan
    from .provenance import Provenance
    from .results import Certificate, GoalResult, PlanEvaluation
    from .saving import save_plan
    from .targets import Target

__all__ = [
    "Anatomy",
    "Certificate",
    "Densities",
    "GoalResult",
    "Job",
    "Plan",
    "PlanEvaluation",
    "PlanGoals",
    "Provenance",
    "Target",
    "evaluate",
    "parse_beams",
    "plan",
    "prepare_anatomy",
    "resolve_goals",
    "run_job",
    "save_plan",
]

_NAMES_OF = {
    "anatomy": ("Anatomy", "prepare_anatomy"),
    "arrangements": ("parse_beams",),
    "densities": ("Densities",),
    "goals": ("PlanGoals", "resolve_goals"),
    "job": ("Job", "run_job"),
    "planning": ("Plan", "plan"),
    "provenance": ("Provenance",),
    "results": ("Certificate", "GoalResult", "PlanEvaluation"),
    "saving": ("save_plan",),
    "targets": ("Target",),
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
