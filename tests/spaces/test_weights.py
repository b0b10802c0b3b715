"""The space of models themselves: from parameters to genes and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models import family_of
from evojax_merge.params.tree import flatten
from evojax_merge.spaces import WeightsSpace, kind_of
from tests.checkpoints_factory import tiny_config

CONFIGS = {
    "mlp": {"model_type": "mlp", "hidden_sizes": [6, 5, 3]},
    "decoder": tiny_config(num_hidden_layers=3),
}


def make(name: str = "mlp", **options: object) -> tuple[WeightsSpace, dict, dict]:
    """The space of a model, and parameters of two."""
    family = family_of(CONFIGS[name])
    config = family.config_from_hf(CONFIGS[name])
    models = [family.init_params(config, jax.random.key(seed)) for seed in (0, 1)]
    shapes = {path: leaf.shape for path, leaf in flatten(models[0]).items()}
    return WeightsSpace(shapes, family.layout(config), **options), *models


@pytest.mark.parametrize("name", CONFIGS)
def test_genes_are_the_weights(name: str) -> None:
    space, params, _ = make(name)
    assert kind_of(space) == "weights"
    genotype = space.encode(params)
    assert genotype.shape == (space.dims,) == space.lower.shape
    assert space.dims == sum(leaf.size for leaf in jax.tree.leaves(params))
    decoded = jax.jit(space.decode)(jnp.asarray(genotype))
    assert jax.tree.structure(decoded) == jax.tree.structure(params)
    for one, other in zip(jax.tree.leaves(decoded), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(one, other)


def test_genes_may_be_measured_from_a_base() -> None:
    space, params, base = make(origin="base")
    genotype = space.encode(params, base)
    task_vector = jax.tree.map(jnp.subtract, params, base)
    for one, other in zip(
        jax.tree.leaves(space.decode(jnp.asarray(genotype))),
        jax.tree.leaves(task_vector),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-7)
    assert not space.encode(base, base).any()


@pytest.mark.parametrize("name", CONFIGS)
def test_genes_have_the_groups_of_the_layout(name: str) -> None:
    space, params, _ = make(name)
    family = family_of(CONFIGS[name])
    layout = family.layout(family.config_from_hf(CONFIGS[name]))
    found = {}
    for path, leaf in flatten(space.decode(jnp.asarray(space.gene_groups, jnp.float32))).items():
        (found[path],) = {layout.kinds[int(number)] for number in np.unique(leaf)}
    assert found == {path: layout.groups[path] for path in flatten(params)}


def test_groups_of_genes_may_be_named() -> None:
    space, _, _ = make("decoder", groups={"attention": ["attention"], "rest": "*"})
    parts = flatten(space.decode(jnp.asarray(space.gene_groups, jnp.float32)))
    assert {path for path, leaf in parts.items() if not leaf.any()} == {
        path for path in parts if "self_attn" in path
    }
    with pytest.raises(ValueError, match=r"space\.groups: 'atention' is no parameter group"):
        make("decoder", groups={"attention": ["atention"], "rest": "*"})


@pytest.mark.parametrize("name", CONFIGS)
def test_matrices_are_those_of_the_model_layer_by_layer(name: str) -> None:
    space, params, _ = make(name)
    genotype = space.encode(params)
    found = [
        genotype[first : first + rows * columns].reshape(rows, columns)
        for first, rows, columns in space.matrices
    ]
    wanted = []
    for path, leaf in flatten(params).items():
        layers = leaf if path.startswith("layers.") else leaf[None]
        wanted += [np.asarray(layer) for layer in layers if layer.ndim == 2]
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_seeds_are_the_models() -> None:
    space, one, other = make()
    seeds = space.seeds({"a": one, "b": other})
    np.testing.assert_array_equal(seeds, [space.encode(one), space.encode(other)])
    with pytest.raises(ValueError, match=r"b has a weight of size .* set space\.limit"):
        space.seeds({"a": one, "b": jax.tree.map(lambda leaf: 100 * leaf + 11, other)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_genes": 50}, r"a gene for each of the model's 53 weights, more than .*=50"),
        ({"origin": "bse"}, "origin must be zero or base"),
        ({"limit": 0.0}, "limit must be"),
        ({"limit": float("inf")}, "limit must be"),
    ],
)
def test_refuses_what_it_cannot_hold(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
