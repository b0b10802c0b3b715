"""A multilayer perceptron with ReLU between its layers, for classification."""

import functools
import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.mlp.config import MLPConfig
from evojax_merge.models.probe import attach, observed
from evojax_merge.params.types import Array, Float, Params, PRNGKey


class Linear(nnx.Module):
    """y = W x + b with W of shape [out, in], He-initialised."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        scale = (2.0 / inputs) ** 0.5
        self.weight = nnx.Param(scale * jax.random.normal(rngs.params(), (outputs, inputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        return observed(self, x) @ self.weight[...].T + self.bias[...]


class MLP(nnx.Module):
    """A perceptron has the layers ``fc1`` … ``fcN``. The last one gives the logits."""

    def __init__(self, config: MLPConfig, *, rngs: nnx.Rngs):
        sizes = config.hidden_sizes
        self.depth = len(sizes) - 1
        for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes), start=1):
            setattr(self, f"fc{number}", Linear(inputs, outputs, rngs=rngs))

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        for number in range(1, self.depth):
            x = jax.nn.relu(getattr(self, f"fc{number}")(x))
        return getattr(self, f"fc{self.depth}")(x)


def forward(
    config: MLPConfig,
    params: Params,
    inputs: Float[Array, "batch features"],
    *,
    probed: bool = False,
) -> Float[Array, "batch classes"]:
    """Compute the logits of each class.

    Args:
        config: The network.
        params: The parameter tree of the network.
        inputs: Feature vectors.
        probed: Whether the parameters hold probes (see `evojax_merge.models.probe`).
    """
    return nnx.merge(_graph(config, probed), params)(inputs)


def init_params(config: MLPConfig, key: PRNGKey) -> Params:
    """Draw random parameters: weights normal with σ² = 2 / inputs, biases 0."""
    return nnx.to_pure_dict(nnx.state(MLP(config, rngs=nnx.Rngs(params=key))))


@functools.cache
def _graph(config: MLPConfig, probed: bool) -> nnx.GraphDef:
    layers = [f"fc{number}" for number in range(1, len(config.hidden_sizes))] if probed else []
    return nnx.graphdef(nnx.eval_shape(lambda: attach(MLP(config, rngs=nnx.Rngs(0)), layers)))
