"""What an escalation tells, what is left of one that is stopped, what an earlier one saves, what limits hold on."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from scipy import sparse

from dosecalc.errors import InputError, InterruptionError
from optimize.escalate import Escalation, escalate
from optimize.goals import ConvexLimit, DoseVolumeLimit, PlanGoals
from optimize.levels import LEVEL_TOLERANCE
from optimize.matrix import MatrixInfluence
from optimize.metrics import dose_at_volume
from optimize.rising_price import STEPS
from optimize.rounds import Round, Rounds
from optimize.summed import OfSum
from optimize.terminal import progress_shown
from optimize.warm_start import WarmStart
from protocols.metrics import MeanDose

from . import slice_case

HELD_GY = 0.01


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """An escalation, the rounds that it told, and what it took in CPU seconds."""

    result: Escalation
    rounds: list[Round]
    cpu_s: float


def timed(*given: object, **options: object) -> Ended:
    rounds: list[Round] = []
    begin = time.process_time()
    result = escalate(*given, on_round=rounds.append, **options)
    return Ended(result, rounds, time.process_time() - begin)


@pytest.fixture(scope="module")
def operator() -> MatrixInfluence:
    return slice_case.influence()


@pytest.fixture(scope="module")
def cold(operator: MatrixInfluence) -> Ended:
    return timed(operator, slice_case.goals())


def excess_gy(operator: MatrixInfluence, goals: PlanGoals, fluence: np.ndarray) -> dict[str, float]:
    """How far the mandatory limits are exceeded."""
    dose = operator.dose(fluence)
    hard = [limit for limit in goals.limits if limit.mandatory]
    found = {m.id: dose_at_volume(dose[m.region.positions], m.region.cc, m.spare_cc) - m.limit_gy for m in hard}
    return found | {m.id: float(dose[m.region.positions].mean()) - m.limit_gy for m in goals.means}


def d95_gy(operator: MatrixInfluence, goals: PlanGoals, fluence: np.ndarray) -> float:
    target = goals.target
    return dose_at_volume(operator.dose(fluence)[target.positions], target.cc, 0.95 * target.cc.sum())


def by_level(rounds: list[Round]) -> list[list[Round]]:
    levels: list[list[Round]] = []
    for each in rounds:
        if each.number == 1:
            levels.append([])
        levels[-1].append(each)
    return levels


def test_every_round_of_every_level_is_told(cold: Ended) -> None:
    levels = by_level(cold.rounds)
    assert all([r.number for r in level] == list(range(1, len(level) + 1)) for level in levels)
    solved = [level for level in levels if level[0].steps_left is None and "to sort by" not in level[0].level]
    reports = cold.result.levels
    assert [(level[0].level, len(level), level[-1].rows) for level in solved] == [
        (report.name, report.rounds, report.rows) for report in reports
    ]
    assert [level[-1].target_gy for level in solved][:2] == pytest.approx([r.value for r in reports[:2]])
    assert cold.rounds[-1].target_gy == pytest.approx(cold.result.prescription_gy)
    assert all(r.violation_gy > 0 for level in solved for r in level[:-1])
    assert cold.rounds[-1].violation_gy == 0.0
    assert np.all(np.diff([r.seconds for r in cold.rounds]) > 0)


def test_a_choice_of_voxels_tells_its_steps_and_no_dose(cold: Ended) -> None:
    """What they reach is no plan's dose, and what they exceed is meant to be."""
    steps = [r for r in cold.rounds if r.steps_left is not None]
    ends = [k for k, r in enumerate(steps) if r.steps_left == 0]
    assert len(ends) >= 1 and ends[0] == STEPS - 1
    assert [r.steps_left for r in steps[:STEPS]] == list(reversed(range(STEPS)))
    assert all(r.target_gy is None and "Gy" not in str(r) for r in steps)
    assert steps[4].level == f"a choice of voxels to let go, step 5 of {STEPS}"
    assert steps[4].seconds_left > 0.0


def test_a_log_is_told_every_tenth_step(capsys: pytest.CaptureFixture[str]) -> None:
    """And every round of a level."""
    round_of = Round("PTV_opt D95 (Gy)", 1, 10, 50.0, 0.0, 1.0, None)
    with progress_shown() as (progress, on_round):
        progress("reading")
        for left in range(19, -1, -1):
            on_round(dataclasses.replace(round_of, level=f"step {20 - left}", target_gy=None, steps_left=left))
        on_round(round_of)
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert [line.split(":")[0] for line in lines] == ["reading", "step 10", "step 20", "PTV_opt D95 (Gy), round 1"]


