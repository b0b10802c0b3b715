"""Training by next-token prediction on generated documents."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from transformers import PreTrainedTokenizerFast

from evojax_merge.models.decoder import modeling
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Float, Params
from experiments.quickstart.data import PROMPT_TEMPLATE, Document, Mixture, sample_documents

BUCKETS = (48, 96, 112)


class Batch(NamedTuple):
    """Right-padded sequences and the weight of predicting each token."""

    tokens: np.ndarray
    weights: np.ndarray


class Places(NamedTuple):
    """The layers whose attention is trained, and those whose MLP is."""

    attention: tuple[int, ...]
    mlp: tuple[int, ...]


class Stage(NamedTuple):
    """One training stage: what is read, for how long, how fast, and which places learn from it.

    Attributes:
        mixture: Generators of documents, with their weights.
        prompt_weight: The weight of the tokens of prompts in the loss; those of responses have 1.
        final_rate: The learning rate at the end, as a share of the largest.
        tokens: In a batch, about.
        trained: The places that are trained; None for all parameters.
    """

    mixture: Mixture
    steps: int
    learning_rate: float
    seed: int
    prompt_weight: float = 0.1
    warmup: int = 50
    final_rate: float = 0.1
    tokens: int = 1152
    trained: Places | None = None


def encode(
    tokenizer: PreTrainedTokenizerFast, document: Document, prompt_weight: float
) -> tuple[list[int], list[float]]:
    """Token ids of `<s> prompt response </s>` and the weight of each as a target."""
    prompt = tokenizer(PROMPT_TEMPLATE.format(question=document.prompt))["input_ids"]
    response = tokenizer(document.response, add_special_tokens=False)["input_ids"]
    ids = [*prompt, *response, tokenizer.eos_token_id]
    weights = [0.0, *[prompt_weight] * (len(prompt) - 1), *[1.0] * (len(response) + 1)]
    return ids, weights


def batches(
    tokenizer: PreTrainedTokenizerFast, stage: Stage, rng: np.random.Generator
) -> Iterator[Batch]:
    """Endless batches of one length each, about equal in tokens."""
    waiting: dict[int, list[tuple[list[int], list[float]]]] = {length: [] for length in BUCKETS}
    while True:
        for document in sample_documents(rng, stage.mixture, 256):
            ids, weights = encode(tokenizer, document, stage.prompt_weight)
            length = next(b for b in BUCKETS if b >= len(ids))
            waiting[length].append((ids, weights))
            if len(waiting[length]) == stage.tokens // length:
                yield pad(waiting[length], length, tokenizer.pad_token_id)
                waiting[length] = []


def pad(rows: Sequence[tuple[list[int], list[float]]], length: int, pad_id: int) -> Batch:
    """Bring rows to one length; padding weighs nothing."""
    tokens = np.full((len(rows), length), pad_id, np.int32)
    weights = np.zeros((len(rows), length), np.float32)
    for row, (ids, values) in enumerate(rows):
        tokens[row, : len(ids)] = ids
        weights[row, : len(values)] = values
    return Batch(tokens, weights)


def loss_fn(config: DecoderConfig, params: Params, batch: Batch) -> Float[Array, ""]:
    """Weighted mean cross-entropy of the next token."""
    start = jnp.zeros(len(batch.tokens), jnp.int32)
    logits, _ = modeling.forward(config, params, batch.tokens[:, :-1], start)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.tokens[:, 1:])
    weights = batch.weights[:, 1:]
    return (losses * weights).sum() / weights.sum()


def train(
    config: DecoderConfig,
    params: Params,
    tokenizer: PreTrainedTokenizerFast,
    stage: Stage,
    report: Callable[[int, float, Params], None] | None = None,
    every: int = 100,
) -> Params:
    """AdamW with warm-up and cosine decay; the same seed gives the same parameters."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0,
        stage.learning_rate,
        stage.warmup,
        stage.steps,
        stage.learning_rate * stage.final_rate,
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, b2=0.98, weight_decay=0.01, mask=_matrices),
    )

    def update(params, optimizer_state, batch):
        loss, gradient = jax.value_and_grad(lambda p: loss_fn(config, p, batch))(params)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        updates = jax.tree.map(jnp.multiply, updates, trained)
        return optax.apply_updates(params, updates), optimizer_state, loss

    trained = trained_places(params, stage.trained)

    update = jax.jit(update)
    optimizer_state = optimizer.init(params)
    source = batches(tokenizer, stage, np.random.default_rng(stage.seed))
    for step in range(1, stage.steps + 1):
        params, optimizer_state, loss = update(params, optimizer_state, next(source))
        if report is not None and step % every == 0:
            report(step, float(loss), params)
    return params


def trained_places(params: Params, places: Places | None) -> Params:
    """A mask of the parameters: one where a stage trains, zero elsewhere."""
    if places is None:
        return jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), params)

    def mask(path: str, leaf: Array) -> Array:
        layers = places.attention if ".self_attn." in path else places.mlp
        if ".self_attn." not in path and ".mlp." not in path:
            return jnp.zeros((), leaf.dtype)
        own = jnp.zeros(len(leaf), leaf.dtype).at[jnp.array(layers, int)].set(1)
        return own.reshape(-1, *[1] * (leaf.ndim - 1))

    return unflatten({path: mask(path, leaf) for path, leaf in flatten(params).items()})


def _matrices(params: Params) -> Params:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
