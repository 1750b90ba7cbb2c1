"""The CUDA source compiles for the GPUs it is meant for, A100 (sm_80) and H100 or H200 (sm_90): no GPU is needed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest

from dosecalc.kernels.cuda_source import entry_points, options, source

from ..backends import absent

CASES = [("sm_80", "float32", 12), ("sm_90", "float32", 12), ("sm_90", "float64", 24)]


def with_nvcc(folder, architecture, real, components) -> bytes:
    """Machine code by NVIDIA's offline compiler, warnings refused; it also prints registers and spills."""
    command = ["nvcc", "-cubin", f"-arch={architecture}", *options(real, components), "-Werror", "all-warnings"]
    command += ["-Xptxas", "-v,-warn-spills", "-x", "cu", "-", "-o", str(folder / "kernels.cubin")]
    made = subprocess.run(command, input=source(), text=True, capture_output=True)
    assert made.returncode == 0, made.stderr
    return (folder / "kernels.cubin").read_bytes()


def with_nvrtc(architecture, real, components) -> bytes:
    """Machine code by the compiler that CuPy calls on the user's machine."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source(), "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch={architecture}", *options(real, components)))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    return nvrtc.getCUBIN(program)


@pytest.mark.parametrize(("architecture", "real", "components"), CASES)
def test_every_kernel_compiles(tmp_path, architecture, real, components):
    if importlib.util.find_spec("cupy"):
        code = with_nvrtc(architecture, real, components)
    elif shutil.which("nvcc"):
        code = with_nvcc(tmp_path, architecture, real, components)
    else:
        absent("cuda-compile", "neither NVRTC (a CuPy wheel) nor nvcc is installed")
    assert code[:4] == b"\x7fELF"
    assert [name for name in entry_points() if f".text.{name}\0".encode() not in code] == []
