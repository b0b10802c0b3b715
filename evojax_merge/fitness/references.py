"""What a task would have a model answer, as arrays whose likelihood has a gradient."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8

from evojax_merge.fitness.encoder import pad_left, plan_buckets
from evojax_merge.models.ability import Common


class TextReferences(NamedTuple):
    """Texts of one length bucket, padded on the left; each item has one or several.

    The value of a text is Σ weight · log p(token | tokens before it). The log-likelihood of an item
    with one text is its value. That of an item with several texts is the value of the right one
    less the log of the sum of the exponentials of all values.

    Attributes:
        tokens: The token ids; where an item has fewer texts than others, its first one is repeated.
        start: The first slot of each text that is not padding.
        weight: How much the log-probability of each token counts; 0 at the first token of a text.
        present: Whether a text is the item's own; False at the repetitions.
        right: The index of the right text of each item.
    """

    tokens: Int32[np.ndarray, "items choices seq"]
    start: Int32[np.ndarray, "items choices"]
    weight: Float32[np.ndarray, "items choices seq"]
    present: Bool[np.ndarray, "items choices"]
    right: Int32[np.ndarray, " items"]


class ClassReferences(NamedTuple):
    """Feature vectors and their classes."""

    inputs: Float32[np.ndarray, "items features"]
    labels: Int[np.ndarray, " items"]


class PictureReferences(NamedTuple):
    """The fields of a batch of pictures, and their classes."""

    pictures: UInt8[np.ndarray, "items channels height width"]
    pixels: Common
    classes: Common
    labels: Int32[np.ndarray, " items"]


References = TextReferences | ClassReferences | PictureReferences


@runtime_checkable
class Referenced(Protocol):
    """A bound task that knows what it would have a model answer."""

    def references(self) -> tuple[References, ...]:
        """The answers, one batch per length bucket.

        Raises:
            ValueError: The answers do not fit into the model's context.
        """
        ...


class Text(NamedTuple):
    """Token ids, how many of the first are given, and how much each other one counts."""

    ids: Sequence[int]
    known: int
    weight: float


def references_of(task: Any) -> tuple[References, ...]:
    """The reference answers of a bound task.

    Raises:
        ValueError: The task has none, or they do not fit into the model's context.
    """
    if not isinstance(task, Referenced):
        raise ValueError(
            f"{type(task).__name__} has no reference answers whose likelihood could be followed; "
            "use one of fitness=generation, multiple_choice, perplexity, classification and "
            "image_classification, or strategy.objective=entropy"
        )
    return task.references()


def text_references(
    items: Sequence[Sequence[Text]], right: Int[np.ndarray, " items"], pad: int, buckets: int
) -> tuple[TextReferences, ...]:
    """Arrays of the texts of each item.

    Args:
        items: The texts of each item, at least one.
        right: The index of the right text of each item.
        pad: The padding token.
        buckets: The largest number of padded lengths.
    """
    most = max(map(len, items))
    lengths = [max(len(text.ids) for text in own) for own in items]
    batches = []
    for rows, length in plan_buckets(lengths, buckets):
        chosen = [items[row] for row in rows]
        filled = [text for own in chosen for text in (*own, *[own[0]] * (most - len(own)))]
        tokens, start = pad_left([text.ids for text in filled], length, pad)
        scored = np.array([len(text.ids) - text.known for text in filled])
        each = np.array([text.weight for text in filled], np.float32)
        weight = np.where(np.arange(length) >= length - scored[:, None], each[:, None], 0)
        batches.append(
            TextReferences(
                tokens.reshape(-1, most, length),
                start.reshape(-1, most),
                weight.astype(np.float32).reshape(-1, most, length),
                np.arange(most) < np.array([len(own) for own in chosen])[:, None],
                right[rows].astype(np.int32),
            )
        )
    return tuple(batches)
