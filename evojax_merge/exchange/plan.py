"""A merge that can be run: which tensor of which model goes where, with which numbers."""

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
    """One tensor of the result.

    Attributes:
        name: In the result.
        slot: Where it stands in a parameter tree.
        dtype: Of the result.
        base: The origin of task vectors, where the method has one.
        sources: In order.
        static: Arguments of the operator.
        lam: Scale of the merged task vector.
        coefficients: By name: a number, or one for each source.
        in_vocabulary: Whether it has a row for each token.
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
    """A tensor that is copied: its name in the result, and where it is from."""

    name: str
    stored: str
    info: TensorInfo


@dataclasses.dataclass(frozen=True)
class Plan:
    """A merge that can be run.

    Attributes:
        method: Of all tensors.
        checkpoints: Every model, known by its headers.
        reference: Index of the one whose configuration the result carries.
        jobs: In the order of the result's files.
        hf_config: The result's ``config.json``.
        generation_config: Its ``generation_config.json``, if the reference has one.
        tokens: How tables of tokens are brought to one vocabulary; None leaves them as they are.
        chat_template: That the tokenizer gets; None leaves its own.
        adapters: By the index of a model: the LoRA adapter that is added to it.
        carried: Tensors that are no parameters, copied as they are.
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
