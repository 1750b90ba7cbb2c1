"""Every public name resolves, is documented, and is listed the same way everywhere."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest

import dosecalc
import optimize
import protocols

PACKAGES = [dosecalc, optimize, protocols]
LAZY = [dosecalc, optimize]

# The Python names that the design promises to users.
PROMISED = {
    dosecalc: """Grid Volume Structure StructureSet Contours Occupancy Voxels Beam Beamlets open_field aim
        HuCalibration to_density BeamModel load_machine available_machines DoseInfluence dose_influence
        radiological_depth select_backend read_ct read_ct_series read_structures write_rtdose read_rtdose
        write_rtstruct DosecalcError UsageError InputError UnsafeInputError DoseError OptimisationError
        InfeasibleError VerificationError ResourceError DeviceError OutputError __version__""",
    optimize: "plan Plan evaluate PlanEvaluation Target parse_beams save_plan",
    protocols: "load available Protocol Prescription Goal ProtocolError",
}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_public_name_resolves_to_something_documented(package):
    for name in package.__all__:
        value = getattr(package, name)
        assert not isinstance(value, types.ModuleType), f"{package.__name__}.{name} is a module: shadowed"
        assert value.__doc__, f"{package.__name__}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_promised_names_are_public(package):
    assert set(PROMISED[package].split()) - set(package.__all__) == set()


@pytest.mark.parametrize("package", LAZY, ids=lambda p: p.__name__)
def test_table_list_and_dir_agree(package):
    bound_at_once = {"__version__"} if package is dosecalc else {"evaluate"}
    assert set(package._MODULE_OF) | bound_at_once == set(package.__all__)
    assert sum(len(names) for names in package._NAMES_OF.values()) == len(package._MODULE_OF)
    assert dir(package) == sorted(package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)


@pytest.mark.parametrize("package", LAZY, ids=lambda p: p.__name__)
def test_no_lazy_name_is_also_a_submodule(package):
    """Importing such a submodule would put the module in the place of the public name."""
    submodules = {path.stem for path in Path(package.__file__).parent.iterdir()}
    assert submodules & set(package._MODULE_OF) == set()


def test_a_function_named_as_its_module_stays_a_function():
    module = importlib.import_module("optimize.evaluate")
    assert isinstance(module, types.ModuleType)
    assert optimize.evaluate is module.evaluate


@pytest.mark.parametrize("package", LAZY, ids=lambda p: p.__name__)
def test_unknown_name_is_an_attribute_error_that_says_which(package):
    with pytest.raises(AttributeError, match=rf"{package.__name__}.*Gird"):
        package.Gird  # noqa: B018 - the access is what is tested


def test_version_is_that_of_the_distribution():
    assert dosecalc.__version__ == version("dosecalc")


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import dosecalc", {"numpy", "scipy", "numba", "pydicom", "optimize", "protocols"}),
        ("import protocols", {"numpy", "dosecalc", "optimize"}),
        ("import optimize", {"cvxpy", "numba", "pydicom", "matplotlib"}),
        (
            "import dosecalc; dir(dosecalc); dosecalc.dose_influence",
            {"cvxpy", "optimize", "protocols", "cupy"},
        ),
    ],
)
def test_import_loads_no_more_than_it_needs(statement, unwanted):
    """In a fresh interpreter, because this one has loaded everything."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert unwanted & set(loaded.split()) == set()
