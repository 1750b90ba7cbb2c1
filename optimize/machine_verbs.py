"""`dosecalc machines ...`: the shipped beam models, one on a screen, and a check of one."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import AsJson, out_console, print_json

machines_app = typer.Typer(no_args_is_help=True, help="Beam models.")


@machines_app.command("list")
def machines_list(as_json: AsJson = False) -> None:
    """The shipped machines."""
    from dosecalc.machine import available_machines, load_machine

    from .tables import print_table

    rows = [
        {
            "name": m.name,
            "energy": m.nominal_energy,
            "TPR20,10": m.tpr20_10,
            "provisional": m.provisional,
            "description": m.description,
        }
        for m in map(load_machine, available_machines())
    ]
    print_json(rows) if as_json else print_table(out_console, "Machines", rows)


@machines_app.command("show")
def machines_show(name: Annotated[str, typer.Argument(help="Name or folder.")], as_json: AsJson = False) -> None:
    """A machine on one screen: depth dose, quality, output factors, spot, densities, validity; all of it by --json."""
    from dosecalc.machine import load_machine

    from .machine_sheet import machine_record, print_machine

    machine = load_machine(name)
    print_json(machine_record(machine)) if as_json else print_machine(out_console, machine)


@machines_app.command("check")
def machines_check(path: Annotated[str, typer.Argument(help="Name or folder.")], as_json: AsJson = False) -> None:
    """Load a machine, report every fault and contradiction, and compare it with its published targets."""
    from dosecalc.machine import load_machine

    from .machine_sheet import print_targets, target_records

    machine = load_machine(path)
    if as_json:
        print_json({"name": machine.name, "sha256": machine.sha256, "targets": target_records(machine)})
        return
    at = machine.reference
    out_console.print(
        f"{machine.name}: no fault found; {100 * at.dose_gy_per_mu:g} cGy/MU at {at.depth_mm:g} mm depth, SSD "
        f"{at.ssd_mm:g} mm, field {at.field_mm:g} mm{', PROVISIONAL' if machine.provisional else ''}.",
        highlight=False,
    )
    print_targets(out_console, machine)
