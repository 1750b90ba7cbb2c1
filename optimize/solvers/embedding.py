"""One iteration of the homogeneous interior point: residuals, verdict, predictor and corrector.

The embedding (Goulart and Chen 2024, arXiv:2405.12762, eq. 5-8) asks for ``(x, y, z, s, tau, kappa)`` with

    P x + A'y + G'z + q tau = 0,   A x = b tau,   G x + s = h tau,
    kappa + q'x + b'y + h'z + x'Px / tau = 0,   s, z, tau, kappa >= 0,   s z = 0,   tau kappa = 0.

``tau > 0`` gives the optimum ``x / tau``; ``tau -> 0`` gives a certificate of infeasibility.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .algebra import fetched, largest
from .normal_equations import Factor, factorise, solve
from .scaling import ConvexQp
from .structure import FloatArray, times, transpose_times

STEP_FRACTION = 0.99
CERTIFICATE_TOLERANCE = 1e-7
SMALLEST_STEP = 1e-8
# Centrality correctors cost one solve each, a small part of a factorisation, and lengthen the step.
MOST_CORRECTORS = 3
LONG_STEP = 0.95
AIMED_GAIN = 0.3
ACCEPTED_GAIN = 0.1


@dataclass(frozen=True, slots=True)
class Iterate:
    """A point of the embedding; ``s`` and ``z`` positive. On a device all six are its arrays."""

    x: FloatArray
    y: FloatArray
    z: FloatArray
    s: FloatArray
    tau: float
    kappa: float

    def carried(self, move: Callable[[Any], Any]) -> Iterate:
        """The point with every vector moved, and its numbers on the host."""
        tau, kappa = fetched(self.tau, self.kappa)
        return Iterate(move(self.x), move(self.y), move(self.z), move(self.s), tau, kappa)

    @property
    def complementarity(self) -> Any:
        """Mean of the complementarity products, where they are."""
        return (self.s @ self.z + self.tau * self.kappa) / (len(self.s) + 1)


@dataclass(frozen=True, slots=True)
class Residuals:
    """Residuals of the embedding (``f_*``) and the relative measures that stop it."""

    f_dual: FloatArray
    f_equality: FloatArray
    f_inequality: FloatArray
    f_gap: float
    primal: float
    dual: float
    gap: float
    primal_certificate: float
    dual_certificate: float

    @property
    def finite(self) -> bool:
        """Whether the point can be judged at all."""
        return bool(np.isfinite(self.worst))

    @property
    def worst(self) -> float:
        """The largest of the three optimality measures, NaN where one is."""
        return float(np.max((self.primal, self.dual, self.gap)))


def residuals(problem: ConvexQp, at: Iterate) -> Residuals:
    """Residuals and relative measures at an iterate.

    ``primal_certificate`` is ``|G'z + A'y| / -(h'z + b'y)``, infinite where the denominator is not positive:
    by Farkas' lemma every feasible ``x`` has a 1-norm of at least its inverse. ``dual_certificate`` is the
    same for a ray of descent: ``max(|Px|, |Ax|, |Gx + s|) / -q'x``.
    """
    Px, dual_image = problem.P @ at.x, problem.A.T @ at.y + transpose_times(problem.rows, at.z)
    Ax, Gx_s = problem.A @ at.x, times(problem.rows, at.x) + at.s
    f_dual, f_equality = Px + dual_image + problem.q * at.tau, Ax - problem.b * at.tau
    f_inequality = Gx_s - problem.h * at.tau
    sizes = map(largest, (at.x, at.s, f_dual, problem.q, dual_image))
    several = largest(f_equality, f_inequality), largest(at.y, at.z), largest(Px, Ax, Gx_s)
    products = problem.q @ at.x, problem.b @ at.y + problem.h @ at.z, at.x @ Px
    found = fetched(*products, at.tau, at.kappa, *sizes, *several)
    qx, rhs, xPx, tau, kappa, x, s, dual, q, image, primal, multipliers, ray = found
    f_gap = kappa + qx + rhs + xPx / tau
    primal_value, dual_value = (0.5 * xPx / tau + qx) / tau, -(0.5 * xPx / tau + rhs) / tau
    return Residuals(
        f_dual,
        f_equality,
        f_inequality,
        f_gap,
        primal=primal / tau / max(1.0, (x + s) / tau),
        dual=dual / tau / max(1.0, q, multipliers / tau),
        gap=abs(primal_value - dual_value) / max(1.0, min(abs(primal_value), abs(dual_value))),
        primal_certificate=image / -rhs if rhs < 0 else np.inf,
        dual_certificate=ray / -qx if qx < 0 else np.inf,
    )


def verdict(measure: Residuals, tol: float) -> str:
    """``optimal``, ``primal_infeasible``, ``dual_infeasible`` or ``running``."""
    if measure.worst <= tol:
        return "optimal"
    # An iterate near optimality is never called infeasible: certificates are only asked for away from it. However few
    # digits are asked for, they are proofs.
    proof = min(tol, CERTIFICATE_TOLERANCE)
    if measure.primal_certificate <= proof and measure.primal > tol:
        return "primal_infeasible"
    if measure.dual_certificate <= proof and measure.dual > tol:
        return "dual_infeasible"
    return "running"


def starting_point(problem: ConvexQp) -> Iterate | None:
    """Least-squares start, shifted into the interior; None where the system cannot be factored."""
    factor = factorise(problem, np.ones_like(problem.h))
    if factor is None:
        return None
    zero_rows, zero_equalities = np.zeros_like(problem.h), np.zeros_like(problem.b)
    # Two least-squares problems, for the slacks and for the multipliers, as if there were no curvature. With it one
    # solve gives both, but where it is weak the multipliers come out huge: masters that raise the prescription took
    # 19-25 iterations from there and take 13-18 from here; the others differ by two either way.
    x, _, minus_s = solve(factor, np.zeros_like(problem.q), problem.b, problem.h)
    _, y, z = solve(factor, -problem.q, zero_equalities, zero_rows)
    return Iterate(x, y, _interior(z), _interior(-minus_s), 1.0, 1.0)


def advance(problem: ConvexQp, at: Iterate, measure: Residuals, *, refine: bool) -> Iterate | None:
    """One predictor-corrector step; None where no useful step exists.

    Without ``refine`` the directions carry the error of one factorisation, part of it in single precision. It shows
    up in the next residuals and is corrected there, which is cheaper as long as the steps stay long.
    """
    factor = factorise(problem, at.z / at.s, exact=refine)
    if factor is None:
        return None
    aside = _newton(factor, at, measure, refine)
    predicted = _direction(aside, 1.0, -at.s * at.z, -at.tau * at.kappa)
    centring = (1.0 - _longest_step(at, predicted)) ** 3
    best, step = _corrected(aside, predicted, centring)
    step *= STEP_FRACTION
    return _moved(at, best, step) if step > SMALLEST_STEP else None


@dataclass(frozen=True, slots=True)
class _Newton:
    """A factored Newton system at an iterate, and what all directions from there share.

    Attributes
    ----------
    constant : tuple of arrays
        Its solution for the embedding's constant column.
    P_xi : array, shape (columns,)
        The curvature times x / tau.
    denominator : float
        Of the step in tau.
    """

    factor: Factor
    at: Iterate
    measure: Residuals
    refine: bool
    constant: tuple[FloatArray, ...]
    P_xi: FloatArray
    denominator: Any


def _newton(factor: Factor, at: Iterate, measure: Residuals, refine: bool) -> _Newton:
    problem = factor.problem
    x, y, z = constant = solve(factor, -problem.q, problem.b, problem.h)
    xi = at.x / at.tau
    P_xi = problem.P @ xi
    denominator = at.kappa / at.tau + P_xi @ xi - (problem.q @ x + problem.b @ y + problem.h @ z + 2 * P_xi @ x)
    return _Newton(factor, at, measure, refine, constant, P_xi, denominator)


def _corrected(aside: _Newton, predicted: Iterate, centring: float) -> tuple[Iterate, float]:
    """Mehrotra's corrector, then centrality correctors as long as they lengthen the step."""
    at = aside.at
    target = centring * at.complementarity
    r_cone = target - at.s * at.z - predicted.s * predicted.z
    r_tau = target - at.tau * at.kappa - predicted.tau * predicted.kappa
    best = _direction(aside, 1.0 - centring, r_cone, r_tau)
    step = _longest_step(at, best)
    for _ in range(MOST_CORRECTORS):
        if step > LONG_STEP:
            break
        aim = min(1.0, step + AIMED_GAIN)
        r_cone = r_cone + _recentring(at, best, aim, target)
        trial = _direction(aside, 1.0 - centring, r_cone, r_tau)
        reach = _longest_step(at, trial)
        if reach < step + ACCEPTED_GAIN * (aim - step):
            break
        best, step = trial, reach
    return best, step


