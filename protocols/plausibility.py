"""What a readable protocol may still have wrong: slips of the dose, and limits that contradict each other.

A dose is judged by its biologically effective dose against the published regimens of ``regimens.toml``; a limit
against the published limits on the same structure and metric for the same number of fractions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from .faults import nearest
from .fraction_numbers import TARGETS, no_organ_limits
from .goals import Goal, SourcedDose
from .limits import PublishedLimit, published_limits
from .metrics import Biological, CriticalVolume, HotOutsideGtv, StructureVolume, VolumeAtDose
from .outcome_models import Lyman, outcome_models
from .radiobiology import bed
from .regimens import TUMOUR_ALPHA_BETA_GY
from .schema import Protocol
from .tissues import organ_of, shipped_tissues

LEAST_BED_GY = 23.0
"""Below every published regimen: the least is 23.7 Gy BED10, the edge at 14 Gy in one fraction (Herfarth 2001)."""
LARGEST_PUBLISHED_BED_GY = 262.5
"""75 Gy in 3 fractions to the mean of the PTV (Scorsetti 2013)."""
LARGEST_BED_GY = 300.0
"""Above every published regimen."""
SUSPICIOUS_BED_GY = 60.0
"""Below this a total that would be a published regimen if it were meant per fraction is worth a warning."""


def faults_in(protocol: Protocol) -> tuple[str, ...]:
    """What makes a protocol unusable although every key can be read."""
    return (
        *_dose_faults(protocol),
        *_unlimited(protocol),
        *_duplicates(protocol),
        *_misprints(protocol),
        *_strange_tissues(protocol),
    )


def warnings_in(protocol: Protocol) -> tuple[str, ...]:
    """What a physicist should look at, one sentence each."""
    return (
        *_unpublished(protocol),
        *_per_fraction_doses(protocol),
        *_unusual_limits(protocol),
        *_never_binding(protocol),
        *_mixed_sets(protocol),
    )


def _doses(protocol: Protocol) -> Iterator[tuple[str, SourcedDose]]:
    prescription = protocol.prescription
    for key in ("floor", "target", "cap"):
        yield f"prescription.{key}.dose_gy", getattr(prescription, key)
    for index, lesion in enumerate(prescription.lesions):
        yield f"prescription.lesions[{index}].target.dose_gy", lesion.target


def _dose_faults(protocol: Protocol) -> Iterator[str]:
    """Prescribed doses that no regimen comes near: most likely a dose per fraction, or a total times fractions."""
    n = protocol.fractions
    for path, dose in _doses(protocol):
        reached = bed(dose.dose_gy, n, TUMOUR_ALPHA_BETA_GY)
        what = f"{path}: {dose.dose_gy:g} Gy in {n} fractions is BED10 {reached:.1f} Gy"
        if reached < LEAST_BED_GY:
            total = f" {dose.dose_gy:g} Gy per fraction would be a total of {n * dose.dose_gy:g} Gy." if n > 1 else ""
            yield f"{what}, below every published regimen. Doses are totals of the course.{total}"
        elif reached > LARGEST_BED_GY:
            yield f"{what}, above every published regimen (up to {LARGEST_PUBLISHED_BED_GY:g}); check dose and unit."


def _unlimited(protocol: Protocol) -> Iterator[str]:
    """A protocol that would let every organ have any dose."""
    if all(isinstance(g.metric, StructureVolume) or g.structure in TARGETS for g in protocol.goals):
        yield " ".join(("goals: no organ has a dose limit.", no_organ_limits(protocol.fractions))).strip()


def _unpublished(protocol: Protocol) -> Iterator[str]:
    """Limits of a user's own for fractions that nobody published limits for."""
    if why := no_organ_limits(protocol.fractions):
        yield f"the limits on organs are this protocol's own: {why}"


