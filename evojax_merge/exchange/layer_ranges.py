"""Which layers of its models a slice takes."""

import dataclasses
from collections.abc import Mapping

from evojax_merge.exchange.configuration import Slice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.models import Layout


def ranged(part: Slice, layouts: Mapping[str, Layout]) -> Slice:
    """Fill in the layers of every source of a slice.

    Args:
        part: The slice, as the file has it.
        layouts: The layouts of the models, by the names that the file has for them.

    Raises:
        ExchangeError: A model lacks the layers, or has several stacks of which a range would be
            one; or the sources have different numbers of layers.
    """
    entries, counts = [], {}
    for entry in part.sources:
        layout = layouts[entry.model]
        layers = layout.depth()
        if entry.layers is not None and not layers:
            raise ExchangeError(f"{entry.where}: {entry.model} has no layers; use models")
        stacks = layout.stacks.values()
        if entry.layers is not None and len(stacks) > 1:
            listed = ", ".join(f"{one.name} of {one.depth}" for one in stacks)
            raise ExchangeError(
                f"{entry.where}.layer_range: {entry.model} has {len(stacks)} stacks of layers "
                f"({listed}), and a range counts those of one, as in mergekit; use models"
            )
        if entry.layers and entry.layers[0] < entry.layers[1] > layers:
            raise ExchangeError(
                f"{entry.where}.layer_range: {list(entry.layers)}, but {entry.model} has "
                f"{layers} layers"
            )
        first, stop = entry.layers or (0, layers)
        counts[entry.model] = stop - first
        entries.append(dataclasses.replace(entry, layers=(first, stop)))
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{model}: {count}" for model, count in counts.items())
        raise ExchangeError(f"{part.where}: different numbers of layers ({listed}); use slices")
    return dataclasses.replace(part, sources=tuple(entries))
