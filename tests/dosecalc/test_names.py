"""Organ names: aliases, joined parts, refusals; nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dosecalc import names
from dosecalc.errors import InputError
from dosecalc.grid import Grid
from dosecalc.structures import Occupancy, Structure, StructureSet

GRID = Grid((0, 0, 0), (2.0, 3.0, 4.0), (3, 4, 5))
LABELS = Path(__file__).parents[3] / "shared" / "data" / "liver_ct" / "labels.json"


def box(name: str, first: int, count: int = 1, role: str = "ORGAN") -> Structure:
    fraction = np.zeros(GRID.size, dtype=np.float32)
    fraction[first : first + count] = 1.0
    return Structure(name, role, Occupancy(GRID, fraction.reshape(GRID.shape)))


def the(*structures: Structure) -> StructureSet:
    return StructureSet(structures)


@pytest.mark.parametrize(
    ("given", "tg263"),
    [
        ("small_bowel", "Bowel_Small"),
        ("SPINAL CORD", "SpinalCord"),
        ("spinal-cord", "SpinalCord"),
        ("Oesophagus", "Esophagus"),
        ("kidney_left", "Kidney_L"),
        ("aorta", "A_Aorta"),
        ("BODY", "Body"),
        ("External", "Body"),
        ("liver", "Liver"),
        ("liver lesion", None),
        ("portal_vein_and_splenic_vein", None),
        ("GTV", None),
        ("Leber", "Liver"),
        ("Niere links", "Kidney_L"),
        ("Niere_re", "Kidney_R"),
        ("Magen", "Stomach"),
        ("Zwölffingerdarm", "Duodenum"),
        ("ZWOELFFINGERDARM", "Duodenum"),
        ("Zwo\u0308lffingerdarm", "Duodenum"),  # the umlaut as two characters, as macOS writes it
        ("Rückenmark", "SpinalCord"),
        ("Rueckenmark", "SpinalCord"),
        ("Ruckenmark", "SpinalCord"),
        ("Gallenblase", "GallBladder"),
        ("Speiseröhre", "Esophagus"),
        ("Herz", "Heart"),
        ("Lunge", "Lungs"),
        ("Lunge links", "Lung_L"),
        ("foie", "Liver"),
        ("rein gauche", "Kidney_L"),
        ("Rein_Droit", "Kidney_R"),
        ("estomac", "Stomach"),
        ("duodénum", "Duodenum"),
        ("moelle épinière", "SpinalCord"),
        ("moelle epiniere", "SpinalCord"),
        ("vésicule biliaire", "GallBladder"),
        ("œsophage", "Esophagus"),
        ("oesophage", "Esophagus"),
        ("cœur", "Heart"),
        ("Coeur", "Heart"),
        ("poumon droit", "Lung_R"),
        ("poumons", "Lungs"),
        ("poumon", None),  # which of the two is not said
        ("rein", None),
    ],
)
def test_canonical_name(given: str, tg263: str | None) -> None:
    assert names.canonical_name(given) == tg263


def test_left_is_never_right() -> None:
    for organ in names.shipped_table().values():
        for alias in (*organ.aliases, *organ.parts):
            words = alias.lower().replace("_", " ").split()
            if organ.name.endswith("_L"):
                assert not {"right", "r", "rt", "re", "rechts", "rechte", "droit", "droite", "d"} & set(words), alias
            if organ.name.endswith("_R"):
                assert not {"left", "l", "lt", "li", "links", "linke", "gauche", "g"} & set(words), alias


def test_renames_and_keeps_the_rest() -> None:
    found = names.match(the(box("liver", 0, 3), box("thing", 9), box("GTV", 1, role="GTV")), ["Liver"], GRID)
    assert found.structures.names == ("Liver", "thing", "GTV")
    assert found.renamed == (("liver", "Liver"),)
    assert found.unmatched == ("thing",)
    assert found.missing == ()


def test_a_target_is_not_renamed() -> None:
    found = names.match(the(box("liver", 0, role="GTV")), ["Liver"], GRID)
    assert found.structures.names == ("liver",)
    assert found.missing == ("Liver",)


def test_body_becomes_external() -> None:
    assert names.match(the(box("External", 0)), [], GRID).structures["Body"].role == "EXTERNAL"


def test_the_only_outline_is_the_body_whatever_it_is_called() -> None:
    """By its role, but not where a structure has the name, or where its own name is another organ's."""
    found = names.match(the(box("Hautkontur", 0, role="EXTERNAL"), box("Liver", 1)), ["Body"], GRID)
    assert found.structures["Body"].role == "EXTERNAL"
    assert found.renamed == (("Hautkontur", "Body"),) and not found.missing and not found.unmatched
    outlines = the(box("Hautkontur", 0, role="EXTERNAL"), box("Maske", 1, role="EXTERNAL"))
    assert names.match(outlines, ["Body"], GRID).missing == ("Body",)
    beside = the(box("Hautkontur", 0, role="EXTERNAL"), box("BODY", 1))
    assert names.match(beside, ["Body"], GRID).renamed == (("BODY", "Body"),)
    named = the(box("Leber", 0, role="EXTERNAL"))
    assert names.match(named, ["Body"], GRID).renamed == (("Leber", "Liver"),)


