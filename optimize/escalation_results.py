"""What ended an escalation, in each of its modes: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.escalation import RISK_ID

RISK = RISK_ID
"""Id of the complication probability that a prescription limits: of its row, its conflict and its price."""


@dataclass(frozen=True, slots=True)
class LadderEnd:
    """Where a plan stands on its ladder.

    A bound below `next_gy` proves that the next rung is out of reach.

    Attributes
    ----------
    basis : "D95" or "mean_PTV"
        Of every dose here.
    rungs_gy : tuple of float
    rung_gy : float
        The highest rung at which every mandatory limit holds: what was planned.
    next_gy : float or None
        The rung above it; None where the plan stands on the highest.
    reachable_gy : float or None
        The highest dose between the two that was found within the limits, in a plan of its own; None where there is no
        rung above.
    bound_gy : float or None
        D95 that no plan of these beams exceeds; None where none was computed.
    """

    basis: str
    rungs_gy: tuple[float, ...]
    rung_gy: float
    next_gy: float | None
    reachable_gy: float | None
    bound_gy: float | None

    @property
    def proved(self) -> bool:
        """Whether no plan of these beams reaches the next rung, whichever voxels it releases."""
        return self.next_gy is not None and self.bound_gy is not None and self.bound_gy < self.next_gy


@dataclass(frozen=True, slots=True)
class RiskEnd:
    """How the limit on a complication probability ended, by the optimiser's dose; the scorecard judges the reference's.

    Attributes
    ----------
    model, structure : str
    limit_pct, raised_pct, pct : float
        Stated; where the target's dose was raised last; of the finished plan, whose later levels may have lowered it.
    limit_eud_gy, eud_gy : float
        Generalised mean of the doses in 2 Gy fractions that gives the limit, and the finished plan's.
    cuts : int
        Tangents that were needed.
    with_earlier : bool
        The probabilities are those of the sum with an earlier treatment.
    """

    model: str
    structure: str
    limit_pct: float
    raised_pct: float
    pct: float
    limit_eud_gy: float
    eud_gy: float
    cuts: int
    with_earlier: bool = False


@dataclass(frozen=True, slots=True)
class EscalationEnd:
    """What ended the escalation; the prices are those of the optimiser's problem, not of the delivered plan.

    Attributes
    ----------
    says : str
        In words.
    dose : str
        The dose that limits held back ("D95", "GTV D98", "PTV mean"), in which prices are stated; empty where none did.
    binding_limits : tuple of str
        Ids of the goals whose limits held it, by price times limit, the dearest first. On a ladder they stop the next
        rung.
    binds_next : str or None
        Id of the mandatory limit with the smallest slack, relative to itself, among the rest.
    d95_bound_gy : float or None
        D95 that no plan of these beams exceeds within the mandatory limits, whichever voxels it releases; what was
        asked for where no lower bound is found, None where none was computed.
    mode : "continuous", "ladder" or "iso_ntcp"
    ladder : LadderEnd or None
    risk : RiskEnd or None
    """

    says: str
    dose: str
    binding_limits: tuple[str, ...]
    binds_next: str | None
    d95_bound_gy: float | None
    mode: str
    ladder: LadderEnd | None
    risk: RiskEnd | None
