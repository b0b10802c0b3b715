"""A processor's way to compute attention gives what computing all heads at once gives."""

import jax
import jax.numpy as jnp
import pytest

from evojax_merge.models.clip.attention import MANY, States, attend


def _states(seed: int, dtype: jnp.dtype | type = jnp.float32) -> States:
    return jax.random.normal(jax.random.key(seed), (2, MANY, 2, 4), dtype)


@pytest.mark.few(1)
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.02)])
def test_heads_one_by_one_give_what_they_give_at_once(dtype: type, tolerance: float) -> None:
    q, k, v = (_states(seed, dtype) for seed in range(3))
    found = jax.jit(attend, static_argnums=3)(q, k, v, False)
    assert found.dtype == dtype
    assert jnp.abs(found - jax.nn.dot_product_attention(q, k, v)).max() < tolerance


def test_large_logits_do_not_overflow() -> None:
    q, k, v = _states(0) * 1e3, _states(1), _states(2)
    assert jnp.isfinite(attend(q, k, v, False)).all()


def test_a_population_gets_what_each_candidate_gets() -> None:
    q = jnp.stack([_states(0), _states(3)])
    together = jax.vmap(lambda one: attend(one, one, one, False))(q)
    for one, found in zip(q, together, strict=True):
        assert jnp.abs(found - attend(one, one, one, False)).max() < 1e-6


@pytest.mark.slow
def test_gradients_are_those_of_all_heads_at_once() -> None:
    q = _states(0)
    found = jax.grad(lambda q: (attend(q, q, q, False) ** 2).sum())(q)
    known = jax.grad(lambda q: (jax.nn.dot_product_attention(q, q, q) ** 2).sum())(q)
    assert jnp.abs(found - known).max() < 1e-4


def test_a_causal_tower_does_not_look_ahead() -> None:
    q, k, v = (_states(seed) for seed in range(3))
    changed = attend(q, k, v.at[:, -1].add(1.0), True)
    assert (attend(q, k, v, True)[:, :-1] == changed[:, :-1]).all()
