"""How pictures in prompts reach a decoder: as rows that stand in the place of embeddings."""

import dataclasses
from collections.abc import Callable
from typing import Any

from evojax_merge.params.types import Array, Float

Features = Float[Array, "rows slots hidden"]


def _as_given(eyes: None, features: Features) -> Features:
    return features


@dataclasses.dataclass(frozen=True)
class Pictures:
    """How the pictures of prompts become features.

    Features of a prompt are rows ``[slots, hidden]``, of which the first stands in the place of the
    prompt's first picture token, and so on.

    Attributes:
        token_id: The picture token.
        features_fn: A function: (the eyes of a candidate, *fields of some prompts' pictures) ->
            their features. By default the one field is the features.
        axes: The axis of the population in the eyes, which are parameters of what sees pictures.
            With None candidates have no eyes of their own.
        shifted: Whether the last field of the pictures says where features stand, which is not for
            ``features_fn``: how much further their positions are than their places in a prompt,
            int32 ``[rows, slots, axes]`` (see `evojax_merge.models.decoder.rope.token_shift`).
    """

    token_id: int
    features_fn: Callable[..., Features] = _as_given
    axes: Any = None
    shifted: bool = False
