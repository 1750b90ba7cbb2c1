"""What no file of the project may hold, and what every public name must have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .source_tree import (
    PACKAGES,
    ROOT,
    Module,
    body_lines,
    functions,
    modules,
    public_definitions,
    python_files,
)

LONGEST_BODY = 50
KERNEL_TWINS = {
    f"dosecalc/kernels/numba_{name}.py": f"dosecalc/kernels/numpy_{name}.py"
    for name in ("rays", "maps", "gamma", "places")
} | {
    f"dosecalc/kernels/numba_{name}.py": "dosecalc/kernels/numpy_pairs.py"
    for name in ("direct", "rows", "kept", "near")
}
DOCUMENTED_ELSEWHERE = {*KERNEL_TWINS, "dosecalc/kernels/cuda_kernels.py"}
"""Compiled kernels are documented once, at their NumPy twins."""
EXECUTES_DATA = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".css",
    ".j2",
    ".cu",
    ".cuh",
    ".json",
    ".yml",
    ".yaml",
    ".cfg",
    ".txt",
    ".ini",
    "",
}
# A home, a mount or a checkout somewhere; an address in a private network; a mirror of a package registry.
MACHINE = re.compile(
    r"""(?<![\w.~/-])/(?:home|Users|root|work|mnt|scratch|data)/\w
      | \b[A-Z]:\\(?!n)
      | \b(?:192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b
      | \blocalhost:\d
      | (?:index|registry)[-_]url
      | \b(?:artifactory|nexus)\.
      | pypi\.org/simple | pythonhosted\.org""",
    re.VERBOSE,
)


def test_nothing_executes_data():
    """No pickle, no eval or exec, no NumPy file that may hold objects."""
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for path in python_files() for line, what in _execution(path)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from dill import loads",
        "eval('1')",
        "exec('a = 1')",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_execution_of_data_is_recognised(tmp_path, line):
    path = tmp_path / "example.py"
    path.write_text(line)
    assert list(_execution(path))


def test_no_machine_path_or_registry_in_text_files():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in _text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["see /" + "home/someone/x", "http://192." + "168.2.3/", "--index" + "-url x"])
def test_machine_paths_are_recognised(text):
    assert MACHINE.search(text)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_and_classes_have_docstrings(package):
    bare = [
        f"{module.where}:{node.lineno}: {node.name}"
        for module in modules(package)
        if module.where not in DOCUMENTED_ELSEWHERE
        for node in public_definitions(module)
        if not ast.get_docstring(node)
    ]
    assert bare == []
    assert [module.where for module in modules(package) if not ast.get_docstring(module.tree)] == []


@pytest.mark.parametrize(("where", "numpy"), sorted(KERNEL_TWINS.items()))
def test_kernel_twins_have_the_same_functions_and_arguments(where, numpy):
    """Each kernel of a twin stands in the NumPy file too, with the same parameters in the same order."""
    kernels = {module.where: _public_signatures(module) for module in modules("dosecalc")}
    stated, twin = kernels[numpy], kernels[where]
    assert twin
    assert twin == {name: stated.get(name) for name in twin}


def test_every_kernel_of_numba_is_one_of_numpy():
    from dosecalc.kernels import numba_kernels, numpy_kernels

    assert set(numba_kernels.__all__) - {"threads"} <= set(numpy_kernels.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_is_too_long(package):
    long = [
        f"{module.where}:{function.lineno}: {function.name} has {body_lines(function)} lines"
        for module in modules(package)
        for function in functions(module.tree)
        if body_lines(function) > LONGEST_BODY
    ]
    assert long == []


def _execution(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [(node.module or "").split(".")[0]]
        found += [(node.lineno, f"imports {name}") for name in names if name in EXECUTES_DATA]
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                found.append((node.lineno, node.func.id))
            for keyword in node.keywords:
                refused = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not refused:
                    found.append((node.lineno, "allow_pickle"))
    return found


def _public_signatures(module: Module) -> dict[str, list[str]]:
    """Parameter names of the public functions of a module."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def _text_files() -> list[Path]:
    """Text files of the project's own folders and its root; build results and caches left out."""
    folders = (*PACKAGES, "tests", "benchmarks", "tools", "docs", ".ci")
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT and path.name != ".git"]
    for folder in folders:
        found += [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix in TEXT]
    return [path for path in found if not path.name.startswith(".coverage")]
