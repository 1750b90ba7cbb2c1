"""Compiled kernels run on as many threads as have enough to do, and leave numba's setting as it was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("numba", reason="threads are numba's")

import numba
from numba.core.dispatcher import Dispatcher

from dosecalc.backend import Backend, compiled_here
from dosecalc.kernels import numba_kernels
from dosecalc.kernels.numba_threads import shared


@pytest.fixture
def four_threads():
    before = numba.get_num_threads()
    most = min(4, numba.config.NUMBA_NUM_THREADS)
    if most < 2:
        pytest.skip("numba has one thread here")
    numba.set_num_threads(most)
    yield most
    numba.set_num_threads(before)


def test_few_items_stay_on_one_thread(four_threads):
    kernel = shared(lambda name, items: numba.get_num_threads(), 1, 100)
    assert kernel("a", range(0)) == 1
    assert kernel("a", range(199)) == 1
    assert kernel("a", range(200)) == 2
    assert kernel("a", range(10_000)) == four_threads
    assert numba.get_num_threads() == four_threads


def test_the_setting_is_kept_where_a_kernel_fails(four_threads):
    def fails(items):
        raise ValueError("it fails")

    with pytest.raises(ValueError, match="it fails"):
        shared(fails, 0, 100)([1])
    assert numba.get_num_threads() == four_threads


def test_a_setting_of_one_thread_is_never_exceeded():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert shared(lambda items: numba.get_num_threads(), 0, 1)(range(1000)) == 1
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize(("misses", "told"), [({}, False), ({("float64",): 1}, True)])
def test_a_kernel_that_had_to_be_compiled_is_seen_behind_its_threads(misses, told):
    class Compiled:
        stats = SimpleNamespace(cache_misses=misses)

        def __call__(self, items):
            return items

    kernels = SimpleNamespace(project=shared(Compiled(), 0, 100), to_host=lambda array: array)
    assert compiled_here(Backend("numba", "a test", kernels)) is told


def test_the_kernels_that_run_on_threads_are_numbas():
    assert isinstance(numba_kernels.trace.__wrapped__, Dispatcher)
    assert isinstance(numba_kernels.project.__wrapped__, Dispatcher)
