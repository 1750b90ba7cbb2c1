"""The plan report: what it says, that it says it safely, and that its pictures lie where the patient does."""

from __future__ import annotations

import ast
import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import optimize.report
from dosecalc.beams import Beam, aim
from dosecalc.dicom import CtSeries, PatientStudy
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Occupancy, Structure, StructureSet, Voxels
from dosecalc.uncertainty import stated
from optimize.anatomy import Anatomy
from optimize.densities import Densities
from optimize.eligibility import PatientFacts
from optimize.evaluate import evaluate
from optimize.findings import with_findings
from optimize.limiting import priced
from optimize.planning import Plan
from optimize.prices import Stop
from optimize.provenance import Provenance
from optimize.report import render_report
from optimize.report.figures import Picture, Shot, sections
from optimize.report.goal_rows import scorecard
from optimize.report.planes import Frame, frame_around, frame_of, plane_through, section, shares_of
from optimize.report.scene import WASH_COLOURS, Scene, composed, pixels_on
from optimize.report.summary import grouped
from optimize.report.words import binding_sentence, limit_text, number, slack_text, verdict
from optimize.results import GoalResult, SecondOpinion, StructureUncertainty
from protocols import load

# Unequal counts and spacings on both grids, so that a swapped axis shows.
DOSE_GRID = Grid((-36.0, -40.0, 5.0), (2.0, 3.0, 4.0), (12, 28, 36))
CT_GRID = Grid((-36.5, -40.9, 4.75), (1.0, 1.2, 3.5), (14, 70, 72))
HOSTILE = "<img src=x onerror=alert(1)>"
TEMPLATE = "{{7*7}}"
MATH = "$x^{$"
PATIENT = PatientStudy(patient_name="Doe^Jane", patient_id="4711-SECRET", birth_date="19500102")


def box(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int]) -> np.ndarray:
    values = np.zeros(DOSE_GRID.shape, dtype=np.float32)
    values[z[0] : z[1], y[0] : y[1], x[0] : x[1]] = 1.0
    return values


MASKS = {
    "Body": ("EXTERNAL", box((0, 12), (1, 27), (1, 35))),
    "GTV": ("GTV", box((5, 7), (12, 15), (12, 16))),
    "PTV": ("PTV", box((4, 8), (10, 17), (10, 18))),
    "PTV_opt": ("PTV", box((4, 8), (10, 17), (10, 17))),
    "Duodenum": ("ORGAN", box((4, 8), (10, 17), (20, 23))),
    HOSTILE: ("ORGAN", box((3, 5), (4, 6), (4, 6))),
    TEMPLATE: ("GTV", box((5, 6), (12, 13), (12, 14))),
    MATH: ("CTV", box((5, 7), (11, 16), (11, 17))),
}


def make_plan(machine, duodenum_gy: float = 24.9) -> Plan:
    """60 Gy in the PTV, 70 Gy in the GTV; at 24.9 Gy the duodenum stands at its D5cc limit of 25 Gy."""
    protocol = load("crlm_5fx")
    structures = StructureSet(
        tuple(Structure(name, role, Occupancy(DOSE_GRID, mask)) for name, (role, mask) in MASKS.items())
    )
    values = np.full(DOSE_GRID.shape, 2.0)
    for name, gy in (("PTV", 60.0), ("GTV", 70.0), ("Duodenum", duodenum_gy)):
        values[MASKS[name][1] > 0] = gy
    dose = Volume(DOSE_GRID, values)
    missing = tuple(
        dict.fromkeys(
            goal.structure
            for goal in protocol.goals
            if goal.level == "mandatory" and not goal.only_if_contoured and goal.structure not in structures
        )
    )
    evaluation = evaluate(dose, structures, protocol, accepted_missing=missing)
    evaluation = with_findings(evaluation, dose, structures, scenarios=("kras",), facts=PatientFacts(chemotherapy=True))
    beams = (Beam(190.0, isocentre_mm=(-9.0, -1.0, 27.0)), Beam(330.0, 25.0, isocentre_mm=(-9.0, -1.0, 27.0)))
    beamlets = aim(beams, at=structures["PTV"].on(DOSE_GRID), width_mm=10.0)
    ct = CtSeries(Volume(CT_GRID, np.zeros(CT_GRID.shape, np.float32)), "1.2", "1.3", "1.4", patient=PATIENT)
    anatomy = Anatomy(structures, ("PTV: GTV + 6 mm.",), (f"{HOSTILE}: odd.", "Colon: odd."), (), (), ())
    record = Provenance(
        version="0.1.0",
        commit=None,
        input_sha256={"ct": "ab" * 32},
        protocol=protocol.name,
        protocol_sha256=protocol.sha256,
        machine=machine.name,
        machine_sha256=machine.sha256,
        backend="numpy",
        backend_reason="test",
        device="CPU",
        precision="float32",
        heterogeneity="density_scaling",
        density=Densities().record(machine),
        grid_mm=DOSE_GRID.spacing_mm,
        beamlet_mm=10.0,
        patient_position="FFS",
        beams=({"gantry_deg": 190.0},),
        threads=1,
        solver="none",
        seed=0,
        levels=({"name": "PTV_opt D95 (Gy)", "value": 60.0, "rounds": 2},),
        timings_s={"optimisation": 1.25},
        peak_rss_mb=100.0,
        overrides=tuple(f"missing structure accepted by name: {name}" for name in missing),
        derived=anatomy.derived,
        warnings=("</script><b>bold</b>",),
        exit_code=0,
    )
    return Plan(np.ones(beamlets.count), beamlets, dose, evaluation, ct, anatomy, protocol, machine, record)


