"""How the dose of a target is chosen below its cap: raised continuously, by rungs, or to a stated risk of the liver."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from .fields import Identifier, Note, Status, Strict, Text, fault, must_be_read
from .goals import SourcedDose, StatedLimit
from .outcome_models import Lyman, outcome_models

Escalation: TypeAlias = Literal["continuous", "ladder", "iso_ntcp"]


RISK_ID = "iso_ntcp"
"""Id of the limit on a complication probability, among those of the goals."""


class LadderRung(SourcedDose):
    """One dose of a published dose-escalation scheme, and what it is the dose of.

    Attributes
    ----------
    basis : "D95", "periphery_isodose" or "mean_PTV"
        Of `dose_gy`. The isodose at the periphery is taken as the D95 of the prescribed structure.
    isodose_pct : float or None
        Of a periphery isodose, in percent of the maximum.
    """

    basis: Literal["D95", "periphery_isodose", "mean_PTV"]
    isodose_pct: Annotated[float | None, Field(strict=True, gt=0, le=100, validate_default=True)] = None

    @field_validator("isodose_pct")
    @classmethod
    def _goes_with_periphery(cls, isodose_pct: float | None, info: ValidationInfo) -> float | None:
        basis = info.data.get("basis")
        if basis is not None and (basis == "periphery_isodose") != (isodose_pct is not None):
            raise fault(f"isodose_pct goes with the basis periphery_isodose and no other, got {basis!r}.")
        return isodose_pct

    @field_validator("status")
    @classmethod
    def _is_read(cls, status: Status, info: ValidationInfo) -> Status:
        must_be_read(status, "prescription.rungs", info)
        return status


class IsoNtcp(Strict):
    """The dose rises until a complication model gives this risk: at most `max_pct` percent, a mandatory limit.

    Attributes
    ----------
    model : str
        Id of a shipped model of Lyman's kind (`protocols.outcome_models`), with its structure, parameters and source.
    max_pct : float
        Percent.
    """

    model: Identifier
    max_pct: Annotated[float, Field(strict=True, gt=0, lt=100)]
    source: Text
    status: Status
    note: Note = ""

    @field_validator("model")
    @classmethod
    def _is_known(cls, model: str) -> str:
        known = [each.id for each in outcome_models().models if isinstance(each, Lyman)]
        if model not in known:
            raise fault(f"no shipped model of a complication probability is called {model!r}: {', '.join(known)}.")
        return model

    @field_validator("status")
    @classmethod
    def _is_read(cls, status: Status, info: ValidationInfo) -> Status:
        model = next((m for m in outcome_models().models if m.id == info.data.get("model")), None)
        for each in (status, *([model.status] if model is not None else [])):
            must_be_read(each, "prescription.iso_ntcp", info)
        return status

    @property
    def curve(self) -> Lyman:
        """The model."""
        return next(m for m in outcome_models().models if isinstance(m, Lyman) and m.id == self.model)

    @property
    def stated(self) -> StatedLimit:
        """The limit alone."""
        return StatedLimit(self.curve.structure, "NTCP", "<=", self.max_pct, "%")


def check_rungs(
    rungs: tuple[LadderRung, ...], cap_gy: float | None, isodose: float | None, mean_max_gy: float | None
) -> None:
    """Refuse rungs that are no ladder: on several bases, out of order, above what bounds them, at another isodose.

    Parameters
    ----------
    rungs : tuple of LadderRung
    cap_gy, mean_max_gy : float or None
        Cap and largest mean of the PTV; None where the prescription has none or a fault there.
    isodose : float or None
        Of the hot spot, as a share of the maximum.
    """
    bases = {"mean_PTV" if rung.basis == "mean_PTV" else "the edge" for rung in rungs}
    if len(bases) > 1:
        raise fault("some rungs are doses at the edge and some are means of the PTV: these are different treatments.")
    doses = [rung.dose_gy for rung in rungs]
    if doses != sorted(set(doses)):
        raise fault(f"rungs go upwards, each once, got {', '.join(f'{dose:g}' for dose in doses)} Gy.")
    if "mean_PTV" in bases:
        if mean_max_gy is None or mean_max_gy < doses[-1]:
            raise fault("rungs on the mean of the PTV need ptv_mean_max, not below the highest of them.")
    elif cap_gy is not None and doses and doses[-1] > cap_gy:
        raise fault(f"the rung of {doses[-1]:g} Gy lies above the cap of {cap_gy:g} Gy.")
    for rung in rungs:
        if rung.isodose_pct is not None and isodose is not None and abs(rung.isodose_pct - 100.0 * isodose) > 1e-6:
            raise fault(
                f"the rung of {rung.dose_gy:g} Gy is prescribed to the {rung.isodose_pct:g} % isodose, but "
                f"hot_spot.isodose is {isodose:g}: the maximum would be held to another one."
            )
