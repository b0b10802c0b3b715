"""Attention through `jax.nn.dot_product_attention` against the plain products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder import flash, modeling
from evojax_merge.models.decoder.attention import attend
from evojax_merge.models.decoder.cache import init_cache
from evojax_merge.models.decoder.modeling import forward
from tests.models.decoder.test_modeling import ALL_CONFIGS, LENGTHS, START, make, tokens

VALID = np.arange(LENGTHS.max()) >= START[:, None]


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture
def xla(monkeypatch):
    """What stands for cuDNN where there is none."""
    monkeypatch.setattr(modeling, "implementation_for", lambda dtype, head_dim: "xla")


def arrays(dtype):
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal(shape) for shape in ((3, 10, 4, 8), (3, 2, 8, 10), (3, 2, 10, 8))
    )
    seen = np.tril(np.ones((10, 10), bool)) & VALID[:, None]
    return *(jnp.asarray(one, dtype) for one in (q, k, v)), jnp.asarray(seen)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2e-2)])
def test_a_kernel_computes_the_same(dtype, tolerance):
    plain = np.asarray(attend(*arrays(dtype)), np.float32)
    fused = np.asarray(attend(*arrays(dtype), kernel="xla"), np.float32)
    np.testing.assert_allclose(fused[VALID], plain[VALID], atol=tolerance)


def test_a_population_is_folded_into_the_batch_of_the_kernel():
    q, k, v, seen = arrays(jnp.float32)
    population = jnp.stack([q, 2 * q])
    fused = functools.partial(attend, kernel="xla")
    mixed = jax.vmap(fused, in_axes=(0, None, None, None))(population, k, v, seen)
    for one, own in zip(mixed, population, strict=True):
        np.testing.assert_allclose(one[VALID], attend(own, k, v, seen)[VALID], atol=1e-6)
    jaxpr = jax.make_jaxpr(jax.vmap(fused, in_axes=(0, None, None, None)))(population, k, v, seen)
    assert "f32[6,10,4,8]" in str(jaxpr)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_CONFIGS)
def test_a_decoder_with_it_is_the_same(name, xla):
    """A decoder with soft caps does without it."""
    config, params = make(name)
    plain, _ = forward(config, params, tokens(), START)
    fused, _ = forward(config, params, tokens(), START, kernels=True)
    np.testing.assert_allclose(fused[VALID], plain[VALID], atol=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_with_a_cache_and_a_prefix(name, xla):
    config, params = make(name)
    prefix = init_cache(config, 1, 4, jnp.float32)
    _, prefix = forward(config, params, tokens((1, 4)), np.zeros(1, np.int32), prefix)
    found = []
    for kernels in (False, True):
        cache = init_cache(config, 3, 12, jnp.float32)
        logits, cache = forward(
            config, params, tokens(), START, cache, 0, prefix=prefix, kernels=kernels
        )
        step, _ = forward(
            config, params, tokens((3, 1)), START, cache, jnp.int32(10), prefix=prefix
        )
        found.append((logits[VALID], step))
    for plain, fused in zip(*found, strict=True):
        np.testing.assert_allclose(fused, plain, atol=5e-5)


@pytest.mark.parametrize(
    ("dtype", "head_dim", "capability", "expected"),
    [
        (jnp.bfloat16, 128, "8.0", "cudnn"),
        (jnp.float16, 256, "9.0", "cudnn"),
        (jnp.bfloat16, 256, "8.9", None),
        (jnp.bfloat16, 64, "7.5", None),
        (jnp.bfloat16, 60, "9.0", None),
        (jnp.float32, 64, "9.0", None),
    ],
)
def test_what_the_kernel_of_a_gpu_takes(dtype, head_dim, capability, expected, monkeypatch):
    class Device:
        compute_capability = capability
        platform_version = "cuda 12"

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    monkeypatch.setattr(flash, "get_backend", Device)
    assert flash.implementation_for(dtype, head_dim) == expected
