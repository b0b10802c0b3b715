"""A multilayer perceptron with ReLU between its layers, for classification."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.probe import attach, observed
from evojax_merge.types import Array, Float, Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """Widths from the input features to the classes."""

    hidden_sizes: tuple[int, ...]

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read ``{"model_type": "mlp", "hidden_sizes": [features, ..., classes]}``.

        Raises:
            ValueError: There are fewer than two widths, or one is not a positive integer.
        """
        sizes = config.get("hidden_sizes")
        valid = isinstance(sizes, list | tuple) and len(sizes) >= 2
        if not valid or not all(isinstance(size, int) and size > 0 for size in sizes or ()):
            raise ValueError(
                f"config.json: hidden_sizes must list at least two positive widths, "
                f"features first and classes last; got {sizes!r}"
            )
        return cls(tuple(sizes or ()))


class Linear(nnx.Module):
    """y = W x + b with W of shape [out, in], He-initialised."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        scale = (2.0 / inputs) ** 0.5
        self.weight = nnx.Param(scale * jax.random.normal(rngs.params(), (outputs, inputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        return observed(self, x) @ self.weight[...].T + self.bias[...]


class MLP(nnx.Module):
    """Layers ``fc1`` … ``fcN``; the last one gives the logits."""

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
    """Logits of each class.

    Args:
        config: The network.
        params: Its parameter tree.
        inputs: Feature vectors.
        probed: The parameters hold probes (see `evojax_merge.models.probe`).
    """
    return nnx.merge(_graph(config, probed), params)(inputs)


def init_params(config: MLPConfig, key: PRNGKey) -> Params:
    """Random parameters: weights normal with σ² = 2 / inputs, biases 0."""
    return nnx.to_pure_dict(nnx.state(MLP(config, rngs=nnx.Rngs(params=key))))


def abstract_params(config: MLPConfig) -> Params:
    """Shapes of the parameter tree, without memory."""
    return jax.eval_shape(lambda: init_params(config, jax.random.key(0)))


@functools.cache
def _graph(config: MLPConfig, probed: bool) -> nnx.GraphDef:
    layers = [f"fc{number}" for number in range(1, len(config.hidden_sizes))] if probed else []
    return nnx.graphdef(nnx.eval_shape(lambda: attach(MLP(config, rngs=nnx.Rngs(0)), layers)))
