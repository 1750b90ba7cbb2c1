"""What published models say of a dose distribution: frozen records, for evaluation.json and the report."""

from __future__ import annotations

from dataclasses import dataclass

_MODELS = (
    "Published models describe groups of patients who were treated in other ways. They disagree with each other, and "
    "none of them predicts what happens to a patient. "
)
STATEMENT = f"{_MODELS}Nothing here was optimised, and nothing here is a verdict."
STATEMENT_WITH_RISK = (
    f"{_MODELS}One of them is a limit of this protocol (iso-NTCP), judged in the scorecard; nothing here is a verdict."
)


@dataclass(frozen=True, slots=True)
class BiologicalDose:
    """A dose of the target under three survival curves, in Gy.

    Attributes
    ----------
    basis : str
        "edge" (the reached prescription), "GTV minimum" or "GTV mean".
    dose_gy, per_fraction_gy : float
        Physical, course total and per fraction.
    validity : str
        "validated", "plausible" or "beyond": the linear-quadratic model at this dose per fraction.
    lq_gy, lql_gy, usc_gy : float
        BED: linear-quadratic and LQ-L at alpha/beta 10 Gy, universal survival curve of lung cancer cells. Of a mean
        dose it is the mean of the voxels' BED.
    """

    basis: str
    dose_gy: float
    per_fraction_gy: float
    validity: str
    lq_gy: float
    lql_gy: float
    usc_gy: float


@dataclass(frozen=True, slots=True)
class ModelValue:
    """One value of a model.

    Attributes
    ----------
    basis : str
        Dose that it was computed from.
    conversion : str
        "LQ" or "LQ-L"; "none" for physical dose.
    alpha_beta_gy : float or None
    value : float
        The dose or volume that the model takes, in `unit`.
    percent : int or None
        Whole percent, never more: 1 stands for 1 or less, 99 for 99 or more, where it was computed.
    says : str
        The answer in words.
    note : str
        Why to doubt this value; empty otherwise.
    """

    basis: str
    conversion: str
    alpha_beta_gy: float | None
    value: float
    unit: str
    percent: int | None
    says: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """A published model with its values; none, and the reason in `note`, where it was not assessed."""

    id: str
    title: str
    group: str
    structure: str
    endpoint: str
    population: str
    source: str
    status: str
    caveat: str
    values: tuple[ModelValue, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ControlRange:
    """The lowest and the highest local control that the counted models give, in whole percent.

    Attributes
    ----------
    basis, conversion : str
        As in `ModelValue`.
    scenario : str
        Title of a named scenario, empty without one.
    low_pct, high_pct : int
    earliest_years, latest_years : float
        Times of the models' endpoints, which differ.
    models : tuple of str
        Ids.
    """

    basis: str
    conversion: str
    scenario: str
    low_pct: int
    high_pct: int
    earliest_years: float
    latest_years: float
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LesionControl:
    """Local control of one of several lesions by its own dose; nothing, and the reason in `note`, where it is cut."""

    name: str
    control: tuple[ControlRange, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class LiverRoom:
    """By what factor all doses could be multiplied until the liver reaches what a model asks for; under 1: beyond."""

    test: str
    conversion: str
    factor: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that published models say of a plan.

    Attributes
    ----------
    doses : tuple of BiologicalDose
    models : tuple of ModelResult
    control : tuple of ControlRange
    liver_room : tuple of LiverRoom
        The tightest first.
    scenarios : tuple of str
        What the named scenarios rest on, one sentence each.
    lesions : tuple of LesionControl
        Where there are several; `control` then speaks of their union.
    statement : str
    """

    doses: tuple[BiologicalDose, ...]
    models: tuple[ModelResult, ...]
    control: tuple[ControlRange, ...]
    liver_room: tuple[LiverRoom, ...]
    scenarios: tuple[str, ...]
    lesions: tuple[LesionControl, ...] = ()
    statement: str = STATEMENT


def whole_percent(probability: float) -> int:
    """A computed probability in whole percent, from 1 to 99: a model of this kind knows no certainty."""
    return min(99, max(1, round(100.0 * probability)))


def percent_words(probability: float) -> str:
    """A computed probability in words."""
    percent = 100.0 * probability
    return "below 1 %" if percent < 1 else "above 99 %" if percent > 99 else f"about {round(percent)} %"
