"""Published outcome models as data: parameters, each with population, endpoint, source and status.

The numbers stand in ``models/outcome.toml``; what they mean is said here; what they give for a dose distribution is
computed by `optimize.outcome`. None of them was made for a single patient, and none takes part in an optimisation
unless a prescription names it (`protocols.escalation`).
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictBool, model_validator

from .fields import Identifier, Name, Note, Positive, Status, Strict, Text

DoseScale: TypeAlias = Literal["BED", "EQD2"]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]


class Cited(Strict):
    """What every model states about itself.

    Attributes
    ----------
    id, title : str
    endpoint, population : str
        What was counted, and in whom.
    source, status : str
        As for limits (`protocols.SourcedDose`).
    caveat : str
        What a reader must know before believing it.
    """

    id: Identifier
    title: Text
    endpoint: Text
    population: Text
    source: Text
    status: Status
    caveat: Note = ""


class Lyman(Cited):
    """Complication probability by Lyman, Kutcher and Burman: Phi((gEUD - TD50) / (m TD50)), gEUD with a = 1/n.

    Attributes
    ----------
    structure : str
    n, m : float
        Volume effect and slope.
    td50_gy, td50_fraction_gy : float
        Dose to the whole organ for 50 %, in fractions of this size; doses are compared as EQD2.
    alpha_beta_gy : float
        Of the organ; `also_alpha_beta_gy` are other published values, for the sensitivity.
    """

    kind: Literal["lyman"]
    structure: Name
    n: Positive
    m: Positive
    td50_gy: Positive
    td50_fraction_gy: Positive
    alpha_beta_gy: Positive
    also_alpha_beta_gy: tuple[Positive, ...] = ()

    def td50_eqd2_gy(self, alpha_beta_gy: float) -> float:
        """TD50 in fractions of 2 Gy: fractions of 1.5 and 2 Gy lie on the quadratic part of every conversion."""
        return self.td50_gy * (self.td50_fraction_gy + alpha_beta_gy) / (2.0 + alpha_beta_gy)


class MeanProbit(Cited):
    """Complication probability by the mean physical dose: Phi(sqrt(2 pi) gamma50 (Dmean / D50 - 1))."""

    kind: Literal["mean_probit"]
    structure: Name
    d50_gy: Positive
    gamma50: Positive
    fractions: tuple[int, ...]


class MeanLimits(Cited):
    """Published limits of the mean physical dose, by number of fractions (as text, the keys of a TOML table)."""

    kind: Literal["mean_limits"]
    structure: Name
    limit_gy: dict[str, Positive]


class Rung(Strict):
    """A prescription in Gy, and the largest effective volume in percent that it is given with."""

    dose_gy: Positive
    max_pct: Percent


class Ladder(Cited):
    """Prescriptions by the effective volume of the organ, the mean of (d / prescription)^(1/n), in physical dose."""

    kind: Literal["effective_volume"]
    structure: Name
    n: Positive
    fractions: int
    rungs: tuple[Rung, ...]


class VolumeAtBed(Cited):
    """The volume that receives at least a BED; with a limit where one was published."""

    kind: Literal["volume_at_bed"]
    structure: Name
    alpha_beta_gy: Positive
    bed_gy: Positive
    limit_cc: Positive | None = None


class MeanBed(Cited):
    """A limit of the mean BED of an organ."""

    kind: Literal["mean_bed"]
    structure: Name
    alpha_beta_gy: Positive
    limit_gy: Positive


class ControlCurve(Cited):
    """Local control as a logistic curve of the biological dose: 1 / (1 + exp((D50 - D) / k)).

    Attributes
    ----------
    scale : "BED" or "EQD2"
    d50_gy : float
    d90_gy, k_gy : float
        Either one: (D90 - D50) / ln 9 is k.
    data_gy : (low, high), optional
        Range of the data, on `scale`; beyond it the curve is held at its end.
    years : float
        Time of the endpoint.
    counted : bool
        Whether the model takes part in the range that is shown.
    """

    kind: Literal["control_curve"]
    scale: DoseScale
    alpha_beta_gy: Positive
    d50_gy: Positive
    d90_gy: Positive | None = None
    k_gy: Positive | None = None
    data_gy: tuple[Positive, Positive] | None = None
    years: Positive
    counted: StrictBool = True

    @model_validator(mode="after")
    def _one_slope(self) -> ControlCurve:
        if (self.d90_gy is None) == (self.k_gy is None):
            raise ValueError("a control curve states either d90_gy or k_gy.")
        return self

    @property
    def slope_gy(self) -> float:
        """k in Gy."""
        if self.d90_gy is not None:
            return (self.d90_gy - self.d50_gy) / math.log(9.0)
        return self.k_gy or math.nan


class Stratum(Strict):
    """Local control in the lesions of one range of biological dose; an end left out is open."""

    above_gy: Positive | None = None
    at_least_gy: Positive | None = None
    up_to_gy: Positive | None = None
    below_gy: Positive | None = None
    pct: Percent

    def holds(self, bed_gy: float) -> bool:
        """Whether a BED lies in the range."""
        return (
            (self.above_gy is None or bed_gy > self.above_gy)
            and (self.at_least_gy is None or bed_gy >= self.at_least_gy)
            and (self.up_to_gy is None or bed_gy <= self.up_to_gy)
            and (self.below_gy is None or bed_gy < self.below_gy)
        )


class ControlStrata(Cited):
    """Local control as it was found in strata of BED; not points of a curve."""

    kind: Literal["control_strata"]
    alpha_beta_gy: Positive
    strata: tuple[Stratum, ...]
    max_fractions: int | None = None
    years: Positive
    counted: StrictBool = True


class ControlThreshold(Cited):
    """A BED that a group was found to need or to have: told beside the plan's, no probability."""

    kind: Literal["control_threshold"]
    basis: Literal["edge", "GTV minimum", "GTV mean"]
    alpha_beta_gy: Positive
    bed_gy: Positive
    says: Text


class Scenario(Cited):
    """A factor on the hazard of local failure from two published control rates, ln(pct) / ln(reference_pct).

    Constant hazards are assumed. Off unless asked for by name.
    """

    pct: Percent
    reference_pct: Percent
    years: Positive

    @property
    def hazard_ratio(self) -> float:
        """Hazard of the group over that of the reference."""
        return math.log(self.pct / 100.0) / math.log(self.reference_pct / 100.0)


OrganModel: TypeAlias = Lyman | MeanProbit | MeanLimits | Ladder | VolumeAtBed | MeanBed
TumourModel: TypeAlias = ControlCurve | ControlStrata | ControlThreshold
Model = Annotated[OrganModel | TumourModel, Field(discriminator="kind")]


class OutcomeModels(Strict):
    """All published models, and the named scenarios."""

    schema_version: Literal[1]
    models: tuple[Model, ...]
    scenarios: tuple[Scenario, ...]


@cache
def outcome_models() -> OutcomeModels:
    """The shipped models."""
    text = files(__package__).joinpath("models", "outcome.toml").read_text(encoding="utf-8")
    return OutcomeModels.model_validate(tomllib.loads(text))
