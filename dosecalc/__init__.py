"""Photon dose: grids, structures, machines, the pencil-beam operator and its readers.

Public names are loaded on first use, so `import dosecalc` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend import Backend, select_backend
    from .beams import Beam, Beamlets, aim, neighbouring_beamlets, open_field
    from .density import HuCalibration, to_density
    from .dicom import CtSeries, read_rtdose, write_ct_series, write_rtdose, write_rtstruct
    from .errors import (
        DeviceError,
        DosecalcError,
        DoseError,
        InfeasibleError,
        InputError,
        OptimisationError,
        OutputError,
        ResourceError,
        UnsafeInputError,
        UsageError,
        VerificationError,
    )
    from .gamma import GammaMap, gamma_index
    from .grid import Grid, Volume
    from .head_scatter import collimator_scatter
    from .hu_table import read_hu_table
    from .influence import DoseInfluence, dose_influence
    from .machine import BeamModel, available_machines, load_machine
    from .matrix_at_once import influence_matrix
    from .medium import DensityOverride
    from .phantom import SyntheticPatient, synthetic_patient, write_synthetic_patient
    from .raytrace import radiological_depth
    from .reading import read_ct, read_ct_series, read_structures
    from .structures import Contours, Occupancy, Structure, StructureSet, Voxels
    from .validity import ValidityWarning

    __version__: str

__all__ = [
    "Backend",
    "Beam",
    "BeamModel",
    "Beamlets",
    "Contours",
    "CtSeries",
    "DensityOverride",
    "DeviceError",
    "DoseError",
    "DoseInfluence",
    "DosecalcError",
    "GammaMap",
    "Grid",
    "HuCalibration",
    "InfeasibleError",
    "InputError",
    "Occupancy",
    "OptimisationError",
    "OutputError",
    "ResourceError",
    "Structure",
    "StructureSet",
    "SyntheticPatient",
    "UnsafeInputError",
    "UsageError",
    "ValidityWarning",
    "VerificationError",
    "Volume",
    "Voxels",
    "__version__",
    "aim",
    "available_machines",
    "collimator_scatter",
    "dose_influence",
    "gamma_index",
    "influence_matrix",
    "load_machine",
    "neighbouring_beamlets",
    "open_field",
    "radiological_depth",
    "read_ct",
    "read_ct_series",
    "read_hu_table",
    "read_rtdose",
    "read_structures",
    "select_backend",
    "synthetic_patient",
    "to_density",
    "write_ct_series",
    "write_rtdose",
    "write_rtstruct",
    "write_synthetic_patient",
]

_NAMES_OF = {
    "backend": ("Backend", "select_backend"),
    "beams": ("Beam", "Beamlets", "aim", "neighbouring_beamlets", "open_field"),
    "density": ("HuCalibration", "to_density"),
    "dicom": ("CtSeries", "read_rtdose", "write_ct_series", "write_rtdose", "write_rtstruct"),
    "errors": (
        "DeviceError",
        "DoseError",
        "DosecalcError",
        "InfeasibleError",
        "InputError",
        "OptimisationError",
        "OutputError",
        "ResourceError",
        "UnsafeInputError",
        "UsageError",
        "VerificationError",
    ),
    "gamma": ("GammaMap", "gamma_index"),
    "grid": ("Grid", "Volume"),
    "head_scatter": ("collimator_scatter",),
    "hu_table": ("read_hu_table",),
    "influence": ("DoseInfluence", "dose_influence"),
    "machine": ("BeamModel", "available_machines", "load_machine"),
    "matrix_at_once": ("influence_matrix",),
    "medium": ("DensityOverride",),
    "phantom": ("SyntheticPatient", "synthetic_patient", "write_synthetic_patient"),
    "raytrace": ("radiological_depth",),
    "reading": ("read_ct", "read_ct_series", "read_structures"),
    "structures": ("Contours", "Occupancy", "Structure", "StructureSet", "Voxels"),
    "validity": ("ValidityWarning",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

# Hidden from type checkers: they would take any misspelt name for a dynamic one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for (PEP 562)."""
        if name == "__version__":
            value = importlib.import_module("importlib.metadata").version("dosecalc")
        elif name in _MODULE_OF:
            value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
