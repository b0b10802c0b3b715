"""A plan says which tensor of which model goes where in a merge, with which numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints import Adapter, Checkpoint
from evojax_merge.checkpoints.headers import TensorInfo
from evojax_merge.exchange.methods import Method, Static
from evojax_merge.exchange.resolution import Coefficients
from evojax_merge.exchange.vocabulary import Tokens
from evojax_merge.models import Slot


@dataclasses.dataclass(frozen=True)
class Origin:
    """A tensor of a checkpoint: the model's index in the plan, and the tensor's name."""

    model: int
    tensor: str


@dataclasses.dataclass(frozen=True)
class Job:
    """A job is the merge of one tensor of the result.

    Attributes:
        name: The name of the tensor in the result.
        slot: The place of the tensor in a parameter tree.
        dtype: The dtype of the tensor in the result.
        base: The origin of task vectors, where the method has one.
        sources: The tensors that are merged, in the order of the operator.
        static: The arguments of the operator's factory.
        lam: The scale of the merged task vector.
        coefficients: The coefficients by name, each a number or one for each source.
        in_vocabulary: Whether the tensor has a row for each token.
    """

    name: str
    slot: Slot
    dtype: np.dtype
    base: Origin | None
    sources: tuple[Origin, ...]
    static: Static
    lam: float
    coefficients: Coefficients
    in_vocabulary: bool

    @property
    def origins(self) -> tuple[Origin, ...]:
        """All tensors that are read, the base first."""
        return (() if self.base is None else (self.base,)) + self.sources


class Carried(NamedTuple):
    """A tensor that is copied, with its name in the result and the place that it is from."""

    name: str
    info: TensorInfo


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan is a merge that can be run.

    Attributes:
        method: The method that merges all tensors.
        checkpoints: The checkpoint of every model, known by its headers.
        reference: The index of the model whose configuration the result carries.
        jobs: The merges of tensors, in the order of the result's files.
        hf_config: The result's ``config.json``.
        generation_config: The result's ``generation_config.json``, if the reference has one.
        tokens: How tables of tokens are brought to one vocabulary. None leaves them as they are.
        chat_template: The chat template of the result's tokenizer. None leaves its own.
        adapters: The LoRA adapters that are added to models, by the index of the model.
        carried: The tensors that are no parameters, and are copied as they are.
    """

    method: Method
    checkpoints: tuple[Checkpoint, ...]
    reference: int
    jobs: tuple[Job, ...]
    hf_config: dict[str, Any]
    generation_config: dict[str, Any] | None
    tokens: Tokens | None
    chat_template: str | None
    adapters: Mapping[int, Adapter]
    carried: tuple[Carried, ...] = ()
