"""The hot path compiled by numba for threads; same names and arguments as `numpy_kernels`, which documents them."""

from numba import get_num_threads as threads

from . import numba_direct, numba_kept, numba_maps, numba_near, numba_places, numba_rays, numba_rows
from .host_arrays import (
    all_to_host,
    array_module,
    at_once,
    each,
    in_parts,
    repeated_zero,
    room_for,
    take_notices,
    to_device,
    to_host,
    zeros,
)
from .numba_gamma import gamma_search
from .numba_kept import fill_kept, largest_near
from .numba_threads import shared

# Small products of matrices, for which NumPy calls BLAS, and one pass or two over arrays: compiled loops are no faster.
from .numpy_maps import collect_field, field_maps
from .numpy_places import locate, survey

blurred_squares = shared(numba_direct.blurred_squares, 0, 500)
component_weights = shared(numba_rays.component_weights, 4, 5_000)
count_kept = shared(numba_kept.count_kept, 0, 5_000)
direct_dose = shared(numba_direct.direct_dose, 0, 500)
direct_rows = shared(numba_direct.direct_rows, 0, 200)
fill_near = shared(numba_near.fill_near, 6, 500)
gather = shared(numba_maps.gather, 1, 20_000)
project = shared(numba_places.project, 0, 50_000)
scatter = shared(numba_maps.scatter, 0, 30_000)
spline_coefficients = shared(numba_places.spline_coefficients, 0, 500)
spline_rows = shared(numba_rows.spline_rows, 2, 500)
trace = shared(numba_rays.trace, 2, 500)

__all__ = [
    "all_to_host",
    "array_module",
    "at_once",
    "blurred_squares",
    "collect_field",
    "component_weights",
    "count_kept",
    "direct_dose",
    "direct_rows",
    "each",
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
