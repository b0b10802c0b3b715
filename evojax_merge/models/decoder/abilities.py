"""What decoders can do: they generate text, tell likelihoods, and count their layers."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from evojax_merge.models.ability import Ability, Batch, ItemLoglikelihood, Predict, Program
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.continuous import refill_of
from evojax_merge.models.decoder.inference.generation import make_generate
from evojax_merge.models.decoder.inference.pictures import Features, Pictures
from evojax_merge.models.decoder.inference.scoring import (
    make_loglikelihood,
    sequence_loglikelihood,
)
from evojax_merge.models.decoder.loglikelihood import pieces_of_logits
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.path import PATH
from evojax_merge.models.request import CountLayers, Generate, Loglikelihood
from evojax_merge.params.population import capacity
from evojax_merge.params.types import Array, Bool, Float, Int, Params, Tokens

_FEW = 8
"""The number of answers at a time below which less memory is not worth the time."""


class Generation(Ability):
    """This ability decodes with a population (see `inference.generation`)."""

    def program(
        self,
        config: DecoderConfig,
        request: Generate,
        axes: Any,
        pictures: Pictures | None = None,
    ) -> Program:
        return make_generate(
            config,
            axes,
            max_new_tokens=request.max_new_tokens,
            eos_ids=request.eos_ids,
            pad_id=request.pad_id,
            prefix=request.prefix,
            slots=request.slots,
            beams=request.beams,
            repetition_penalty=request.repetition_penalty,
            pictures=pictures or pictures_of(config, request),
        )

    def bytes(
        self,
        config: DecoderConfig,
        request: Generate,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        count, seq = batch[0].shape
        rows, seq = min(count, request.slots or count), seq - request.prefix
        read = refill_of(rows) if rows < count and request.beams == 1 else rows
        written = request.beams * request.max_new_tokens
        token = 2 * (hops or config.num_layers) * config.num_kv_heads * config.head_dim
        cache = token * ((seq + written) * rows + request.prefix)
        cache += token * seq * read if read < rows else 0
        activations = _activations(config, read, seq, request.prefix, itemsize)
        activations += _features(request, batch[2:], read, itemsize)
        if request.beams > 1:  # as many queries as beams look at all that any beam has written
            step = _activations(
                config, rows, request.beams, request.prefix + seq + written, itemsize
            )
            activations = max(activations, step)
        return activations + itemsize * cache + _choosing(config, request, rows)

    def smaller(self, request: Generate, batches: Sequence[Batch]) -> Generate | None:
        most = request.slots or max(len(batch[0]) for batch in batches)
        halved = most // 2
        few = halved * request.beams < _FEW or halved < 1
        return None if few else dataclasses.replace(request, slots=halved)

    def predict(self, config: DecoderConfig, request: Generate) -> Predict:
        run = functools.partial(forward, config, image_token_id=request.image_token_id)

        def first_token(
            params: Params,
            tokens: Tokens,
            start: Int[Array, " batch"],
            features: Features | None = None,
            shift: Int[Array, "batch slots axes"] | None = None,
        ) -> tuple[Array, Array]:
            shown = functools.partial(run, features=features, shift=shift)
            logits, _ = shown(params, tokens, start, last_only=True)
            return logits, jnp.ones(logits.shape[:2])

        return first_token


class Likelihood(Ability):
    """This ability sums the log-probabilities of marked tokens (see `inference.scoring`)."""

    def program(
        self,
        config: DecoderConfig,
        request: Loglikelihood,
        axes: Any,
        pictures: Pictures | None = None,
    ) -> Program:
        pictures = pictures or pictures_of(config, request)
        return make_loglikelihood(config, axes, request.prefix, pictures, request.greedy)

    def bytes(
        self,
        config: DecoderConfig,
        request: Loglikelihood,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        rows, seq = batch[0].shape
        seq -= request.prefix
        activations = _activations(config, rows, seq, request.prefix, itemsize)
        activations += _features(request, batch[3:], rows, itemsize)
        pieces = max(1, pieces_of_logits(config, rows, seq))
        return activations + 4 * rows * -(-seq // pieces) * config.vocab_size

    def predict(self, config: DecoderConfig, request: Loglikelihood) -> Predict:
        run = functools.partial(forward, config, image_token_id=request.image_token_id)

        def marked_tokens(
            params: Params,
            tokens: Tokens,
            start: Int[Array, " batch"],
            target: Bool[Array, "batch seq"],
            features: Features | None = None,
            shift: Int[Array, "batch slots axes"] | None = None,
        ) -> tuple[Array, Array]:
            logits, _ = run(params, tokens, start, features=features, shift=shift)
            return logits[:, :-1], target[:, 1:].astype(jnp.float32)

        return marked_tokens

    def loglikelihood(self, config: DecoderConfig) -> ItemLoglikelihood:
        of_sequences = functools.partial(sequence_loglikelihood, config)

        def of_text(
            params: Params,
            tokens: Int[Array, " seq"],
            start: Int[Array, ""],
            target: Bool[Array, " seq"],
        ) -> Float[Array, ""]:
            return of_sequences(params, tokens[None], start[None], target[None])[0]

        return of_text

    def rows(
        self, fields: tuple[np.ndarray, ...], real: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        tokens, start, _ = fields
        slots = np.arange(tokens.shape[1]) >= start[:, None]
        return (tokens, start), slots * real[:, None]


class LayerCount(Ability):
    """This ability counts the layers that a candidate runs: the hops of its path, or all."""

    def program(self, config: DecoderConfig, request: CountLayers, axes: Any) -> Program:
        def count(params: Params, layers: Int[Array, " batch"]) -> Float[Array, "pop batch"]:
            if PATH in params:
                return params[PATH].length[:, None] / layers
            return jnp.full((capacity(axes, params), 1), config.num_layers) / layers

        return count

    def bytes(
        self,
        config: DecoderConfig,
        request: CountLayers,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        return 0


ABILITIES = {Generate: Generation(), Loglikelihood: Likelihood(), CountLayers: LayerCount()}


def pictures_of(config: DecoderConfig, request: Generate | Loglikelihood) -> Pictures | None:
    """Return how pictures are seen whose features are the same for all candidates."""
    if request.image_token_id is None:
        return None
    return Pictures(request.image_token_id, shifted=bool(config.rope.sections))


def _choosing(config: DecoderConfig, request: Generate, rows: int) -> int:
    """Estimate the bytes of what the next tokens of some rows are chosen by.

    Beams have logits, sums of log-probabilities, and those of them that do not end, in two orders.
    """
    arrays = 1 if request.beams == 1 else 4
    seen = 0 if request.repetition_penalty == 1.0 else 2
    return rows * request.beams * config.vocab_size * (4 * arrays + seen)


def _features(request: Generate | Loglikelihood, pictures: Batch, rows: int, itemsize: int) -> int:
    """Estimate the bytes of the features of some rows, which are looked up and put in place."""
    if request.image_token_id is None:
        return 0
    features = pictures[0]
    _, slots, hidden = features.shape
    return rows * slots * hidden * (itemsize + features.dtype.itemsize)


def _activations(config: DecoderConfig, rows: int, seq: int, prefix: int, itemsize: int) -> int:
    """Estimate the bytes of reading some tokens of each row, or the prefix of all before that."""
    width = itemsize * (4 * config.hidden_size + 2 * config.intermediate_size)
    shared = prefix * (width + 4 * config.num_heads * prefix)
    return max(shared, rows * seq * (width + 4 * config.num_heads * (prefix + seq)))
