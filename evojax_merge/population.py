"""Where the population axis stands in a tree of candidates' parameters.

A layer scan consumes the leading axis, so in stacked leaves the population comes second; putting
it first would copy every weight once to move it.
"""

import jax

from evojax_merge.types import Params


def population_axes(params: Params) -> dict[str, object]:
    """Axis of the population in each leaf, to be given as ``in_axes`` or ``out_axes``."""
    return {
        name: jax.tree.map(lambda _, axis=int(name == "layers"): axis, part)
        for name, part in params.items()
    }
