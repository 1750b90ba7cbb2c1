"""What a study shows: a row per plan, the figures of every arm, and what the arms differ by in the same patients."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from .study import StudyRow

FIGURES = {
    "d95_gy": "D95 (Gy)",
    "bed10_gy": "edge BED10 (Gy)",
    "gtv_mean_gy": "GTV mean (Gy)",
    "gtv_d98_gy": "GTV D98 (Gy)",
    "liver_mean_gy": "liver mean (Gy)",
    "control_low_pct": "local control, lowest model (%)",
    "control_high_pct": "local control, highest model (%)",
}
"""Figures of a plan that arms are compared in. Physical doses of arms with other fractions are no measure of effect."""
FEWEST_PAIRS = 5
"""Below this an interval from so few patients would pretend to know something."""
RESAMPLES, CONFIDENCE = 9999, 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm minus the first, in the patients that have a plan in both.

    Attributes
    ----------
    low, high : float or None
        95 % interval of the mean by the bias-corrected bootstrap (Efron, J Am Stat Assoc 82:171, 1987); None for
        fewer than five pairs, or where all differences are the same.
    """

    arm: str
    figure: str
    pairs: int
    mean: float
    low: float | None
    high: float | None


def write_rows(rows: Sequence[StudyRow]) -> str:
    """All rows as CSV."""
    text = io.StringIO()
    columns = [field.name for field in dataclasses.fields(StudyRow)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if (value := getattr(row, name)) is None else value for name in columns] for row in rows)
    return text.getvalue()


def arm_table(rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
    """One row per arm: how its cells ended, the median of every figure over its plans, and what limited them."""
    made = []
    for arm in dict.fromkeys(row.arm for row in rows):
        of_arm = [row for row in rows if row.arm == arm]
        count = {status: sum(row.status == status for row in of_arm) for status in STATUSES}
        shown: dict[str, Any] = {"arm": arm, "patients": len(of_arm), **count}
        for name, title in FIGURES.items():
            values = [value for row in of_arm if (value := getattr(row, name)) is not None]
            shown[title] = round(float(np.median(values)), 1) if values else None
        limits = [limit for row in of_arm for limit in row.limited_by.split(", ") if limit]
        often = sorted(dict.fromkeys(limits), key=lambda limit: (-limits.count(limit), limit))
        shown["limited by"] = [f"{limit} ({limits.count(limit)})" for limit in often[:5]]
        made.append(shown)
    return made


STATUSES = "ok", "rejected", "infeasible", "refused"


def differences(rows: Sequence[StudyRow], *, seed: int = 0) -> list[Difference]:
    """Every later arm against the first, patient by patient; a patient without a plan in either arm is left out."""
    first, *others = dict.fromkeys(row.arm for row in rows)
    by_cell = {(row.patient, row.arm): row for row in rows}
    made = []
    for arm in others:
        for name, title in FIGURES.items():
            pairs = [(getattr(row, name), getattr(by_cell[row.patient, first], name)) for row in rows if row.arm == arm]
            change = np.array([a - b for a, b in pairs if a is not None and b is not None], np.float64)
            if change.size:
                made.append(Difference(arm, title, change.size, float(change.mean()), *_interval(change, seed)))
    return made


def _interval(change: np.ndarray[Any, np.dtype[np.float64]], seed: int) -> tuple[float | None, float | None]:
    if change.size < FEWEST_PAIRS or np.ptp(change) == 0:
        return None, None
    found = stats.bootstrap(
        (change,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, rng=np.random.default_rng(seed)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
