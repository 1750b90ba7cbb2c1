"""The command line: verbs that print a table or write an output folder, and one readable line for every error."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.logging import RichHandler
from rich.markup import escape

from dosecalc.errors import DosecalcError, DoseError, UsageError
from protocols.errors import ProtocolError

from .console import AcceptLimit, AsJson, err_console, out_console, print_json
from .effort import TRIES
from .gamma_verb import gamma_command
from .machine_verbs import machines_app
from .options import (
    AcceptCt,
    AcceptMissing,
    AcceptRelaxation,
    AfterChemotherapy,
    AliasesArg,
    AlphaBetaArg,
    AlsoArg,
    AskEligibility,
    BackendArg,
    BeamsArg,
    DensityArg,
    DoseGridArg,
    EndCapsArg,
    HeterogeneityArg,
    HuTableArg,
    LeaveOut,
    LiverFunction,
    MachineArg,
    OutDir,
    OutsideBodyArg,
    Overwrite,
    PatientPosition,
    PrecisionArg,
    PriorDose,
    PriorFractions,
    ProtocolArg,
    Recovery,
    Repair,
    ResampleLabels,
    ResampleSlices,
    Scenario,
    TriesArg,
    WarmStartArg,
)
from .plan_verb import run_plan
from .protocol_verbs import protocols_app, regimens_app
from .study_verb import study_command
from .terminal import tell

if TYPE_CHECKING:
    from dosecalc.slabs import EndCaps

app = typer.Typer(
    name="dosecalc",
    help="Photon dose and escalated SBRT plans for liver metastases. Research software: not for clinical use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(protocols_app, name="protocols")
app.add_typer(regimens_app, name="regimens")
app.add_typer(machines_app, name="machines")

DOSE_GRID_MM = 0.5, 10.0
DEMO_GRID_MM = 3.0
"""Coarser than the protocol's 2.5 mm, so that the demonstration takes a minute or two; recorded as an override."""


