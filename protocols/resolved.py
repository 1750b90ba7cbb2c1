"""Everything a protocol says, one row per number, each with the file and the text it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from .fraction_numbers import TARGETS
from .goals import Goal, SourcedDose
from .metrics import CriticalVolume
from .prescription import Prescription
from .schema import Protocol
from .tissues import alpha_beta_of


@dataclass(frozen=True, slots=True)
class ResolvedRow:
    """One number or choice of a protocol.

    Attributes
    ----------
    key : str
        Where a protocol file that spells everything out would hold it.
    value : str
        With its unit.
    origin : str
        The file it was read from.
    """

    key: str
    value: str
    level: str
    level_by: str
    status: str
    origin: str
    source: str
    note: str = ""


def resolved(protocol: Protocol) -> tuple[ResolvedRow, ...]:
    """Every number of the protocol with its origin: fractions, prescription, goals, planning, structures."""
    own = ResolvedRow("fractions", str(protocol.fractions), "", "", "", protocol.origin, "this protocol")
    goals = tuple(_goal(f"goals[{goal.id}]", goal, protocol.origin_of(goal.id)) for goal in protocol.goals)
    return (own, *_prescription(protocol), *goals, *_planning(protocol), *_alpha_beta(protocol))


def _prescription(protocol: Protocol) -> tuple[ResolvedRow, ...]:
    rx, origin = protocol.prescription, protocol.origin_of("prescription")
    basis = f"{rx.structure} {rx.basis_words}"
    how = {"basis": f"{rx.basis}{_isodose(rx.isodose_pct)}", "escalation": rx.escalation}
    stated = [ResolvedRow(f"prescription.{k}", v, "", "", "", origin, "this prescription") for k, v in how.items()]
    doses = [_dose(f"prescription.{key}", basis, getattr(rx, key), origin) for key in ("floor", "target", "cap")]
    for index, lesion in enumerate(rx.lesions):
        where, what = f"prescription.lesions[{index}]", f"{lesion.lesion} {rx.basis_words}"
        doses += [_dose(f"{where}.{key}", what, getattr(lesion, key), origin) for key in ("floor", "target")]
    for index, rung in enumerate(rx.rungs):
        doses.append(_dose(f"prescription.rungs[{index}]", f"{rung.basis}{_isodose(rung.isodose_pct)}", rung, origin))
    goals = [_goal("prescription.gtv_d98", rx.gtv_d98, origin)]
    if rx.ptv_mean_max is not None:
        goals.append(_goal("prescription.ptv_mean_max", rx.ptv_mean_max, origin))
    hot, out = rx.hot_spot, rx.outside_ptv
    most = f" and <= {hot.max_gy:g} Gy" if hot.max_gy is not None else ""
    hot_text = f"{hot.structure} {hot.metric} <= D95 / {hot.isodose:g}{most}"
    out_text = f"outside the PTV <= {out.max_pct_of_d95:g} % of the D95"
    return (
        *stated,
        *doses,
        *_risk(rx, origin),
        *goals,
        ResolvedRow(
            "prescription.hot_spot", hot_text, hot.level, hot.level_by, _status(hot.status, hot.weak), origin,
            hot.source, hot.note,
        ),
        ResolvedRow("prescription.outside_ptv", out_text, out.level, out.level_by, "", origin, out.source, out.note),
    )  # fmt: skip


def _isodose(percent: float | None) -> str:
    return "" if percent is None else f" ({percent:g} % of the maximum)"


def _risk(rx: Prescription, origin: str) -> list[ResolvedRow]:
    """The risk that chooses the dose, and the model that tells it."""
    if (asked := rx.iso_ntcp) is None:
        return []
    curve, where = asked.curve, "prescription.iso_ntcp"
    value = f"{curve.structure} NTCP ({curve.id}) <= {asked.max_pct:g} %"
    model = (
        f"n {curve.n:g}, m {curve.m:g}, TD50 {curve.td50_gy:g} Gy in fractions of {curve.td50_fraction_gy:g} Gy, "
        f"alpha/beta {curve.alpha_beta_gy:g} Gy"
    )
    shipped = "protocols/models/outcome.toml"
    return [
        ResolvedRow(f"{where}.max_pct", value, "mandatory", "source", asked.status, origin, asked.source, asked.note),
        ResolvedRow(f"{where}.model", model, "", "", curve.status, shipped, curve.source, curve.caveat),
    ]


def _dose(key: str, basis: str, dose: SourcedDose, origin: str) -> ResolvedRow:
    return ResolvedRow(
        key, f"{basis} {dose.dose_gy:g} Gy", "", "", _status(dose.status, dose.weak), origin, dose.source, dose.note
    )


def _goal(key: str, goal: Goal, origin: str) -> ResolvedRow:
    limit = "" if isinstance(goal.metric, CriticalVolume) else f" {goal.comparator} {goal.limit:g} {goal.unit}"
    value = f"{goal.structure} {goal.metric}{limit}" + (" (if contoured)" if goal.only_if_contoured else "")
    return ResolvedRow(
        key, value, goal.level, goal.level_by, _status(goal.status, goal.weak), origin, goal.source, goal.note
    )


def _planning(protocol: Protocol) -> tuple[ResolvedRow, ...]:
    planning, origin = protocol.planning, protocol.origin_of("planning")
    values = planning.model_dump(mode="json", exclude={"choices", "rules"}, exclude_none=True)
    rows = []
    for key, value in values.items():
        choice = planning.choice_of(key)
        shown = ", ".join(map(str, value)) if isinstance(value, list) else _margins(value)
        where = protocol.origin_of("beams") if key == "beams" else origin
        rows.append(ResolvedRow(f"planning.{key}", shown, "", choice.level_by, "", where, choice.source, choice.note))
    rules = [ResolvedRow("planning.rules", rule, "", "", "", origin, "this protocol") for rule in planning.rules]
    structures = [
        ResolvedRow(f"structures[{entry.name}]", str(entry.expression), "", "", "", origin, entry.source)
        for entry in protocol.structures
    ]
    return (*rows, *rules, *structures)


def _alpha_beta(protocol: Protocol) -> tuple[ResolvedRow, ...]:
    """Alpha/beta of every organ with a goal, whoever states it."""
    organs = dict.fromkeys(g.structure for g in protocol.goals if g.structure not in TARGETS)
    found = [(name, alpha_beta_of(name, protocol.stated_alpha_beta)) for name in organs]
    return tuple(
        ResolvedRow(f"alpha_beta[{name}]", f"{a.alpha_beta_gy:g} Gy", "", "", a.status, a.origin, a.source)
        for name, a in found
    )


def _margins(value: object) -> str:
    return ", ".join(f"{side} {mm:g}" for side, mm in value.items()) if isinstance(value, dict) else str(value)


def _status(status: str, weak: bool) -> str:
    return f"{status}, weak" if weak else status
