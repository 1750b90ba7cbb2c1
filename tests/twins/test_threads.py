"""Compiled kernels run on as many threads as have enough to do, and leave numba's setting as it was."""

from __future__ import annotations

import pytest

pytest.importorskip("numba", reason="threads are numba's")

import numba

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
