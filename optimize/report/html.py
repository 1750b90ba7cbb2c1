"""The page: everything that a reader judges a plan by, gathered and handed to the template."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from dosecalc.structures import Voxels

from ..conformity import conformity
from ..delivery import delivery_lines
from ..dvh import Dvh, dvh
from ..limiting import mode_text
from ..results import PlanEvaluation
from . import summary, words
from .dvh_figure import BIN_GY, dvh_picture
from .figures import Shot, sections
from .goal_rows import scorecard, second_opinion, sum_rows
from .palette import colours
from .planes import View, frame_around, plane_through, shares_of
from .scene import ISODOSE_PCT, WASH_FROM_PCT, Outline, Scene
from .stacks import Stack, stack

if TYPE_CHECKING:
    from ..planning import Plan

_FOLDER = Path(__file__).parent
_TARGET_ROLES = ("GTV", "CTV", "ITV", "PTV")
# Whole-body shells would lie on every other line of a section; they are in the histogram and the tables.
_NOT_OUTLINED = ("Skin", "Liver-GTV", "Liver-PTV")
_IMAGE_SCALE = 1.35  # image pixels per CSS pixel
_STRIP = 5
_USED = 1e-3  # of the largest fluence: less is a rest of the solver
_CLOSE_MARGIN_MM = 35.0


def render_report(plan: Plan) -> str:
    """The report of a plan as one HTML page without links to other files or patient identity.

    Its one script moves the slice sliders; the page says its hash, and browsers run no other.

    Parameters
    ----------
    plan : Plan
        Accepted or rejected; the page says which. CT and dose may differ in spacing.

    Returns
    -------
    str
        A complete HTML document. All text that comes from files is escaped, images are embedded.

    Raises
    ------
    InputError
        The axes of CT or dose are not x, y and z.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = words.number
    environment.filters["plain"] = "{:g}".format
    script = (_FOLDER / "stacks.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    context = _context(plan) | {"script": script, "script_hash": digest}
    return environment.get_template("template.html.j2").render(context)


def _context(plan: Plan) -> dict[str, Any]:
    judged, record = plan.evaluation, plan.provenance
    groups, sources = scorecard(judged.goals, plan.protocol)
    shown = _shown(plan)
    colour = colours(shown)
    curves = _curves(plan, shown)
    targets = [name for name in shown if plan.anatomy.structures[name].role in _TARGET_ROLES]
    reached = judged.prescription
    scene, body = _scene(plan, shown, colour), _body(plan)
    ptv = shown[plan.protocol.prescription.hot_spot.structure]
    return {
        "protocol": plan.protocol,
        "machine": plan.machine,
        "evaluation": judged,
        "reached": reached,
        "record": record,
        "density": record.density,
        "per_fraction_gy": reached.dose_gy / judged.fractions,
        "biology": summary.biology(judged),
        "groups": groups,
        "relaxed": [goal for goal in judged.goals if goal.accepted_limit is not None],
        "sources": sources,
        "second_opinion": second_opinion(judged, plan.protocol),
        "sum_rows": sum_rows(judged),
        "status_key": words.STATUS_KEY,
        "status_words": words.STATUS_WORDS,
        "failed": [row for row in groups[0].rows if row.verdict == "NOT MET"],
        "not_assessed": [row for group in groups for row in group.rows if row.verdict == "NOT ASSESSED"],
        "cautions": summary.cautions(plan),
        "standing": summary.standing(judged),
        "mode": mode_text(judged.escalation) if judged.escalation is not None else "",
        "binding": summary.binding(judged),
        "limiting": summary.limiting_rows(judged),
        "structures": summary.structure_rows(judged),
        "isocentre": ", ".join(words.number(c) for c in plan.beamlets.beams[0].isocentre_mm),
        "certificate": summary.certificate(judged),
        "overlaps": plan.anatomy.overlaps,
        "sections": _sections(plan, shown, scene, body),
        "stacks": _stacks(scene, body, ptv),
        "conformity": conformity(plan.dose, body, ptv, reached.dose_gy),
        "isodoses": [(pct, pct / 100.0 * _reference_gy(judged)) for pct in ISODOSE_PCT],
        "wash_from_pct": WASH_FROM_PCT,
        "legend": [(name, colour[name]) for name in shown if name not in _NOT_OUTLINED],
        "dvh": dvh_picture(curves, colour, targets, plan.protocol.goals, reached.dose_gy),
        "swatches": {name: colour[name] for name in curves},
        "beams": _beams(plan),
        "delivery": delivery_lines(judged),
        "levels": _table(record.levels),
        "timings": record.timings_s,
        "record_json": json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False),
    }  # fmt: skip


def _reference_gy(judged: PlanEvaluation) -> float:
    """What isodose lines refer to: the reached prescription, or the target dose if nothing was reached."""
    return judged.prescription.dose_gy or judged.prescription.target_gy


