"""The kernels on an NVIDIA GPU through CuPy: the only file that imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from .cuda_source import options, source

PLAIN_SHARED = 48 * 1024
"""Bytes of shared memory that a kernel gets without asking for more."""


class CupyDevice:
    """The current GPU; a module is compiled once per device, real type and number of components, and kept on disk."""

    xp = cupy

    def __init__(self) -> None:
        self.most_shared: int = cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
        self._modules: dict[tuple[Any, ...], Any] = {}
        self._functions: dict[tuple[Any, ...], Any] = {}

    def launch(
        self,
        kernel: str,
        real: npt.DTypeLike,
        components: int,
        blocks: tuple[int, int, int],
        threads: tuple[int, ...],
        calls: npt.NDArray[np.void],
        shared: int,
    ) -> None:
        """Launch on the current stream; returns before the kernel has run."""
        function = self._function(kernel, real, components)
        if shared > PLAIN_SHARED:
            function.max_dynamic_shared_size_bytes = shared
        function(blocks, threads, (calls,), shared_mem=shared)

    def address(self, array: Any) -> int:
        """Where an array begins in the GPU's memory."""
        place: int = array.data.ptr
        return place

    def try_libraries(self) -> None:
        """Call cuBLAS and cuSOLVER once, which CuPy's wheel does not hold: where they are missing it fails here."""
        matrix = cupy.asarray(np.array([[4.0, 1.0], [1.0, 2.0]]))
        lower = self.cholesky(matrix @ matrix)
        self.to_host(self.solve_triangular(lower, matrix, lower=True))

    def free_bytes(self) -> int:
        """Memory of the GPU that nobody uses, and what CuPy holds for later."""
        return int(cupy.cuda.Device().mem_info[0]) + int(cupy.get_default_memory_pool().free_bytes())

    def release(self) -> None:
        """Return what CuPy holds for later."""
        cupy.get_default_memory_pool().free_all_blocks()

    def to_host(self, array: Any) -> npt.NDArray[Any]:
        """A NumPy array of the same numbers; waits for the kernels that make them."""
        return np.asarray(cupy.asnumpy(array))

    def csr_matrix(self, parts: tuple[Any, Any, Any], shape: tuple[int, int]) -> Any:
        """`cupyx.scipy.sparse.csr_matrix` of data, columns and row pointers on the device, without copying them."""
        from cupyx.scipy.sparse import csr_matrix

        return csr_matrix(parts, shape=shape)

    def cholesky(self, matrix: Any) -> Any:
        """Lower factor.

        Raises
        ------
        numpy.linalg.LinAlgError
            There is none. Unless told so, CuPy does not look at what cuSOLVER says of it.
        """
        import cupyx

        with cupyx.errstate(linalg="raise"):
            return cupy.linalg.cholesky(matrix)

    @property
    def solve_triangular(self) -> Callable[..., Any]:
        """`scipy.linalg.solve_triangular` for arrays on the device."""
        from cupyx.scipy.linalg import solve_triangular

        found: Callable[..., Any] = solve_triangular
        return found

    def describe(self) -> str:
        """Name, memory and compute capability of the GPU, and the versions of CuPy and CUDA."""
        facts = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        runtime = cupy.cuda.runtime.runtimeGetVersion()
        name, memory_gib = facts["name"].decode(), facts["totalGlobalMem"] / 2**30
        return (
            f"{name}, {memory_gib:.0f} GiB, sm_{facts['major']}{facts['minor']}; CuPy {cupy.__version__}, "
            f"CUDA {runtime // 1000}.{runtime % 1000 // 10}"
        )

    def _function(self, kernel: str, real: npt.DTypeLike, components: int) -> Any:
        """Kept: CuPy makes a new one, and looks the kernel up again, whenever a module is asked for it."""
        module = cupy.cuda.runtime.getDevice(), real, components
        key = *module, kernel
        if key not in self._functions:
            if module not in self._modules:
                self._modules[module] = cupy.RawModule(code=source(), options=options(real, components))
            self._functions[key] = self._modules[module].get_function(kernel)
        return self._functions[key]
