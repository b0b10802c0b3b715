"""Merges of a split decoder, compiled for a TPU that is not there.

``python -m tests.measuring.for_tpu ties della`` prints the collectives of each operator's program,
and those that it would have with the options of a candidate that is not split.
"""

import json
import sys
from typing import Any

import numpy as np

from evojax_merge.costs import topologies

NAMES = ("a", "b", "c")


def collectives(name: str, devices: Any) -> tuple[dict[str, int], dict[str, int]]:
    """The collectives of a merge over four devices, with the package's options and without."""
    import jax
    import jax.numpy as jnp

    from evojax_merge import operators
    from evojax_merge.costs import hlo
    from evojax_merge.measuring.candidates import whole_models
    from evojax_merge.measuring.mesh import make_mesh
    from evojax_merge.measuring.programs import merging_program, population_shapes
    from evojax_merge.models.split import placed, shardings
    from evojax_merge.params.population import COMPILER_OPTIONS
    from evojax_merge.params.tree import unflatten
    from evojax_merge.spaces import ParameterSpace
    from tests.measuring.on_meshes import LAYOUT

    operator, mesh = getattr(operators, name)(), make_mesh(1, 4, devices)
    tree = unflatten(
        {path: jax.ShapeDtypeStruct(shape, jnp.bfloat16) for path, shape in LAYOUT.shapes.items()}
    )
    base = tree if operator.needs_base else None
    sources = (tree,) * len(NAMES)
    statistics = operators.init_statistics(operator, base, sources, stacked=LAYOUT.stacked)
    space = ParameterSpace(operator, LAYOUT, NAMES)

    def merge(materials: Any, genotype: Any) -> Any:
        base, sources, statistics = materials
        coefficients, dtype = space.expand(space.decode(genotype)), np.dtype(jnp.bfloat16)
        stacked = LAYOUT.stacked
        return operators.merge(
            operator, base, sources, coefficients, statistics, 0, dtype, stacked=stacked
        )

    def here(tree: Any, axes: Any = None) -> Any:
        return placed(tree, shardings(tree, LAYOUT, mesh, axes))

    candidates = whole_models(LAYOUT)
    formed = jax.eval_shape(candidates.form, tree)
    buffer = population_shapes(formed, candidates.axes, 1, mesh, LAYOUT)
    genotypes = here(jax.ShapeDtypeStruct((1, space.dims), jnp.float32), 0)
    lowered = merging_program(merge, candidates, buffer, mesh).lower(
        buffer, here((base, sources, statistics)), genotypes, jax.ShapeDtypeStruct((), jnp.int32)
    )
    own, usual = (
        hlo.collectives(hlo.parse(lowered.compile(compiler_options=options).as_text()))
        for options in (None, COMPILER_OPTIONS)
    )
    return own, usual


if __name__ == "__main__":
    topology = topologies.parse("v5e:2x2")
    topologies.set_environment(topology)
    found = topologies.devices_of(topology)
    for one in sys.argv[1:]:
        print(json.dumps({one: collectives(one, found)}), flush=True)