def test_steps_count_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level of 4 s, two steps of 3 s with one more to come, then a level that is known to come throughout."""
    clock = iter([2.0, 4.0, 7.0, 10.0, 11.0])
    monkeypatch.setattr("optimize.rounds.time.monotonic", lambda: next(clock))
    told: list[Round] = []
    rounds = Rounds(told.append, _begin=0.0, _level_begin=0.0)
    rounds.expect(2, later=1)
    for name, number, steps_left in (("a", 1, None), ("a", 2, None), ("s", 1, 2), ("s", 1, 1), ("b", 1, None)):
        rounds.told(name, number, 10, {"D95": 50.0}, 0.5, steps_left)
    assert [r.seconds_left for r in told] == pytest.approx([None, None, 2 * 3 + 4, 3 + 4, 4 + 3])
    assert str(told[3]) == "s: 10 voxels in the problem; 10 s so far, at least 7 s left"


def test_the_time_left_is_that_of_the_levels_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels of 4 s and 8 s, then 1 s into the third with one more to come: 5 s for it and 6 s for that one."""
    clock = iter([2.0, 4.0, 12.0, 13.0])
    monkeypatch.setattr("optimize.rounds.time.monotonic", lambda: next(clock))
    told: list[Round] = []
    rounds = Rounds(told.append, _begin=0.0, _level_begin=0.0)
    rounds.expect(4)
    for level, number in (("a", 1), ("a", 2), ("b", 1), ("c", 1)):
        rounds.told(level, number, 10, {}, 0.5)
    assert [r.seconds_left for r in told[:2]] == [None, None]
    assert [r.seconds_left for r in told[2:]] == pytest.approx([8.0, 11.0])
    assert "time left unknown" in str(told[0])
    assert str(told[3]) == (
        "c, round 1: 10 voxels in the problem, the worst of the others is 0.50 Gy beyond its limit; "
        "13 s so far, at least 11 s left"
    )
    # Times as they are read, and no "at least 0 s".
    late = dataclasses.replace(told[3], violation_gy=0.0, seconds=125.0, seconds_left=0.3, target_gy=50.0)
    assert str(late).endswith(
        "the others keep their limits, D95 50.00 Gy; 2 min 5 s so far, little is left, as far as is known"
    )


def interrupting(level: str):
    """A callback that interrupts in the first round of a level."""

    def stop(done: Round) -> None:
        if done.level.startswith(level):
            raise KeyboardInterrupt

    return stop


def test_an_interruption_ends_with_the_best_feasible_fluence(operator: MatrixInfluence, cold: Ended) -> None:
    goals, told = slice_case.goals(), list[str]()
    stopped = escalate(operator, goals, progress=told.append, on_round=interrupting("fall-off"))
    raised = max(level.value for level in cold.result.levels if level.name.startswith("PTV_opt"))
    assert stopped.interrupted
    assert not cold.result.interrupted
    assert stopped.prescription_gy == pytest.approx(raised, rel=1e-6)
    assert d95_gy(operator, goals, stopped.fluence) >= stopped.prescription_gy
    assert max(excess_gy(operator, goals, stopped.fluence).values()) <= HELD_GY
    assert (stopped.gap_fixed, stopped.kkt, stopped.stop.binding) == (None, None, ())
    assert "Interrupt again to end at once" in told[-1]


def test_an_interrupted_plan_keeps_its_limits_on_the_reference_dose(operator: MatrixInfluence) -> None:
    """The fast dose reads every other voxel around the target 10 % too low; stopped before any level was checked."""
    goals, reads, told = slice_case.goals(), np.ones(operator.shape[0]), list[str]()
    limit = DoseVolumeLimit("ring_max", True, goals.outside, 30.0, 0.0)
    goals = dataclasses.replace(goals, limits=(*goals.limits, limit), target_gy=34.0, cap_gy=34.0)
    reads[goals.outside.positions[::2]] = 0.90
    misread = slice_case.Misread(
        MatrixInfluence(sparse.diags_array(reads) @ operator.matrix, operator.neighbours), operator
    )

    begun: list[Round] = []

    def at_the_second_level(done: Round) -> None:
        if done.level.startswith("PTV_opt") and done.number == 1:
            begun.append(done)
            if len(begun) == 2:
                raise KeyboardInterrupt

    stopped = escalate(misread, goals, progress=told.append, on_round=at_the_second_level)
    assert stopped.interrupted
    assert any("worst beyond its limit by" in line for line in told)
    assert max(excess_gy(operator, goals, stopped.fluence).values()) <= HELD_GY


