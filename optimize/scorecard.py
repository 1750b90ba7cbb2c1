"""The scorecard and protocols as terminal tables."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocols.schema import Protocol

from .conflicts import Conflict
from .delivery import delivery_lines
from .eligibility_results import Eligibility
from .limiting import limiting, mode_text, price_text
from .outcome_results import ControlRange, ModelValue, Outcome
from .provenance import Provenance
from .results import GoalResult, PlanEvaluation, SideBySide, SumWithPrior


def print_scorecard(console: Console, evaluation: PlanEvaluation) -> None:
    """Prescription reached, every goal with its slack, and the warnings first."""
    for warning in evaluation.warnings:
        console.print(f"[yellow]warning[/yellow]: {escape(warning)}", highlight=False)
    rx = evaluation.prescription
    accepted = [goal.id for goal in evaluation.goals if goal.accepted_limit is not None]
    under = f" under ACCEPTED RELAXATION of {', '.join(accepted)}" if accepted else ""
    but = f", but mandatory and NOT ASSESSED: {', '.join(evaluation.unjudged)}" if evaluation.unjudged else ""
    console.print(
        f"\n[bold]{escape(rx.structure)} {rx.basis} {rx.dose_gy:.1f} Gy in {evaluation.fractions} fractions[/bold] "
        f"({rx.dose_gy / evaluation.fractions:.2f} Gy per fraction, BED10 {rx.bed10_gy:.0f} Gy; "
        f"floor {rx.floor_gy:g}, target {rx.target_gy:g}, cap {rx.cap_gy:g}); plan {evaluation.status}{under}"
        f"{', INTERRUPTED' if evaluation.interrupted else ''}{but}",
        highlight=False,
    )
    # A pipe counts as 80 columns: nothing may be cut there ("D0.03..." could be D0.03cc or D0.035cc).
    table = _table(f"Scorecard (course-total Gy{' to water' if evaluation.dose_to == 'water' else ''})")
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
    # Below, "at the limit" also says that the slack is less than the dose model's uncertainty.
    told = f"at the limit, to 0.5 % of it or 0.05: {', '.join(binding) or 'none'}"
    console.print(told, highlight=False, markup=False)
    if evaluation.escalation is not None:
        _print_limiting(console, evaluation, evaluation.escalation.says)
    for line in delivery_lines(evaluation):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if evaluation.verification.stated:
        unsure = [f"{g.structure} {g.metric}" for g in evaluation.goals if g.uncertain]
        told = f"within the dose model's uncertainty: {', '.join(unsure) or 'none'}"
        console.print(told, highlight=False, markup=False)
    if evaluation.with_prior is not None:
        _print_sum(console, evaluation.with_prior)
    if evaluation.side_by_side is not None:
        _print_side_by_side(console, evaluation.side_by_side)
    if evaluation.eligibility is not None:
        _print_eligibility(console, evaluation.eligibility)
    if evaluation.outcome is not None:
        _print_outcome(console, evaluation.outcome)


def print_conflicts(console: Console, conflicts: tuple[object, ...]) -> None:
    """What stands in the way of the floor: each limit, its relaxation, and the geometry behind it."""
    told = [each for each in conflicts if isinstance(each, Conflict)]
    if told:
        console.print("[bold]What stands in the way of the floor[/bold]", highlight=False)
    for each in told:
        console.print(f"  {each.says}", highlight=False, markup=False, soft_wrap=True)


def _print_limiting(console: Console, evaluation: PlanEvaluation, says: str) -> None:
    """What limits the dose, the dearest limit first, and what binds next."""
    console.print(f"\n[bold]What limits the dose[/bold]: {escape(says)}", highlight=False)
    if evaluation.escalation is not None and (told := mode_text(evaluation.escalation)):
        console.print(f"  {told}", highlight=False, markup=False, soft_wrap=True)
    for state, goal in limiting(evaluation):
        slack = "" if goal.slack is None else f", slack {goal.slack:+.1f} {goal.unit}"
        price = price_text(goal, evaluation)
        told = f"  {state}: {goal.structure} {goal.metric} {goal.comparator} {goal.limit:.1f} {goal.unit}{slack}"
        console.print(told + (f", {price}" if price else ""), highlight=False, markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)


def _print_sum(console: Console, summed: SumWithPrior) -> None:
    """The goals on the sum with an earlier treatment, and what was assumed."""
    console.print(
        f"\n[bold]Sum with the earlier treatment ({summed.fractions} fractions, recovery {summed.recovery:g}): "
        f"{summed.status}[/bold]",
        highlight=False,
    )
    for line in (*summed.assumptions, *(f"warning: {w}" for w in summed.warnings)):
        console.print(f"  {line}", highlight=False, markup=False)
    table = _table("Organ goals on the sum (Gy in the present fractionation)")
    for column in ("structure", "metric", "limit", "alone", "sum", "EQD2", "result"):
        table.add_column(column, overflow="fold", no_wrap=column != "structure")
    for row in summed.goals:
        name, metric, limit, value, _, _, result = _cells(row.goal)
        alone = "" if row.present is None else f"{row.present:.1f}"
        table.add_row(
            name, metric, limit, alone, value, "" if row.value_eqd2_gy is None else f"{row.value_eqd2_gy:.1f}", result
        )
    console.print(table)
    told = [
        f"{row.goal.structure} {row.goal.metric} {row.suffices_gy:.1f} Gy"
        for row in summed.goals
        if row.suffices_gy is not None
    ]
    if told:
        line = f"limits on the present dose alone that would suffice: {', '.join(told)}"
        console.print(line, highlight=False, markup=False)


def _print_side_by_side(console: Console, found: SideBySide) -> None:
    """Every structure and metric, with what each protocol or set says of it."""
    disputed = [f"{row.structure} {row.metric}" for row in found.rows if row.disputed]
    console.print(f"\n[bold]Side by side[/bold]; verdicts differ on: {escape(', '.join(disputed)) or 'nothing'}")
    for column in found.columns:
        firm = f" ({column.not_met_mandatory} mandatory)" if column.not_met else ""
        told = f"{column.met} met, {column.not_met} NOT MET{firm}, {column.not_assessed} not assessed"
        lines = (f"{column.name} ({column.title}): {told}", *(f"  {note}" for note in column.notes))
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    table = _table("Limit, verdict, level, status and id of each limit")
    for name in ("structure", "metric", "value", *(column.name for column in found.columns)):
        table.add_column(name, overflow="fold", no_wrap=name in ("metric", "value"))
    for row in found.rows:
        value = "" if row.value is None else f"{row.value:.1f} {row.unit}"
        cells = ["\n".join(map(_verdict_cell, goals)) for goals in row.verdicts]
        table.add_row(escape(row.structure), row.metric, value, *cells)
    console.print(table)


def _verdict_cell(goal: GoalResult) -> str:
    _, _, limit, _, _, level, result = _cells(goal)
    return f"{result} {limit}\n{level} {goal.status} {escape(goal.id)}"


def _print_eligibility(console: Console, found: Eligibility) -> None:
    console.print(
        f"\n[bold]Selection rules: {found.verdict}[/bold] ({found.not_assessed} of {len(found.rules)} not assessed)",
        highlight=False,
    )
    for row in found.rules:
        if row.verdict != "eligible":
            value = "" if row.value is None else f": {row.value:.0f}{' ' + row.unit if row.unit else ''}"
            told = f"  {row.verdict}: {row.rule}{value}{'; ' + row.note if row.note else ''}; {row.cited}"
            console.print(told, highlight=False, markup=False, soft_wrap=True)


def _print_outcome(console: Console, found: Outcome) -> None:
    """Ranges of local control, and complication probabilities of the liver: in whole percent, with the caveat."""
    console.print("\n[bold]What published models say of plans like this: no prediction for a patient[/bold]")
    for row in found.control:
        under = f", scenario {row.scenario}" if row.scenario else ""
        console.print(
            f"  local control by {row.basis} dose, {row.conversion}{under}: {row.low_pct} to {row.high_pct} % "
            f"({len(row.models)} models, {row.earliest_years:g} to {row.latest_years:g} years)",
            highlight=False, markup=False,
        )  # fmt: skip
    for lesion in found.lesions:
        ranges = [f"{row.low_pct} to {row.high_pct} % by {_by(row)}" for row in lesion.control]
        line = f"  {lesion.name}: {', '.join(ranges) or lesion.note}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for model in found.models:
        told = [f"{v.says} ({_conversion(v)})" for v in model.values if v.percent is not None]
        if model.group == "liver" and told:
            console.print(f"  {model.title}: {', '.join(told)}", highlight=False, markup=False, soft_wrap=True)
    for line in found.scenarios:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _by(row: ControlRange) -> str:
    return f"{row.basis}, {row.conversion}{', scenario ' + row.scenario if row.scenario else ''}"


def _conversion(value: ModelValue) -> str:
    if value.alpha_beta_gy is None:
        return "physical dose"
    return f"{value.conversion}, alpha/beta {value.alpha_beta_gy:g} Gy"


def print_protocol(console: Console, protocol: Protocol) -> None:
    """Prescription and limits with level, status and source."""
    rx = protocol.prescription
    console.print(f"[bold]{escape(protocol.title)}[/bold]: {protocol.fractions} fractions", highlight=False)
    console.print(escape(protocol.description), highlight=False)
    for name, dose in (("floor", rx.floor), ("target", rx.target), ("cap", rx.cap)):
        console.print(
            f"{rx.structure} {rx.basis_words} {name} {dose.dose_gy:g} Gy [{dose.status}] {escape(dose.source)}",
            highlight=False, markup=False,
        )  # fmt: skip
    table = Table(title="Limits (course-total Gy)", title_justify="left")
    for column in ("id", "structure", "metric", "limit", "level", "by", "status", "source"):
        table.add_column(column, overflow="fold")
    for goal in protocol.goals:
        limit = f"{goal.comparator} {goal.limit:g} {goal.unit}"
        table.add_row(
            goal.id,
            escape(goal.structure),
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
    if goal.accepted_limit is not None:
        result += f" (accepted {goal.accepted_limit:g})"
    limit = f"{goal.comparator} {goal.limit:.1f} {goal.unit}"
    value = "" if goal.value is None else f"{goal.value:.1f}"
    slack = "" if goal.slack is None else f"{goal.slack:+.1f}"
    level = {"mandatory": "mand.", "optimal": "opt."}.get(goal.level, goal.level)
    return escape(goal.structure), goal.metric, limit, value, slack, level, f"[{colour}]{result}[/{colour}]"
