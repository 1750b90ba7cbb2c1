"""Terms of the user's own: their penalty acts, and what is not convex is refused before anything is solved."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from dosecalc.errors import InputError
from optimize.escalate import escalate
from optimize.own_terms import by_name

from .terms_case import make_slice


@pytest.mark.parametrize(
    ("term", "says"),
    [
        (lambda x, rows: (-cp.sum_squares(x), []), "penalty of the term <lambda> is not convex"),
        (lambda x, rows: (0, [cp.sum_squares(x) >= 1]), "constraint 0 of the term <lambda> is not convex"),
        (lambda x, rows: (x, []), "must be one number"),
        (lambda x, rows: cp.sum(x), r"returned Sum, expected \(penalty, \[constraints\]\)"),
        (lambda x, rows: (0, [True]), "is a bool, expected a CVXPY one"),
        (lambda x, rows: (0, cp.sum(x) <= 1), r"returned \(int, Inequality\), expected \(penalty, \[constraints\]\)"),
        (lambda x, rows: (float("nan"), []), "penalty of the term <lambda> holds a number that is NaN"),
        (lambda x, rows: (cp.sum(cp.multiply(np.full(20, np.nan), x)), []), "holds a number that is NaN"),
        (lambda x, rows: (0, [cp.sum(x) <= np.nan]), "constraint 0 of the term <lambda> holds a number that is NaN"),
        (lambda x, rows: (0, [cp.sum(x) >= np.inf]), "infinite"),
        (lambda x, rows: (1j * cp.sum(x), []), "complex"),
        (lambda x, rows: (cp.Parameter(nonneg=True) * cp.sum(x), []), "a parameter without a value"),
        (lambda x, rows: (0, [x[:2] <= cp.Variable(2, boolean=True)]), "a variable of whole numbers"),
        (lambda x, rows: ("a", []), "must be one number, got str"),
        (lambda x, rows: (cp.max(rows("organ") @ x), []), "failed: AttributeError"),
    ],
)
def test_what_is_no_convex_term_is_refused(term, says: str) -> None:
    case = make_slice(0)
    with pytest.raises(InputError, match=says) as refusal:
        escalate(case.influence, case.goals(), extra_terms=[term])
    assert refusal.value.where == "extra_terms"


def test_a_penalty_acts_in_every_level_and_regions_go_by_name() -> None:
    """Fluence of the first beam at a price: none of it is left where three others do."""
    case = make_slice(0)

    def without_first(fluence, rows):
        assert rows("organ").shape == (case.organ.positions.size, 20)
        return 0.1 * cp.sum(fluence[:5]), []

    free = escalate(case.influence, case.goals()).fluence
    priced = escalate(
        case.influence, case.goals(), extra_terms=by_name([without_first], lambda name: case.organ)
    ).fluence
    assert free[:5].sum() > 10.0
    assert priced[:5].sum() < 0.1 * free[:5].sum()
