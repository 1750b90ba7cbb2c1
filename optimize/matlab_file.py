"""Variables of a MATLAB file as Python values, whichever of the two formats it is in.

Sources: MathWorks, "MAT-File Versions"; for version 7.3 the HDF5 attributes MATLAB_class, MATLAB_sparse and
MATLAB_empty that MATLAB writes (a sparse matrix is a group with data, ir and jc; a cell holds references).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import io, sparse

from dosecalc.errors import InputError, ResourceError, UnsafeInputError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512
"""MATLAB puts its own header of so many bytes before the HDF5 signature."""
HEADER = 128
"""Bytes before the first variable of versions 5 to 7; the last two give the byte order."""
DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, NameError, EOFError, zlib.error, io.matlab.MatReadError)
"""What SciPy's reader was seen to raise on files with random faults."""
DEEPEST = 12
"""Structures within structures; matRad's have four."""


def read_matlab(path: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Some variables of a MATLAB file.

    Parameters
    ----------
    path : path
        Versions 5 to 7 are read by SciPy, version 7.3 (``save -v7.3``) by h5py.
    names : sequence of str
        Variables to read; those that the file does not have are left out.

    Returns
    -------
    dict
        Structures as dicts, structure arrays as lists of dicts, cells of more than one element as lists or object
        arrays in MATLAB's order, sparse matrices as `scipy.sparse` CSC, numbers without dimensions of length one.

    Raises
    ------
    InputError
        No MATLAB file, one that is cut short, or a damaged one.
    ResourceError
        Version 7.3 without h5py.
    UnsafeInputError
        Structures nested without end.
    """
    where = Path(path)
    try:
        with where.open("rb") as file:
            start = file.read(USER_BLOCK + len(HDF5_SIGNATURE))
            if HDF5_SIGNATURE in (start[: len(HDF5_SIGNATURE)], start[USER_BLOCK:]):
                return _read_hdf5(where, names)
            _check_whole(file, where)
        found: dict[str, Any] = io.loadmat(where, variable_names=list(names), simplify_cells=True)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(path)) from error
    except DAMAGE as error:
        raise InputError(f"is damaged ({error}).", where=str(path), remedy="Save it again from MATLAB.") from error
    return {name: found[name] for name in names if name in found}


def _check_whole(file: BinaryIO, path: Path) -> None:
    """Refuse what is not of versions 5 to 7, and a file that ends inside a variable: SciPy would leave that one out."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    order = {b"IM": "<", b"MI": ">"}.get(file.read(HEADER)[HEADER - 2 :])
    if order is None:
        raise InputError("is no MATLAB file of version 5 or later.", where=str(path))
    at = HEADER
    while at < size:
        file.seek(at)
        tag = file.read(8)
        at += 8 + (struct.unpack(order + "II", tag)[1] if len(tag) == 8 else 0)
    if at != size:
        raise InputError(f"is cut short: it has {size} bytes, its variables need {at}.", where=str(path))


def elements(cell: Any) -> list[Any]:
    """What a cell holds, in MATLAB's order; its one content where it was read without its cell."""
    if isinstance(cell, list):
        return cell
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        return list(cell.ravel(order="F"))
    return [cell]


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, Any]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ResourceError(
            "is a MATLAB file of version 7.3, which h5py reads; it is not installed.",
            where=str(path),
            remedy='Install it with pip install "dosecalc[matlab]", or save with -v7 where nothing exceeds 2 GB.',
        ) from error
    with h5py.File(path, "r") as file:
        return {name: _value(h5py, file, file[name], 0) for name in names if name in file}


def _value(h5py: Any, file: Any, node: Any, depth: int) -> Any:
    """A group or dataset as `read_matlab` describes it."""
    if depth > DEEPEST:
        raise UnsafeInputError(f"structures are nested more than {DEEPEST} deep.", where=str(file.filename))
    if isinstance(node, h5py.Group):
        if "MATLAB_sparse" in node.attrs:
            return _sparse(node)
        fields = {name: _value(h5py, file, child, depth + 1) for name, child in node.items()}
        return _records(fields) if _is_structure_array(h5py, node) else fields
    if "MATLAB_empty" in node.attrs:
        return np.zeros(0)
    if h5py.check_ref_dtype(node.dtype) is not None:
        # HDF5 holds the dimensions in reverse, so that its own order is MATLAB's.
        held = [_value(h5py, file, file[reference], depth + 1) for reference in node[()].ravel()]
        return held if len(held) != 1 or not _is_cell(node) else held[0]
    if node.attrs.get("MATLAB_class") == b"char":
        return "".join(map(chr, node[()].ravel().tolist()))
    return np.squeeze(np.asarray(node[()]).T)[()]


def _is_cell(node: Any) -> bool:
    return bool(node.attrs.get("MATLAB_class") == b"cell")


def _is_structure_array(h5py: Any, group: Any) -> bool:
    """Whether each field is a list of references that is no cell: one for each element of the array."""
    return bool(len(group)) and all(
        isinstance(child, h5py.Dataset) and h5py.check_ref_dtype(child.dtype) is not None and not _is_cell(child)
        for child in group.values()
    )


def _records(fields: dict[str, list[Any]]) -> list[dict[str, Any]]:
    columns = [elements(values) for values in fields.values()]
    return [dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)]


def _sparse(group: Any) -> sparse.csc_array:
    """Compressed columns; a matrix without entries has neither data nor row indices."""
    pointers = np.asarray(group["jc"][()], np.int64)
    data = np.asarray(group["data"][()] if "data" in group else [], np.float64)
    rows = np.asarray(group["ir"][()] if "ir" in group else [], np.int64)
    return sparse.csc_array((data, rows, pointers), shape=(int(group.attrs["MATLAB_sparse"]), pointers.size - 1))