def _recentring(at: Iterate, direction: Iterate, step: float, target: float) -> FloatArray:
    """Change of the complementarity products that a centrality corrector asks for, shape (rows,).

    Products at the aimed step that fall outside ``[0.1, 10] target`` are moved to the nearer end (Gondzio,
    Comput. Optim. Appl. 6 (1996) 137, section 3).
    """
    products = (at.s + step * direction.s) * (at.z + step * direction.z)
    low, high = 0.1 * target, 10.0 * target
    return np.maximum(np.clip(products, low, high) - products, -high)


def _direction(aside: _Newton, reduction: float, r_cone: FloatArray, r_tau: float) -> Iterate:
    """Newton direction that takes off ``reduction`` of the residuals (rows: see the module docstring)."""
    problem, at, measure = aside.factor.problem, aside.at, aside.measure
    x1, y1, z1 = solve(
        aside.factor,
        -reduction * measure.f_dual,
        -reduction * measure.f_equality,
        -reduction * measure.f_inequality - r_cone / at.z,
        refine=aside.refine,
    )
    x2, y2, z2 = aside.constant
    moved = problem.q @ x1 + problem.b @ y1 + problem.h @ z1 + 2 * aside.P_xi @ x1
    d_tau = (reduction * measure.f_gap + r_tau / at.tau + moved) / aside.denominator
    dz = z1 + d_tau * z2
    ds = (r_cone - at.s * dz) / at.z
    return Iterate(x1 + d_tau * x2, y1 + d_tau * y2, dz, ds, d_tau, (r_tau - at.kappa * d_tau) / at.tau)


