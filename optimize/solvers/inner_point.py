"""Warm starts: a point well inside the cone, from which a problem with other dense rows is solved.

An interior point cannot start from a solution, where a slack or a multiplier of every row is zero: it hardly moves. An
iterate on the way to it is as good a start for a problem that differs by a few rows (Gondzio, Math. Program. 83 (1998)
125), and takes half the iterations. What the rows that are new get is on the central path of the point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .embedding import Iterate
from .presolve import Reduced
from .scaling import ConvexQp, Scaling
from .structure import FloatArray, IndexArray, Rows, times

# The first iterate whose residuals and gap are all within this. Later ones are nearer to the boundary: where the new
# rows cut deep, starts from 1e-2 took up to twice as many iterations, where they do not, two fewer.
INSIDE = 0.1


@dataclass(frozen=True, slots=True)
class InnerPoint:
    """A point in the caller's units and order, before the slack columns of rows that have a price.

    Attributes
    ----------
    x : numpy.ndarray, shape (columns,)
    slack, multiplier : numpy.ndarray, shape (rows,)
        Of every inequality row, dense ones last; NaN in both for a row that the point does not know.
    dual_equality : numpy.ndarray, shape (equalities,)
    complementarity : float
        Mean product of slack and multiplier.
    """

    x: FloatArray
    slack: FloatArray
    multiplier: FloatArray
    dual_equality: FloatArray
    complementarity: float


def kept_point(reduced: Reduced, scaling: Scaling, at: Iterate) -> InnerPoint:
    """An iterate of the reduced and scaled problem as the caller sees it."""
    inside, rows = reduced.substitution, reduced.row[reduced.order.row]
    core = np.empty(inside.basis.shape[1])
    core[reduced.order.column] = scaling.level * scaling.column * at.x / at.tau
    slack, multiplier = np.full((2, reduced.inequalities + reduced.slacks), np.nan)
    slack[rows] = scaling.level * at.s / (scaling.row * at.tau)
    multiplier[rows] = scaling.row * at.z / (scaling.cost * at.tau)
    equality = np.zeros(len(reduced.original.b))
    equality[inside.equality] = scaling.equality * at.y / (scaling.cost * at.tau)
    return InnerPoint(
        (inside.basis @ core + inside.offset)[: reduced.columns],
        np.delete(slack, _slack_bounds(reduced)),
        np.delete(multiplier, _slack_bounds(reduced)),
        equality,
        scaling.level / scaling.cost * at.complementarity / at.tau**2,
    )


def started_at(reduced: Reduced, problem: ConvexQp, scaling: Scaling, start: InnerPoint, placed: Rows) -> Iterate:
    """The point as an iterate of the reduced and scaled problem, whose rows are ``placed`` where the solver works."""
    inside, mu = reduced.substitution, start.complementarity * scaling.cost / scaling.level
    x = np.concatenate([start.x, np.zeros(reduced.slacks)])[inside.kept][reduced.order.column]
    x /= scaling.level * scaling.column
    s = _sorted(reduced, start.slack) * scaling.row / scaling.level
    z = _sorted(reduced, start.multiplier) * scaling.cost / scaling.row
    y = start.dual_equality[inside.equality] * scaling.cost / scaling.equality
    room = problem.h - placed.algebra.fetch(times(placed, placed.algebra.send(x)))
    _centre_priced(problem, reduced.slacks, mu, room, (x, s, z))
    new = np.isnan(s)
    s[new] = np.maximum(np.abs(room[new]), np.sqrt(mu))
    z[new] = mu / s[new]
    return Iterate(x, y, z, s, 1.0, mu)


def _slack_bounds(reduced: Reduced) -> slice:
    """Where the bounds of the slack columns stand among the inequality rows."""
    first = len(reduced.original.h) - reduced.slacks
    return slice(first, first + reduced.slacks)


def _sorted(reduced: Reduced, values: FloatArray) -> FloatArray:
    """Values of the caller's rows in the order of the problem's, NaN for the bounds of slack columns."""
    bounds = _slack_bounds(reduced)
    whole = np.insert(values, bounds.start, np.full(reduced.slacks, np.nan))
    return whole[reduced.row[reduced.order.row]]


def _centre_priced(
    problem: ConvexQp, slacks: int, mu: float, room: FloatArray, point: tuple[FloatArray, FloatArray, FloatArray]
) -> None:
    """Put the rows that have a price, and their slack columns, on the central path; the columns are the last ones.

    With ``t`` the slack column, ``g < 0`` its entry and ``p`` the price over ``-g``: ``s = room - g t``, ``s z = mu``
    and ``-g t (p - z) = mu``, a quadratic equation for ``z`` in (0, p), and one for ``p - z`` with room's sign turned.
    """
    x, s, z = point
    rows = problem.rows
    priced: IndexArray = np.arange(len(rows.hinge_row) - slacks, len(rows.hinge_row))
    row, entry, column = rows.hinge_row[priced], rows.hinge_value[priced], rows.core + priced
    # A row of no price has no such path; it gets one that is as good as none.
    price = np.maximum(-problem.q[column] / entry, np.finfo(float).eps)
    worth = room[row] * price
    root = np.hypot(worth, 2 * mu)
    z[row] = 2 * mu * price / (2 * mu + root + worth)
    s[row] = mu / z[row]
    x[column] = (2 * mu + root - worth) / (-2 * entry * price)
    bound = np.zeros(rows.columns, np.intp)
    bound[rows.bound_column] = np.arange(len(rows.bound_column))
    at = rows.general + bound[column]
    s[at] = -rows.bound_value[bound[column]] * x[column]
    z[at] = mu / s[at]
