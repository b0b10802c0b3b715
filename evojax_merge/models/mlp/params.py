"""The place and the shape of each tensor of an MLP checkpoint. Its name is its path."""

import functools
import itertools

from evojax_merge.models.layout import Layout, Leaf
from evojax_merge.models.mlp.config import MLPConfig


@functools.cache
def layout(config: MLPConfig) -> Layout:
    """Make the layout. It has no stack, since the layers differ in width.

    Hidden layers are of group ``mlp``, and the one that gives the logits is of group ``head``. Each
    layer reads an input of its own.
    """
    leaves: dict[str, Leaf] = {}
    last = len(config.hidden_sizes) - 1
    for number, (inputs, outputs) in enumerate(itertools.pairwise(config.hidden_sizes), start=1):
        layer, group = f"fc{number}", "head" if number == last else "mlp"
        bias, weight = f"{layer}.bias", f"{layer}.weight"
        leaves[bias] = Leaf((outputs,), bias, group)
        leaves[weight] = Leaf((outputs, inputs), weight, group, reads=layer)
    return Layout(dict(sorted(leaves.items())))
