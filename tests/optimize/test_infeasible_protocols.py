"""Protocols that no plan can keep: each is refused by name, structure, key and file, with what would help.

Nearly all are refused before anything is optimised; those that need it share the operator of the small case.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from dosecalc.errors import InfeasibleError, InputError
from dosecalc.grid import Grid
from dosecalc.influence import DoseInfluence
from dosecalc.regions import everything
from optimize import planning
from optimize.conflicts import Conflict, explained
from optimize.escalate import escalate
from optimize.goals import Region, goals_from_regions
from optimize.impossible import _least_gy, _least_kept, refuse_below_scatter
from optimize.planning import Plan
from protocols import Goal, Protocol, load
from protocols.errors import ProtocolError

from .small_case import ACCEPTED, protocol_text

DOSES = ("5.0", "15.0", "25.0", "35.0", "39.0")


def goal(
    structure: str, metric: str, limit: str = "", comparator: str = "<=", unit: str = "Gy", name: str = "it"
) -> str:
    """One more mandatory goal of a protocol file."""
    bound = f'comparator = "{comparator}"\nlimit = {limit}\nunit = "{unit}"\n' if limit else ""
    return (
        f'\n[[goals]]\nid = "{name}"\nstructure = "{structure}"\nmetric = "{metric}"\n{bound}level = "mandatory"\n'
        'level_by = "editorial"\nstatus = "VERIFIED"\nsource = "a test"\n'
    )


def changed(old: str, new: str) -> str:
    assert old in protocol_text()
    return protocol_text().replace(old, new)


def two(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    return goal(*first, name="one") + goal(*second, name="two")


def cases() -> Iterator[tuple[str, str, type[Exception], tuple[str, ...]]]:
    """Kind, text of the protocol, error, and what the error has to name."""
    text = protocol_text()
    floor = "prescription.floor.dose_gy: PTV_opt D95% >= 40 Gy"
    for dose in DOSES:
        yield (
            "floor above a maximum of the target",
            text + goal("PTV_opt", "Dmax", dose),
            ProtocolError,
            (floor, "goals[it].limit: PTV_opt Dmax"),
        )
        yield (
            "floor above a maximum around the target",
            text + goal("PTV", "Dmax", dose),
            ProtocolError,
            (floor, "goals[it].limit: PTV Dmax"),
        )
        yield (
            "floor above a dose at a volume of the target",
            text + goal("PTV_opt", "D2%", dose),
            ProtocolError,
            (floor, "PTV_opt D2%"),
        )
    for dose in ("10.0", "25.0", "37.5"):
        yield (
            "floor above a mean of the target",
            text + goal("PTV_opt", "Dmean", dose),
            ProtocolError,
            (floor, "PTV_opt Dmean"),
        )
    for low, high in (("D50%", "Dmax"), ("Dmin", "D50%"), ("Dmin", "Dmean"), ("Dmean", "Dmax"), ("D5cc", "D1cc")):
        both = two(("Liver", low, "30.0", ">="), ("Liver", high, "20.0"))
        yield (
            "minimum above maximum",
            text + both,
            ProtocolError,
            (f"goals[one].limit: Liver {low}", f"goals[two].limit: Liver {high}"),
        )
    for low, high, unit in (("V20Gy", "V15Gy", "cc"), ("V20Gy%", "V20Gy%", "%"), ("Volume", "Volume", "cc")):
        both = two(("Liver", low, "30.0", ">=", unit), ("Liver", high, "20.0", "<=", unit))
        yield "volumes that contradict", text + both, ProtocolError, ("goals[one].limit", "goals[two].limit")
    yield (
        "critical volume of what must be hot",
        text + two(("Liver", "Dmin", "21.0", ">="), ("Liver", "CV100cc<21Gy")),
        ProtocolError,
        ("goals[one]", "CV100cc<21Gy"),
    )
    for dose in ("20.0", "39.0"):
        yield (
            "hot spot capped below the floor",
            changed("max_gy = 100.0", f"max_gy = {dose}"),
            ProtocolError,
            ("prescription.hot_spot: max_gy", "below the floor 40 Gy"),
        )
    for structure in ("Heart", "Kidneys", "Esophagus"):
        yield (
            "absent structure",
            text + goal(structure, "D0.5cc", "30.0"),
            InputError,
            (structure, "goals[it]", f"--accept-missing {structure}"),
        )
    yield (
        "empty structure",
        text + goal("Speck", "D0.5cc", "30.0"),
        InputError,
        ("Speck", "no voxel on the dose grid", "goals[it]"),
    )
    for dose in ("15.0", "30.0"):
        for structure in ("Liver", "Body"):
            yield (
                "target inside a capped organ",
                text + goal(structure, "D0.5cc", dose),
                InfeasibleError,
                (structure, "goals[it].limit", "lie inside|shares with PTV_opt"),
            )
        yield (
            "target inside an organ with a volume limit",
            text + goal("Liver-GTV", f"V{dose[:2]}Gy", "5.0", unit="cc"),
            InfeasibleError,
            ("Liver-GTV", "goals[it].limit", "shares with PTV_opt"),
        )
    for volume in ("400", "1000"):
        yield (
            "more liver to spare than there is",
            text + goal("Liver", f"CV{volume}cc<15Gy"),
            InfeasibleError,
            ("Liver", r"\(it\)", f"asked for >= {volume} cc"),
        )
    for limit in ("600.0", "800.0"):
        yield (
            "an organ larger than it is",
            text + goal("Liver", "Volume", limit, ">=", "cc"),
            InfeasibleError,
            ("Liver Volume", r"\(it\)"),
        )
    for dose in ("0.01", "0.03", "0.05"):
        yield (
            "limit below the scatter",
            text + goal("SpinalCord", "D0.1cc", dose),
            InfeasibleError,
            ("SpinalCord", "goals[it].limit", "whatever the weights"),
        )
    for dose in ("0.4", "0.8"):
        yield (
            "mean below the scatter",
            text + goal("Body", "Dmean", dose),
            InfeasibleError,
            ("Body", "goals[it].limit", "its mean is at least"),
        )
    yield (
        "mean below what the target alone makes",
        text + goal("Liver", "Dmean", "0.8"),
        InfeasibleError,
        ("Liver", "goals[it].limit", "floor alone makes its mean"),
    )
    pair = protocol_text(duodenum_gy=5.0).replace("limit = 15.2", "limit = 3.0")
    yield (
        "two limits that only together make way",
        pair,
        InfeasibleError,
        (
            "(duodenum_max with liver_mean|liver_mean with duodenum_max)",
            "No limit alone",
            "without it D95 reaches",
            "of its 10.8 cc lie within 5 mm",
        ),
    )
    steep = (
        "goals[duodenum_max].limit",
        "duodenum_max gives",
        r"fall by \d+\.\d Gy per mm",
        "of its 3.0 cc lie inside",
    )
    yield "a fall-off that no beam has", protocol_text(duodenum_gy=1.5), InfeasibleError, steep
    spared = changed("limit = 15.2", "limit = 3.0")
    proved = ("goals[liver_mean].limit", "liver_mean gives", "proved: no plan of these beams exceeds")
    yield "liver spared too well", spared, InfeasibleError, proved


CASES = list(cases())


@pytest.fixture(scope="module")
def refusal(planned: Plan, problem: tuple[DoseInfluence, object]):
    """What planning the small case under a protocol ends with; anatomy and operator are made once."""
    influence, grid = problem[0], planned.dose.grid
    elsewhere = everything("Speck", Grid((900.0, 900.0, 900.0), (1.0, 1.0, 1.0), (2, 2, 2)))
    anatomy = dataclasses.replace(planned.anatomy, structures=planned.anatomy.structures.adding(elsewhere))

    def asked(path: Path) -> BaseException:
        with pytest.raises((InfeasibleError, InputError, ProtocolError)) as refused:
            plan_as(load(path))
        return refused.value

    def plan_as(protocol: Protocol) -> None:
        planning._refuse_undosed(grid, anatomy, protocol, ACCEPTED, None)
        goals = planning._goals(anatomy, protocol, grid, influence.voxels, frozenset(ACCEPTED))
        with explained(protocol, anatomy.structures, grid):
            refuse_below_scatter(influence, goals, protocol)
            escalate(influence, goals)

    return asked


def test_the_table_is_as_long_and_varied_as_it_says() -> None:
    assert len(CASES) >= 50
    assert len({kind for kind, *_ in CASES}) >= 10


@pytest.mark.parametrize(("kind", "text", "error", "named"), CASES, ids=[f"{k}-{n}" for n, (k, *_) in enumerate(CASES)])
def test_every_infeasible_protocol_is_explained(
    kind: str, text: str, error: type, named, refusal, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    refused = refusal(path)
    assert type(refused) is error
    said = " ".join([str(refused), *(c.says for c in getattr(refused, "conflicts", ()) if isinstance(c, Conflict))])
    for words in named:
        assert words in said or re.search(words, said), (words, said)
    assert str(path) in said
    assert re.search(r"Change one|Add|--accept|Check|Leave|more fractions|below the floor", said), said


def test_a_limit_on_a_volume_says_how_many_cc_it_would_have_to_give(planned: Plan) -> None:
    """30 cc of target, a beamlet for each; 12 of these give a cc of liver 0.6 of the dose, 24 Gy at the floor of 40.

    D95 lets one cc of the target go, so at least 11 cc of liver exceed 20 Gy in every plan that reaches the floor, and
    12 cc surely suffice.
    """
    matrix = np.concatenate([np.eye(30), 0.6 * np.eye(30)[:12]])
    every = {"PTV": range(30), "PTV_opt": range(30), "Body": range(42), "Liver": range(30, 42)}
    regions = {name: Region(name, np.array(at), np.ones(len(at))) for name, at in every.items()}
    spared = tomllib.loads(goal("Liver", "V20Gy", "4.0", unit="cc"))["goals"][0]
    protocol = planned.protocol.model_copy(update={"goals": (Goal.model_validate(spared),)})
    goals = goals_from_regions(protocol, regions, voxel_cc=1.0)
    with pytest.raises(InfeasibleError, match=r"it gives .* cc alone") as refused:
        escalate(matrix, goals)
    volume = next(c for c in refused.value.conflicts if c.id == "it")
    assert volume.unit == "cc"
    assert 7.0 <= volume.relaxation_alone <= 8.01


def test_limits_that_only_look_contradictory_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    pairs = (
        two(("Bowel", "D0.035cc", "30.0"), ("Bowel", "D0.5cc", "35.0")),
        two(("Liver", "D5cc", "30.0", ">="), ("Liver", "D10cc", "20.0")),
        two(("Liver", "V20Gy", "5.0", ">=", "cc"), ("Liver", "V15Gy", "30.0", "<=", "cc")),
        two(("Liver", "Dmin", "20.0", ">="), ("Liver", "V15Gy", "5000.0", "<=", "cc")),
        goal("PTV_opt", "D2%", "40.0"),
        goal("PTV_opt", "Dmean", "38.1"),
    )
    for text in pairs:
        path.write_text(protocol_text() + text, encoding="utf-8")
        assert load(path).fractions == 5


def test_the_scatter_bound_is_the_least_dose_of_a_linear_programme() -> None:
    """min a.x with a mean of the target of at least m and x >= 0, by HiGHS."""
    rng = np.random.default_rng(5)
    rows, target = rng.uniform(0.0, 1.0, (6, 9)), rng.uniform(0.1, 1.0, 9)
    found = _least_gy(rows, [(38.0, target)])
    for row, least in zip(rows, found, strict=True):
        assert least == pytest.approx(linprog(row, A_ub=-target[None, :], b_ub=[-38.0]).fun)


def test_the_least_overlap_that_keeps_its_dose_is_a_knapsack() -> None:
    rng = np.random.default_rng(6)
    value, cc = rng.uniform(0.0, 1.0, 30), rng.uniform(0.1, 1.0, 30)
    best = linprog(-value, A_ub=cc[None, :], b_ub=[4.0], bounds=(0, 1)).fun
    assert _least_kept(value, cc, 4.0) == pytest.approx(value.sum() + best)
