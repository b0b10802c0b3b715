"""What the host reads of arrays, where no other process holds parts of them.

`tests.hosts.test_split` has those of which no process holds the whole.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.params.on_host import is_apart, is_shared, numbers, on_host
from evojax_merge.params.placing import zeros_beside

LEAF = np.arange(12, dtype=np.float32).reshape(2, 3, 2)


@pytest.mark.parametrize("put", [np.asarray, jnp.asarray])
def test_a_leaf_is_read_whole_or_by_layer(put):
    leaf = put(LEAF)
    assert not is_shared(leaf)
    assert not is_apart(leaf)
    np.testing.assert_array_equal(numbers(leaf, None), LEAF)
    np.testing.assert_array_equal(numbers(leaf, 1), LEAF[1])
    assert isinstance(numbers(leaf, 1), np.ndarray)


def test_what_the_host_reads_already_stays_as_it_is():
    leaf = jax.device_put(LEAF, jax.devices("cpu")[0])
    assert on_host(leaf, True) is leaf
    assert on_host(None, False) is None


def test_zeros_beside_a_leaf_of_this_process():
    zeros = zeros_beside(jnp.asarray(LEAF), (4, 5), jnp.bfloat16)
    assert zeros.shape == (4, 5)
    assert zeros.dtype == jnp.bfloat16
    assert not np.asarray(zeros, np.float32).any()
