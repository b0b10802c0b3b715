"""Attention of a decode step by a kernel that reads only the slots in use.

A ring of slots has room for the longest answer. What a row sees at a step is the stretch of slots
from its first token, or from the far end of its window, to its newest token, and the stretch may
run over the end of the ring. Plain products read the whole ring at every step. The kernel reads the
blocks of slots that hold some of the stretch, in one pass with a running softmax, as FlashAttention
does (Dao et al., 2022, arXiv 2205.14135). It is written in Pallas for GPUs.
"""

import functools
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from evojax_merge.models.target import target
from evojax_merge.params.types import Array, Float, Int

BLOCK = 64
"""The number of slots that are read together."""

_ROWS = 16
"""The least number of rows of a product on a GPU's matrix units."""

_PROGRAMS = 256
"""How many programs fill a large GPU. Long stretches are divided where there are fewer."""

_LOWEST = -0.7 * float(np.finfo(np.float32).max)


class Partial(NamedTuple):
    """A softmax mixture that others can be joined to.

    Attributes:
        mixed: The sum of exp(score − greatest) · value, in float32.
        greatest: The greatest score.
        total: The sum of exp(score − greatest).
    """

    mixed: Float[Array, "*parts batch kv_heads group head_dim"]
    greatest: Float[Array, "*parts batch kv_heads group"]
    total: Float[Array, "*parts batch kv_heads group"]

    def normalised(self) -> Float[Array, "*parts batch kv_heads group head_dim"]:
        """Return the mixture itself."""
        return self.mixed / self.total[..., None]


def join(parts: Partial) -> Partial:
    """Join the mixtures that stand along the first axis into one."""
    greatest = jnp.max(parts.greatest, axis=0)
    share = jnp.exp(parts.greatest - greatest)
    return Partial(
        mixed=jnp.sum(parts.mixed * share[..., None], axis=0),
        greatest=greatest,
        total=jnp.sum(parts.total * share, axis=0),
    )


def is_computed(dtype: Any, head_dim: int) -> bool:
    """Tell whether the kernel computes attention of such keys: 16 bits, 2ⁿ channels from 16 on.

    It computes whole models alone. A GPU whose kernel fails, or gives other numbers than plain
    products do, is left to those.
    """
    narrow = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
    able = narrow and head_dim >= _ROWS and math.log2(head_dim).is_integer()
    return able and target().whole and _works(jnp.dtype(dtype), head_dim)


@functools.partial(jax.jit, static_argnames=("scale", "soft_cap", "interpret"))
def attend_in_use(
    q: Float[Array, "batch kv_heads group head_dim"],
    k: Float[Array, "batch kv_heads head_dim slots"],
    v: Float[Array, "batch kv_heads slots head_dim"],
    first: Int[Array, " batch"],
    last: Int[Array, ""],
    scale: float,
    soft_cap: float | None = None,
    *,
    interpret: bool = False,
) -> Partial:
    """Mix the values of the tokens from ``first`` to ``last`` by softmax, with float32 sums.

    Args:
        q: The queries of each row's newest token.
        k: The keys. The token of time t stands in slot t mod slots.
        v: The values.
        first: The time of the first token that each row sees, at least 0.
        last: The time of the newest token. No row sees more tokens than there are slots.
        scale: What scores are multiplied by.
        soft_cap: What scores are capped by (see `attention.capped`).
        interpret: Whether the kernel is interpreted, on a device that cannot run it.
    """
    batch, heads, group, width = q.shape
    slots, blocks = k.shape[-1], pl.cdiv(k.shape[-1], BLOCK)
    rows = max(_ROWS, pl.next_power_of_2(group))
    q = jnp.pad(q, ((0, 0), (0, 0), (0, rows - group), (0, 0)))
    parts = min(pl.next_power_of_2(pl.cdiv(_PROGRAMS, batch * heads)), pl.next_power_of_2(blocks))

    def own(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *shape), lambda b, h, p: (b, h, *(0 for _ in shape)))

    def part(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec(
            (None, None, None, *shape), lambda b, h, p: (p, b, h, *(0 for _ in shape))
        )

    shapes = [(parts, batch, heads, rows, width), *((parts, batch, heads, rows),) * 2]
    kernel = functools.partial(_kernel, slots=slots, parts=parts, scale=scale, soft_cap=soft_cap)
    mixed, greatest, total = pl.pallas_call(
        kernel,
        grid=(batch, heads, parts),
        in_specs=[
            pl.BlockSpec((None,), lambda b, h, p: (b,)),
            pl.BlockSpec((None,), lambda b, h, p: (0,)),
            own(rows, width),
            own(width, slots),
            own(slots, width),
        ],
        out_specs=[part(rows, width), part(rows), part(rows)],
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name="attention_of_slots_in_use",
    )(first, jnp.reshape(last, 1), q, k, v)
    found = Partial(mixed[..., :group, :], greatest[..., :group], total[..., :group])
    return join(found)


@functools.cache
def _works(dtype: np.dtype, head_dim: int) -> bool:
    """Tell whether the kernel of a GPU gives what plain products give. It is tried once for each.

    It is tried in a thread of its own. The question comes up while a program is traced, where the
    trial would become a part of that program, without numbers to compare.
    """
    if jax.default_backend() != "gpu":
        return True  # nothing runs it here, though a program may be compiled for a GPU elsewhere
    with ThreadPoolExecutor(max_workers=1) as apart:
        problem = apart.submit(_problem, dtype, head_dim).result()
    if problem is not None:
        warnings.warn(
            f"the kernel for attention of a decode step is not used on this GPU for {head_dim} "
            f"channels in {dtype}: {problem}; plain products read the whole cache at every step",
            stacklevel=2,
        )
    return problem is None


def _problem(dtype: np.dtype, width: int) -> str | None:
    """Run the kernel once beside plain products, and tell what is wrong with it, if anything."""
    slots, last = 3 * BLOCK + 8, 4 * BLOCK + 8
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((2, 2, 4, width), (2, 2, width, slots), (2, 2, slots, width))
    q, k, v = (
        jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True)
    )
    first = jnp.array([last - slots + 1, 3 * BLOCK], jnp.int32)  # one fills the ring
    time = last - (last - jnp.arange(slots)) % slots
    scores = jnp.einsum("bkgd,bkds->bkgs", q, k, preferred_element_type=jnp.float32)
    seen = (time >= first[:, None])[:, None, None]
    weights = jax.nn.softmax(jnp.where(seen, scores / width, _LOWEST))
    plain = jnp.einsum("bkgs,bksd->bkgd", weights, v.astype(jnp.float32))
    try:
        own = attend_in_use(q, k, v, first, jnp.int32(last), 1 / width).normalised()
        if bool(jnp.allclose(own, plain, atol=0.02)):
            return None
        return f"it is {float(jnp.max(jnp.abs(own - plain))):.2g} from what plain products give"
    except Exception as error:  # whatever a compiler or a driver says
        return str(error).partition("\n")[0]