def unknown_organ(name: str, protocol: Protocol) -> str:
    """Why no alpha/beta can be stated for this name; empty for an organ of the protocol, a table or a model."""
    if name in TARGETS:
        return (
            f"alpha/beta can be stated for organs, got {name}: BED10 and EQD2 of targets are at "
            f"{TUMOUR_ALPHA_BETA_GY:g} Gy, and each model of local control states its own."
        )
    organs = [goal.structure for goal in protocol.goals if goal.structure not in TARGETS]
    organs += [structure for tissue in shipped_tissues() for structure in tissue.structures]
    organs += [model.structure for model in outcome_models().models if isinstance(model, Lyman)]
    known = sorted({*organs, *map(organ_of, organs)})
    return "" if name in known else f"no goal and no model has an organ {name!r}.{nearest(name, known)}"


def _strange_tissues(protocol: Protocol) -> Iterator[str]:
    """Alpha/beta of what nothing uses, and of one structure twice."""
    seen: set[str] = set()
    for index, tissue in enumerate(protocol.alpha_beta):
        for name in tissue.structures:
            if said := unknown_organ(name, protocol):
                yield f"alpha_beta[{index}].structures: {said}"
            elif name in seen:
                yield f"alpha_beta[{index}].structures: {name} has an alpha/beta already."
            seen.add(name)


def _per_fraction_doses(protocol: Protocol) -> Iterator[str]:
    """Low totals that would be a common regimen if they were meant per fraction."""
    n = protocol.fractions
    for path, dose in _doses(protocol):
        as_total = bed(dose.dose_gy, n, TUMOUR_ALPHA_BETA_GY)
        per_fraction = bed(n * dose.dose_gy, n, TUMOUR_ALPHA_BETA_GY)
        if n > 1 and LEAST_BED_GY <= as_total < SUSPICIOUS_BED_GY and per_fraction <= LARGEST_PUBLISHED_BED_GY:
            yield (
                f"{path}: {dose.dose_gy:g} Gy is the total of {n} fractions (BED10 {as_total:.0f} Gy); if it was meant "
                f"per fraction, the total is {n * dose.dose_gy:g} Gy (BED10 {per_fraction:.0f} Gy)."
            )


def _kind(goal: Goal) -> tuple[str, ...]:
    """What two goals share when one of them says the same thing with another number, or with the same."""
    metric = goal.metric
    what = f"CV{metric.volume_cc:g}cc" if isinstance(metric, CriticalVolume) else str(metric)
    return goal.structure, what, goal.comparator[0], goal.level


def _duplicates(protocol: Protocol) -> Iterator[str]:
    said: dict[tuple[str, ...], Goal] = {}
    for goal in (*protocol.goals, *protocol.prescription.target_goals):
        first = said.setdefault(_kind(goal), goal)
        if first is not goal:
            yield (
                f"goals: {first.id} ({_said(first)}) and {goal.id} ({_said(goal)}) are two {goal.level} limits on "
                f"{goal.structure} {_kind(goal)[1]}; keep one. An override with leave_out removes one of a set."
            )


def _said(goal: Goal) -> str:
    return (
        str(goal.metric) if isinstance(goal.metric, CriticalVolume) else f"{goal.comparator} {goal.limit:g} {goal.unit}"
    )


def _misprints(protocol: Protocol) -> Iterator[str]:
    """Goals that repeat a superseded limit, whatever they call it."""
    printed = [limit for (n, _), limits in _published().items() if n == protocol.fractions for limit in limits]
    superseded = [limit for limit in printed if limit.superseded_by]
    for goal in protocol.goals:
        same = [limit for limit in superseded if limit.metric == goal.metric]
        same = [limit for limit in same if _whole_organ(limit.structure) == _whole_organ(goal.structure)]
        for limit in sorted(same, key=lambda limit: limit.structure != goal.structure)[:1]:
            yield f"goals: {goal.id} ({goal.metric}) is {limit.id}, superseded by {limit.superseded_by}."


