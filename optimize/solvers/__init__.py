"""Numerical solvers for the reduced fluence problem, behind CVXPY."""

from .algebra import HOST, Algebra
from .cvxpy_interface import StructuredInteriorPoint
from .device_algebra import DeviceAlgebra, algebra_beside
from .fallback import DEFAULT_ORDER, SolveRecord, solve_with_fallback
from .interior_point import QpSolution, solve_qp
from .limits import DoseLimits
from .threads import default_threads

__all__ = [
    "DEFAULT_ORDER",
    "HOST",
    "Algebra",
    "DeviceAlgebra",
    "DoseLimits",
    "QpSolution",
    "SolveRecord",
    "StructuredInteriorPoint",
    "algebra_beside",
    "default_threads",
    "solve_qp",
    "solve_with_fallback",
]
