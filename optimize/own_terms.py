"""A user's own CVXPY terms: stated once, kept in every level of the escalation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

from .plan_limits import Region

Array = npt.NDArray[np.float64]
Rows: TypeAlias = Callable[[Any], Array]
OwnTerm: TypeAlias = Callable[[cp.Expression, Rows], tuple[Any, Sequence[cp.Constraint]]]
"""Takes the fluence (B,), in the unit of the operator, and a function that gives the dose rows (n, B) of a region in Gy
per unit of it; returns a penalty (0 for none) and constraints. Every level minimises an objective of order one (the
target's dose over what was asked for, say) plus the penalty.
"""
WHERE = "extra_terms"


def stated(terms: Sequence[OwnTerm], fluence: cp.Expression, rows: Rows) -> tuple[Any, list[cp.Constraint]]:
    """The sum of the penalties, and all constraints.

    Raises
    ------
    InputError
        What a term returns is no penalty and constraints, or not convex by CVXPY's rules.
    """
    penalty: Any = 0.0
    constraints: list[cp.Constraint] = []
    for term in terms:
        name = getattr(term, "__name__", repr(term))
        found = _called(term, name, fluence, rows)
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Sequence)):
            raise InputError(
                f"the term {name} returned {_types(found)}, expected (penalty, [constraints]).",
                where=WHERE,
                remedy="Return (0, [...]) for constraints alone, (penalty, []) for a penalty alone.",
            )
        own, kept = cp.Constant(found[0]) if isinstance(found[0], int | float) else found[0], list(found[1])
        _check(name, own, kept)
        penalty, constraints = penalty + own, constraints + kept
    return penalty, constraints


def _called(term: OwnTerm, name: str, fluence: cp.Expression, rows: Rows) -> Any:
    """What a term returns; a fault inside it is the term's, not the optimiser's."""
    try:
        return term(fluence, rows)
    except Exception as error:
        raise InputError(
            f"the term {name} failed: {type(error).__name__}: {error}"[:400],
            where=WHERE,
            remedy="It is called with the CVXPY fluence and a function from a Region to its dose rows in Gy.",
        ) from error


def _types(found: Any) -> str:
    if isinstance(found, tuple):
        return f"({', '.join(type(each).__name__ for each in found)})"
    return type(found).__name__


def _check_numbers(what: str, stated: Any) -> None:
    """Refuse numbers that no solver can take: NaN, infinite, complex or missing, and variables of whole numbers."""
    numbers = [np.asarray(each.value) for each in stated.constants()]
    if any(each.value is None for each in stated.parameters()):
        told = "holds a parameter without a value"
    elif not all(np.isrealobj(each) and np.isfinite(each).all() for each in numbers if each.dtype != object):
        told = "holds a number that is NaN, infinite or complex"
    elif any(each.attributes["boolean"] or each.attributes["integer"] for each in stated.variables()):
        told = "holds a variable of whole numbers, which makes the problem one that is not convex"
    else:
        return
    raise InputError(f"{what} {told}.", where=WHERE, remedy="Check the arrays that it is built from.")


def _check(name: str, penalty: Any, constraints: list[Any]) -> None:
    """Refuse what CVXPY cannot take as a convex term (disciplined convex programming: Grant, Boyd and Ye 2006)."""
    if not isinstance(penalty, cp.Expression) or not penalty.is_scalar():
        shape = getattr(penalty, "shape", type(penalty).__name__)
        raise InputError(f"the penalty of the term {name} must be one number, got {shape}.", where=WHERE)
    _check_numbers(f"the penalty of the term {name}", penalty)
    if not penalty.is_convex():
        raise InputError(
            f"the penalty of the term {name} is not convex by CVXPY's rules, it is {penalty.curvature.lower()}.",
            where=WHERE,
            remedy="Build it from convex atoms such as cp.sum_squares, cp.pos or cp.max of the dose.",
        )
    for number, constraint in enumerate(constraints):
        if not isinstance(constraint, cp.Constraint):
            got = type(constraint).__name__
            raise InputError(f"constraint {number} of the term {name} is a {got}, expected a CVXPY one.", where=WHERE)
        _check_numbers(f"constraint {number} of the term {name}", constraint)
        if not constraint.is_dcp():
            raise InputError(
                f"constraint {number} of the term {name} is not convex by CVXPY's rules: {constraint}"[:400] + ".",
                where=WHERE,
                remedy="Upper limits need convex expressions of the dose, lower limits concave ones.",
            )


def by_name(terms: Sequence[OwnTerm], find: Callable[[str], Region]) -> tuple[OwnTerm, ...]:
    """The terms with structures given by name instead of as a `Region`."""

    def named(term: OwnTerm) -> OwnTerm:
        def with_names(fluence: cp.Expression, rows: Rows) -> tuple[Any, Sequence[cp.Constraint]]:
            return term(fluence, lambda name: rows(find(name)))

        with_names.__name__ = getattr(term, "__name__", repr(term))
        return with_names

    return tuple(named(term) for term in terms)
