"""What the files of a checkpoint hold, however many they are and whatever they are called."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from evojax_merge.checkpoints.headers import TensorInfo


class Contents(NamedTuple):
    """The configuration and the headers of a checkpoint, before they are checked.

    Attributes:
        hf_config: The configuration.
        tensors: The headers of parameters by name.
        carried: The headers of what is no parameter, by name.
        components: The folders of a pipeline by name, those without weights too.
    """

    hf_config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    carried: dict[str, TensorInfo]
    components: Mapping[str, Path] = MappingProxyType({})
