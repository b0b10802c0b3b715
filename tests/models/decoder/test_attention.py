"""Attention of many queries gives what few give, in the way that a processor computes it."""

import jax
import jax.numpy as jnp
import pytest

from evojax_merge.models.decoder.attention import MANY, attend

HEADS, KV_HEADS, WIDTH = 4, 2, 8


@pytest.mark.few(1)
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
@pytest.mark.parametrize("soft_cap", [None, 2.0])
def test_many_queries_get_what_they_get_a_few_at_a_time(
    dtype: type, tolerance: float, soft_cap: float | None
) -> None:
    """Rows have padding, whose queries see nothing, and groups of heads share keys."""
    keys = jax.random.split(jax.random.key(0), 3)
    q = jax.random.normal(keys[0], (2, MANY, HEADS, WIDTH), dtype)
    k = jax.random.normal(keys[1], (2, KV_HEADS, WIDTH, MANY), dtype)
    v = jax.random.normal(keys[2], (2, KV_HEADS, MANY, WIDTH), dtype)
    times = jnp.arange(MANY)
    start = jnp.array([0, 9])
    seen = (times[:, None] >= times) & (times >= start[:, None, None])
    together = jax.jit(lambda q, seen: attend(q, k, v, seen, soft_cap=soft_cap))
    found, few = together(q, seen), MANY // 2
    assert found.dtype == dtype
    parts = [together(q[:, at : at + few], seen[:, at : at + few]) for at in (0, few)]
    assert jnp.abs(found - jnp.concatenate(parts, axis=1)).max() < tolerance
    population = jax.vmap(lambda q: attend(q, k, v, seen, soft_cap=soft_cap))(jnp.stack([q, -q]))
    assert jnp.abs(population[0] - found).max() < tolerance