def test_parts_join_only_when_wanted() -> None:
    ribs = the(box("rib_left_7", 0), box("rib_right_8", 4, 2))
    assert names.match(ribs, [], GRID).structures.names == ribs.names
    found = names.match(ribs, ["Rib"], GRID)
    assert found.structures.names == ("Rib",)
    assert found.joined == (("Rib", ("rib_left_7", "rib_right_8")),)
    assert found.structures["Rib"].volume_cc == pytest.approx(3 * GRID.voxel_cc)


def test_parts_that_are_organs_stay() -> None:
    found = names.match(the(box("aorta", 0), box("inferior_vena_cava", 5)), ["GreatVes"], GRID)
    assert set(found.structures.names) == {"A_Aorta", "V_VenaCava_I", "GreatVes"}
    assert found.structures["GreatVes"].on(GRID).indices.tolist() == [0, 5]


def test_parts_of_parts() -> None:
    lobes = the(box("lung_upper_lobe_left", 0), box("lung_lower_lobe_right", 7))
    found = names.match(lobes, ["Lungs", "Lung_L"], GRID)
    assert found.structures["Lungs"].on(GRID).indices.tolist() == [0, 7]
    assert found.structures["Lung_L"].on(GRID).indices.tolist() == [0]


def test_a_contoured_organ_wins_over_its_parts() -> None:
    found = names.match(the(box("Heart", 0, 5), box("heart_myocardium", 0)), ["Heart"], GRID)
    assert found.joined == ()
    assert found.structures.names == ("Heart", "heart_myocardium")


def test_two_structures_for_one_organ_are_refused_when_wanted() -> None:
    twice = the(box("Liver", 0), box("hepar", 5))
    with pytest.raises(InputError, match=r"'Liver' and 'hepar'"):
        names.match(twice, ["Liver"], GRID)
    assert names.match(twice, ["Stomach"], GRID).structures.names == ("Liver", "hepar")


def test_unknown_wanted_name_matches_itself() -> None:
    found = names.match(the(box("my organ", 0)), ["My_Organ", "Another"], GRID)
    assert found.structures.names == ("My_Organ",)
    assert found.missing == ("Another",)


def test_near_names() -> None:
    assert names.near("duodenom", ["Duodenum", "Stomach"]) == ("Duodenum",)
    assert names.near("xyz", ["Duodenum", "Stomach"]) == ()


SLIPS = {
    "Duodenom": "Duodenum",
    "Livver": "Liver",
    "Stomac": "Stomach",
    "Panceas": "Pancreas",
    "Splean": "Spleen",
    "Esofagus": "Esophagus",
    "Gallbldder": "GallBladder",
    "SmallBowl": "Bowel_Small",
    "Chestwal": "Chestwall",
    "SpinalCrd": "SpinalCord",
    "Spinal_Cannal": "SpinalCanal",
    "kidny_l": "Kidney_L",
    "Kidny right": "Kidney_R",
    "kidney_r2": "Kidney_R",
    "Liver_old": "Liver",
    "Liver v2": "Liver",
    "Rückenmrak": "SpinalCord",
    "Zwölfingerdarm": "Duodenum",
    "vesicule biliare": "GallBladder",
    "Lunge lnks": None,  # the side cannot be read
    "Liver_lesion": None,
    "Liver-GTV": None,
    "CTV_liver": None,
    "PRV_Cord": None,
    "Cords": None,  # corps is the body in French
    "Lever": None,
    "River": None,
    "Bladder_wall": None,
    "Spinal_Column": None,
    "Lung_LL": None,
    "Kidney": None,
    "Lung": None,
    "A_Portal": None,
    "Renal_artery": None,
    "Vena_cava": None,
    "Vena cava superior": None,
    "Heart_LAD": None,
    "Brainstem": None,
    "Ribcage": None,
    "Prostate": None,
    "Femur_L": None,
    "Rectum": None,
    "Bowel_Bag": None,
    "Ureter": None,
    "Ring_50": None,
    "12": None,
}


