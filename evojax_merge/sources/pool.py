"""A pool: the layers of several models one after another, for paths to run through."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints import Checkpoint, CheckpointError, Model
from evojax_merge.models.decoder.absorb import absorb
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.path import Path
from evojax_merge.models.decoder.windows import window_fields
from evojax_merge.models.family import DECODER
from evojax_merge.params.abstract import is_abstract
from evojax_merge.params.on_host import is_apart
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params

FREE = ("num_layers", "windows", "vocab_size", "max_position_embeddings", "tie_word_embeddings")
"""The fields of a configuration in which the models of a pool may differ."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """Layers of several models, with what one of them has besides.

    Attributes:
        names: The names of the models, in order.
        layers: The number of layers of each model.
        skeleton: The model that gives embedding, final norm, head and tokenizer; its parameters are
            those of the pool.
        config: The configuration of a decoder of all the layers.
        params: The parameters of that decoder.
    """

    names: tuple[str, ...]
    layers: tuple[int, ...]
    skeleton: Model
    config: DecoderConfig
    params: Params

    def plain(self, path: Path) -> Model:
        """Make the ordinary model that computes what the path computes (see `absorb`).

        Raises:
            AbsorptionError: Plain weights cannot express the path.
        """
        config, params = absorb(self.config, self.params, path)
        hf_config = self.skeleton.hf_config | window_fields(self.skeleton.hf_config, config.windows)
        return dataclasses.replace(self.skeleton, config=config, hf_config=hf_config, params=params)


class Route(NamedTuple):
    """A path through a pool, which is a model that is run without changing a weight."""

    pool: Pool
    path: Path


def check_pool(names: Sequence[str], models: Sequence[Model | Checkpoint]) -> None:
    """Check that layers of these models can follow one another.

    Raises:
        CheckpointError: The models differ in something that all layers of a model share; the
            message names every field.
    """
    problems = [
        f"{name}: is a {model.family.name}; layers can be routed in decoders only"
        for name, model in zip(names, models, strict=True)
        if model.family is not DECODER
    ]
    if not problems:
        first = dataclasses.asdict(models[0].config)
        for name, model in zip(names[1:], models[1:], strict=True):
            own = dataclasses.asdict(model.config)
            problems += [
                f"{name}: {field} is {own[field]!r}, that of {names[0]} is {first[field]!r}"
                for field in first
                if field not in FREE and own[field] != first[field]
            ]
        problems += _window_problems(names, models)
    if problems:
        raise CheckpointError(
            "layers of these models cannot follow one another:\n  " + "\n  ".join(problems)
        )


def make_pool(
    models: Sequence[Model], names: Sequence[str], skeleton: int, dtype: np.dtype | None = None
) -> Pool:
    """Lay the layers of models one after another.

    Args:
        models: The decoders, whose layers are copied once.
        names: The names of the models.
        skeleton: The index of the model that gives what is no layer.
        dtype: The dtype of the pool; by default the skeleton's.

    Raises:
        CheckpointError: `check_pool` refuses the models.
    """
    check_pool(names, models)
    frame = models[skeleton]
    wanted = frame.dtype if dtype is None else dtype
    leaves = [flatten(model.params) for model in models]
    params = {}
    stacked = frame.family.layout(frame.config).stacked
    for path, leaf in flatten(frame.params).items():
        parts = [own[path] for own in leaves] if path in stacked else [leaf]
        if is_abstract(parts):
            params[path] = jax.eval_shape(functools.partial(_laid, wanted, jnp), parts)
        else:
            params[path] = _laid(wanted, jnp if any(map(is_apart, parts)) else np, parts)
    layers = tuple(model.config.num_layers for model in models)
    windows = tuple(window for model in models for window in model.config.windows)
    config = dataclasses.replace(frame.config, num_layers=sum(layers), windows=windows)
    return Pool(
        tuple(names),
        layers,
        dataclasses.replace(frame, dtype=wanted),
        config,
        unflatten(params),
    )


def _laid(dtype: np.dtype, library: Any, parts: Sequence[Any]) -> Any:
    """Lay arrays one after another, by NumPy or by JAX."""
    cast = [library.asarray(part).astype(dtype, copy=False) for part in parts]
    return cast[0] if len(cast) == 1 else library.concatenate(cast)


def _window_problems(names: Sequence[str], models: Sequence[Model | Checkpoint]) -> list[str]:
    """Why a ``config.json`` of one of the models could not give all layers their windows."""
    windows = [window for model in models for window in model.config.windows]
    counts = [f"{n} has {m.config.num_layers}" for n, m in zip(names, models, strict=True)]
    problems = []
    for model in models:  # each may be the one whose configuration the result carries
        try:
            window_fields(model.hf_config, windows)
        except ValueError as error:
            problems.append(f"{error} (layers are counted through all: {', '.join(counts)})")
    return list(dict.fromkeys(problems))
