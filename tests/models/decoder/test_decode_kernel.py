"""The kernel of a decode step, interpreted, gives what plain products over the whole ring give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder import decode_kernel
from evojax_merge.models.decoder.attention import (
    UNLIMITED,
    Positions,
    Rotation,
    attend,
    attend_by_kernel,
    shared_part,
    visible,
)

ROWS, KV_HEADS, GROUP, WIDTH = 3, 2, 3, 16
RINGS = {
    "half full": (100, 49),
    "just full": (100, 99),
    "wrapped": (100, 170),
    "many times around": (200, 1999),
    "blocks that fit": (128, 130),
    "less than a block": (20, 33),
}


def positions(slots, last):
    """Rows that began as long ago as possible, in the middle, and just now."""
    oldest = max(0, last - slots + 1)
    start = jnp.array([oldest, (oldest + last) // 2, last], jnp.int32)
    position = (last - start)[:, None]
    nothing = Rotation(jnp.zeros((ROWS, 1, 0)), jnp.zeros((ROWS, 1, 0)))
    return Positions(nothing, position, jnp.array([last]), start, False)


def arrays(slots, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (
        (ROWS, 1, KV_HEADS * GROUP, WIDTH),
        (ROWS, KV_HEADS, WIDTH, slots),
        (ROWS, KV_HEADS, slots, WIDTH),
    )
    return [jnp.asarray(rng.standard_normal(shape), jnp.bfloat16) for shape in shapes]


@pytest.mark.few(2)
@pytest.mark.parametrize("cap", [None, 5.0], ids=["plain", "soft cap"])
@pytest.mark.parametrize("window", [UNLIMITED, 30], ids=["all", "window"])
@pytest.mark.parametrize("before", [0, 5], ids=["alone", "after a prefix"])
@pytest.mark.parametrize("ring", RINGS)
def test_what_rows_see_is_mixed(ring, before, window, cap):
    slots, last = RINGS[ring]
    q, k, v = arrays(slots)
    at, window = positions(slots, last), jnp.int32(window)
    shared = None
    if before:
        at = at._replace(position=at.position + before)
        keys, values = (part[:1, ..., :before, :] for part in (k.swapaxes(2, 3), v))
        shared = shared_part(keys.swapaxes(2, 3), values, at, window)
    scale = 0.3
    plain = attend(q, k, v, visible(at, at.times(slots), window), shared, None, scale, cap)
    found = attend_by_kernel(q, k, v, at, window, shared, scale, cap, interpret=True)
    assert (found.shape, found.dtype) == (plain.shape, plain.dtype)
    wide = np.asarray(plain, np.float32)
    assert wide.std() > 0.1
    np.testing.assert_allclose(np.asarray(found, np.float32), wide, atol=0.03)


def test_the_newest_token_is_read_wherever_a_stretch_begins():
    slots, last = 200, 264  # the last block is short, and the newest slot begins another
    first = last - jnp.arange(0, slots, 8)
    k = jnp.zeros((len(first), 1, WIDTH, slots))
    q, v = k[..., :1].swapaxes(2, 3), k.swapaxes(2, 3)
    found = decode_kernel.attend_in_use(q, k, v, first, jnp.int32(last), 1.0, interpret=True)
    np.testing.assert_array_equal(found.total[:, 0, 0], last - first + 1)


def test_other_slots_are_not_read():
    slots, last = RINGS["wrapped"]
    q, k, v = arrays(slots)
    at = positions(slots, last)
    times = np.asarray(at.times(slots))
    unseen = times[None] < np.asarray(at.start)[:, None]
    assert unseen.any()
    spoilt = (
        jnp.where(unseen[:, None, None, :], jnp.nan, k),
        jnp.where(unseen[:, None, :, None], 0, v),
    )
    window = jnp.int32(UNLIMITED)
    found = attend_by_kernel(q, *spoilt, at, window, None, None, None, interpret=True)
    whole = attend_by_kernel(q, k, v, at, window, None, None, None, interpret=True)
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("slots", [20, 1280, 1300])
@pytest.mark.parametrize("cap", [None, 5.0], ids=["plain", "soft cap"])
def test_the_kernel_is_lowered_for_a_gpu(slots, cap):
    """What is interpreted here may still be refused by the compiler of a GPU's kernels."""
    shapes = ((2, 2, 4, 64), (2, 2, 64, slots), (2, 2, slots, 64))
    q, k, v = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes)
    first, last = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((2,), ()))
    traced = decode_kernel.attend_in_use.trace(q, k, v, first, last, 0.1, cap)
    assert "triton" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_a_population_is_mixed_as_its_members_are():
    slots, last = RINGS["wrapped"]
    at, window = positions(slots, last), jnp.int32(UNLIMITED)

    def own(q, k, v):
        return attend_by_kernel(q, k, v, at, window, None, None, None, interpret=True)

    members = [arrays(slots, seed) for seed in range(2)]
    together = jax.vmap(own)(*(jnp.stack(parts) for parts in zip(*members, strict=True)))
    np.testing.assert_array_equal(together, [own(*member) for member in members])


