"""The verbs `protocols` and `regimens`: what the library holds, each number with where it comes from."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape

from dosecalc.errors import UsageError

from .console import AcceptLimit, AsJson, out_console, print_json
from .tables import print_record, print_table

protocols_app = typer.Typer(no_args_is_help=True, help="Prescriptions and limits, each value with its source.")
regimens_app = typer.Typer(no_args_is_help=True, help="Published regimens, and what they are on one common basis.")

NameArg = Annotated[str, typer.Argument(help="Name or TOML file.")]
RegimenArg = Annotated[str, typer.Argument(help="Id of a regimen; `regimens list` shows them.")]
AssumeIsodose = Annotated[
    float | None,
    typer.Option("--assume-isodose", help="Isodose round the PTV in percent of the maximum, where none is published."),
]


@protocols_app.command("list")
def protocols_list(as_json: AsJson = False) -> None:
    """The shipped protocols, and the prescriptions that none can be made of."""
    import protocols
    from protocols.loading import unplannable

    loaded = [protocols.load(name) for name in protocols.available()]
    rows = [
        {
            "name": p.name,
            "title": p.title,
            "fractions": p.fractions,
            "floor_gy": p.prescription.floor.dose_gy,
            "target_gy": p.prescription.target.dose_gy,
            "cap_gy": p.prescription.cap.dose_gy,
            "goals": len(p.goals),
        }
        for p in loaded
    ]
    if as_json:
        print_json(rows)
        return
    doses = ("floor_gy", "target_gy", "cap_gy")
    narrow = [
        {
            "name": row["name"],
            "floor, target, cap (Gy)": " / ".join(f"{row[key]:g}" for key in doses),
            "fractions": row["fractions"],
            "goals": row["goals"],
            "title": row["title"],
        }
        for row in rows
    ]
    print_table(out_console, "Protocols", narrow)
    for name, why in unplannable().items():
        out_console.print(f"prescription {name} cannot be planned: {why}", highlight=False, soft_wrap=True)


@protocols_app.command("show")
def protocols_show(
    name: NameArg,
    whole: Annotated[bool, typer.Option("--resolved", help="Everything, with the origin of every number.")] = False,
    accept_limit: AcceptLimit = None,
    as_json: AsJson = False,
) -> None:
    """Every limit of a protocol with its level, status and source."""
    import protocols
    from protocols.resolved import resolved

    from .scorecard import print_protocol

    chosen = protocols.load(name, accept_limits=tuple(accept_limit or ()))
    if not whole:
        print_json(chosen.model_dump(mode="json")) if as_json else print_protocol(out_console, chosen)
        return
    numbers = [dataclasses.asdict(row) for row in resolved(chosen)]
    record = {
        "name": chosen.name,
        "sha256": chosen.sha256,
        "parts": [dataclasses.asdict(part) for part in chosen.parts],
        "warnings": list(chosen.warnings),
        "left_out": list(chosen.left_out),
        "numbers": numbers,
    }
    if as_json:
        print_json(record)
        return
    out_console.print(f"[bold]{escape(chosen.title)}[/bold] (SHA-256 {chosen.sha256[:12]})", highlight=False)
    for row in numbers:
        _print_number(row)
    _print_lines(chosen)


def _print_number(row: dict[str, str]) -> None:
    """One number of a protocol, and below it where it comes from; a table of so much text could not be read."""
    marks = ", ".join(filter(None, (row["level"], row["level_by"] and f"by {row['level_by']}", row["status"])))
    marked = f"  [{marks}]" if marks else ""
    out_console.print(f"{row['key']}: {row['value']}{marked}", highlight=False, markup=False, soft_wrap=True)
    said = f"{row['source']}. {row['note']}" if row["note"] else row["source"]
    out_console.print(f"    {row['origin']}: {said}", style="dim", highlight=False, markup=False, soft_wrap=True)


def _print_lines(chosen: Any) -> None:
    """What is worth a look, and what was left out, below a protocol."""
    for word, colour, lines in (("warning", "yellow", chosen.warnings), ("left out", "dim", chosen.left_out)):
        for line in lines:
            out_console.print(f"[{colour}]{word}[/{colour}]: {escape(line)}", highlight=False, soft_wrap=True)


@protocols_app.command("check")
def protocols_check(path: Annotated[str, typer.Argument(help="TOML file.")], accept_limit: AcceptLimit = None) -> None:
    """Load a protocol file and report every fault, then every warning."""
    import protocols

    from .terms import not_optimised

    # A dose can be judged on such goals, so only this verb and the optimiser refuse them.
    chosen = protocols.load(path, accept_limits=tuple(accept_limit or ()), also_faults=not_optimised)
    count = f"{len(chosen.goals)} goal{'' if len(chosen.goals) == 1 else 's'}"
    out_console.print(f"{chosen.name}: {count}, no fault found.", highlight=False)
    for line in _misspelt(chosen):
        out_console.print(f"[yellow]warning[/yellow]: {escape(line)}", highlight=False, soft_wrap=True)
    _print_lines(chosen)


def _misspelt(chosen: Any) -> list[str]:
    """Structures of goals that no contour's name is matched to, where they look like an organ that one would be."""
    from dosecalc import names
    from protocols.limits import published_limits
    from protocols.tissues import organ_of

    from .anatomy import needed_names

    known = {*names.shipped_table(), *(limit.structure for _, limit in published_limits())}
    defined = {entry.name for entry in chosen.structures}
    told = []
    for name in needed_names(chosen):
        if name not in known | defined and names.canonical_name(organ_of(name)) is None:
            # Stricter than for keys: a structure of the user's own is no misspelling of an organ.
            for like in difflib.get_close_matches(name, known, n=1, cutoff=0.8):
                told.append(f"goals: {name!r} is no TG-263 name known here. Did you mean {like!r}?")
    return told