def _whole_organ(name: str) -> str:
    """Liver of Liver-GTV, Kidney of Kidneys and of Kidney_Cortex: a misprint is one for each."""
    return organ_of(name).partition("_")[0].rstrip("s")


def _unusual_limits(protocol: Protocol) -> Iterator[str]:
    """Limits below half or above twice all published ones, and whether a slip of the fraction number explains it."""
    n = protocol.fractions
    for goal in protocol.goals:
        known = [
            limit.limit
            for limit in _published().get((n, goal.structure), ())
            if limit.metric == goal.metric and limit.unit == goal.unit == "Gy" and limit.limit is not None
        ]
        if not known or min(known) / 2 <= goal.limit <= 2 * max(known):
            continue
        slips = ((n * goal.limit, "per fraction"), (goal.limit / n, "times the number of fractions"))
        meant = [
            f"; was it meant {how} ({dose:g} Gy in total)?"
            for dose, how in slips
            if n > 1 and 0.9 * min(known) <= dose <= 1.1 * max(known)
        ]
        yield (
            f"goals: {goal.id}: {goal.structure} {goal.metric} {_said(goal)} in {n} fractions is far from the "
            f"published {min(known):g}-{max(known):g} Gy{meant[0] if meant else '.'}"
        )


def _never_binding(protocol: Protocol) -> Iterator[str]:
    """Upper limits above every dose that the prescription allows; in organs that nobody limits, too."""
    prescription = protocol.prescription
    highest = prescription.hot_spot.limit_gy(prescription.cap.dose_gy)
    for goal in (*protocol.goals, *prescription.target_goals):
        dose = _limited_dose(goal)
        if dose is None or _physical(goal, dose) <= highest:
            continue
        meant = f"was it meant in cGy ({dose:g} cGy = {dose / 100:g} Gy)?" if dose >= 100 else "check dose and unit."
        what = _said(goal) if isinstance(goal.metric, CriticalVolume) else f"{goal.metric} {_said(goal)}"
        yield (
            f"goals: {goal.id}: {goal.structure} {what} never binds: the hot spot of the prescription is at most "
            f"{highest:.1f} Gy. Doses are in Gy; {meant}"
        )


def _limited_dose(goal: Goal) -> float | None:
    """The dose in Gy that a goal keeps some volume below, or a mean; None where it limits no dose from above."""
    metric = goal.metric.metric if isinstance(goal.metric, Biological) else goal.metric
    if isinstance(metric, CriticalVolume):
        return metric.dose_gy
    if goal.comparator not in ("<", "<="):
        return None
    if isinstance(metric, VolumeAtDose):
        return metric.dose_gy
    if isinstance(metric, HotOutsideGtv):
        return metric.level if metric.unit == "Gy" else None
    return goal.limit if goal.unit == "Gy" else None


def _physical(goal: Goal, dose_gy: float) -> float:
    """The physical dose that a dose in a goal stands for."""
    return goal.metric.physical(dose_gy) if isinstance(goal.metric, Biological) else dose_gy


def _mixed_sets(protocol: Protocol) -> Iterator[str]:
    """Structures that are limited by more than one published set."""
    sets: defaultdict[str, set[str]] = defaultdict(set)
    parts = {part.origin for part in protocol.parts}
    for goal in protocol.goals:
        origin = protocol.origin_of(goal.id)
        if origin in parts:
            sets[goal.structure].add(origin.rsplit("/", 1)[-1].removesuffix(".toml"))
    for structure, names in sets.items():
        if len(names) > 1:
            yield f"{structure} is limited by several published sets together: {', '.join(sorted(names))}."


@cache
def _published() -> dict[tuple[int, str], list[PublishedLimit]]:
    """The published limits of one structure for one number of fractions."""
    index: defaultdict[tuple[int, str], list[PublishedLimit]] = defaultdict(list)
    for _, limit in published_limits():
        for n in () if limit.fractions == "any" else limit.fractions:
            index[n, limit.structure].append(limit)
    return dict(index)
