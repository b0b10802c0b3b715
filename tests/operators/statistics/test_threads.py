"""Tensors in threads, and BLAS beside them."""

import pytest
import threadpoolctl

from evojax_merge.operators.statistics.threads import blas_of_one_thread, in_threads


def blas_threads():
    libraries = threadpoolctl.threadpool_info()
    return [one["num_threads"] for one in libraries if one["user_api"] == "blas"]


def test_every_item_in_its_place():
    assert in_threads(lambda x: in_threads(lambda y: x * y, range(3)), range(9)) == [
        [x * y for y in range(3)] for x in range(9)
    ]


def test_an_error_is_raised_and_leaves_the_threads_of_blas_as_they_were():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 / x, [1, 0, 2])
    assert blas_threads() == before


def test_blas_has_one_thread_until_the_last_one_leaves():
    before = blas_threads()
    with blas_of_one_thread():
        with blas_of_one_thread():
            pass
        assert min(blas_threads()) == 1
    assert blas_threads() == before
