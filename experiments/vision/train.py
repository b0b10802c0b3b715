"""Training with AdamW, and what is minimised."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from evojax_merge.models.decoder import modeling as decoder
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.llava import modeling as llava
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.config import LANGUAGE
from evojax_merge.params.types import Array, Float, Params
from experiments.vision.batches import Batch, PictureBatch

Loss = Callable[[Params, Params, Any], Float[Array, ""]]
"""Of the parameters that are trained, those that are not, and a batch."""


class Stage(NamedTuple):
    """For how long training goes on, and how fast.

    Attributes:
        name: What it is called while it runs.
        steps: The number of steps.
        rate: The learning rate after warm-up. It falls to a tenth, along a cosine.
        warmup: The number of steps until then.
    """

    name: str
    steps: int
    rate: float
    warmup: int = 20


def fit(
    loss: Loss, params: Params, batches: Iterator[Any], stage: Stage, fixed: Params | None = None
) -> Params:
    """Train parameters; those in ``fixed`` stay. The same batches give the same result."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, stage.rate, stage.warmup, stage.steps, stage.rate / 10
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, b2=0.98, weight_decay=0.01, mask=_matrices),
    )

    @jax.jit
    def step(params: Params, state: Any, fixed: Params, batch: Any) -> tuple[Params, Any, Array]:
        value, gradient = jax.value_and_grad(loss)(params, fixed, batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state, began = optimizer.init(params), time.monotonic()
    for number in range(1, stage.steps + 1):
        params, state, value = step(params, state, fixed or {}, next(batches))
        if number % 100 == 0 or number == stage.steps:
            seconds = time.monotonic() - began
            print(f"{stage.name}: step {number}, loss {value:.3f}, {seconds:.0f} s", flush=True)
    return params


def text_loss(config: DecoderConfig) -> Loss:
    """Of a decoder, over documents without pictures."""

    def loss(params: Params, fixed: Params, batch: Batch) -> Float[Array, ""]:
        start = jnp.zeros(len(batch.tokens), jnp.int32)
        logits, _ = decoder.forward(config, params, batch.tokens[:, :-1], start)
        return _weighted(logits, batch)

    return loss


def picture_loss(config: LlavaConfig, pixels: Pixels) -> Loss:
    """Of a LLaVA, over documents that begin with a picture."""

    def loss(params: Params, fixed: Params, batch: PictureBatch) -> Float[Array, ""]:
        whole, (pictures, documents) = {**params, **fixed}, batch
        seen = llava.features(config, whole, pictures, pixels)
        start = jnp.zeros(len(pictures), jnp.int32)
        logits, _ = decoder.forward(
            config.text,
            whole[LANGUAGE],
            documents.tokens[:, :-1],
            start,
            features=seen,
            image_token_id=config.pictures.token_id,
        )
        return _weighted(logits, documents)

    return loss


def _weighted(logits: Float[Array, "batch seq vocab"], batch: Batch) -> Float[Array, ""]:
    """Return the weighted mean cross-entropy of the next token."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.tokens[:, 1:])
    weights = batch.weights[:, 1:]
    return (losses * weights).sum() / weights.sum()


def _matrices(params: Params) -> Params:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
