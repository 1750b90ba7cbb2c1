"""What the architecture tests ask of the source tree: its modules, their imports, its functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocols", "dosecalc", "optimize")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, absolute, and where it is imported.

    Attributes
    ----------
    target : str
        "dosecalc.grid"; for ``from package import submodule`` the submodule.
    relative : bool
        Written with leading dots.
    at_load : bool
        Runs when the module is loaded: outside functions and ``if TYPE_CHECKING``.
    """

    target: str
    relative: bool
    at_load: bool


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One Python file of a package."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def where(self) -> str:
        """Path from the root, for messages."""
        return self.path.relative_to(ROOT).as_posix()


@cache
def modules(package: str) -> tuple[Module, ...]:
    """The modules of a package, sorted by path."""
    return tuple(
        Module(_dotted(path), path, ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / package).rglob("*.py"))
    )


def python_files() -> tuple[Path, ...]:
    """Every Python file of the project."""
    folders = (*PACKAGES, "tests", "benchmarks", "tools")
    return tuple(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def imports(module: Module) -> Iterator[Import]:
    """Every import of a module, those inside functions included."""
    yield from _imports_in(module.tree, module, at_load=True)


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public_definitions(module: Module) -> Iterator[Function | ast.ClassDef]:
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in module.tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (m for m in node.body if isinstance(m, Function) and not m.name.startswith("_"))


def body_lines(function: Function) -> int:
    """Lines of a function's body, without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return 0 if not body else (function.end_lineno or 0) - body[0].lineno + 1


def _imports_in(node: ast.AST, module: Module, *, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, False, at_load) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from _from_import(child, module, at_load)
        else:
            later = isinstance(child, Function | ast.Lambda) or _only_for_type_checkers(child)
            yield from _imports_in(child, module, at_load=at_load and not later)


def _only_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _from_import(node: ast.ImportFrom, module: Module, at_load: bool) -> Iterator[Import]:
    base = _absolute(node, module)
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        yield Import(submodule if _is_module(submodule) else base, node.level > 0, at_load)


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    kept = len(parts) - node.level + (module.path.name == "__init__.py")
    return ".".join([*parts[:kept], *([node.module] if node.module else [])])


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
