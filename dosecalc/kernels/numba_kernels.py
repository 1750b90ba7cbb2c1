"""The hot path compiled by numba for threads; same names and arguments as `numpy_kernels`, which documents them."""

from numba import get_num_threads as threads

from .host_arrays import array_module, in_parts, repeated_zero, room_for, take_notices, to_device, to_host, zeros
from .numba_direct import blurred_squares, direct_dose, direct_rows
from .numba_gamma import gamma_search
from .numba_kept import count_kept, fill_kept, largest_near
from .numba_maps import gather, scatter
from .numba_near import fill_near
from .numba_places import project, spline_coefficients
from .numba_rays import component_weights, trace
from .numba_rows import spline_rows

# Small products of matrices, for which NumPy calls BLAS, and one pass or two over arrays: compiled loops are no faster.
from .numpy_maps import collect_field, field_maps
from .numpy_places import locate, survey

__all__ = [
    "array_module",
    "blurred_squares",
    "collect_field",
    "component_weights",
    "count_kept",
    "direct_dose",
    "direct_rows",
    "field_maps",
    "fill_kept",
    "fill_near",
    "gamma_search",
    "gather",
    "in_parts",
    "largest_near",
    "locate",
    "project",
    "repeated_zero",
    "room_for",
    "scatter",
    "spline_coefficients",
    "spline_rows",
    "survey",
    "take_notices",
    "threads",
    "to_device",
    "to_host",
    "trace",
    "zeros",
]
