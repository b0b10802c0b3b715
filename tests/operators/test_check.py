import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import (
    check,
    check_coefficients,
    check_task_vectors,
    constant_coefficients,
    dare_ties,
    linear,
    slerp,
    ties,
)
from evojax_merge.operators.steps.random_mask import leaf_key
from evojax_merge.params.low_rank import LowRank, Unchanged
from tests.trees import init_statistics, merge


def tree(value=1.0, shape=(2, 3), dtype=jnp.float32):
    return {"layers": {"w": jnp.full(shape, value, dtype)}, "norm": jnp.ones(3, dtype)}


@pytest.mark.parametrize("count", [1, 3])
def test_slerp_merges_two(count):
    with pytest.raises(ValueError, match=f"slerp merges 2 sources, got {count}"):
        init_statistics(slerp(), None, (tree(),) * count)


def test_no_sources():
    with pytest.raises(ValueError, match="at least 1 sources, got 0"):
        check(linear(), None, ())


def test_task_vectors_need_a_base():
    with pytest.raises(ValueError, match=r"ties merges task vectors .* needs the base model"):
        init_statistics(ties(), None, (tree(), tree()))


def test_all_mismatches_are_listed_at_once():
    odd = {"layers": {"w": jnp.ones((2, 4))}, "extra": jnp.ones(1)}
    with pytest.raises(ValueError, match="cannot be merged") as error:
        check(linear(), None, (tree(), odd))
    assert "extra: in source 1, not in source 0" in str(error.value)
    assert "norm: in source 0, not in source 1" in str(error.value)
    assert "layers.w: source 1 has shape (2, 4), source 0 (2, 3)" in str(error.value)


def test_integer_tensors_are_named():
    with pytest.raises(ValueError, match=r"layers.w: source 1 is int32"):
        check(linear(), None, (tree(), tree(dtype=jnp.int32) | {"norm": jnp.ones(3)}))


@pytest.mark.parametrize("shape", [(2, 0), (0, 3)])
def test_empty_tensors_are_named(shape):
    with pytest.raises(ValueError, match=r"layers.w: source 0 is empty"):
        check(linear(), None, (tree(shape=shape), tree(shape=shape)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_tensors_are_named(value):
    broken = tree()
    broken["layers"]["w"] = broken["layers"]["w"].at[1, 2].set(value)
    with pytest.raises(ValueError, match=r"source 1 holds NaN or .*\n.*layers.w, layer 1: 1 of 3"):
        init_statistics(linear(), None, (tree(), broken))
    with pytest.raises(ValueError, match="the base holds NaN"):
        init_statistics(ties(), broken, (tree(), tree()))


def test_numbers_that_float32_cannot_hold_are_not_finite():
    broken = {"w": np.array([[1.0, 1e300]])}
    with pytest.raises(ValueError, match=r"source 0 holds NaN or .*\n.*w: 1 of 2"):
        init_statistics(linear(), None, (broken,))


@pytest.mark.parametrize("position", [0, -1])
def test_a_source_that_is_the_base_is_named(position):
    base, other = tree(), tree()
    other["layers"]["w"] = other["layers"]["w"].at[position, position].set(2.0)
    check_task_vectors(base, (other, other), ("a", "b"))
    with pytest.raises(ValueError, match=r"^b is the base in every tensor"):
        check_task_vectors(base, (other, tree(dtype=jnp.bfloat16)), ("a", "b"))


def test_an_adapter_that_adds_nothing_is_named():
    base = {"w": jnp.ones((2, 3)), "norm": jnp.ones(3)}
    a, scale = jnp.ones((1, 3)), jnp.float32(1.0)
    adds, nothing = (
        {"w": LowRank(value * jnp.ones((2, 1)), a, scale), "norm": Unchanged((3,), np.float32)}
        for value in (1.0, 0.0)
    )
    check_task_vectors(base, (adds,), ("a",))
    with pytest.raises(ValueError, match=r"^b is the base"):
        check_task_vectors(base, (adds, nothing), ("a", "b"))


def test_a_tensor_too_large_to_address_is_refused():
    class Shape:
        shape, dtype, size = (2**16, 2**16 + 1), np.dtype(np.float32), 2**32 + 2**16

    with pytest.raises(ValueError, match=r"at most 2\*\*32"):
        check(dare_ties(), {"w": Shape()}, ({"w": Shape()},))


@pytest.mark.parametrize("density", [-0.1, 1.001, np.nan])
@pytest.mark.parametrize("factory", [ties, dare_ties])
def test_density_outside_its_domain(factory, density):
    coefficients = constant_coefficients(factory(), tree(), 2, density=density)
    with pytest.raises(ValueError, match=r"density .* must be a finite number from 0 to 1"):
        check_coefficients(factory(), coefficients)


def test_weights_are_only_bounded_by_being_finite():
    check_coefficients(ties(), constant_coefficients(ties(), tree(), 2, weight=-3.0))
    with pytest.raises(ValueError, match="weight inf"):
        check_coefficients(ties(), constant_coefficients(ties(), tree(), 2, weight=np.inf))


def test_unknown_and_missing_coefficients():
    with pytest.raises(ValueError, match="has no coefficient"):
        constant_coefficients(linear(), tree(), 2, density=0.5)
    with pytest.raises(ValueError, match="takes the coefficients"):
        check_coefficients(ties(), {"norm": {"weight": np.ones(2)}})
    sources = (tree(), tree())
    statistics = init_statistics(linear(), None, sources)
    with pytest.raises(ValueError, match="no coefficients for this leaf"):
        merge(linear(), None, sources, {}, statistics, 0)
    coefficients = constant_coefficients(linear(), tree(), 2)
    coefficients["norm"] = {}
    with pytest.raises(ValueError, match="norm: coefficient weight is missing"):
        merge(linear(), None, sources, coefficients, statistics, 0)


@pytest.mark.parametrize(
    ("path", "shape"), [("norm", (3,)), ("norm", (2, 2)), ("layers.w", (2, 3))]
)
def test_coefficients_of_the_wrong_shape(path, shape):
    sources = (tree(), tree())
    coefficients = constant_coefficients(linear(), tree(), 2)
    coefficients[path] = {"weight": jnp.ones(shape)}
    with pytest.raises(ValueError, match=f"{path}: coefficient weight has shape"):
        merge(linear(), None, sources, coefficients, {"norm": (), "layers.w": ()}, 0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_have_32_bits(seed):
    with pytest.raises(ValueError, match="0 to 2"):
        leaf_key(seed, "norm")
    assert leaf_key(2**32 - 1, "norm") == leaf_key(jnp.uint32(2**32 - 1), "norm")
    jax.jit(lambda s: leaf_key(s, "norm"))(jnp.uint32(3))