def _kernel(
    first_ref: Any,
    last_ref: Any,
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    mixed_ref: Any,
    greatest_ref: Any,
    total_ref: Any,
    *,
    slots: int,
    parts: int,
    scale: float,
    soft_cap: float | None,
) -> None:
    """Mix one part of the blocks of one row for the queries of one head of keys."""
    first, last = first_ref[...], last_ref[...]
    begin, count = first % slots, pl.cdiv(slots, BLOCK)
    # Where the last block is short, a stretch that runs over the end of the ring passes its rest.
    runs_over = (begin + last - first >= slots).astype(jnp.int32)
    passed = runs_over * (count * BLOCK - slots)
    # A stretch that fills the ring may begin and end in one block, which is then read once.
    used = jnp.minimum((begin % BLOCK + last - first + passed) // BLOCK + 1, count)
    share = pl.cdiv(used, parts)
    start = pl.program_id(2) * share
    q = q_ref[...]
    rows, width = q.shape

    def mix(index: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        mixed, greatest, total = carry
        corner = (begin // BLOCK + index) % count * BLOCK
        slot = corner + jnp.arange(BLOCK)
        inside = slot < slots
        time = last - (last - slot + slots) % slots
        seen = (inside & (time >= first))[None, :]
        here = pl.ds(corner, BLOCK)
        k = triton.load(k_ref.at[:, here], mask=inside[None, :], other=0)
        scores = triton.dot(q, k) * scale
        scores = scores if soft_cap is None else soft_cap * jnp.tanh(scores / soft_cap)
        higher = jnp.maximum(greatest, jnp.max(jnp.where(seen, scores, _LOWEST), axis=1))
        weights = jnp.where(seen, jnp.exp(scores - higher[:, None]), 0.0)
        kept = jnp.exp(greatest - higher)
        v = triton.load(v_ref.at[here, :], mask=inside[:, None], other=0)
        mixed = mixed * kept[:, None] + triton.dot(weights.astype(v.dtype), v)
        return mixed, higher, total * kept + jnp.sum(weights, axis=1)

    nothing = jnp.zeros((rows, width), jnp.float32)
    lowest = jnp.full((rows,), _LOWEST, jnp.float32)
    found = (nothing, lowest, jnp.zeros((rows,), jnp.float32))
    stop = jnp.minimum(start + share, used)
    mixed, greatest, total = jax.lax.fori_loop(start, stop, mix, found)
    mixed_ref[...] = mixed
    greatest_ref[...] = greatest
    total_ref[...] = total
