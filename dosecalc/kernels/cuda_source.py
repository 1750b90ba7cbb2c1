"""The CUDA source of the hot path: what is compiled on the user's machine, and what the tests compile without one."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

COMMON = "common.cuh"
_INCLUDE = f'#include "{COMMON}"\n'
_ENTRY = re.compile(r"^KERNEL\((\w+),", re.MULTILINE)


@cache
def source() -> str:
    """All kernels as one text, the shared part first."""
    files = resources.files(__package__)
    names = sorted(file.name for file in files.iterdir() if file.name.endswith(".cu"))
    texts = [files.joinpath(name).read_text(encoding="utf-8") for name in (COMMON, *names)]
    return "\n".join(text.replace(_INCLUDE, "") for text in texts)


def entry_points() -> tuple[str, ...]:
    """Names of the kernels in the source, in its order."""
    return tuple(_ENTRY.findall(source()))


def options(real: npt.DTypeLike, components: int) -> tuple[str, ...]:
    """What every compiler is told: the language, the type of the tables and the number of Gaussians."""
    name = {"float32": "float", "float64": "double"}[np.dtype(real).name]
    return "--std=c++17", f"-DREAL={name}", f"-DCOMPONENTS={components}"