@app.command("demo")
def demo_command(
    out: OutDir = Path("dosecalc-demo"),
    beams: BeamsArg = None,
    backend: BackendArg = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Make a synthetic patient as DICOM, read it back, plan it with crlm_5fx, and write plan and report."""
    from dosecalc.phantom import write_synthetic_patient

    from .job import Job, parse_targets
    from .saving import refuse_outputs

    refuse_outputs(out, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="dosecalc-demo-") as scratch:
        begin = time.perf_counter()
        patient = write_synthetic_patient(Path(scratch))
        tell(f"synthetic patient written as DICOM in {time.perf_counter() - begin:.1f} s; reading it back")
        run_plan(
            Job(
                ct=Path(scratch) / "ct",
                structures=Path(scratch) / "rtstruct.dcm",
                targets=parse_targets([patient.target_name], ["GTV"], []),
                protocol="crlm_5fx",
                machine="generic_6mv",
                beams=beams,
                backend=backend,
                out=out,
                overwrite=overwrite,
                dose_grid_mm=DEMO_GRID_MM,
            )
        )


@app.command("plan")
def plan_command(
    ct: Annotated[Path, typer.Option("--ct", help="Folder of a DICOM CT series, or a NIfTI or NRRD file.")],
    structures: Annotated[
        Path, typer.Option("--structures", help="RTSTRUCT, DICOM SEG, or a label map (NIfTI, NRRD).")
    ],
    out: OutDir,
    structure_names: Annotated[
        Path | None, typer.Option("--structure-names", help="JSON of label names, for a label map.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Name of a target structure; repeatable.")
    ] = None,
    target_role: Annotated[
        list[str] | None, typer.Option("--target-role", help="GTV, ITV, CTV or PTV, one per --target.")
    ] = None,
    target_sphere: Annotated[
        list[str] | None,
        typer.Option("--target-sphere", help="x,y,z,diameter in mm (LPS): a drawn GTV; repeatable."),
    ] = None,
    protocol: ProtocolArg = "crlm_5fx",
    machine: MachineArg = "generic_6mv",
    beams: BeamsArg = None,
    backend: BackendArg = "auto",
    precision: PrecisionArg = "float32",
    dose_grid_mm: DoseGridArg = None,
    heterogeneity: HeterogeneityArg = "density_scaling",
    hu_table: HuTableArg = None,
    outside_body: OutsideBodyArg = "nothing",
    density: DensityArg = None,
    accept_missing: AcceptMissing = None,
    accept_limit: AcceptLimit = None,
    accept_relaxation: AcceptRelaxation = None,
    accept_ct: AcceptCt = False,
    aliases: AliasesArg = None,
    patient_position: PatientPosition = None,
    resample_slices: ResampleSlices = False,
    resample_labels: ResampleLabels = False,
    leave_out: LeaveOut = None,
    repair: Repair = None,
    end_caps: EndCapsArg = "half_slice",
    alpha_beta: AlphaBetaArg = None,
    prior_dose: PriorDose = None,
    prior_fractions: PriorFractions = None,
    recovery: Recovery = 0.0,
    warm_start: WarmStartArg = None,
    tries: TriesArg = TRIES,
    overwrite: Overwrite = False,
) -> None:
    """Plan a patient: optimise, judge on the reference dose, and write plan, scorecard and report."""
    from dosecalc.geometry import known_position

    from .densities import parse_densities
    from .job import Job, parse_targets

    run_plan(
        Job(
            ct=ct,
            structures=structures,
            structure_names=structure_names,
            targets=parse_targets(target or [], target_role or [], target_sphere or []),
            protocol=protocol,
            machine=machine,
            beams=beams,
            backend=backend,
            precision=_one_of("--precision", precision, ("float32", "float64", "reference")),
            dose_grid_mm=_dose_grid(dose_grid_mm),
            heterogeneity=_one_of("--heterogeneity", heterogeneity, ("density_scaling", "depth_scaling")),
            hu_table=hu_table,
            outside_body=_one_of("--outside-body", outside_body, ("nothing", "as_scanned")),
            density=parse_densities(density or []),
            accept_missing=tuple(accept_missing or ()),
            accept_limit=tuple(accept_limit or ()),
            accept_relaxation=tuple(accept_relaxation or ()),
            accept_ct=accept_ct,
            out=out,
            overwrite=overwrite,
            aliases=aliases,
            patient_position=known_position(patient_position),
            resample_slices=resample_slices,
            resample_labels=resample_labels,
            leave_out=tuple(leave_out or ()),
            repair=tuple(repair or ()),
            end_caps=_end_caps(end_caps),
            prior_dose=prior_dose,
            prior_fractions=prior_fractions,
            recovery=recovery,
            alpha_beta=_alpha_beta(alpha_beta),
            warm_start=warm_start,
            tries=tries,
        )
    )


@app.command("evaluate")
def evaluate_command(
    dose: Annotated[Path, typer.Option("--dose", help="RTDOSE file, course total in Gy.")],
    structures: Annotated[
        Path, typer.Option("--structures", help="RTSTRUCT, DICOM SEG, or a label map (NIfTI, NRRD).")
    ],
    structure_names: Annotated[Path | None, typer.Option("--structure-names", help="JSON of label names.")] = None,
    protocol: ProtocolArg = "crlm_5fx",
    lesion: Annotated[
        list[str] | None,
        typer.Option("--lesion", help="A part of the prescribed structure to be judged for itself; repeatable."),
    ] = None,
    also: AlsoArg = None,
    accept_missing: AcceptMissing = None,
    accept_limit: AcceptLimit = None,
    aliases: AliasesArg = None,
    leave_out: LeaveOut = None,
    repair: Repair = None,
    end_caps: EndCapsArg = "half_slice",
    scenario: Scenario = None,
    ask_eligibility: AskEligibility = False,
    after_chemotherapy: AfterChemotherapy = None,
    liver_function: LiverFunction = None,
    alpha_beta: AlphaBetaArg = None,
    prior_dose: PriorDose = None,
    prior_fractions: PriorFractions = None,
    recovery: Recovery = 0.0,
    as_json: AsJson = False,
) -> None:
    """Judge a dose against a protocol. Derived structures (PTV_opt, Liver-GTV, ...) must be in the structure set."""
    import protocols
    from dosecalc import names
    from dosecalc.dicom import read_rtdose
    from dosecalc.reading import read_structures

    from .anatomy import needed_names
    from .eligibility import PatientFacts
    from .evaluate import evaluate
    from .findings import with_findings
    from .prior_treatment import read_prior
    from .results import to_json
    from .retreatment import with_prior
    from .scorecard import print_scorecard
    from .side_by_side import limits_of, of_protocol, with_others

    facts = PatientFacts(after_chemotherapy, liver_function)
    if facts != PatientFacts() and not ask_eligibility:
        raise UsageError(
            "chemotherapy and liver function are used by selection rules only.", remedy="Add --eligibility."
        )
    limits = tuple(accept_limit or ())
    chosen = protocols.load(protocol, accept_limits=limits, alpha_beta=_alpha_beta(alpha_beta))
    others = [limits_of(name, chosen) for name in also or ()]
    read = read_structures(
        structures,
        structure_names,
        leave_out=tuple(leave_out or ()),
        repair=tuple(repair or ()),
        end_caps=_end_caps(end_caps),
    )
    given = read_rtdose(dose, frame_of_reference_uid=read.frame_of_reference_uid)
    prior = read_prior(prior_dose, prior_fractions, recovery, read.frame_of_reference_uid)
    table = None if aliases is None else names.read_table(aliases)
    needed = (*needed_names(chosen), *(name for limits in others for name in limits.structures))
    matched = names.match(read, needed, given.grid, table=table).structures
    missing = tuple(accept_missing or ())
    judged = evaluate(given, matched, chosen, accepted_missing=missing, lesions=tuple(lesion or ()))
    judged = with_findings(
        judged, given, matched, scenarios=tuple(scenario or ()), facts=facts if ask_eligibility else None
    )
    if prior is not None:
        judged = with_prior(judged, given, matched, chosen, prior, accepted_missing=missing)
    if others:
        judged = with_others(judged, given, matched, of_protocol(chosen), others)
    if as_json:
        print_json(to_json(judged))
    else:
        print_scorecard(out_console, judged)


@app.command("inspect")
def inspect_command(
    path: Annotated[Path | None, typer.Argument(help="A folder, searched with all folders in it, or one file.")] = None,
    ct: Annotated[
        Path | None,
        typer.Option("--ct", help="Folder of a DICOM CT series, or a NIfTI or NRRD file, to be read whole."),
    ] = None,
    structures: Annotated[
        Path | None, typer.Option("--structures", help="RTSTRUCT, DICOM SEG, or a label map (NIfTI, NRRD).")
    ] = None,
    structure_names: Annotated[Path | None, typer.Option("--structure-names", help="JSON of label names.")] = None,
    leave_out: LeaveOut = None,
    repair: Repair = None,
    end_caps: EndCapsArg = "half_slice",
    as_json: AsJson = False,
) -> None:
    """Before planning: series, geometry, structures with volumes and TG-263 names, and every problem found."""
    from .inspection import inspect_input, print_inspection
    from .survey import print_survey, survey

    if (path is None) == (ct is None):
        raise UsageError("give either a PATH to look through, or --ct with the structures that go with it.")
    asked = tuple(leave_out or ()), tuple(repair or ()), _end_caps(end_caps)
    with _logging_errors_only():
        if path is not None:
            found = survey(path, leave_out=asked[0], repair=asked[1], end_caps=asked[2])
        elif ct is not None:
            found = inspect_input(ct, structures, structure_names, *asked)
    if as_json:
        print_json(found)
    else:
        (print_survey if path is not None else print_inspection)(out_console, found)


app.command("gamma")(gamma_command)
app.command("study")(study_command)


@app.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """What this machine can compute with: GPU, driver, CuPy wheel, backends, and a dose by each of them."""
    from .doctor import examine, health_record, print_health

    health = examine()
    print_json(health_record(health)) if as_json else print_health(out_console, health)
    if health.wrong:
        raise DoseError(
            f"the self-test dose of {', '.join(health.wrong)} is off by more than tables in float32 explain.",
            remedy="Plan with another --backend, and report what dosecalc doctor --json prints.",
        )


@contextmanager
def _logging_errors_only() -> Iterator[None]:
    """For commands that print what the readers have to say."""
    logger = logging.getLogger("dosecalc")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _dose_grid(spacing_mm: float | None) -> float | None:
    low, high = DOSE_GRID_MM
    if spacing_mm is not None and not low <= spacing_mm <= high:
        raise UsageError(f"--dose-grid-mm is {spacing_mm:g}, expected {low:g} to {high:g}.")
    return spacing_mm


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"{option} {value!r} is unknown; there are {', '.join(allowed)}.")
    return value


def _alpha_beta(texts: list[str] | None) -> dict[str, float]:
    """Values by name; whether they make sense is the protocol's to say."""
    found: dict[str, float] = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            ratio = float(value)
        except ValueError:
            name = ""
        if not name.strip():
            raise UsageError(f"--alpha-beta {text!r} is not NAME=GY, such as Liver=2.5.")
        if name in found:
            raise UsageError(f"--alpha-beta gives {name!r} twice.", remedy="State one value for each organ.")
        found[name] = ratio
    return found


def _end_caps(value: str) -> EndCaps:
    from dosecalc.slabs import END_CAPS

    return cast("EndCaps", _one_of("--end-caps", value, END_CAPS))


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the steps do.")] = False,
) -> None:
    logging.basicConfig(
        level="INFO" if verbose else "WARNING",
        format="%(message)s",
        handlers=[RichHandler(console=err_console, show_path=False, show_time=False, markup=False)],
    )


def main() -> None:
    """Entry point: typed errors become one readable line and their exit code."""
    try:
        app()
    except (DosecalcError, ProtocolError) as error:
        err_console.print(
            f"[bold red]error[/bold red] ({error.code}): {escape(str(error))}", highlight=False, soft_wrap=True
        )
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:
        # typer turns an interruption into this code without a word.
        if ended.code == 130:
            err_console.print("interrupted; nothing was written.")
        raise


if __name__ == "__main__":
    main()
