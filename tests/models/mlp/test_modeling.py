import jax
import numpy as np
import pytest

from evojax_merge.models.mlp.config import MLPConfig
from evojax_merge.models.mlp.modeling import forward, init_params


def test_logits_are_the_textbook_formula():
    config = MLPConfig((5, 7, 6, 3))
    params = jax.tree.map(lambda leaf: leaf + 0.1, init_params(config, jax.random.key(0)))
    inputs = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    hidden = inputs
    for layer in ("fc1", "fc2", "fc3"):
        weight, bias = (np.asarray(params[layer][kind]) for kind in ("weight", "bias"))
        hidden = hidden @ weight.T + bias
        hidden = np.maximum(hidden, 0) if layer != "fc3" else hidden
    np.testing.assert_allclose(forward(config, params, inputs), hidden, atol=1e-5)


@pytest.mark.parametrize("sizes", [None, [64], [64, 0, 10], [64, "256", 10], 64])
def test_widths_that_make_no_network_are_refused(sizes):
    with pytest.raises(ValueError, match="hidden_sizes"):
        MLPConfig.from_hf({"model_type": "mlp", "hidden_sizes": sizes})