class Page(HTMLParser):
    """Elements with their attributes, and the text in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.headings: list[str] = []
        self._skip = self._heading = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._skip = tag == "style"
        self._heading = tag == "h2"
        self.text += " "

    def handle_endtag(self, tag):
        self._skip = self._heading = False
        self.text += " "

    def handle_data(self, data):
        if not self._skip:
            self.text += data
        if self._heading:
            self.headings.append(data)

    def rows(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(machine) -> str:
    return render_report(make_plan(machine))


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def rejected(machine) -> Page:
    return Page(render_report(make_plan(machine, duodenum_gy=40.0)))


# --- safety ---


def test_hostile_names_come_out_as_text(page):
    assert HOSTILE in page.text
    assert TEMPLATE in page.text
    assert MATH in page.text
    assert "</script><b>bold</b>" in page.text
    assert not [tag for tag, _ in page.elements if tag in ("iframe", "object", "embed", "form")]
    assert [attrs for tag, attrs in page.elements if tag == "script"] == [{}]  # the sliders', without a source
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_the_page_needs_nothing_from_outside(html, page):
    sources = [image["src"] for image in page.rows("img")]
    assert len(sources) >= 5
    assert all(re.match(r"data:image/(png|webp|svg\+xml);base64,", source) for source in sources)
    assert all(link["href"].startswith("#") for link in page.rows("a"))
    assert not page.rows("link")
    assert not re.search(r"@import|url\(", html)
    assert len(html) < 3e6


def test_the_browser_runs_no_script_but_the_sliders(html):
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


def test_every_plane_around_the_ptv_can_be_looked_at(page):
    """The PTV's planes and 25 mm beyond, as far as the dose grid goes; one of each view shows without the script."""
    # Stacks are lossy WebP, chunk "VP8 " of its container; sections are lossless.
    sources = [(image, base64.b64decode(str(image["src"]).split(",", 1)[1])) for image in page.rows("img")]
    images = [image for image, data in sources if data[8:16] == b"WEBPVP8 "]
    sliders = [row for row in page.rows("input") if row["type"] == "range"]
    assert len(sliders) == 3
    assert sum(int(row["max"]) + 1 for row in sliders) == len(images)
    assert len([image for image in images if "hidden" not in image]) == 3
    ptv = DOSE_GRID.centres_mm(np.flatnonzero(MASKS["PTV"][1]))
    grid = DOSE_GRID.centres_mm()
    for axis, view in ((2, "Axial, z"), (1, "Coronal, y"), (0, "Sagittal, x")):
        shown = [float(str(i["alt"]).split("= ")[1].split()[0].replace("\N{MINUS SIGN}", "-"))
                 for i in images if str(i["alt"]).startswith(view)]  # fmt: skip
        low = max(ptv[:, axis].min() - 25.0, grid[:, axis].min())
        high = min(ptv[:, axis].max() + 25.0, grid[:, axis].max())
        half = DOSE_GRID.spacing_mm[axis] / 2 + 0.05
        assert shown == sorted(shown)
        assert abs(shown[0] - low) <= half
        assert abs(shown[-1] - high) <= half


def test_nothing_identifies_the_patient(html):
    visible = re.sub(r"base64,[^\"]*", "", html)
    for identifier in ("Doe", "Jane", "4711", "SECRET", "19500102"):
        assert identifier not in visible


