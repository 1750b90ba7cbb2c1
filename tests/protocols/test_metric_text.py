"""The metric grammar: every form, its unit, its round trip, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import (
    CriticalVolume,
    DoseAtVolume,
    MaxDose,
    MeanDose,
    Metric,
    MinDose,
    ProtocolError,
    StructureVolume,
    VolumeAtDose,
    parse_metric,
)
from protocols.metrics import Biological, GeneralisedEud, Homogeneity, TailMean
from protocols.plan_metrics import DoseBeyond2cm, HalfDoseSpill, HotOutsideGtv, PaddickConformity, RtogConformity

FORMS = [
    ("D95%", DoseAtVolume(95, "%"), "Gy"),
    ("D0.035cc", DoseAtVolume(0.035, "cc"), "Gy"),
    ("V15Gy", VolumeAtDose(15, "cc"), "cc"),
    ("V20Gy%", VolumeAtDose(20, "%"), "%"),
    ("CV700cc<15Gy", CriticalVolume(700, 15), "cc"),
    ("Dmean", MeanDose(), "Gy"),
    ("Dmax", MaxDose(), "Gy"),
    ("Dmin", MinDose(), "Gy"),
    ("Volume", StructureVolume(), "cc"),
    ("gEUD(a=-8.5)", GeneralisedEud(-8.5), "Gy"),
    ("MOH2%", TailMean(2, "hottest"), "Gy"),
    ("MOC5%", TailMean(5, "coldest"), "Gy"),
    ("HI", Homogeneity(), "ratio"),
    ("EQD2_2.5(Dmean)", Biological("EQD2", 2.5, MeanDose()), "Gy"),
    ("BED_10(V40Gy)", Biological("BED", 10, VolumeAtDose(40, "cc")), "cc"),
    ("BED_2(CV700cc<15Gy)", Biological("BED", 2, CriticalVolume(700, 15)), "cc"),
    ("CI_Paddick", PaddickConformity(), "ratio"),
    ("CI_RTOG", RtogConformity(), "ratio"),
    ("R50", HalfDoseSpill(), "ratio"),
    ("D2cm%", DoseBeyond2cm(), "%"),
    ("V120%(PTV-GTV)", HotOutsideGtv(120, "%"), "cc"),
    ("V70Gy(PTV-GTV)", HotOutsideGtv(70, "Gy"), "cc"),
]

sizes = st.floats(1e-6, 1e6)
metrics = st.one_of(
    st.builds(DoseAtVolume, st.floats(1e-6, 100), st.just("%")),
    st.builds(DoseAtVolume, sizes, st.just("cc")),
    st.builds(VolumeAtDose, sizes, st.sampled_from(["cc", "%"])),
    st.builds(CriticalVolume, sizes, sizes),
    st.sampled_from([MeanDose(), MaxDose(), MinDose(), StructureVolume()]),
    st.builds(GeneralisedEud, st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3)),
    st.builds(HotOutsideGtv, st.floats(100.001, 1e6), st.sampled_from(["%", "Gy"])),
    st.builds(TailMean, st.floats(1e-6, 100), st.sampled_from(["hottest", "coldest"])),
    st.builds(Biological, st.sampled_from(["EQD2", "BED"]), sizes, st.builds(VolumeAtDose, sizes, st.just("%"))),
)


@pytest.mark.parametrize(("text", "metric", "unit"), FORMS)
def test_each_form_reads_as_its_type(text: str, metric: Metric, unit: str) -> None:
    assert parse_metric(text) == metric
    assert str(metric) == text
    assert metric.value_unit == unit


@given(metrics)
def test_text_and_types_round_trip_exactly(metric: Metric) -> None:
    assert parse_metric(str(metric)) == metric


def test_limits_on_neighbouring_volumes_are_different_metrics() -> None:
    assert len({parse_metric(f"D{volume}cc") for volume in ("0.03", "0.035", "0.1", "0.5")}) == 4


@pytest.mark.parametrize("text", ["NTCP(LKB, n=0.97, m=0.12, TD50=40.7)"])
def test_a_known_metric_without_implementation_is_refused_as_such(text: str) -> None:
    with pytest.raises(ProtocolError, match="known but not implemented in this version"):
        parse_metric(text)


@pytest.mark.parametrize(
    "text", ["", "D", "D95", "D95 %", "D-5%", "D1e2cc", "V15", "V15gy", "V1500cGy", "CV700cc",
    "CV700cc<=15Gy", "CV700cc<15",
     "mean", "dmean", "D٩٥%", "D95%\n", "Dnan%", "gEUD", "D2cm", "D95%" * 1000],
)  # fmt: skip
def test_unknown_text_is_refused_with_the_forms_that_exist(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_metric(text)
    assert "CV700cc<15Gy" in str(caught.value)
    assert "not implemented" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("V1500cGy", "100 cGy = 1 Gy"),
        ("D95", "D95% or D95cc"),
        ("V15", "V15Gy (in cc)"),
        ("dMEAN", "'Dmean'"),
        ("VBED10_40Gy", "BED_10(V40Gy)"),
        ("gEUD", "gEUD(a=8)"),
        ("D2cm", "D2cm%"),
        ("V120%", "V120%(PTV-GTV)"),
    ],
)
def test_a_likely_slip_is_named(text: str, hint: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(hint)):
        parse_metric(text)


@pytest.mark.parametrize("text", ["D0%", "D100.1%", "D0cc", "V0Gy", "CV0cc<15Gy", "CV700cc<0Gy", "V10000000Gy"])
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="must be between"):
        parse_metric(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gEUD(a=0)", "exponent of a gEUD"),
        ("MOC0%", "share of a tail mean"),
        ("EQD2_0(Dmean)", "alpha/beta in Gy"),
        ("EQD2_3(HI)", "HI is no metric of a biological dose"),
        ("EQD2_3(BED_3(Dmean))", "is no metric of a biological dose"),
        ("V95%(PTV-GTV)", "a hot spot is more than 100 %"),
    ],
)
def test_a_metric_without_meaning_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(says)):
        parse_metric(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_metric_is_sound_however_it_is_built(value: float) -> None:
    with pytest.raises(ProtocolError):
        DoseAtVolume(value, "cc")
    with pytest.raises(ProtocolError):
        CriticalVolume(700, value)
    with pytest.raises(ProtocolError):
        VolumeAtDose(15, "mm")  # type: ignore[arg-type]
