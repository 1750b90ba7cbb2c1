"""The scorecard and protocols as terminal tables."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocols.schema import Protocol

from .provenance import Provenance
from .results import GoalResult, PlanEvaluation


def print_scorecard(console: Console, evaluation: PlanEvaluation) -> None:
    """Prescription reached, every goal with its slack, and the warnings first."""
    for warning in evaluation.warnings:
        console.print(f"[yellow]warning[/yellow]: {escape(warning)}", highlight=False)
    rx = evaluation.prescription
    console.print(
        f"\n[bold]{rx.structure} {rx.basis} {rx.dose_gy:.1f} Gy in {evaluation.fractions} fractions[/bold] "
        f"({rx.dose_gy / evaluation.fractions:.2f} Gy per fraction, BED10 {rx.bed10_gy:.0f} Gy; "
        f"floor {rx.floor_gy:g}, target {rx.target_gy:g}, cap {rx.cap_gy:g}); plan {evaluation.status}",
        highlight=False,
    )
    # A pipe counts as 80 columns: nothing may be cut there ("D0.03..." could be D0.03cc or D0.035cc).
    title = "Scorecard (course-total Gy to water)" if evaluation.dose_to == "water" else "Scorecard (course-total Gy)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in ("structure", "metric", "limit", "value", "slack", "level", "result"):
        table.add_column(
            column,
            justify="right" if column in ("limit", "value", "slack") else "left",
            overflow="fold",
            no_wrap=column != "structure",
        )
    for goal in evaluation.goals:
        table.add_row(*_cells(goal))
    console.print(table)
    binding = [
        f"{g.structure} {g.metric}" for g in evaluation.goals if g.binding and not g.id.startswith("prescription")
    ]
    console.print(f"at the limit: {', '.join(binding) or 'none'}", highlight=False)
    if evaluation.verification.stated:
        unsure = [f"{g.structure} {g.metric}" for g in evaluation.goals if g.uncertain]
        console.print(f"within the dose model's uncertainty: {', '.join(unsure) or 'none'}", highlight=False)


def print_protocol(console: Console, protocol: Protocol) -> None:
    """Prescription and limits with level, status and source."""
    rx = protocol.prescription
    console.print(f"[bold]{escape(protocol.title)}[/bold]: {protocol.fractions} fractions", highlight=False)
    console.print(escape(protocol.description), highlight=False)
    for name, dose in (("floor", rx.floor), ("target", rx.target), ("cap", rx.cap)):
        console.print(
            f"{rx.structure} {rx.basis} {name} {dose.dose_gy:g} Gy [{dose.status}] {escape(dose.source)}",
            highlight=False, markup=False,
        )  # fmt: skip
    table = Table(title="Limits (course-total Gy)", title_justify="left")
    for column in ("id", "structure", "metric", "limit", "level", "by", "status", "source"):
        table.add_column(column, overflow="fold")
    for goal in protocol.goals:
        limit = f"{goal.comparator} {goal.limit:g} {goal.unit}"
        table.add_row(
            goal.id,
            goal.structure,
            str(goal.metric),
            limit,
            goal.level,
            goal.level_by,
            goal.status,
            escape(goal.source),
        )
    console.print(table)


def timing_line(record: Provenance) -> str:
    """Wall seconds per step and peak memory."""
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record.timings_s.items())
    return f"seconds: {steps}; total {sum(record.timings_s.values()):.1f}; peak memory {record.peak_rss_mb:.0f} MB"


def _cells(goal: GoalResult) -> tuple[str, ...]:
    result = "NOT ASSESSED" if not goal.assessed else ("met" if goal.met else "NOT MET")
    if goal.binding and goal.met:
        result = "at the limit"
    colour = {"NOT ASSESSED": "yellow", "NOT MET": "red" if goal.level == "mandatory" else "yellow"}.get(
        result, "green"
    )
    limit = f"{goal.comparator} {goal.limit:.1f} {goal.unit}"
    value = "" if goal.value is None else f"{goal.value:.1f}"
    slack = "" if goal.slack is None else f"{goal.slack:+.1f}"
    level = "mand." if goal.level == "mandatory" else "opt."
    return escape(goal.structure), goal.metric, limit, value, slack, level, f"[{colour}]{result}[/{colour}]"
