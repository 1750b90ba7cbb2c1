"""Beam arrangements as text."""

from __future__ import annotations

import pytest

from dosecalc.errors import UsageError
from optimize.arrangements import MAX_BEAMS, TEMPLATES, beams_at, parse_beams


def test_a_count_is_equispaced_from_zero() -> None:
    assert parse_beams("4") == ((0, 0, 0), (90, 0, 0), (180, 0, 0), (270, 0, 0))
    assert len(parse_beams(str(MAX_BEAMS))) == MAX_BEAMS


@pytest.mark.parametrize(
    ("text", "angles"),
    [
        ("90:0", ((90, 0, 0),)),
        ("200,240:10,300:0:15", ((200, 0, 0), (240, 10, 0), (300, 0, 15))),
        (" 12.5 , -30:350", ((12.5, 0, 0), (-30, 350, 0))),
    ],
)
def test_angles_are_gantry_couch_collimator(text: str, angles: tuple) -> None:
    assert parse_beams(text) == angles


def test_templates_are_what_the_manual_says() -> None:
    gantries = {name: [g for g, _, _ in parse_beams(name)] for name in TEMPLATES}
    assert (len(gantries["liver_right"]), gantries["liver_right"][0], gantries["liver_right"][-1]) == (9, 190, 30)
    assert (len(gantries["liver_left"]), gantries["liver_left"][0], gantries["liver_left"][-1]) == (9, 300, 120)
    assert 270 in gantries["arc_10deg"]
    assert 11 <= len(gantries["liver_central"]) <= 13
    couches = {min(c, 360 - c) for _, c, _ in TEMPLATES["liver_central"]}
    assert couches <= {0, 20, 25}
    assert len(couches) > 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "1..72"),
        ("73", "1..72"),
        ("", "no count"),
        ("liver_rihgt", "'liver_right'"),
        ("frontal", "liver_central"),
        ("90:x", "90:x"),
        ("90,,180", "gantry[:couch[:collimator]]"),
        ("1:2:3:4", "gantry[:couch[:collimator]]"),
        ("400:0", "-360..360"),
        ("90;180", "gantry[:couch[:collimator]]"),
    ],
)
def test_anything_else_is_refused_with_the_right_form(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="--beams") as refusal:
        parse_beams(text)
    assert said in str(refusal.value)


def test_beams_share_the_isocentre() -> None:
    beams = beams_at(((10.0, 5.0, 3.0), (20.0, 0.0, 0.0)), (1.0, -2.0, 3.0))
    assert [(b.gantry_deg, b.couch_deg, b.collimator_deg) for b in beams] == [(10, 5, 3), (20, 0, 0)]
    assert {b.isocentre_mm for b in beams} == {(1.0, -2.0, 3.0)}
