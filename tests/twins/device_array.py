"""Arrays "on the device", in this computer's memory: they meet no array of NumPy, and every crossing is counted."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import numpy as np
import scipy.linalg
from numpy.lib.mixins import NDArrayOperatorsMixin

FUNCTIONS = {"clip", "concatenate", "full_like", "ones_like", "stack", "where", "zeros_like"}
"""Functions of NumPy that are handed on to CuPy's of the same name, with the same arguments, by ``__array_function__``.
"""


class Bus:
    """How many numbers each crossing took, in either direction."""

    def __init__(self) -> None:
        self.there: list[int] = []
        self.back: list[int] = []

    def clear(self) -> None:
        self.there.clear()
        self.back.clear()


BUS = Bus()


def on_device(value, owner=None):
    """What a function gave, on the device; what is no array or number of NumPy stays as it is."""
    return DeviceArray(np.asarray(value), owner) if isinstance(value, np.ndarray | np.generic) else value


def plain(value):
    """The numbers, without a crossing: for what runs on the device."""
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    return value.held if isinstance(value, DeviceArray) else value


def numbers(value):
    """The numbers of an array that must be on the device."""
    assert isinstance(value, DeviceArray), "an array on the host was given to a function of the device"
    return value.held


def _meet(name, given):
    """Refuse an array of NumPy beside one on the device; CuPy takes numbers."""
    if any(isinstance(a, np.ndarray) and a.ndim for a in given):
        raise TypeError(f"{name} of an array on the device and one on the host")


class DeviceArray(NDArrayOperatorsMixin):
    """As much of `cupy.ndarray` as is used; a view keeps the memory of the array it is part of."""

    __slots__ = ("__weakref__", "held", "owner")

    def __init__(self, held, owner=None) -> None:
        self.held, self.owner = held, owner

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        assert method == "__call__", "CuPy has no methods of NumPy's functions"
        _meet(ufunc.__name__, (*inputs, *(out or ())))
        if out is None:
            return on_device(ufunc(*map(plain, inputs), **kwargs))
        ufunc(*map(plain, inputs), out=tuple(map(plain, out)), **kwargs)
        return out[0]

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ not in FUNCTIONS or not set(types) <= {DeviceArray}:
            raise TypeError(f"NumPy's {function.__name__} was given an array on the device")
        return on_device(function(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()}))

    def __getattr__(self, name):
        if name in {"shape", "dtype", "size", "ndim", "nbytes", "itemsize", "strides", "flags", "ctypes"}:
            return getattr(self.held, name)
        raise AttributeError(f"{name}: not used of CuPy's arrays so far")

    @property
    def data(self):
        return SimpleNamespace(ptr=self.held.ctypes.data)

    @property
    def T(self):
        return on_device(self.held.T, self)

    def __len__(self):
        return len(self.held)

    def __getitem__(self, index):
        _meet("a part", index if isinstance(index, tuple) else (index,))
        return on_device(self.held[plain(index)], self)

    def __setitem__(self, index, value):
        _meet("a part", (*(index if isinstance(index, tuple) else (index,)), value))
        self.held[plain(index)] = plain(value)

    def astype(self, dtype):
        return on_device(self.held.astype(dtype))

    def copy(self):
        return on_device(self.held.copy())

    def reshape(self, *shape):
        return on_device(self.held.reshape(*shape), self)

    def max(self, axis=None):
        return on_device(self.held.max(axis))

    def min(self, axis=None):
        return on_device(self.held.min(axis))

    def sum(self, axis=None):
        return on_device(self.held.sum(axis))

    def mean(self):
        return on_device(self.held.mean())

    def all(self):
        return on_device(self.held.all())

    def any(self):
        return on_device(self.held.any())

    def diagonal(self):
        return on_device(self.held.diagonal(), self)

    def get(self):
        """A copy on the host: one crossing."""
        BUS.back.append(self.held.size)
        return self.held.copy()

    def item(self):
        return self.get().item()

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())


class Room:
    """Bytes of a device that arrays hold; more than there are is a MemoryError, as CuPy's is one."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity, self.held = capacity, 0

    def take(self, array):
        """The array as one on the device, which holds its bytes as long as anything sees them."""
        taken, there = array.nbytes, on_device(array)
        if self.capacity is not None and self.held + taken > self.capacity:
            raise MemoryError(f"Out of memory allocating {taken:,} bytes (allocated so far: {self.held:,} bytes).")
        self.held += taken
        weakref.finalize(there, self._give, taken)
        return there

    def _give(self, taken):
        self.held -= taken


