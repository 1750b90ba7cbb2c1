"""What NVIDIA's driver says of this machine, asked of the driver itself: without CuPy or the CUDA toolkit."""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass

DRIVER = "libcuda.so.1"
"""The driver's library: it comes with the driver, not with CUDA or CuPy."""
EXTRAS = {13: "cuda13", 12: "cuda12"}
"""CUDA version that the driver supports, at least, and the extra whose CuPy wheel runs on it."""
ADVICE = "Use --backend auto, numba or numpy."
# Numbers of the driver's interface (cuda.h).
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76
_NO_DEVICE = 100


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes
    ----------
    name : str
    memory_gib : float
    compute_capability : (int, int)
        (9, 0) for an H100 or H200.
    """

    name: str
    memory_gib: float
    compute_capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What stands between this machine and the CUDA kernels.

    Attributes
    ----------
    driver_cuda : (int, int) or None
        The latest CUDA version that the driver supports; None without a driver.
    gpus : tuple of Gpu
    cupy : bool
        Whether a CuPy wheel is installed.
    missing : str
        What is missing, in words; nothing if all is there.
    remedy : str
    """

    driver_cuda: tuple[int, int] | None
    gpus: tuple[Gpu, ...]
    cupy: bool
    missing: str
    remedy: str


def gpu_report() -> GpuReport:
    """Driver, GPUs and CuPy of this machine, and the first thing that is missing for a GPU to be used."""
    cupy = importlib.util.find_spec("cupy") is not None
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return GpuReport(
            None, (), cupy, f"there is no NVIDIA driver ({DRIVER} is not found)",
            f"On a machine with an NVIDIA GPU, have its driver installed. {ADVICE}",
        )  # fmt: skip
    return _with_driver(driver, cupy)


def _with_driver(driver: ctypes.CDLL, cupy: bool) -> GpuReport:
    number = ctypes.c_int()
    version = None
    if driver.cuDriverGetVersion(ctypes.byref(number)) == 0:
        version = number.value // 1000, number.value % 1000 // 10
    fault = driver.cuInit(0)
    if fault not in (0, _NO_DEVICE):
        missing = f"the NVIDIA driver does not start (cuInit: error {fault})"
        return GpuReport(version, (), cupy, missing, f"Ask whoever runs the machine whether nvidia-smi works. {ADVICE}")
    gpus = _gpus(driver) if fault == 0 else ()
    if not gpus:
        missing = "the NVIDIA driver sees no GPU"
        return GpuReport(version, (), cupy, missing, f"Is the job given a GPU (CUDA_VISIBLE_DEVICES)? {ADVICE}")
    extra = extra_for(version)
    if extra is None:
        spoken = "an unknown CUDA version" if version is None else f"CUDA {version[0]}.{version[1]} at most"
        missing = f"the NVIDIA driver supports {spoken}; CUDA {min(EXTRAS)} is needed"
        return GpuReport(version, gpus, cupy, missing, f"Have the driver updated. {ADVICE}")
    if not cupy:
        return GpuReport(
            version, gpus, False, "CuPy is not installed", f'Install it: pip install "dosecalc[{extra}]". Or: {ADVICE}'
        )
    return GpuReport(version, gpus, True, "", "")


def extra_for(driver_cuda: tuple[int, int] | None) -> str | None:
    """The extra of this package whose CuPy wheel runs on a driver, None if it is too old for any."""
    if driver_cuda is None:
        return None
    return next((extra for major, extra in EXTRAS.items() if driver_cuda[0] >= major), None)


def _gpus(driver: ctypes.CDLL) -> tuple[Gpu, ...]:
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_gpu(driver, index) for index in range(count.value))


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    numbers = []
    for attribute in (_COMPUTE_MAJOR, _COMPUTE_MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(value.value)
    return Gpu(name.value.decode(errors="replace"), memory.value / 2**30, (numbers[0], numbers[1]))
