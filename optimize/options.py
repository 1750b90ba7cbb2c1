"""Options that verbs of the command line share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OutDir = Annotated[Path, typer.Option("--out", help="Folder to be made for the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]
ProtocolArg = Annotated[str, typer.Option("--protocol", help="Name of a shipped protocol, or a TOML file.")]
MachineArg = Annotated[str, typer.Option("--machine", help="Name of a shipped machine, or a machine folder.")]
BeamsArg = Annotated[
    str | None,
    typer.Option(
        "--beams",
        help="N equispaced; g[:couch[:coll]],... in degrees; or liver_right, liver_left, liver_central, arc_10deg. "
        "Default: what the protocol names.",
    ),
]
BackendArg = Annotated[str, typer.Option("--backend", help="auto, numpy, numba or cupy.")]
PrecisionArg = Annotated[str, typer.Option("--precision", help="float32, float64 or reference.")]
HeterogeneityArg = Annotated[
    str,
    typer.Option(
        "--heterogeneity", help="density_scaling, or depth_scaling (along the ray only: wrong in lung) to compare."
    ),
]
DoseGridArg = Annotated[
    float | None,
    typer.Option("--dose-grid-mm", help="Spacing of the dose grid instead of the protocol's, 0.5 to 10; recorded."),
]
HuTableArg = Annotated[
    Path | None,
    typer.Option(
        "--hu-table",
        help="Table from HU to electron density relative to water, TOML or CSV with its source; recorded.",
    ),
]
OutsideBodyArg = Annotated[
    str,
    typer.Option(
        "--outside-body",
        help="nothing: what lies outside the Body (couch, clothing, air) has no density; as_scanned: that of the CT.",
    ),
]
DensityArg = Annotated[
    list[str] | None,
    typer.Option(
        "--density",
        help="NAME=VALUE: electron density relative to water for a structure (contrast, metal, PTV); repeatable, "
        "recorded.",
    ),
]
AlsoArg = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        help="A constraint set or protocol for the same number of fractions, or a TOML file of one: its verdicts are "
        "shown beside those of the protocol; repeatable.",
    ),
]
AcceptMissing = Annotated[
    list[str] | None,
    typer.Option("--accept-missing", help="A mandatory structure that may be missing; repeatable, recorded."),
]
AcceptRelaxation = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-relaxation",
        help="GOAL_ID=VALUE: plan a mandatory limit at this value, in its unit; judged at the protocol's, recorded; "
        "repeatable.",
    ),
]
AliasesArg = Annotated[
    Path | None, typer.Option("--aliases", help='TOML of your names of organs: [Liver] and aliases = ["My liver"].')
]
PatientPosition = Annotated[
    str | None,
    typer.Option(
        "--patient-position",
        help="How the patient lay, if the CT does not say or states an unknown code: HFS, HFP, FFS, HFDR, ...",
    ),
]
ResampleSlices = Annotated[
    bool, typer.Option("--resample-slices", help="Interpolate between unequally spaced CT slices; recorded.")
]
ResampleLabels = Annotated[
    bool, typer.Option("--resample-labels", help="Accept a label map on other voxels than the CT's; recorded.")
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option("--leave-out", help="Read the RTSTRUCT without this structure; repeatable, recorded."),
]
Repair = Annotated[
    list[str] | None,
    typer.Option("--repair", help="Take this structure although its contours cross (even-odd); repeatable, recorded."),
]
EndCapsArg = Annotated[
    str,
    typer.Option(
        "--end-caps",
        help="half_slice: the first and last contours of an RTSTRUCT stand for half a slice beyond them; at_contour: "
        "structures end there, recorded.",
    ),
]
AcceptCt = Annotated[
    bool, typer.Option("--accept-ct", help="Plan although the CT's values or size look implausible; recorded.")
]


Scenario = Annotated[
    list[str] | None,
    typer.Option("--scenario", help="A named factor on local control (kras, ...), off by default; repeatable."),
]
AskEligibility = Annotated[bool, typer.Option("--eligibility", help="Hold the reviews' selection rules against it.")]
AfterChemotherapy = Annotated[
    bool | None,
    typer.Option(
        "--after-chemotherapy/--no-chemotherapy",
        help="With --eligibility: whether the liver had chemotherapy; stricter limits then apply.",
    ),
]
LiverFunction = Annotated[
    bool | None,
    typer.Option("--liver-function-adequate/--liver-function-impaired", help="With --eligibility."),
]
PriorDose = Annotated[
    Path | None,
    typer.Option("--prior-dose", help="RTDOSE of an earlier treatment, registered to this frame of reference."),
]
PriorFractions = Annotated[int | None, typer.Option("--prior-fractions", help="Its number of fractions.")]
AlphaBetaArg = Annotated[
    list[str] | None,
    typer.Option(
        "--alpha-beta",
        help="NAME=GY: alpha/beta of an organ for sums with an earlier treatment, selection rules and complication "
        "models, in the place of the protocol's or the shipped value; repeatable, recorded.",
    ),
]
Recovery = Annotated[
    float, typer.Option("--recovery", help="Share of its EQD2 that counts as recovered: 0 (none) to below 1.")
]
WarmStartArg = Annotated[
    Path | None,
    typer.Option(
        "--warm-start", help="Output folder of an earlier plan of the same beams and beamlets to start from: faster."
    ),
]
TriesArg = Annotated[
    int,
    typer.Option(
        "--tries",
        min=0,
        help="How often the voxels that limits let go are chosen once more where limits hold the dose below the cap: "
        "more dose in tight cases, for more time.",
    ),
]