def _shown(plan: Plan) -> dict[str, Voxels]:
    """Targets, then the whole liver and the organs that goals name, as far as they have a voxel here."""
    structures = plan.anatomy.structures
    targets = [s.name for s in structures if s.role in _TARGET_ROLES]
    organs = [name for name in ("Liver", *(g.structure for g in plan.protocol.goals)) if name in structures]
    names = dict.fromkeys((*targets, *organs))
    found = {name: structures[name].on(plan.dose.grid) for name in names}
    return {name: voxels for name, voxels in found.items() if voxels.indices.size}


def _curves(plan: Plan, shown: dict[str, Voxels]) -> dict[str, Dvh]:
    """Histograms of what is shown; of the liver only the part that goals are set on, where there is one."""
    flat = plan.dose.values.reshape(-1)
    left_out = {"Liver"} if "Liver-GTV" in shown else set()
    return {n: dvh(flat[v.indices], v.cc, BIN_GY) for n, v in shown.items() if n not in left_out}


def _scene(plan: Plan, shown: dict[str, Voxels], colour: dict[str, str]) -> Scene:
    # The last one drawn lies on top: targets.
    outlines = [_outline(n, v, colour[n], plan) for n, v in shown.items() if n not in _NOT_OUTLINED][::-1]
    centre = plan.beamlets.beams[0].isocentre_mm
    return Scene(plan.ct.volume, plan.dose, _reference_gy(plan.evaluation), tuple(outlines), centre)


def _body(plan: Plan) -> Voxels:
    """The body's outline on the dose grid; no voxel where there is none."""
    grid = plan.dose.grid
    external = [s for s in plan.anatomy.structures if s.role == "EXTERNAL"]
    return external[0].on(grid) if external else Voxels(grid, np.empty(0, np.int64), np.empty(0))


def _sections(plan: Plan, shown: dict[str, Voxels], scene: Scene, body: Voxels) -> dict[str, Any]:
    """Axial, coronal and sagittal images through the isocentre, and a strip of axial ones through the PTV."""
    views: tuple[tuple[View, int], ...] = (("axial", 780), ("coronal", 640), ("sagittal", 520))
    shots = []
    for view, width in views:
        frame = frame_around(body, view, 40.0 if view == "axial" else 14.0)
        beams = plan.beamlets.beams if view == "axial" else ()
        plane = plane_through(plan.dose.grid, view, scene.isocentre_mm)
        shots.append(Shot(plane, frame, width, beams, bar=view == "axial"))
    made = sections(scene, [*shots, *_strip(plan, shown)], _IMAGE_SCALE)
    return {"main": made[:3], "strip": made[3:]}


def _stacks(scene: Scene, body: Voxels, ptv: Voxels) -> list[Stack]:
    """Slices to leaf through in the three views."""
    views: tuple[View, ...] = ("axial", "coronal", "sagittal")
    return [stack(scene, view, frame_around(body, view, 6.0), ptv) for view in views]


def _outline(name: str, voxels: Voxels, colour: str, plan: Plan) -> Outline:
    """Targets with a light edge, which shows on hot colours; the prescribed one wider, as it may hide one."""
    if plan.anatomy.structures[name].role not in _TARGET_ROLES:
        return Outline(shares_of(voxels), colour, "#000000b0", 1.1)
    return Outline(shares_of(voxels), colour, "#ffffffc0", 3.0 if name == plan.protocol.prescription.structure else 1.4)


def _strip(plan: Plan, shown: dict[str, Voxels]) -> list[Shot]:
    """Axial close-ups, evenly spaced from the highest to the lowest plane of the PTV."""
    grid, ptv = plan.dose.grid, shown[plan.protocol.prescription.hot_spot.structure]
    points = grid.centres_mm(ptv.indices)
    x, y, low = points.min(axis=0)
    high = points[:, 2].max()
    heights = [high - (high - low) * (k + 0.5) / _STRIP for k in range(_STRIP)]
    planes = dict.fromkeys(plane_through(grid, "axial", (float(x), float(y), float(z))) for z in heights)
    return [Shot(plane, frame_around(ptv, "axial", _CLOSE_MARGIN_MM), 300) for plane in planes]


def _beams(plan: Plan) -> list[dict[str, float | None]]:
    """Angles, beamlets, beamlets with fluence, estimated MU and share of the fluence of each beam."""
    total, largest = float(plan.fluence.sum()), float(plan.fluence.max(initial=0.0))
    rows: list[dict[str, float | None]] = []
    for k, beam in enumerate(plan.beamlets.beams):
        fluence = plan.fluence[plan.beamlets.of_beam(k)]
        rows.append(
            {
                "gantry": beam.gantry_deg,
                "couch": beam.couch_deg,
                "collimator": beam.collimator_deg,
                "beamlets": fluence.size,
                "used": int((fluence > _USED * largest).sum()),
                "mu": plan.evaluation.delivery.beam_mu[k] if plan.evaluation.delivery else None,
                "share": 100.0 * float(fluence.sum()) / total if total > 0 else 0.0,
            }
        )
    return rows


def _table(records: tuple[dict[str, object], ...]) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of records that may differ in their keys."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    return columns, [[_cell(record.get(column)) for column in columns] for record in records]


def _cell(value: object) -> str:
    if value is None:
        return words.NOTHING
    return words.number(value, 3) if isinstance(value, float) else str(value)
