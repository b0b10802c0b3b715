"""Activations under the names that a ``config.json`` gives them."""

import jax

from evojax_merge.params.types import Array, Float


def activate(name: str, x: Float[Array, " *shape"]) -> Float[Array, " *shape"]:
    """Apply an activation to every number.

    Raises:
        ValueError: There is no activation of such a name.
    """
    match name:
        case "silu":
            return jax.nn.silu(x)
        case "relu":
            return jax.nn.relu(x)
        case "gelu":
            return jax.nn.gelu(x, approximate=False)
        case "gelu_new" | "gelu_pytorch_tanh":
            return jax.nn.gelu(x, approximate=True)
        case "quick_gelu":
            return x * jax.nn.sigmoid(1.702 * x)
    raise ValueError(f"there is no activation {name!r}")