@pytest.mark.parametrize(
    ("dtype", "width", "computed"),
    [
        (jnp.bfloat16, 128, True),
        (jnp.float16, 64, True),
        (jnp.float32, 128, False),
        (jnp.bfloat16, 96, False),
        (jnp.bfloat16, 8, False),
    ],
)
def test_what_the_kernel_computes(dtype, width, computed):
    assert decode_kernel.is_computed(dtype, width) == computed


@pytest.fixture
def untried():
    """What was found out about this machine's kernel is forgotten, and so is what a test finds."""
    decode_kernel._works.cache_clear()
    yield
    decode_kernel._works.cache_clear()


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("fault", ["raises", "errs"])
def test_a_gpu_whose_kernel_fails_is_left_to_plain_products(monkeypatch, fault):
    def broken(q, k, v, *rest, **options):
        if fault == "raises":
            raise RuntimeError("no such instruction\nwith details")
        wrong = jnp.ones(q.shape, jnp.float32)
        return decode_kernel.Partial(wrong, wrong[..., 0], wrong[..., 0])

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(decode_kernel, "attend_in_use", broken)
    said = "no such instruction; plain" if fault == "raises" else "from what plain products give"
    with pytest.warns(UserWarning, match=said):
        assert not decode_kernel.is_computed(jnp.bfloat16, 128)
    assert not decode_kernel.is_computed(jnp.bfloat16, 128)  # said once


@pytest.mark.usefixtures("untried")
def test_a_kernel_is_tried_with_the_channels_and_the_type_that_it_is_asked_for(monkeypatch):
    def narrow(q, *rest, **options):
        if q.shape[-1] > 64 or q.dtype != jnp.bfloat16:
            raise RuntimeError("out of shared memory")
        return own(q, *rest, interpret=True)

    own = decode_kernel.attend_in_use
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(decode_kernel, "attend_in_use", narrow)
    assert decode_kernel.is_computed(jnp.bfloat16, 64)
    for dtype, width in ((jnp.bfloat16, 256), (jnp.float16, 64)):
        with pytest.warns(UserWarning, match=f"for {width} channels in .*shared memory"):
            assert not decode_kernel.is_computed(dtype, width)


@pytest.mark.usefixtures("untried")
def test_a_gpu_whose_kernel_is_right_uses_it(monkeypatch):
    def interpreted(*args):
        return own(*args, interpret=True)

    own = decode_kernel.attend_in_use
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(decode_kernel, "attend_in_use", interpreted)
    answers = []

    def program(x):
        answers.append(decode_kernel.is_computed(jnp.bfloat16, 128))
        return x

    jax.eval_shape(jax.vmap(program), jnp.ones(2))  # as where a decode step is traced
    answers.append(decode_kernel.is_computed(jnp.bfloat16, 128))
    assert answers == [True, True]