@pytest.mark.parametrize(("given", "organ"), SLIPS.items())
def test_suggestions_are_slips_of_the_pen_only(given: str, organ: str | None) -> None:
    assert names.suggestions(given) == (() if organ is None else (organ,))


def test_no_slip_in_a_known_name_suggests_another_organ() -> None:
    """One letter left out, wherever it is, of every name in the table."""
    wrong = []
    for organ in names.shipped_table().values():
        for alias in (*organ.aliases, organ.name):
            for k in range(1, len(alias), 6):
                for other in names.suggestions(alias[:k] + alias[k + 1 :]):
                    wrong += [] if other == organ.name else [f"{alias[:k] + alias[k + 1 :]}: {other} for {organ.name}"]
    assert wrong == []


def test_table_knows_every_part_name_once() -> None:
    for organ in names.shipped_table().values():
        assert len(set(organ.parts)) == len(organ.parts)
        for other in organ.surrogates:
            assert names.canonical_name(other) is None


@pytest.mark.shared
def test_suggested_names_of_a_label_file() -> None:
    if not LABELS.exists():
        pytest.skip("the reference label file is not beside the project")
    labels = json.loads(LABELS.read_text())["labels"].values()
    suggested = {entry["name"]: entry["tg263_suggestion"] for entry in labels if entry["tg263_suggestion"]}
    lobes_and_chambers = {"lung_lower_lobe_left", "lung_lower_lobe_right", "heart_myocardium"}
    for name, tg263 in suggested.items():
        if name in lobes_and_chambers:
            assert name in names.shipped_table()[tg263].parts
        else:
            assert names.canonical_name(name) == tg263


def table_of(tmp_path: Path, text: str) -> names.Table:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return names.read_table(path)


def test_a_user_adds_names_and_takes_them_from_others(tmp_path: Path) -> None:
    table = table_of(tmp_path, '[Liver]\naliases = ["Hígado", "PV"]\n[Bowel_Bag]\naliases = ["Sac"]\n')
    assert names.canonical_name("PV") == "V_Portal"
    assert names.canonical_name("pv", table) == "Liver"
    assert names.canonical_name("higado", table) == "Liver"
    assert names.canonical_name("sac", table) == "Bowel_Bag"
    assert names.canonical_name("Portal vein", table) == "V_Portal"
    assert names.canonical_name("higado") is None  # the shipped table stays as it is


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[Liver\n", ["mine.toml", "TOML"]),
        (
            '[Liver]\nalias = ["a"]\n[Colon]\naliases = "b"\n',
            ["Liver.alias", "aliases, parts", "Colon.aliases", "list"],
        ),
        ('[Liver]\naliases = ["X"]\n[Colon]\naliases = ["x"]\n', ["one name is given to Liver and Colon"]),
        ('Liver = "Foie"\n', ["Liver: expected a table"]),
    ],
)
def test_faults_of_a_user_table_are_told_together(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        table_of(tmp_path, text)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_matching_with_a_user_table(tmp_path: Path) -> None:
    table = table_of(tmp_path, '[Liver]\naliases = ["Hígado"]\n')
    fraction = np.zeros((4, 4, 4), np.float32)
    fraction[1:3, 1:3, 1:3] = 1
    grid = Grid((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (4, 4, 4))
    structures = StructureSet((Structure("Hígado", "ORGAN", Occupancy(grid, fraction)),))
    assert names.match(structures, ["Liver"], grid).missing == ("Liver",)
    assert names.match(structures, ["Liver"], grid, table=table).renamed == (("Hígado", "Liver"),)
