"""The floors: imports go down only, never in circles, and CuPy is imported in one place."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

from .source_tree import PACKAGES, imports, modules

MAY_IMPORT = {"protocols": set(), "dosecalc": set(), "optimize": {"protocols", "dosecalc"}}
CUPY_HOME = "dosecalc/kernels/cupy_device.py"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_only(package):
    upward = [
        f"{module.where} imports {found.target}"
        for module in modules(package)
        for found in imports(module)
        if found.target.split(".")[0] in set(PACKAGES) - {package} - MAY_IMPORT[package]
    ]
    assert upward == []


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_are_relative(package):
    absolute = [
        f"{module.where} imports {found.target}"
        for module in modules(package)
        for found in imports(module)
        if found.target.split(".")[0] == package and not found.relative
    ]
    assert absolute == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_in_a_circle(package):
    graph = {
        module.name: {
            found.target
            for found in imports(module)
            if found.at_load and found.target.split(".")[0] == package and found.target != module.name
        }
        for module in modules(package)
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " <- ".join(error.args[1]))


def test_the_import_reader_sees_this_tree():
    """A check of the check: known imports are found, and resolved."""
    assert [m.name for m in modules("dosecalc")].count("dosecalc.influence") == 1
    (influence,) = (m for m in modules("dosecalc") if m.name == "dosecalc.influence")
    targets = {found.target for found in imports(influence)}
    assert {"numpy", "dosecalc.grid", "dosecalc.stored_matrix"} <= targets
    (files,) = (m for m in modules("dosecalc") if m.name == "dosecalc.dicom.files")
    assert "dosecalc.errors" in {found.target for found in imports(files)}
    (backend,) = (m for m in modules("dosecalc") if m.name == "dosecalc.backend")
    assert {f.at_load for f in imports(backend) if f.target == "dosecalc.kernels.numba_kernels"} == {False}


def test_cupy_is_imported_in_one_file_at_most():
    homes = {
        module.where
        for package in PACKAGES
        for module in modules(package)
        if any(found.target.split(".")[0] == "cupy" for found in imports(module)) or _imports_cupy_by_name(module.tree)
    }
    assert homes <= {CUPY_HOME}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_provides_the_package(package):
    """The names `optimize` and `protocols` are common; two providers would overwrite each other's files."""
    assert set(packages_distributions().get(package, [])) <= {"dosecalc"}


def _imports_cupy_by_name(tree: ast.Module) -> bool:
    """Whether the file calls `import_module` or `__import__` with a name in CuPy."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if any(name.split(".")[0] == "cupy" for name in named):
                return True
    return False