def _longest_step(at: Iterate, direction: Iterate) -> float:
    """Largest step in [0, 1] that keeps the cone variables nonnegative; zero for a direction with NaN."""
    size = largest(direction.x, direction.s, direction.z)  # NaN and infinity show in it
    reach = _until_zero(at.s, direction.s), _until_zero(at.z, direction.z)
    numbers = size, *reach, at.tau, direction.tau, at.kappa, direction.kappa
    size, of_s, of_z, tau, d_tau, kappa, d_kappa = fetched(*numbers)
    if not np.isfinite([size, d_tau, d_kappa]).all():
        return 0.0
    falling = [-value / move for value, move in ((tau, d_tau), (kappa, d_kappa)) if move < 0]
    return min(1.0, of_s, of_z, *falling)


def _until_zero(values: FloatArray, moves: FloatArray) -> Any:
    """The step at which the first of some positive values reaches zero; where they are."""
    return np.where(moves < 0, -values / moves, np.inf).min() if len(values) else np.inf


def _moved(at: Iterate, direction: Iterate, step: float) -> Iterate:
    return Iterate(
        at.x + step * direction.x,
        at.y + step * direction.y,
        at.z + step * direction.z,
        at.s + step * direction.s,
        at.tau + step * direction.tau,
        at.kappa + step * direction.kappa,
    )


def _interior(values: FloatArray) -> FloatArray:
    """The values shifted so that the smallest is safely positive."""
    lowest = float(values.min()) if len(values) else 1.0
    return values if lowest > 1e-6 else values + (1.0 - lowest)
