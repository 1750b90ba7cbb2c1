"""The published regimens: every cell of the table, and the arithmetic of the reviews done again."""

import csv
import re
from pathlib import Path

import pytest

from protocols import ProtocolError
from protocols.plausibility import LARGEST_PUBLISHED_BED_GY, LEAST_BED_GY
from protocols.regimens import PLACES, Regimen, Span, disagreements, express, find_regimen, regimens

CLINICAL = Path(__file__).resolve().parents[3] / "shared" / "clinical"

# How the texts of the table were worded for this library; nothing else was changed.
REWORDED = [
    (r"\bseed (\d{3})", r"project review document \1"),
    (r"in the seed text", "in the review document's text"),
    (r"\bseed\b", "review document"),
    (r"stored JGO page", "JGO page"),
    (r"\bI recall\b", "from memory, not read:"),
]
BASIS = {"isocentre": "isocentre", "periphery": "periphery_isodose", "meanPTV": "mean_PTV"}
TEXTS = {
    "citation": "citation",
    "read_in": "seed_files",
    "design": "design_as_in_seed",
    "patients": "n_patients",
    "lesions": "n_lesions",
    "population": "population",
    "colorectal": "crc_patients_or_pct",
    "follow_up_months": "median_followup_months",
    "convention": "prescription_convention",
    "local_control_1y": "LC_1y_pct",
    "local_control_2y": "LC_2y_pct",
    "local_control_other": "LC_other",
    "survival": "OS",
    "toxicity": "toxicity",
    "size_limits": "size_limits",
    "arithmetic": "arithmetic_check",
    "disagreement": "seed_conflicts",
    "note": "notes",
}


def reworded(text: str) -> str:
    for old, new in REWORDED:
        text = re.sub(old, new, text)
    return text.strip()


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, str]]:
    if not (CLINICAL / "regimens.csv").exists():
        pytest.skip("the table of regimens beside the project is absent")
    with (CLINICAL / "regimens.csv").open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


@pytest.mark.shared
def test_every_cell_of_the_table(rows: dict[str, dict[str, str]]) -> None:
    assert [regimen.id for regimen in regimens()] == list(rows)
    for regimen in regimens():
        row = rows[regimen.id]
        for key, column in TEXTS.items():
            assert getattr(regimen, key) == reworded(row[column]), (regimen.id, key)
        assert regimen.year == int(row["year"])
        assert regimen.basis == BASIS.get(row["prescription_basis"], row["prescription_basis"])
        assert regimen.fractions == pair(row["fractions_low"], row["fractions_high"])
        assert regimen.dose_gy == pair(row["total_dose_low_Gy"], row["total_dose_high_Gy"])
        low, _, high = row["prescription_isodose_pct"].partition("-")
        assert regimen.isodose_pct == pair(low, high or low)
        assert regimen.pairing == ("none" if row["BED_status"][:2] in ("no", "") else row["BED_status"].split()[0])


def pair(low: str, high: str) -> tuple[float, float] | None:
    return (float(low), float(high)) if low else None


@pytest.mark.shared
def test_computed_columns_are_computed_again(rows: dict[str, dict[str, str]]) -> None:
    """BED10, EQD2, edge and maximum of the table, each to its printed decimals."""
    checked = 0
    for regimen in regimens():
        if regimen.dose_gy is None:
            continue
        doses, row = express(regimen).doses, rows[regimen.id]
        for columns, span in (
            (("BED10_low", "BED10_high"), doses["nominal"].bed10_gy),
            (("EQD2_10_low", "EQD2_10_high"), doses["nominal"].eqd2_gy),
            (("edge_dose_low_Gy", "edge_dose_high_Gy"), doses["edge"].dose_gy),
            (("max_dose_low_Gy", "max_dose_high_Gy"), doses["maximum"].dose_gy),
            (("edge_BED10_low", "edge_BED10_high"), doses["edge"].bed10_gy),
        ):
            for column, value in zip(columns, (span.low, span.high) if span else (None, None), strict=True):
                if row[column]:
                    assert value == pytest.approx(float(row[column]), abs=0.0501), (regimen.id, column)
                    checked += 1
    assert checked > 180


@pytest.mark.parametrize(
    ("name", "place", "low", "high", "bed_low", "bed_high"),
    [
        ("HER01_P2", "edge", 20.8, 20.8, 64.1, 64.1),  # 26 Gy at the isocentre, PTV inside 80 %
        ("WUL06_high1", "maximum", 40.0, 40.0, 200.0, 200.0),  # 26 Gy to the 65 % isodose
        ("KAT07", "edge", 40.0, 40.0, 72.0, 72.0),  # 50 Gy is the maximum
        ("TAK16", "maximum", 83.3, 100.0, 222.2, 300.0),  # "maximum dose 83-100 Gy"
        ("SCO13", "mean", 52.5, 75.0, 144.4, 262.5),  # 75 Gy is the mean of the PTV
        ("RUL11_60", "maximum", 70.6, 85.7, 170.2, 232.7),  # 60 Gy to the 70-85 % isodose
    ],
)
def test_the_arithmetic_of_the_reviews(
    name: str, place: str, low: float, high: float, bed_low: float, bed_high: float
) -> None:
    at = express(find_regimen(name)).doses[place]  # type: ignore[index]
    assert at.bed10_gy is not None
    assert (at.dose_gy.low, at.dose_gy.high) == pytest.approx((low, high), abs=0.05)
    assert (at.bed10_gy.low, at.bed10_gy.high) == pytest.approx((bed_low, bed_high), abs=0.06)


