"""The prescription judged: the dose that the targets reach, and the rows that it adds to the scorecard."""

from __future__ import annotations

import dataclasses

from dosecalc.errors import InputError
from dosecalc.grid import Grid
from dosecalc.structures import StructureSet
from protocols import LQ, Prescription, Protocol, SourcedDose, bed, eqd2, lq_validity
from protocols.escalation import IsoNtcp
from protocols.metrics import DoseAtVolume, MaxDose, MeanDose, Metric

from .escalation_results import RISK
from .judging import judge_goal, judged, size_note
from .metrics import NEAR_MAXIMUM, measure
from .organ_risk import lyman_eud, lyman_probability
from .regions import Region, outside
from .results import GoalResult, PrescriptionReached, TargetDoses

# Publications differ in the share of the PTV that the isodose at its periphery covers; here it is 95 %.
_BASIS: dict[str, Metric] = {
    "D95": DoseAtVolume(95.0, "%"),
    "D98": DoseAtVolume(98.0, "%"),
    "periphery_isodose": DoseAtVolume(95.0, "%"),
}
_EXTERNAL_NAMES = ("Body", "BODY", "External", "EXTERNAL")
# The protocol gives this limit no status of its own: it is a rule, not a number read in a text.
_OUTSIDE_STATUS = "SEED"


def basis_metric(prescription: Prescription) -> Metric:
    """The metric of the prescribed structure that is "the dose" of the plan.

    Raises
    ------
    InputError
        A basis that is not a dose to a share of the target.
    """
    if prescription.basis not in _BASIS:
        raise InputError(
            f"a prescription to {prescription.basis!r} cannot be judged yet.",
            where="prescription.basis",
            remedy=f"Use one of: {', '.join(_BASIS)}.",
        )
    return _BASIS[prescription.basis]


def prescription_reached(
    regions: dict[str, Region], protocol: Protocol, lesions: tuple[str, ...] = ()
) -> PrescriptionReached:
    """What the dose reached of the prescription, on its own basis; of several lesions each is listed as well."""
    wanted = protocol.prescription
    target, hottest = regions[wanted.structure], regions[wanted.hot_spot.structure]
    dose_gy = measure(basis_metric(wanted), target.dose_gy, target.cc)
    near_maximum = measure(NEAR_MAXIMUM, hottest.dose_gy, hottest.cc)
    names = dict.fromkeys((wanted.structure, wanted.hot_spot.structure, "PTV", wanted.gtv_d98.structure, *lesions))
    return PrescriptionReached(
        dose_gy=dose_gy,
        basis=wanted.basis_words,
        structure=wanted.structure,
        isodose_pct=100.0 * dose_gy / near_maximum if near_maximum > 0 else None,
        isodose_min_pct=100.0 * wanted.hot_spot.isodose,
        floor_gy=wanted.floor.dose_gy,
        target_gy=wanted.target.dose_gy,
        cap_gy=wanted.cap.dose_gy,
        bed10_gy=bed(dose_gy, protocol.fractions, 10.0),
        eqd2_gy=eqd2(dose_gy, protocol.fractions, 10.0),
        bases=tuple(_target_doses(regions[name]) for name in names if name in regions),
    )


def _target_doses(region: Region) -> TargetDoses:
    def of(metric: Metric) -> float:
        return measure(metric, region.dose_gy, region.cc)

    return TargetDoses(
        structure=region.name,
        d95_gy=of(DoseAtVolume(95.0, "%")),
        d98_gy=of(DoseAtVolume(98.0, "%")),
        d99_gy=of(DoseAtVolume(99.0, "%")),
        d2_gy=of(DoseAtVolume(2.0, "%")),
        mean_gy=of(MeanDose()),
        max_gy=of(MaxDose()),
        d0_035cc_gy=of(NEAR_MAXIMUM),
    )


def prescription_rows(
    regions: dict[str, Region],
    structures: StructureSet,
    protocol: Protocol,
    reached: PrescriptionReached,
    grid: Grid,
    lesions: tuple[str, ...] = (),
) -> tuple[GoalResult, ...]:
    """What the prescription asks of the targets and the tissue around them, under ids that never change."""
    wanted = protocol.prescription
    d95_gy = reached.bases[0].d95_gy  # of the prescribed structure: what the two relative limits refer to
    rows = [
        _dose_row("prescription_floor", "mandatory", wanted, wanted.floor, reached.dose_gy),
        _dose_row("prescription_target", "optimal", wanted, wanted.target, reached.dose_gy),
        *_lesion_rows(regions, wanted, lesions),
        dataclasses.replace(judge_goal(wanted.gtv_d98, regions, ()), id="gtv_d98"),
        _hot_spot_row(regions, wanted, d95_gy),
    ]
    if wanted.ptv_mean_max is not None:
        rows.append(dataclasses.replace(judge_goal(wanted.ptv_mean_max, regions, ()), id="ptv_mean"))
    rows.append(_outside_row(regions, structures, wanted, d95_gy, grid))
    if wanted.iso_ntcp is not None:
        rows.append(risk_row(regions, wanted.iso_ntcp, protocol.fractions))
    return tuple(rows)