@protocols_app.command("schema")
def protocols_schema(
    of: Annotated[str, typer.Option("--of", help="protocol, constraints, prescription or planning.")] = "protocol",
) -> None:
    """JSON Schema of protocol files and of their parts, for editors."""
    import protocols

    print_json(protocols.json_schema(of))


@protocols_app.command("sets")
def protocols_sets(as_json: AsJson = False) -> None:
    """The published constraint sets that a protocol can take its limits from."""
    import protocols

    rows = [
        {
            "name": s.name,
            "title": s.title,
            "fractions": list(s.fraction_numbers) or "any",
            "limits": len(s.limits),
            "holds_for": s.population_note or s.population,
        }
        for s in map(protocols.load_set, protocols.available_sets())
    ]
    print_json(rows) if as_json else print_table(out_console, "Constraint sets", rows)


@protocols_app.command("limits")
def protocols_limits(
    structure: Annotated[str | None, typer.Option("--structure", help="Only this structure (TG-263).")] = None,
    fractions: Annotated[int | None, typer.Option("--fractions", help="Only for this number of fractions.")] = None,
    from_set: Annotated[str | None, typer.Option("--set", help="Only of this set: a name or a TOML file.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The whole page docs/limits.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every published limit by structure, fraction number and source."""
    import protocols
    from protocols.faults import nearest
    from protocols.fraction_numbers import no_organ_limits
    from protocols.limits import published_limits
    from protocols.limits_page import limits_page

    if markdown:
        sys.stdout.write(limits_page())
        return
    chosen = None if from_set is None else protocols.load_set(from_set)
    found = published_limits() if chosen is None else tuple((chosen, limit) for limit in chosen.limits)
    known = sorted({limit.structure for _, limit in found})
    if structure is not None and structure not in known:
        raise UsageError(
            f"no limit is on a structure {structure!r}.{nearest(structure, known)}",
            remedy=f"There are {', '.join(known)}.",
        )
    rows = [
        {"set": a_set.name} | limit.model_dump(mode="json")
        for a_set, limit in found
        if structure in (None, limit.structure) and (fractions is None or limit.holds_for(fractions))
    ]
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            "id": row["id"],
            "set": row["set"],
            "for": "any" if row["fractions"] == "any" else ", ".join(map(str, row["fractions"])),
            "structure": row["structure"],
            "limit": _said(row),
            "level": row["level"],
            "status": row["status"],
        }
        for row in rows
    ]
    print_table(out_console, f"{len(rows)} limits (doses are totals of the course)", shown)
    if fractions is not None and (why := no_organ_limits(fractions)):
        out_console.print(why, highlight=False, markup=False, soft_wrap=True)


def _said(row: dict[str, Any]) -> str:
    """A limit as a goal states it, or as it is printed where none can."""
    if row["superseded_by"]:
        return f"superseded by {row['superseded_by']}"
    if row["limit"] is None:
        return str(row["metric"] or row["printed"])
    return f"{row['metric']} {row['comparator']} {row['limit']:g} {row['unit']}"


@regimens_app.command("list")
def regimens_list(as_json: AsJson = False) -> None:
    """Every published regimen."""
    from protocols.regimens import regimens

    if as_json:
        print_json([regimen.model_dump(mode="json") for regimen in regimens()])
        return
    rows = [
        {
            "id": r.id,
            "citation": f"{r.citation} ({r.year})",
            "fractions": _range(r.fractions),
            "dose_gy": _range(r.dose_gy),
            "basis": r.basis + (f" {_range(r.isodose_pct)} %" if r.isodose_pct else ""),
            "1-year control": r.local_control_1y,
            "2-year control": r.local_control_2y,
        }
        for r in regimens()
    ]
    print_table(out_console, "Regimens (doses are totals of the course)", rows)


@regimens_app.command("show")
def regimens_show(name: RegimenArg, assume_isodose: AssumeIsodose = None, as_json: AsJson = False) -> None:
    """A regimen in the words of its sources, its dose on every basis, and where the sources disagree."""
    from protocols.fraction_numbers import no_organ_limits
    from protocols.regimens import disagreements, express, find_regimen

    regimen = find_regimen(name)
    record = {key: value for key, value in regimen.model_dump(mode="json").items() if value not in ("", None)}
    if regimen.dose_gy is not None:
        record["expressed"] = dataclasses.asdict(express(regimen, assume_isodose))
    record["disagreements"] = list(disagreements(regimen.id))
    if regimen.fractions is not None and (why := no_organ_limits(regimen.fractions[0])):
        record["not_plannable"] = why
    if as_json:
        print_json(record)
        return
    spans = {"fractions": _range(regimen.fractions), "dose_gy": _range(regimen.dose_gy)}
    print_record(out_console, {key: spans.get(key, value) for key, value in record.items() if key != "expressed"})
    if regimen.dose_gy is not None:
        _print_compared([express(regimen, assume_isodose)])


@regimens_app.command("compare")
def regimens_compare(
    first: RegimenArg, second: RegimenArg, assume_isodose: AssumeIsodose = None, as_json: AsJson = False
) -> None:
    """Two regimens on one basis: edge, mean and maximum of the PTV, in dose, BED10 and EQD2."""
    from protocols.regimens import disagreements, express, find_regimen

    chosen = [find_regimen(first), find_regimen(second)]
    both = [express(regimen, assume_isodose) for regimen in chosen]
    said = disagreements(*(regimen.id for regimen in chosen))
    if as_json:
        print_json({"regimens": [dataclasses.asdict(one) for one in both], "disagreements": list(said)})
        return
    _print_compared(both)
    for line in said:
        out_console.print(f"[yellow]the sources disagree[/yellow]: {escape(line)}", highlight=False, soft_wrap=True)


def _print_compared(compared: list[Any]) -> None:
    """Doses of one or two regimens place by place, then what was assumed."""
    from protocols.regimens import PLACES

    rows = []
    for place in PLACES:
        row: dict[str, Any] = {"of the PTV": place}
        for one in compared:
            dose = one.doses[place]
            row[f"{one.id} Gy"] = _bounds(dose.dose_gy)
            row[f"{one.id} BED10"] = _bounds(dose.bed10_gy)
            row[f"{one.id} EQD2"] = _bounds(dose.eqd2_gy)
        rows.append(row)
    print_table(out_console, "Gy, totals of the course", rows)
    for one in compared:
        for line in one.assumptions:
            out_console.print(f"{one.id}: {line}", highlight=False, soft_wrap=True)


def _bounds(span: Any) -> str:
    if span is None or (span.low is None and span.high is None):
        return "not stated"
    if span.low is None or span.high is None:
        return f"at most {span.high:.1f}" if span.low is None else f"at least {span.low:.1f}"
    low, high = f"{span.low:.1f}", f"{span.high:.1f}"
    return low if low == high else f"{low} to {high}"


def _range(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return ""
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g}-{pair[1]:g}"
