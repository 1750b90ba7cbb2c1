"""The hot path in NumPy: the readable statement that every faster backend must agree with."""

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
from .numpy_gamma import gamma_search
from .numpy_maps import collect_field, field_maps, gather, scatter
from .numpy_pairs import (
    blurred_squares,
    count_kept,
    direct_dose,
    direct_rows,
    fill_kept,
    fill_near,
    largest_near,
    spline_rows,
)
from .numpy_places import locate, project, spline_coefficients, survey
from .numpy_rays import component_weights, trace

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
    "to_device",
    "to_host",
    "trace",
    "zeros",
]
