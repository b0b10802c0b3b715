from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators.steps.random_mask import fold, keep, layer_keys, leaf_key

SHAPE = (256, 512)
DENSITIES = [0.001, 0.1, 0.3, 0.5, 0.9, 0.999]


def mask(seed=0, path="norm.weight", source=0, density=0.5, shape=SHAPE):
    return np.asarray(keep(leaf_key(seed, path), source, shape, jnp.float32(density)))


def standard_deviations(values, probability):
    """How far the sum of independent trials is from its mean."""
    count = values.size
    return abs(values.sum() - count * probability) / np.sqrt(
        count * probability * (1 - probability)
    )


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_kept_fraction_is_binomial(seed, density):
    kept = mask(seed, density=density)
    assert standard_deviations(kept, density) < 4


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_counts_of_blocks_rows_and_columns_are_as_spread_as_a_binomial(density):
    kept = np.stack([mask(seed, density=density) for seed in range(8)])
    for groups in (
        kept.reshape(-1, 64).sum(1),
        kept.reshape(-1, 512).sum(1),
        kept.sum(1).reshape(-1),
    ):
        trials = kept.size // groups.size
        variance = trials * density * (1 - density)
        # The variance of a sample variance of n normal numbers is 2 / n.
        assert abs(groups.var() / variance - 1) < 5 * np.sqrt(2 / groups.size)


@pytest.mark.parametrize("lag", [1, 2, 3, 16, 64, 512, 1024, 4096])
def test_neighbours_are_independent(lag):
    kept = mask().reshape(-1)
    assert standard_deviations(kept[:-lag] & kept[lag:], 0.25) < 5


@pytest.mark.parametrize(
    "other",
    [
        {"source": 1},
        {"source": 2},
        {"seed": 1},
        {"seed": 2**31},
        {"path": "norm.weighs"},
        {"path": "layers.norm.weight"},
    ],
)
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_other_addresses_have_independent_masks(other, density):
    both = mask(density=density) & mask(density=density, **other)
    assert standard_deviations(both, density**2) < 4


def test_layers_are_independent_of_each_other_and_of_other_sources():
    keys = layer_keys(leaf_key(0, "layers.q_proj.weight"), 6)
    masks = np.concatenate(
        [np.asarray(keep(keys, source, (6, *SHAPE), jnp.float32(0.5))) for source in range(3)]
    ).reshape(18, -1)
    agreement = np.corrcoef(masks.astype(np.float64))
    off_diagonal = agreement[~np.eye(18, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(masks.shape[1])
    # No mask is a reordering of another: their counts differ as independent counts do.
    assert len(set(masks.sum(1))) > 12


def test_keys_do_not_collide():
    keys = [
        fold(layer_keys(leaf_key(seed, f"layers.{path}.weight"), 64), np.uint32(source))
        for seed in range(3)
        for path in ("q_proj", "k_proj", "v_proj")
        for source in range(4)
    ]
    assert len(np.unique(np.stack(keys))) == 3 * 3 * 4 * 64


def test_masks_nest():
    masks = [mask(density=density) for density in [0.0, *DENSITIES, 1.0]]
    for smaller, larger in pairwise(masks):
        assert not (smaller & ~larger).any()
    assert not masks[0].any()
    assert masks[-1].all()


def test_a_small_step_in_density_changes_few_elements():
    changed = mask(density=0.5) ^ mask(density=0.501)
    assert standard_deviations(changed, 0.001) < 5


def test_a_stacked_leaf_is_its_layers_each_with_its_own_key():
    key = leaf_key(3, "layers.q_proj.weight")
    densities = jnp.array([0.2, 0.5, 0.8])
    stacked = keep(layer_keys(key, 3), 1, (3, 4, 5), densities)
    for layer in range(3):
        alone = keep(fold(key, np.uint32(layer)), 1, (4, 5), densities[layer])
        np.testing.assert_array_equal(stacked[layer], alone)


def test_a_mask_does_not_depend_on_the_shape_but_on_the_position():
    flat = mask(shape=(60,))
    np.testing.assert_array_equal(mask(shape=(3, 4, 5)).reshape(-1), flat)
    np.testing.assert_array_equal(mask(shape=(20,)), flat[:20])


def test_jit_vmap_and_chunks_give_the_same_bits():
    seeds = jnp.arange(6, dtype=jnp.uint32)
    densities = jnp.linspace(0.0, 1.0, 6)

    def one(seed, density):
        return keep(leaf_key(seed, "a"), 0, (37, 11), density)

    eager = np.stack([one(*pair) for pair in zip(seeds, densities, strict=True)])
    np.testing.assert_array_equal(jax.jit(jax.vmap(one))(seeds, densities), eager)
    chunked = jax.lax.map(lambda pair: one(*pair), (seeds, densities), batch_size=4)
    np.testing.assert_array_equal(chunked, eager)


def test_the_bits_are_those_of_every_release():
    # A recipe must rebuild its checkpoint for ever: if this changes, so do published merges.
    bits = np.packbits(mask(seed=42, path="layers.0", source=1, shape=(64,)))
    assert bits.tobytes().hex() == "eaeb43462e0eeda1"
