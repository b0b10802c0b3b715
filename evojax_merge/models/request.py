"""What a fitness task asks a model to do."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evojax_merge.params.types import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Request:
    """A kind of work, with the numbers that determine its program.

    A task says in its request what it needs, and a family has an ability for each kind of request
    that its models can carry out (see `evojax_merge.models.ability`).

    Attributes:
        needs: What a model must be able to do, for messages: "this model cannot NEEDS".
        predicts: Whether the model predicts something, so that its uncertainty has a meaning.
    """

    needs: ClassVar[str]
    predicts: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class Generate(Request):
    """Continue prompts greedily.

    A batch holds tokens ``[batch, seq]``, padded on the left, and the first slot of each row that
    is not padding. Outputs are the new tokens, int32 ``[pop, batch, new]``, with the end token kept
    and padding after it.

    Attributes:
        max_new_tokens: The longest answer.
        eos_ids: The tokens that end an answer.
        pad_id: The token that fills the output after the end.
        prefix: How many tokens all prompts begin with; a candidate reads them once.
        slots: How many prompts a candidate answers at a time; None: all of a batch.
    """

    needs: ClassVar[str] = "generate text"
    max_new_tokens: int
    eos_ids: tuple[int, ...]
    pad_id: int
    prefix: int = 0
    slots: int | None = None


@dataclasses.dataclass(frozen=True)
class Loglikelihood(Request):
    """Add up the log-probabilities of marked tokens.

    A batch holds tokens and first slots as of `Generate`, and which tokens are marked. Outputs are
    float32 ``[pop, batch]``, in nats.

    Attributes:
        prefix: How many tokens all rows begin with; a candidate reads them once.
    """

    needs: ClassVar[str] = "tell the likelihood of text"
    prefix: int = 0


@dataclasses.dataclass(frozen=True)
class Classify(Request):
    """Tell classes apart: a batch holds features, outputs are logits ``[pop, batch, classes]``."""

    needs: ClassVar[str] = "classify feature vectors"


class Pixels(NamedTuple):
    """How numbers from 0 to 255 become what a model reads: ``scale · pixel + shift``."""

    scale: Float[Array | np.ndarray, " channels"]
    shift: Float[Array | np.ndarray, " channels"]


class Prompts(NamedTuple):
    """Classes in words, which the text tower of the candidate reads, each in several prompts.

    Tokens are padded on the right; what stands after a prompt's end token does not matter.
    """

    tokens: Int[Array | np.ndarray, "classes templates seq"]


class Head(NamedTuple):
    """Classes as rows of a linear map, the same for all candidates.

    With a bias it reads the features of a picture as they are. Without one it reads their
    direction: the features are brought to length 1, as for classes in words.

    Attributes:
        weight: A row for each class.
        bias: Of each class.
        projection: Where it is given, features are projected by it before anything else.
    """

    weight: Float[Array | np.ndarray, "classes features"]
    bias: Float[Array | np.ndarray, " classes"] | None = None
    projection: Float[Array | np.ndarray, "features hidden"] | None = None


@dataclasses.dataclass(frozen=True)
class ClassifyPictures(Request):
    """Tell what pictures show.

    A batch holds pictures, uint8 ``[batch, channels, height, width]``, and two fields that all of
    them have in common: `Pixels`, and the classes as `Prompts` or as a `Head`. Outputs are logits
    ``[pop, batch, classes]``.

    Attributes:
        rows: How many pictures, or prompts, a candidate reads at a time.
    """

    needs: ClassVar[str] = "classify pictures"
    rows: int = 256


@dataclasses.dataclass(frozen=True)
class CountLayers(Request):
    """Count the layers that are run, over the number in the batch: float32 ``[pop, batch]``."""

    needs: ClassVar[str] = "count the layers that a token passes"
    predicts: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True)
class Compute(Request):
    """Call a function that a task brings itself, for models that this package cannot run.

    Attributes:
        function: (tensors of one candidate by their names on disk, *fields of a batch) -> outputs
            with a leading batch axis; pure, in JAX.
        memory: Bytes that it takes for one candidate and batch, estimated from above.
    """

    needs: ClassVar[str] = "hand its tensors to a function of the task"
    predicts: ClassVar[bool] = False
    function: Callable[..., Any]
    memory: int = 0


@dataclasses.dataclass(frozen=True)
class Several(Request):
    """Carry out the requests of several tasks, each by itself (`evojax_merge.fitness.several`)."""

    needs: ClassVar[str] = "carry out several requests in one"
    predicts: ClassVar[bool] = False
