"""Limits with many dense rows, hard or at a price, kept out of CVXPY's compilation.

CVXPY holds every matrix several times over as sparse triples of 24 bytes per entry, and compiles it anew in each round
of row generation. A `DoseLimits` says the same as what it has `stated`, but the structured interior point reads its
rows directly; other solvers are given the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from dosecalc.errors import OptimisationError

from .algebra import HOST, Algebra
from .structure import DenseRows

FloatArray = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class DoseLimits:
    """``sense * (rows @ variable - slope * scalar) <= sense * level``, one condition per row.

    With a price, a row may be exceeded: the objective (a cost) then grows by price times excess.

    Attributes
    ----------
    variable : cvxpy.Variable, shape (columns,)
        Without attributes: CVXPY replaces a variable that was declared nonnegative by another.
    rows : sequence of rows (`algebra.Algebra`), each of shape (columns,)
        Not copied.
    level : numpy.ndarray, shape (rows,)
    scalar : cvxpy.Variable or None
    slope : float
    sense : int
        +1 for upper limits, -1 for lower ones.
    price : numpy.ndarray or None, shape (rows,)
    dual_value : numpy.ndarray or None, shape (rows,)
        Nonnegative multipliers after a solve; at most the price.
    inner : numpy.ndarray or None, shape (2, rows)
        After a solve slack and multiplier of an inner point (`inner_point.InnerPoint`). Given before, for every dose
        limit of a problem that was solved with others, the structured solver starts from there; NaN in new rows.
    """

    variable: cp.Variable
    rows: Sequence[Any]
    level: FloatArray
    scalar: cp.Variable | None = None
    slope: float = 0.0
    sense: int = 1
    price: FloatArray | None = None
    dual_value: FloatArray | None = field(default=None, init=False)
    inner: FloatArray | None = field(default=None, init=False)

    def stated(self) -> tuple[cp.Constraint, cp.Expression | float]:
        """The same in CVXPY, for any solver: a constraint, and what its excess costs."""
        moved = self.slope * self.scalar if self.scalar is not None else 0.0
        dose, side = np.array(self.rows) @ self.variable, self.level + moved
        if self.price is None:
            return (dose <= side if self.sense > 0 else dose >= side), 0.0
        excess = cp.Variable(len(self.rows), nonneg=True)
        return self.sense * (dose - side) <= excess, self.price @ excess

    def dose(self, algebra: Algebra = HOST) -> FloatArray:
        """``rows @ variable`` at its value, shape (rows,), computed where the rows are."""
        return algebra.products(self.rows, self.variable.value)[0]

    def violation_and_size(self, algebra: Algebra = HOST) -> tuple[float, float]:
        """Largest violation at the values of the variables, 0 with a price, and the largest term of a row there."""
        moved = self.slope * float(self.scalar.value) if self.scalar is not None else 0.0
        dose, size = algebra.products(self.rows, self.variable.value)
        excess = self.sense * (dose - self.level - moved) if self.price is None else np.zeros(0)
        return float(np.max(excess, initial=0.0)), max(size, abs(moved), float(np.abs(self.level).max(initial=0.0)))

    def dense_rows(self, column_of: dict[int, int]) -> DenseRows:
        """The rows for `solve_qp`, given the first column of each CVXPY variable by its id."""
        named = [self.variable] if self.scalar is None else [self.variable, self.scalar]
        for variable in named:
            if variable.id not in column_of:
                raise OptimisationError(
                    f"the variable {variable.name()} of a dose limit is not a plain variable of the problem.",
                    remedy="Use it in the objective or a constraint, and state its sign as a constraint.",
                )
        scalar = None if self.scalar is None else column_of[self.scalar.id]
        first, h = column_of[self.variable.id], self.sense * self.level
        return DenseRows(self.rows, float(self.sense), first, scalar, -self.sense * self.slope, h, self.price)