def test_what_is_not_stated_is_bounded_and_never_guessed() -> None:
    mean = express(find_regimen("SCO15"))
    assert mean.doses["edge"].dose_gy == Span(None, 75.0)
    assert mean.doses["maximum"].dose_gy == Span(75.0, None)
    assert "no isodose is stated: bounds that need one are absent" in mean.assumptions
    assumed = express(find_regimen("SCO15"), 67.0)
    edge = assumed.doses["edge"].dose_gy
    assert edge.low is not None
    assert (edge.low, edge.high) == pytest.approx((50.25, 75.0))
    assert any("67 % isodose surrounds the PTV (assumed, not published)" in line for line in assumed.assumptions)
    # A published isodose is not replaced by an assumed one.
    assert express(find_regimen("KAT07"), 67.0).doses == express(find_regimen("KAT07")).doses
    unstated = express(find_regimen("KAV06"))
    assert unstated.doses["mean"].dose_gy == Span(None, None)
    assert any("basis is not stated" in line for line in unstated.assumptions)
    assert express(find_regimen("CHA11")).doses["nominal"].bed10_gy is None


@pytest.mark.parametrize("isodose", [None, 60.0, 95.0])
def test_edge_mean_and_maximum_are_in_order_whatever_is_known(isodose: float | None) -> None:
    for regimen in (r for r in regimens() if r.dose_gy is not None):
        doses = express(regimen, isodose).doses
        assert set(doses) == set(PLACES)
        for end in ("low", "high"):
            known = [gy for place in PLACES[1:] if (gy := getattr(doses[place].dose_gy, end)) is not None]
            assert known == sorted(known), (regimen.id, end)


def test_large_fractions_are_said_to_stretch_the_model() -> None:
    assert any("above 18 Gy the model overstates" in line for line in express(find_regimen("SCO13")).assumptions)
    assert not any("above 18 Gy" in line for line in express(find_regimen("LEE09")).assumptions)
    assert any("unpaired ranges" in line for line in express(find_regimen("PY21")).assumptions)


def test_disagreements_are_quoted_for_the_regimens_asked_for() -> None:
    said = disagreements("SCO13")
    assert any(line.startswith("SCO13: 75/3 only (000,001) vs 52.5-75/3 (002)") for line in said)
    assert any("OS 40 vs 37 %" in line for line in said)
    assert not any("Herfarth" in line for line in said)
    assert len(disagreements()) == 16 + sum(bool(regimen.disagreement) for regimen in regimens())


@pytest.mark.shared
def test_every_contradiction_of_the_list_is_kept() -> None:
    path = CLINICAL / "contradictions.md"
    if not path.exists():
        pytest.skip("the list of contradictions beside the project is absent")
    numbered = re.findall(r"^\d+\. (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(map(reworded, numbered)) <= set(disagreements())
    assert len(numbered) == 16


def test_faults_name_the_nearest_regimen_and_what_a_dose_needs() -> None:
    assert find_regimen("tak16").id == "TAK16"
    with pytest.raises(ProtocolError, match=r"unknown regimen 'TAK61'\. Did you mean 'TAK16'"):
        find_regimen("TAK61")
    with pytest.raises(ProtocolError, match="FRA19 states no dose"):
        express(find_regimen("FRA19"))
    with pytest.raises(ProtocolError, match="between 0 and 100 %, got 120"):
        express(find_regimen("SCO13"), 120.0)


def test_the_bounds_of_plausible_doses_are_those_of_the_regimens() -> None:
    prescribed, lowest = [], []
    for regimen in regimens():
        if regimen.dose_gy is not None and regimen.pairing == "exact":
            doses = express(regimen).doses
            prescribed.append(high_of(regimen))
            if (edge := doses["edge"].bed10_gy) is not None and edge.low is not None:
                lowest.append(edge.low)
    assert max(prescribed) == pytest.approx(LARGEST_PUBLISHED_BED_GY)
    assert LEAST_BED_GY < min(lowest) < LEAST_BED_GY + 1


def high_of(regimen: Regimen) -> float:
    nominal = express(regimen).doses["nominal"].bed10_gy
    assert nominal is not None
    assert nominal.high is not None
    return nominal.high
