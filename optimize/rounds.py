"""Rounds of row generation as they happen: where the optimisation stands, and how long it takes at least."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Round:
    """One solved master, told before the next one.

    Attributes
    ----------
    level : str
        What is being solved.
    number : int
        From 1 within the level.
    rows : int
        Voxels in the master.
    target_gy : float or None
        D95 of the prescribed structure: of this master where it raises it, else what is kept of it; None before.
    violation_gy : float
        How far the worst voxel outside the master lies beyond its bound, 0 where none does: the level ends then.
    seconds : float
        Wall time since the optimisation began.
    seconds_left : float or None
        What the optimisation still takes at least: the levels known to come, each as long as those so far took in the
        mean. None before a level has ended: nothing is known then. Of a step with the steps that follow, each as long
        as the last one, but without what they may show to be needed: that the voxels are chosen once more.
    steps_left : int or None
        Of a step that only chooses voxels to let go, whose dose is no plan: how many more of them follow. Else None.
    """

    level: str
    number: int
    rows: int
    target_gy: float | None
    violation_gy: float
    seconds: float
    seconds_left: float | None
    steps_left: int | None = None

    def __str__(self) -> str:
        times = f"{_clock(self.seconds)} so far, {_left_words(self.seconds_left)}"
        if self.steps_left is not None:
            return f"{self.level}: {self.rows} voxels in the problem; {times}"
        target = "" if self.target_gy is None else f", D95 {self.target_gy:.2f} Gy"
        others = "the others keep their limits"
        if self.violation_gy:
            others = f"the worst of the others is {self.violation_gy:.2f} Gy beyond its limit"
        return f"{self.level}, round {self.number}: {self.rows} voxels in the problem, {others}{target}; {times}"


def _left_words(seconds: float | None) -> str:
    """What is known of the time left; the levels known to come may have taken what such levels take already."""
    if seconds is None:
        return "time left unknown"
    return f"at least {_clock(seconds)} left" if seconds >= 1.0 else "little is left, as far as is known"


def _clock(seconds: float) -> str:
    """Whole seconds, from two minutes on in minutes."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


OnRound = Callable[[Round], None]


@dataclass(slots=True, eq=False)
class Rounds:
    """What the rounds so far took; tells each as a `Round`.

    Attributes
    ----------
    tell : callable
        Given every round.
    kept_gy : float or None
        D95 that the levels to come keep.
    """

    tell: OnRound = lambda done: None
    kept_gy: float | None = None
    _begin: float = field(default_factory=time.monotonic)
    _level_begin: float = field(default_factory=time.monotonic)
    _last: float | None = None
    _took: list[float] = field(default_factory=list)
    _ahead: int = 0
    _later: int = 0

    def expect(self, levels: int, *, later: int = 0) -> None:
        """So many levels are sure to come, the next one included; the last `later` of them not before another call."""
        self._ahead, self._later = levels, later

    def told(
        self,
        level: str,
        number: int,
        rows: int,
        scalars: Mapping[str, float],
        violation_gy: float,
        steps_left: int | None = None,
    ) -> None:
        """A master was solved; the first of a level, or a step, says that the level before it has ended."""
        now = time.monotonic()
        if number == 1 and self._last is not None:
            self._took.append(self._last - self._level_begin)
            self._level_begin, self._last = self._last, None
        target, left = scalars.get("D95", self.kept_gy), None
        if steps_left is not None:
            left = steps_left * (now - self._level_begin) + self._ahead * (self._mean or 0.0)
            self._level_begin, target = now, None
        else:
            self._ahead = max(self._ahead - (number == 1), min(self._ahead, self._later))
            left, self._last = self._left(now), now
        self.tell(Round(level, number, rows, target, violation_gy, now - self._begin, left, steps_left))

    @property
    def _mean(self) -> float | None:
        return sum(self._took) / len(self._took) if self._took else None

    def _left(self, now: float) -> float | None:
        if self._mean is None:
            return None
        return self._ahead * self._mean + max(self._mean - (now - self._level_begin), 0.0)