def test_an_interruption_before_the_floor_is_reached_says_so(operator: MatrixInfluence) -> None:
    with pytest.raises(InterruptionError, match="target D95 at the floor of 20 Gy within the") as ended:
        escalate(operator, slice_case.goals(), on_round=interrupting("PTV_opt"))
    assert ended.value.exit_code == 130


def test_an_earlier_fluence_saves_rounds_and_costs_no_dose(operator: MatrixInfluence, cold: Ended) -> None:
    goals = slice_case.goals()
    warm = timed(operator, goals, warm_start=WarmStart(cold.result.fluence))
    doses = [d95_gy(operator, goals, each.result.fluence) for each in (cold, warm)]
    for name, each, dose in zip(("cold", "warm"), (cold, warm), doses, strict=True):
        print(f"{name}: D95 {dose:.3f} Gy, {len(each.rounds)} rounds, {each.cpu_s:.2f} CPU s")
    assert doses[1] >= doses[0] * (1 - LEVEL_TOLERANCE)
    assert max(excess_gy(operator, goals, warm.result.fluence).values()) <= HELD_GY
    assert len(warm.rounds) < 0.7 * len(cold.rounds)


def test_a_fluence_to_start_from_must_be_one(operator: MatrixInfluence) -> None:
    for fluence in (np.ones(3), np.full(operator.shape[1], np.nan), np.full(operator.shape[1], -1.0)):
        with pytest.raises(InputError, match="must be 65 finite numbers >= 0"):
            escalate(operator, slice_case.goals(), warm_start=WarmStart(fluence))


def test_limits_hold_on_the_reference_where_the_fast_dose_is_off(
    operator: MatrixInfluence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast dose reads every other voxel around the target 10 % too low, the cord 5 %."""
    goals, reads = slice_case.goals(), np.ones(operator.shape[0])
    limit = DoseVolumeLimit("ring_max", True, goals.outside, 30.0, 0.0)
    goals = dataclasses.replace(goals, limits=(*goals.limits, limit), target_gy=32.0, cap_gy=32.0)
    reads[goals.outside.positions[::2]], reads[goals.means[0].region.positions] = 0.90, 0.95
    fast = MatrixInfluence(sparse.diags_array(reads) @ operator.matrix, operator.neighbours)
    misread = slice_case.Misread(fast, operator)
    held = escalate(misread, goals)
    assert max(excess_gy(operator, goals, held.fluence).values()) <= HELD_GY
    assert d95_gy(operator, goals, held.fluence) >= held.prescription_gy - HELD_GY
    monkeypatch.setattr("optimize.escalate.held_on_reference", lambda run, stage, result: (stage, result))
    before = excess_gy(operator, goals, escalate(misread, goals).fluence)
    assert before["ring_max"] > 10 * HELD_GY
    assert before["cord_mean"] > 5 * HELD_GY


def test_a_convex_limit_holds_on_the_reference_where_the_fast_dose_is_off(
    operator: MatrixInfluence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of the cord on the sum with 10 Gy EQD2 before; the fast dose reads 5 % too low there."""
    plain, reads = slice_case.goals(), np.ones(operator.shape[0])
    cord = plain.means[0].region
    of_sum = OfSum(MeanDose(), np.full(cord.positions.size, 10.0), 5, 2.0)
    limit = ConvexLimit("cord_mean", True, cord, of_sum, float(of_sum.of(np.full(1, slice_case.CORD_GY))[0]))
    goals = dataclasses.replace(plain, means=(), convex=(limit,), target_gy=28.0, cap_gy=28.0)
    reads[cord.positions] = 0.95
    fast = MatrixInfluence(sparse.diags_array(reads) @ operator.matrix, operator.neighbours)
    misread = slice_case.Misread(fast, operator)

    def excess(fluence: np.ndarray) -> float:
        return float(of_sum.of(operator.dose(fluence)[cord.positions]).mean()) - limit.limit_gy

    assert excess(escalate(misread, goals).fluence) <= HELD_GY
    monkeypatch.setattr("optimize.escalate.held_on_reference", lambda run, stage, result: (stage, result))
    assert excess(escalate(misread, goals).fluence) > 2 * HELD_GY
