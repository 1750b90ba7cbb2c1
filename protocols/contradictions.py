"""Mandatory goals that no dose can keep together, whatever the patient.

The volume of a structure that receives at least x Gy falls as x rises. A lower goal says that this volume is at least a
at some x, an upper goal that it is at most b at some y; they contradict each other where y is not above x and b is
below a. D(V), V(x), minimum, maximum and mean are such points, and a mean is at least x times the share above x
(Markov's inequality).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .goals import Goal
from .metrics import CriticalVolume, DoseAtVolume, MaxDose, MeanDose, MinDose, VolumeAtDose
from .schema import Protocol

WHOLE, POINT = (100.0, "%"), (0.0, "%")
"""All of a structure, and as little of it as one likes: the same in cc and in percent."""
ALL_BUT_SOME = (100.0, "% but some")
INSIDE = {"GTV": ("CTV", "PTV", "Body"), "CTV": ("PTV", "Body"), "PTV_opt": ("PTV", "Body"), "PTV": ("Body",)}
"""What holds a target by its definition: a maximum there is a maximum of the target."""
_BASES = {"D95": 95.0, "D98": 98.0}


@dataclass(frozen=True, slots=True)
class _Point:
    """At least, or at most, a volume that receives at least a dose; `counts` says that the dose itself counts.

    `mean` marks an upper limit on the mean dose.
    """

    structure: str
    dose_gy: float
    volume: tuple[float, str]
    counts: bool = True
    mean: bool = False


def contradictions(protocol: Protocol) -> Iterator[str]:
    """One sentence for every pair of mandatory goals of which only one can be kept, with both keys."""
    goals = [goal for goal in (*protocol.goals, *protocol.prescription.target_goals) if goal.level == "mandatory"]
    lower = [(goal, _least(goal)) for goal in goals if goal.comparator in (">", ">=")]
    upper = [(goal, _most(goal)) for goal in goals]
    for second, high in upper:
        told = [_said(first) for first, low in lower if _reversed(first, second) or _points_apart(low, high)]
        told += [says for says, low in _prescribed(protocol) if _points_apart(low, high)]
        for says in told:
            yield f"{says} contradicts {_said(second)}; no dose keeps both. Change one."


def _reversed(low: Goal, high: Goal) -> bool:
    """Whether the same metric is asked to be more than one limit and less than a smaller one."""
    same = low.structure == high.structure and low.metric == high.metric
    return same and high.comparator in ("<", "<=") and low.limit > high.limit


def _points_apart(low: _Point | None, high: _Point | None) -> bool:
    """Whether the lower point lies above what the upper one allows; False where either says nothing of doses."""
    if low is None or high is None:
        return False
    if high.structure != low.structure:
        return high.volume == POINT and high.structure in INSIDE.get(low.structure, ()) and low.dose_gy > high.dose_gy
    if high.mean and low.volume[1] == "%" and low.dose_gy * low.volume[0] / 100.0 > high.dose_gy:
        return True
    if not (high.dose_gy <= low.dose_gy if high.counts else high.dose_gy < low.dose_gy):
        return False
    if high.volume == POINT:
        return True
    if high.counts and high.volume[1] == "cc" and low.volume[1] != "cc":
        return False
    if low.volume == WHOLE:
        return high.volume != WHOLE or not high.counts
    less = high.volume[0] < low.volume[0] or (high.volume[0] == low.volume[0] and not high.counts)
    return high.volume[1] == low.volume[1] and less


def _prescribed(protocol: Protocol) -> Iterator[tuple[str, _Point]]:
    """The floor in words, and what the least share of the prescribed structure must receive."""
    rx = protocol.prescription
    if rx.basis_words in _BASES:
        says = f"prescription.floor.dose_gy: {rx.structure} {rx.basis_words}% >= {rx.floor.dose_gy:g} Gy"
        yield says, _Point(rx.structure, rx.floor.dose_gy, (_BASES[rx.basis_words], "%"))


def _least(goal: Goal) -> _Point | None:
    """The volume that a lower goal asks to receive at least a dose."""
    match goal.metric:
        case DoseAtVolume(volume, unit):
            return _Point(goal.structure, goal.limit, (volume, unit))
        case VolumeAtDose(dose_gy, unit):
            return _Point(goal.structure, dose_gy, (goal.limit, unit))
        case MinDose():
            return _Point(goal.structure, goal.limit, WHOLE)
        case MaxDose() | MeanDose():
            return _Point(goal.structure, goal.limit, POINT)
    return None


def _most(goal: Goal) -> _Point | None:
    """The volume that an upper goal lets receive a dose, or more than it where the dose itself does not count."""
    if isinstance(goal.metric, CriticalVolume):  # some of it is colder, so not all of it may be as hot
        return _Point(goal.structure, goal.metric.dose_gy, ALL_BUT_SOME)
    if goal.comparator not in ("<", "<="):
        return None
    match goal.metric:
        case DoseAtVolume(volume, unit):
            return _Point(goal.structure, goal.limit, (volume, unit), counts=False)
        case VolumeAtDose(dose_gy, unit):
            return _Point(goal.structure, dose_gy, (goal.limit, unit))
        case MaxDose():
            return _Point(goal.structure, goal.limit, POINT, counts=False)
        case MinDose() | MeanDose():
            return _Point(goal.structure, goal.limit, WHOLE, counts=False, mean=isinstance(goal.metric, MeanDose))
    return None


def _said(goal: Goal) -> str:
    """A goal with its key."""
    what = f"goals[{goal.id}].limit: {goal.structure} {goal.metric}"
    return what if isinstance(goal.metric, CriticalVolume) else f"{what} {goal.comparator} {goal.limit:g} {goal.unit}"
