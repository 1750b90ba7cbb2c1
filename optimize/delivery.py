"""What a fluence asks of the machine, and what limits on it and the reserve did: for evaluation, report and console."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosecalc.beams import Beamlets
from protocols import Planning

from .modulation import variation
from .monitor_units import beam_mu
from .reserve import reserve_sentence
from .results import Delivery, GoalResult, PlanEvaluation

Array = npt.NDArray[np.float64]
AT_RESERVE_PCT = 0.5
"""A limit whose slack is its reserve within this much of it counts as held at the reserve, as for binding goals."""


def delivery_of(
    fluence: Array, beamlets: Beamlets, fractions: int, planning: Planning, modulation_costs_gy: float | None
) -> Delivery:
    """The estimate for a plan.

    Parameters
    ----------
    fluence : (B,) float64
        MU, course total.
    beamlets : Beamlets
    fractions : int
    planning : Planning
        Limits on the fluence and the reserve.
    modulation_costs_gy : float or None
        From the escalation.
    """
    beams = beam_mu(fluence, beamlets)
    return Delivery(
        mu=float(sum(beams)),
        mu_per_fraction=float(sum(beams)) / fractions,
        beam_mu=beams,
        largest_fluence_mu=float(fluence.max(initial=0.0)),
        variation=variation(fluence, beamlets.neighbours),
        max_fluence_mu=planning.max_fluence_mu,
        max_variation=planning.max_variation,
        modulation_costs_gy=modulation_costs_gy,
        reserve_percent=planning.reserve_percent,
    )


def delivery_lines(judged: PlanEvaluation) -> tuple[str, ...]:
    """One sentence each on the reserve, the limits on the fluence with their cost, and the monitor units."""
    made = judged.delivery
    if made is None:
        return ()
    told = [reserve_sentence(made.reserve_percent)] if made.reserve_percent else []
    kept = []
    if made.max_fluence_mu is not None:
        kept.append(
            f"at most {made.max_fluence_mu:g} MU of the course in a beamlet ({made.largest_fluence_mu:.0f} used)"
        )
    if made.max_variation is not None:
        kept.append(f"a variation of at most {made.max_variation:g} ({made.variation or 0.0:.2f} used)")
    if kept:
        told.append(f"Limits on the fluence: {' and '.join(kept)}. {_cost(made.modulation_costs_gy)}")
    each = f"{made.mu_per_fraction:.0f} in each fraction{_per_dose(made.mu, judged)}"
    told.append(
        f"Estimated beam-on: {made.mu:.0f} MU, {each}, the least that a sliding window of unlimited leaf speed takes "
        "for this fluence (the rises along each row of beamlets, added up). An estimate of the fluence model, not of a "
        "delivered plan, which takes more."
    )
    return tuple(told)


def _per_dose(mu: float, judged: PlanEvaluation) -> str:
    """MU per cGy of the reached dose, as plans are compared by; empty for a plan without dose."""
    reached_cgy = 100.0 * judged.prescription.dose_gy
    return f" ({mu / reached_cgy:.1f} MU per cGy of the reached dose)" if reached_cgy > 0 else ""


def _cost(costs_gy: float | None) -> str:
    if costs_gy is None:
        return "What they cost was not computed."
    return (
        f"They cost {costs_gy:.1f} Gy of D95: what the last level that raised it gains when it is solved once more "
        "without them, the same voxels released."
    )


def at_its_reserve(goal: GoalResult, judged: PlanEvaluation) -> bool:
    """Whether what is left of a limit is no more than the reserve that the optimiser kept of it."""
    percent = judged.delivery.reserve_percent if judged.delivery else None
    if not percent or goal.slack is None:
        return False
    return 0 <= goal.slack <= (percent + AT_RESERVE_PCT) / 100.0 * goal.limit
