"""What ``config.json`` says of a result's layers, for models that are known by names alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from evojax_merge.exchange.errors import ExchangeError

COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""The keys that may hold the number of layers."""


def layer_fields(
    hf_config: Mapping[str, Any], depth: int, layers: Sequence[tuple[Mapping[str, Any], int]]
) -> dict[str, Any]:
    """Make the entries that follow the layers: their number, and lists with one entry for each.

    Args:
        hf_config: The ``config.json`` of the reference.
        depth: How many layers the reference has.
        layers: The ``config.json`` and the layer that each layer of the result comes from.

    Raises:
        ExchangeError: The number of layers changes, and no entry holds it.
    """
    counts = [key for key in COUNTS if hf_config.get(key) == depth]
    if len(layers) != depth and not counts:
        raise ExchangeError(
            f"slices: make {len(layers)} layers of {depth}, and config.json of the reference says "
            f"nowhere that there are {depth} (looked for: {', '.join(COUNTS)})"
        )
    fields: dict[str, Any] = dict.fromkeys(counts, len(layers))
    for key, value in hf_config.items():
        if "layer" in key and isinstance(value, list) and len(value) == depth:
            fields[key] = [own.get(key, value)[layer] for own, layer in layers]
    return fields
