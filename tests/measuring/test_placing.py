"""What the rows of batches have in common is on the devices once."""

import jax
import numpy as np

from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.models.ability import Common


def test_what_rows_have_in_common_is_placed_once():
    evaluator = Evaluator.__new__(Evaluator)
    evaluator._everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    evaluator._common = {}
    large, own = np.ones(3), np.arange(2)
    first, again = (evaluator._put(Common({"large": large})) for _ in range(2))
    assert first.value["large"] is again.value["large"]
    assert evaluator._put(Common({"large": np.ones(3)})).value["large"] is not first.value["large"]
    assert evaluator._put(own) is not evaluator._put(own)