class Functions:
    """Functions of CuPy, for arrays on the device; memory is asked for."""

    def __init__(self, room: Room) -> None:
        self._take = room.take
        self.linalg = SimpleNamespace(cholesky=_cholesky)

    def arange(self, *args, **kwargs):
        return self._take(np.arange(*args, **kwargs))

    def empty(self, shape, dtype=np.float64):
        """What was never written is seen."""
        return self._take(np.full(shape, np.nan if np.issubdtype(dtype, np.floating) else -77, dtype))

    def zeros(self, shape, dtype=np.float64):
        return self._take(np.zeros(shape, dtype))

    def full(self, shape, value):
        return self._take(np.full(shape, value))

    def broadcast_to(self, a, shape):
        return on_device(np.broadcast_to(numbers(a), shape), a)

    def argsort(self, a, kind=None):
        return self._take(np.argsort(numbers(a), kind=kind))

    def searchsorted(self, a, v):
        return self._take(np.searchsorted(numbers(a), numbers(v)))

    def cumsum(self, a):
        return self._take(np.cumsum(numbers(a)))

    def flatnonzero(self, a):
        """CuPy asks how many there are: a crossing of one."""
        BUS.back.append(1)
        return self._take(np.flatnonzero(numbers(a)))

    def stack(self, arrays, axis=0):
        return self._take(np.stack(list(map(numbers, arrays)), axis))

    def concatenate(self, arrays):
        return self._take(np.concatenate(list(map(numbers, arrays))))

    def diag(self, a):
        return self._take(np.diag(numbers(a)).copy())

    def tril(self, a, k=0):
        return self._take(np.tril(numbers(a), k))

    def ascontiguousarray(self, a):
        return a if numbers(a).flags.c_contiguous else self._take(np.ascontiguousarray(a.held))

    def atleast_2d(self, a):
        return on_device(np.atleast_2d(numbers(a)), a)

    def asarray(self, a, dtype=None):
        if isinstance(a, DeviceArray):
            return a if dtype is None or a.dtype == dtype else self._take(a.held.astype(dtype))
        BUS.there.append(np.size(a))
        return self._take(np.array(a, dtype=dtype))


class ErrorState:
    """`cupyx.errstate`, as far as it is used: until told to raise, CuPy does not look whether there was a factor."""

    linalg = "ignore"

    def __init__(self, *, linalg):
        self.asked = linalg

    def __enter__(self):
        self.before, ErrorState.linalg = ErrorState.linalg, self.asked

    def __exit__(self, *failure):
        ErrorState.linalg = self.before


def _cholesky(matrix):
    """What LAPACK leaves: of a matrix without a factor, a part of one that looks like any other."""
    lower, info = scipy.linalg.lapack.dpotrf(numbers(matrix), lower=1, clean=1)
    if info and ErrorState.linalg == "raise":
        raise np.linalg.LinAlgError
    return on_device(np.ascontiguousarray(lower))


def cholesky(matrix):
    """As `CupyDevice.cholesky`."""
    with ErrorState(linalg="raise"):
        return _cholesky(matrix)


def solve_triangular(factor, right, *, lower, trans=0):
    """`cupyx.scipy.linalg.solve_triangular`."""
    return on_device(scipy.linalg.solve_triangular(numbers(factor), numbers(right), lower=lower, trans=trans))