def test_no_module_of_the_report_uses_the_global_state_of_pyplot():
    for path in Path(optimize.report.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                assert not any("pyplot" in name or "pylab" in name for name in names), path.name


# --- what it says ---


def test_sections_come_in_the_order_in_which_a_plan_is_judged(page):
    wanted = [
        "Overrides", "Not assessed", "Selection rules", "Warnings", "Derived structures", "Prescription",
        "Binding limits: what holds the dose back", "Scorecard",
        "Second opinion: the same fluence on finer grids", "Dose on the CT", "Dose-volume histogram",
        "Selection rules of the reviews: caution", "What published models say of plans like this",
        "Limits of the model", "Machine, beams and run",
    ]  # fmt: skip
    assert page.headings == wanted
    assert page.text.index("not for clinical use") < page.text.index("Plan status")


def test_total_and_per_fraction_doses_are_both_labelled(page):
    flat = " ".join(page.text.split())
    assert "Reached D95% of PTV_opt, course total 60.0 Gy in 5 fractions" in flat
    assert "The same per fraction 12.00 Gy × 5" in flat
    # 60 Gy in 5 fractions: 60 (1 + 12 / 10) = 132 Gy BED10, 132 / 1.2 = 110 Gy EQD2.
    assert "132.0 Gy BED10 EQD2 110.0 Gy" in flat
    # The PTV's D0.035cc is that of the GTV, 70 Gy: 60 / 70 = 86 %.
    assert "86 % of the PTV D0.035cc" in flat


def test_a_goal_at_its_limit_is_named_in_words_and_without_false_digits(page):
    flat = " ".join(page.text.split())
    assert "Duodenum D5cc is 24.9 Gy, at its mandatory limit of 25 Gy." in flat
    assert "D5cc < 25 Gy 24.9 Gy 100 % at the limit met the structure has only 2.02 cc" in flat


def test_verdicts_are_words(page, rejected):
    flat = " ".join(page.text.split())
    assert "Plan status: OK" in flat
    assert "Mandatory goals NOT MET" not in flat
    assert "NOT ASSESSED" in flat
    assert "BileDuct_Common D0.035cc < 41 Gy (mandatory): not contoured" in flat
    flat = " ".join(rejected.text.split())
    assert "Plan status: REJECTED" in flat
    assert rejected.headings[0] == "Mandatory goals NOT MET"
    assert "Duodenum D0.035cc : 40.0 Gy, limit < 32 Gy" in flat
    assert "−8.0 Gy NOT MET" in flat


def test_overrides_and_warnings_are_shown(page):
    assert "missing structure accepted by name: Stomach" in page.text
    assert f"{HOSTILE}, Colon: odd." in page.text


def test_internal_codes_are_translated(page):
    assert "transcribed" in page.text
    scorecard_text = page.text[: page.text.index("Run record")]
    assert "VERIFIED_2ND" not in scorecard_text
    assert "SEED" not in scorecard_text


def test_every_goal_and_every_structure_has_a_row(machine, page):
    plan = make_plan(machine)
    groups, sources = scorecard(plan.evaluation.goals, plan.protocol)
    assert sum(len(group.rows) for group in groups) == len(plan.evaluation.goals)
    for goal in plan.evaluation.goals:
        row = next(row for group in groups for row in group.rows if row.id == goal.id)
        assert sources[row.reference - 1] == goal.source
        assert goal.source in page.text
    for name in MASKS:
        assert page.text.count(name) >= 1


def test_the_run_record_is_complete(html, machine):
    shown = re.search(r"<pre>(.*?)</pre>", html, re.S)[1]
    record = json.loads(HTMLText(shown).text)
    expected = json.loads(json.dumps(dataclasses.asdict(make_plan(machine).provenance)))
    assert record == expected


class HTMLText(Page):
    """The text of a fragment."""


def test_the_model_states_its_limits(page):
    for words in (
        "Dose to water",
        "density scaling",
        "no re-build-up",
        "Build-up",
        "not sequenced",
        "iso-effective",
    ):
        assert words in page.text


def test_published_models_and_rules_have_sections_of_their_own(page):
    text = " ".join(page.text.split())
    assert "none of them predicts what happens to a patient" in text
    assert "KRAS mutated" in text and "protons" in text
    assert "stated: chemotherapy; see the stricter limits below" in text
    # The edge has 12 Gy in each of 5 fractions, BED10 132 Gy: curves 83 and 97 %, strata 62, 84 and 93 %.
    assert "62 to 97 %" in text


def test_inputs_are_left_as_they_were(machine):
    plan = make_plan(machine)
    before = plan.dose.values.copy(), plan.fluence.copy()
    render_report(plan)
    np.testing.assert_array_equal(plan.dose.values, before[0])
    np.testing.assert_array_equal(plan.fluence, before[1])


# --- markup ---


def test_markup_is_accessible(html, page):
    assert page.rows("html")[0]["lang"] == "en"
    assert len(page.rows("h1")) == 1
    assert all(cell.get("scope") for cell in page.rows("th"))
    assert all(image["alt"] and image["width"] and image["height"] for image in page.rows("img"))
    anchors = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {link["href"][1:] for link in page.rows("a")} <= anchors
    assert html.startswith("<!DOCTYPE html>")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", ["#ffffff", "#f4f6f8", "#fbecec", "#fff6e3", "#fff8ea"])
@pytest.mark.parametrize("ink", ["ink", "soft", "good", "bad", "open", "accent"])
def test_text_has_the_contrast_of_wcag_aa(html, ink, ground):
    colour = re.search(rf"--{ink}: (#[0-9a-f]{{6}})", html)[1]
    assert ground in html
    low, high = sorted((luminance(colour), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= 4.5


# --- numbers in words ---


def result(**over) -> GoalResult:
    row = {
        "id": "x", "structure": "Duodenum", "metric": "D0.035cc", "comparator": "<", "limit": 32.0,
        "unit": "Gy", "level": "mandatory", "level_by": "source", "source": "s", "status": "VERIFIED",
        "value": 30.0, "slack": 2.0, "met": True, "assessed": True,
    }  # fmt: skip
    return GoalResult(**(row | over))


@pytest.mark.parametrize(
    ("value", "text"), [(1.25, "1.2"), (-3.04, "−3.0"), (-0.04, "0.0"), (None, "–"), (float("nan"), "–")]
)
def test_numbers(value, text):
    assert number(value) == text


def test_slack_and_verdict_texts():
    assert slack_text(result()) == "+2.0 Gy"
    assert slack_text(result(slack=-1.26, met=False)) == "−1.3 Gy"
    assert slack_text(result(slack=0.1, binding=True)) == "at the limit"
    assert slack_text(result(slack=-0.1, binding=True, met=False)) == "just beyond the limit"
    assert slack_text(result(value=None, slack=None, met=None, assessed=False)) == "–"
    assert binding_sentence(result(slack=-0.1, binding=True, met=False)).endswith("(just beyond it: NOT MET).")
    assert verdict(result(met=False)) == "NOT MET"
    assert verdict(result(met=None, assessed=False)) == "NOT ASSESSED"
    assert limit_text(result(limit=25.3)) == "< 25.3 Gy"
    assert limit_text(result(comparator="<=", limit=95.33333)) == "≤ 95.3 Gy"


def test_warnings_with_the_same_words_are_told_once():
    told = grouped(["Colon: cut.", "no outline was drawn.", "Heart: cut.", "Rib: missing."])
    assert told == ["Colon, Heart: cut.", "no outline was drawn.", "Rib: missing."]


# --- pictures ---


def test_a_section_of_a_linear_field_is_exact_between_the_planes_of_the_volume():
    x, y, z = np.moveaxis(CT_GRID.centres_mm().reshape(*CT_GRID.shape, 3), -1, 0)
    volume = Volume(CT_GRID, 3.0 * x - 2.0 * y + 5.0 * z)
    for view, axis, kept in (
        ("axial", 0, (x[0], y[0])),
        ("coronal", 1, (x[:, 0], z[:, 0])),
        ("sagittal", 2, ()),
    ):
        plane = plane_through(DOSE_GRID, view, (-8.3, 1.7, 26.4))
        got = section(volume, plane)
        if axis == 0:
            expected = 3.0 * kept[0] - 2.0 * kept[1] + 5.0 * plane.position_mm
        elif axis == 1:
            expected = 3.0 * kept[0] - 2.0 * plane.position_mm + 5.0 * kept[1]
        else:
            expected = 3.0 * plane.position_mm - 2.0 * y[:, :, 0] + 5.0 * z[:, :, 0]
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_planes_and_frames_by_hand():
    plane = plane_through(DOSE_GRID, "coronal", (0.0, 1.9, 0.0))
    assert (plane.index, plane.position_mm, plane.normal) == (14, 2.0, "y")
    assert plane_through(DOSE_GRID, "axial", (0.0, 0.0, 900.0)).index == 11
    assert frame_of(DOSE_GRID, "coronal") == Frame((-37.0, 3.0), (35.0, 51.0))
    voxels = Structure("PTV", "PTV", Occupancy(DOSE_GRID, MASKS["PTV"][1])).on(DOSE_GRID)
    assert frame_around(voxels, "sagittal", 5.0) == Frame((-15.0, 16.0), (13.0, 38.0))
    empty = Voxels(DOSE_GRID, np.empty(0, np.int64), np.empty(0))
    assert frame_around(empty, "axial", 5.0) == frame_of(DOSE_GRID, "axial")


def test_an_outline_is_drawn_only_where_the_structure_fills_half_a_voxel():
    voxels = Structure("PTV", "PTV", Occupancy(DOSE_GRID, MASKS["PTV"][1])).on(DOSE_GRID)
    inside, outside = (
        plane_through(DOSE_GRID, "axial", (0, 0, 25)),
        plane_through(DOSE_GRID, "axial", (0, 0, 5)),
    )
    shares, columns, rows = shares_of(voxels).on(inside)
    np.testing.assert_allclose(shares, np.pad(np.ones((7, 8)), 1), atol=1e-6)  # one voxel wider than the box
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (-18.0, 0.0, -13.0, 11.0)
    assert shares_of(voxels).on(outside) is None


def test_pixels_are_grey_by_the_window_and_coloured_from_a_tenth_of_the_prescribed_dose():
    x = CT_GRID.centres_mm()[:, 0].reshape(CT_GRID.shape)
    dose = np.zeros(DOSE_GRID.shape)
    dose[:, 14:] = 5.0
    scene = Scene(Volume(CT_GRID, np.abs(10.0 * x)), Volume(DOSE_GRID, dose), 10.0, (), (0.0, 0.0, 0.0))
    pixels = pixels_on(Frame((-30.0, -20.0), (30.0, 20.0)), "axial", 60, 40)
    plane = plane_through(DOSE_GRID, "axial", (0.0, 0.0, 27.0))
    shown = composed(scene, plane, pixels)
    # 1 mm of 10 HU each, in a window of 400 HU around 40 HU: white from 24 mm.
    grey = np.rint(255.0 * np.clip((10.0 * np.abs(np.arange(60) - 29.5) - 40.0) / 400.0 + 0.5, 0.0, 1.0))
    np.testing.assert_array_equal(shown[5], np.stack([grey] * 3, axis=-1))
    assert not composed(scene, plane, pixels_on(Frame((-80.0, -20.0), (-40.0, 20.0)), "axial", 9, 9)).any()  # beyond
    # Half of the scale, whose middle is green: 58 % of the grey and 42 % of the colour.
    colour = 255.0 * np.array(WASH_COLOURS(0.5)[:3])
    assert np.abs(shown[35] - (0.58 * grey[:, None] + 0.42 * colour)).max() < 2.0


def test_a_grid_along_other_axes_is_refused():
    turned = Grid((0, 0, 0), (1, 1, 1), (3, 3, 3), ((0, 1, 0), (-1, 0, 0), (0, 0, 1)))
    with pytest.raises(InputError, match="along x, y and z"):
        plane_through(turned, "axial", (0, 0, 0))


def pixels(picture: Picture) -> np.ndarray:
    data = base64.b64decode(picture.src.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def shot_of(ct: np.ndarray, dose: np.ndarray, view: str) -> np.ndarray:
    # All isodose levels lie above 1 Gy x 30 %, so that only CT and wash are drawn besides the fixed marks.
    scene = Scene(Volume(CT_GRID, ct), Volume(DOSE_GRID, dose), 1e3, (), (1e4, 1e4, 1e4))
    plane = plane_through(DOSE_GRID, view, (0.0, 0.0, 27.0))
    return pixels(sections(scene, [Shot(plane, frame_of(DOSE_GRID, view), 360)], 1.0)[0])


def centre_of_change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Position of what differs, as shares of the width from the left and of the height from the top."""
    changed = np.abs(after - before).sum(axis=2) > 12
    rows, columns = np.nonzero(changed)
    assert rows.size > 50
    return float(columns.mean() / changed.shape[1]), float(rows.mean() / changed.shape[0])


# View, where a marker at the patient's left, anterior, superior corner has to appear: (right?, top?).
@pytest.mark.parametrize(("view", "right"), [("axial", True), ("coronal", True), ("sagittal", False)])
def test_pictures_show_the_patient_as_their_letters_say(view, right):
    x, y, z = np.moveaxis(CT_GRID.centres_mm().reshape(*CT_GRID.shape, 3), -1, 0)
    dose = np.zeros(DOSE_GRID.shape)
    # A block in the patient's left, anterior, superior corner, but through the plane that is shown.
    beside = {
        "axial": (x > 10) & (y < -10),
        "coronal": (x > 10) & (z > 34),
        "sagittal": (y < -10) & (z > 34),
    }[view]
    air = np.full(CT_GRID.shape, -1000.0)
    across, down = centre_of_change(shot_of(air, dose, view), shot_of(np.where(beside, 500.0, air), dose, view))
    assert (across > 0.55) is right
    assert down < 0.45


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_dose_lies_on_the_ct_although_their_grids_differ(view):
    def ball(grid: Grid) -> np.ndarray:
        points = grid.centres_mm().reshape(*grid.shape, 3)
        return np.sum(((points - (8.0, -9.0, 27.0)) / (12.0, 14.0, 12.0)) ** 2, axis=-1) < 1.0

    air, none = np.full(CT_GRID.shape, -1000.0), np.zeros(DOSE_GRID.shape)
    empty = shot_of(air, none, view)
    tissue = centre_of_change(empty, shot_of(np.where(ball(CT_GRID), 500.0, air), none, view))
    dose = centre_of_change(empty, shot_of(air, np.where(ball(DOSE_GRID), 250.0, 0.0), view))
    size = np.array(frame_of(DOSE_GRID, view).size)
    assert np.abs((np.array(tissue) - dose) * size).max() < 1.0  # mm, less than half a dose voxel


def test_densities_stated_by_the_user_are_shown_with_what_they_replaced(machine):
    made = make_plan(machine)
    stated = {"name": HOSTILE, "density": 1.02, "cc": 12.34, "hu_mean": 210.0, "hu_lowest": -20.0, "hu_highest": 900.0}
    table = Densities().record(machine) | {"table_sha256": "cd" * 32, "source": "our scanner", "overrides": [stated]}
    record = dataclasses.replace(made.provenance, density=table | {"outside_body": "as_scanned"})
    text = " ".join(Page(render_report(dataclasses.replace(made, provenance=record))).text.split())
    assert f"{HOSTILE} 1.02 12.3 210 \N{MINUS SIGN}20 to 900" in text
    assert "our scanner (the user's table, SHA-256 cdcdcdcdcdcdcdcd" in text
    assert "counts as the CT shows it" in text


def test_without_a_choice_the_default_table_and_an_empty_outside_are_shown(page):
    text = " ".join(page.text.split())
    assert "Outside the Body nothing counts" in text
    assert "cortical bone of ICRU Report 44" in text
    assert "Every dose on this page is dose to water" in text


def test_a_slack_below_the_uncertainty_is_marked_beside_an_unchanged_verdict(machine):
    made = make_plan(machine)
    goals = tuple(
        dataclasses.replace(g, uncertainty=1.0 + abs(g.slack)) if g.structure == "Duodenum" and g.assessed else g
        for g in made.evaluation.goals
    )
    opinion = SecondOpinion(
        uncertainty=(StructureUncertainty("Duodenum", 1.25, 2.5, 3.75, 0.6, 1.2),),
        stated=stated(machine, "density_scaling"),
    )
    bound = next(g for g in goals if g.binding and g.structure == "Duodenum")
    goals, ended = priced(goals, Stop("D95 was held.", "D95", {bound.id: 0.456, "hot_spot": 0.0}, (bound.id,)), 66.0)
    judged = dataclasses.replace(made.evaluation, goals=goals, verification=opinion, escalation=ended)
    shown = Page(render_report(dataclasses.replace(made, evaluation=judged)))
    text = " ".join(shown.text.split())
    marked = sum(g.uncertain for g in goals)
    assert marked > 0
    assert text.count("within the dose model's uncertainty of") == marked
    assert "Duodenum 1.2 2.5 3.8 0.6 1.2" in text
    assert re.search(rf"D95 was held. .* Duodenum {bound.metric} .* binding 0.46 Gy of D95 per Gy", text)
    assert "whichever voxels are released: 66.0 Gy" in text
    assert "45 % no electron contamination" in text
    assert [g.met for g in goals] == [g.met for g in made.evaluation.goals]
