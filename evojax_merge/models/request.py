"""What a fitness task asks a model to do."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evojax_merge.models.diffusion.conditions import Conditioning, Conditions, PromptTokens
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.params.types import Array, Float, Int, Params

OWN_MEASURE = "fitness=external measures any model, by a function of your own"
"""What helps where a model cannot do what a task needs."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A kind of work, with the numbers that determine its program.

    A task says in its request what it needs, and a family has an ability for each kind of request
    that its models can carry out (see `evojax_merge.models.ability`).

    Attributes:
        needs: What a model must be able to do, as messages say it: "this model cannot NEEDS".
        predicts: Whether the model predicts something, so that its uncertainty has a meaning.
    """

    needs: ClassVar[str]
    predicts: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class Generate(Request):
    """This request asks a model to continue prompts, greedily or by beam search.

    A batch holds tokens ``[batch, seq]``, padded on the left, and the first slot of each row that
    is not padding. Where prompts have pictures, fields of these follow (see `Sight`). Outputs are
    the new tokens, int32 ``[pop, batch, new]``, with the end token kept and padding after it.

    Attributes:
        max_new_tokens: The longest answer.
        eos_ids: The tokens that end an answer.
        pad_id: The token that fills the output after the end.
        prefix: How many tokens all prompts begin with. A candidate reads them once.
        slots: How many prompts a candidate answers at a time. With None it answers all of a batch.
        image_token_id: The token in whose place a feature of a picture stands, or None where
            prompts have no pictures.
        beams: How many continuations of a prompt are followed at a time. With 1 decoding is greedy.
        repetition_penalty: What tokens that stand in the prompt or in the answer so far are
            penalised by, above 0. With 1.0 they are not.
    """

    needs: ClassVar[str] = "generate text"
    max_new_tokens: int
    eos_ids: tuple[int, ...]
    pad_id: int
    prefix: int = 0
    slots: int | None = None
    image_token_id: int | None = None
    beams: int = 1
    repetition_penalty: float = 1.0


@dataclasses.dataclass(frozen=True)
class Loglikelihood(Request):
    """This request asks for the summed log-probabilities of marked tokens.

    A batch holds tokens and first slots as for `Generate`, and which tokens are marked. Where rows
    have pictures, fields of these follow (see `Sight`). Outputs are float32 ``[pop, batch]``, in
    nats.

    Attributes:
        prefix: How many tokens all rows begin with. A candidate reads them once.
        image_token_id: The token in whose place a feature of a picture stands, or None where rows
            have no pictures.
        greedy: Whether it is asked, too, if greedy decoding would write the marked tokens. Outputs
            are then ``[pop, batch, 2]``: the sums, and 1 where each marked token is the likeliest
            after those before it, or else 0.
    """

    needs: ClassVar[str] = "tell the likelihood of text"
    prefix: int = 0
    image_token_id: int | None = None
    greedy: bool = False


@dataclasses.dataclass(frozen=True)
class Classify(Request):
    """This request asks for the classes of feature vectors.

    A batch holds features. Outputs are logits ``[pop, batch, classes]``.
    """

    needs: ClassVar[str] = "classify feature vectors"


class Pixels(NamedTuple):
    """The numbers by which pixels from 0 to 255 become input: ``scale · pixel + shift``."""

    scale: Float[Array | np.ndarray, " channels"]
    shift: Float[Array | np.ndarray, " channels"]


class Sight(NamedTuple):
    """What the pictures of all prompts have in common, where a candidate computes their features.

    The pictures of a batch are then several fields: what the tower reads of tiles, of which the
    first is uint8 ``[batch, tiles, channels, height, width]``, the index of each feature, int32
    ``[batch, slots]`` (see `evojax_merge.models.seeing.vision.Look`), and this. Where the features
    are the same for all candidates there is one field: the features, ``[batch, slots, hidden]``.
    Where positions have several axes, another field follows that says where features stand, int32
    ``[batch, slots, axes]`` (see `evojax_merge.models.decoder.rope.token_shift`).

    Attributes:
        pixels: The numbers by which pixels become input.
        params: The parts of the model that are the same for all candidates, by name.
    """

    pixels: Pixels
    params: Params


class Prompts(NamedTuple):
    """Classes in words, each in several prompts, which the text tower of the candidate reads.

    Tokens are padded on the right. What stands after a prompt's end token does not matter.
    """

    tokens: Int[Array | np.ndarray, "classes templates seq"]


class Head(NamedTuple):
    """Classes as rows of a linear map, the same for all candidates.

    With a bias the head reads the features of a picture as they are. Without one it reads their
    direction: the features are brought to length 1, as for classes in words.

    Attributes:
        weight: The matrix of the map, with a row for each class.
        bias: The bias of each class, if there is one.
        projection: The matrix that projects the features before anything else, if there is one.
    """

    weight: Float[Array | np.ndarray, "classes features"]
    bias: Float[Array | np.ndarray, " classes"] | None = None
    projection: Float[Array | np.ndarray, "features hidden"] | None = None


@dataclasses.dataclass(frozen=True)
class ClassifyPictures(Request):
    """This request asks what pictures show.

    A batch holds pictures, uint8 ``[batch, channels, height, width]``, and two fields that all of
    them have in common: `Pixels`, and the classes as `Prompts` or as a `Head`. Outputs are logits
    ``[pop, batch, classes]``.

    Attributes:
        rows: How many pictures, or prompts, a candidate reads at a time.
    """

    needs: ClassVar[str] = "classify pictures"
    rows: int = 256


class Drawing(NamedTuple):
    """What the pictures of a batch have in common.

    Attributes:
        params: The parts of the pipeline that are the same for all candidates, by name. A part that
            a candidate has for itself comes before one in here. With the `unet` alone merged this
            is the `vae`, of which the decoder suffices.
        negative: What guidance leads away from, in one row without time ids: `Conditions`, or
            `PromptTokens` where the items of the batch are. With None it is zeros. Where guidance
            is 1 or less it is not read.
        judge: The parameters of the judge, or anything where there is no judge.
    """

    params: Params
    negative: Conditions | PromptTokens | None = None
    judge: Any = None


@dataclasses.dataclass(frozen=True)
class Draw(Request):
    """This request asks for pictures of prompts.

    A batch holds the `Conditions` of each picture, or its `PromptTokens` where candidates have text
    encoders of their own; its seed; arrays that the judge reads; and what all have in common, a
    `Drawing`. The noise that a picture begins with is a function of its seed alone. Numbers of a
    picture are between 0 and 1, in steps of 1/255, as in a file, or nan where the model gave nan.

    Outputs are those of the judge, float32 ``[pop, batch, scores]``. Without a judge they are the
    pictures, uint8 ``[pop, batch, height, width, 3]``.

    Attributes:
        sampler: How noise becomes latents.
        guidance: How far the prompt leads away from the negative prompt. At 1 or less the UNet runs
            on the prompt alone.
        height: The height of the pictures in pixels.
        width: Their width in pixels.
        vae: The configuration of the autoencoder that turns latents into pictures.
        conditioning: How prompts become conditions. It is only needed where candidates have text
            encoders of their own.
        judge: A pure function in JAX: (its parameters, pictures float32 ``[rows, 3, height,
            width]``, *arrays that the judge reads, each with those rows) -> scores ``[rows,
            scores]``. The request is a key of caches, so that it must be the same object whenever
            it does the same.
        judge_bytes: The bytes that the judge takes for each picture, estimated from above.
        rows: How many pictures a candidate draws at a time. With None it draws all of a batch.
    """

    needs: ClassVar[str] = "draw pictures"
    predicts: ClassVar[bool] = False
    sampler: Sampler
    guidance: float
    height: int
    width: int
    vae: Any
    conditioning: Conditioning | None = None
    judge: Callable[..., Any] | None = None
    judge_bytes: int = 0
    rows: int | None = None


@dataclasses.dataclass(frozen=True)
class CountLayers(Request):
    """This request asks for the number of layers that are run, divided by that in the batch.

    Outputs are float32 ``[pop, batch]``.
    """

    needs: ClassVar[str] = "count the layers that a token passes"
    predicts: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True)
class Distance(Request):
    """This request asks for the distance ``‖w − b‖ / ‖b‖`` of all weights w to given ones b.

    A batch holds a row, which says nothing, and b as a `Common`. Outputs are float32 ``[pop,
    batch]``.
    """

    needs: ClassVar[str] = "be compared with other weights"
    predicts: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True)
class Compute(Request):
    """This request calls a function of the task, for models that this package cannot run.

    Attributes:
        function: A pure function in JAX: (tensors of one candidate by their names on disk, *fields
            of a batch) -> outputs with a leading batch axis.
        memory: The bytes that it takes for one candidate and batch, estimated from above.
    """

    needs: ClassVar[str] = "hand its tensors to a function of the task"
    predicts: ClassVar[bool] = False
    function: Callable[..., Any]
    memory: int = 0


@dataclasses.dataclass(frozen=True)
class HandOver(Request):
    """This request hands each candidate, one after another, to a function on the host.

    It is for measures that no program of ours computes. Fields of a batch are not read. Outputs are
    those of the function, float32 ``[pop, numbers]``.

    Attributes:
        function: The function from the parameters of one model, on the host and as the layout has
            them, to its numbers.
    """

    needs: ClassVar[str] = "be written as a checkpoint"
    predicts: ClassVar[bool] = False
    function: Callable[[Params], Float[np.ndarray, " numbers"]]


@dataclasses.dataclass(frozen=True)
class Several(Request):
    """This request joins those of several tasks (see `evojax_merge.fitness.several`)."""

    needs: ClassVar[str] = "carry out several requests in one"
    predicts: ClassVar[bool] = False