def _lesion_rows(regions: dict[str, Region], wanted: Prescription, lesions: tuple[str, ...]) -> list[GoalResult]:
    """Floor and target for each of several lesions: their union may reach a dose that one of them does not."""
    rows = []
    for name in lesions:
        reached_gy = measure(basis_metric(wanted), regions[name].dose_gy, regions[name].cc)
        asked = wanted.of_lesion(name) or wanted
        for what, level, bound in (("floor", "mandatory", asked.floor), ("target", "optimal", asked.target)):
            row = _dose_row(f"prescription_{what}_{name}", level, wanted, bound, reached_gy)
            rows.append(dataclasses.replace(row, structure=name))
    return rows


def _dose_row(row_id: str, level: str, wanted: Prescription, bound: SourcedDose, reached_gy: float) -> GoalResult:
    """The reached prescription dose against the floor or the target."""
    row = GoalResult(
        id=row_id,
        structure=wanted.structure,
        metric=str(basis_metric(wanted)),
        comparator=">=",
        limit=bound.dose_gy,
        unit="Gy",
        level=level,
        level_by="editorial",
        source=bound.source,
        status=bound.status,
    )
    return judged(row, reached_gy)


def _hot_spot_row(regions: dict[str, Region], wanted: Prescription, d95_gy: float) -> GoalResult:
    """The target's near-maximum against what the reached D95 and the prescription isodose allow."""
    asked = wanted.hot_spot
    region = regions[asked.structure]
    row = GoalResult(
        id="hot_spot",
        structure=asked.structure,
        metric=str(asked.metric),
        comparator="<=",
        limit=asked.limit_gy(d95_gy),
        unit="Gy",
        level=asked.level,
        level_by=asked.level_by,
        source=asked.source,
        status=asked.status,
    )
    return judged(row, measure(asked.metric, region.dose_gy, region.cc), size_note(asked.metric, region))


def risk_row(regions: dict[str, Region], asked: IsoNtcp, fractions: int) -> GoalResult:
    """The complication probability that the dose was to be chosen by, of every voxel's dose in 2 Gy fractions."""
    curve = asked.curve
    row = GoalResult(
        id=RISK,
        structure=curve.structure,
        metric="NTCP",
        comparator="<=",
        limit=asked.max_pct,
        unit="%",
        level="mandatory",
        level_by="source",
        source=f"{asked.source}; {curve.title}: {curve.source} ({curve.status})",
        status=asked.status,
    )
    region = regions.get(curve.structure)
    if region is None or region.cut_by:
        why = "structure missing" if region is None else f"{region.cut_by} cuts the organ: NTCP"
        return dataclasses.replace(row, note=f"NOT ASSESSED: {why}")
    eud = lyman_eud(curve, region, fractions, LQ, curve.alpha_beta_gy)
    risk = 100.0 * lyman_probability(eud, curve.td50_eqd2_gy(curve.alpha_beta_gy), curve.m)
    return judged(row, risk, f"gEUD {eud:.1f} Gy (EQD2, alpha/beta {curve.alpha_beta_gy:g} Gy)")


def risk_warnings(regions: dict[str, Region], protocol: Protocol) -> list[str]:
    """How far the model that chose the dose is from where it was fitted."""
    asked = protocol.prescription.iso_ntcp
    region = regions.get(asked.curve.structure) if asked is not None else None
    if asked is None or region is None:
        return []
    curve, hottest = asked.curve, float(region.dose_gy[0])
    told = (
        f"the dose was chosen by {curve.title}, which was fitted to fractions of {curve.td50_fraction_gy:g} Gy "
        f"({curve.population}); here {region.name} has up to {hottest / protocol.fractions:.1f} Gy per fraction, "
        f"converted by the linear-quadratic model. {curve.caveat}"
    )
    if lq_validity(hottest, protocol.fractions) == "beyond":
        told += " Its hottest voxels lie beyond the dose per fraction for which that model is supported."
    return [told]


def _outside_row(
    regions: dict[str, Region],
    structures: StructureSet,
    wanted: Prescription,
    d95_gy: float,
    grid: Grid,
) -> GoalResult:
    """The hottest voxel of the body that lies mostly outside the PTV."""
    asked = wanted.outside_ptv
    row = GoalResult(
        id="outside_ptv",
        structure="Body-PTV",
        metric="Dmax",
        comparator="<=",
        limit=asked.max_pct_of_d95 / 100.0 * d95_gy,
        unit="Gy",
        level=asked.level,
        level_by=asked.level_by,
        source=asked.source,
        status=_OUTSIDE_STATUS,
    )
    body = external(regions, structures)
    if body is None:
        return dataclasses.replace(row, note="NOT ASSESSED: no structure with the role EXTERNAL")
    doses = outside(body, regions["PTV" if "PTV" in regions else wanted.hot_spot.structure], grid)
    if doses.size == 0:
        return dataclasses.replace(row, note="NOT ASSESSED: the PTV fills the body")
    return judged(row, float(doses.max()))


def external(regions: dict[str, Region], structures: StructureSet) -> Region | None:
    """The body: the structure with the role EXTERNAL, or one of the usual names."""
    named = [name for name in structures.names if structures[name].role == "EXTERNAL"]
    return next((regions[name] for name in (*named, *_EXTERNAL_NAMES) if name in regions), None)
