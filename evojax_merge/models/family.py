"""Model families: what a ``config.json`` selects, and all the rest needs to know of a model.

Adding a family is adding a folder with its modelling and its tables of names and shapes, and one
entry to `FAMILIES`. The modelling is imported when a model is first made or run: many a merge needs
nothing but names and shapes.
"""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.documents.errors import shown
from evojax_merge.models.decoder import params as decoder_params
from evojax_merge.models.decoder.config import MODEL_TYPES, DecoderConfig
from evojax_merge.models.groups import Group
from evojax_merge.models.mlp import params as mlp_params
from evojax_merge.models.mlp.config import MLPConfig
from evojax_merge.tree import unflatten
from evojax_merge.types import Params, PRNGKey

_LAYER = "{layer}"


class Slot(NamedTuple):
    """Where one tensor of a checkpoint lives: a leaf, or one layer of a stacked leaf."""

    path: str
    layer: int | None
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """Models that share their code and the layout of their parameters.

    ``config`` below is whatever ``config_from_hf`` returns; a path is the dotted path of a leaf.

    Attributes:
        name: What the family is called in messages, and its folder.
        model_types: Values of ``model_type`` in ``config.json`` that select it.
        config_from_hf: Reads ``config.json``; raises ValueError on what the family cannot compute.
        hf_fields: Fields of ``config.json`` that a merge may have changed, with their values.
        shapes: Path -> shape of every leaf, in the order of the tree.
        num_layers: Length of the layer axis of stacked leaves; 0 when none is stacked.
        names: Path -> tensor name, with ``{layer}`` in it when the leaf is stacked.
        groups: Path -> parameter group.
        aliases: Tensor names that a checkpoint may store besides, as copies -> the name copied.
        vocabulary_paths: Leaves with one row per token of the tokenizer.
        linear_inputs: Path of each linear layer's weight -> path of the layer that stands for all
            that read the same input, where ``forward`` takes a probe (see `models.probe`).
        ignored: Names of tensors that are no parameters.
    """

    name: str
    model_types: tuple[str, ...]
    config_from_hf: Callable[[Mapping[str, Any]], Any]
    hf_fields: Callable[[Any], dict[str, object]]
    shapes: Callable[[Any], Mapping[str, tuple[int, ...]]]
    num_layers: Callable[[Any], int]
    names: Callable[[Any], Mapping[str, str]]
    groups: Callable[[Any], dict[str, Group]]
    aliases: Callable[[Any], dict[str, str]]
    vocabulary_paths: Callable[[Any], tuple[str, ...]]
    linear_inputs: Callable[[Any], dict[str, str]]
    ignored: re.Pattern[str] | None = None

    def init_params(self, config: Any, key: PRNGKey) -> Params:
        """Random parameters."""
        return self._modeling.init_params(config, key)

    def abstract_params(self, config: Any) -> Params:
        """Shapes of the parameter tree, without memory."""
        shapes = self.shapes(config).items()
        return unflatten({path: jax.ShapeDtypeStruct(s, jnp.float32) for path, s in shapes})

    @property
    def forward(self) -> Callable[..., Any]:
        """The pure function (config, params, inputs, …) -> outputs."""
        return self._modeling.forward

    @property
    def _modeling(self) -> Any:
        return importlib.import_module(f"evojax_merge.models.{self.name}.modeling")

    def is_layered(self, config: Any, path: str) -> bool:
        """Whether a leaf is stacked over layers."""
        return _LAYER in self.names(config)[path]

    def slots(self, config: Any) -> dict[str, Slot]:
        """Every tensor a checkpoint must hold, by name, in the order of the layers."""
        names = self.names(config)
        found = {}
        for path, shape in self.shapes(config).items():
            if _LAYER not in names[path]:
                found[names[path]] = Slot(path, None, shape)
                continue
            for layer in range(shape[0]):
                name = names[path].format(layer=layer)
                found[name] = Slot(path, layer, shape[1:])
        return found


DECODER = Family(
    name="decoder",
    model_types=MODEL_TYPES,
    config_from_hf=DecoderConfig.from_hf,
    hf_fields=decoder_params.hf_fields,
    shapes=decoder_params.shapes,
    num_layers=lambda config: config.num_layers,
    names=decoder_params.names,
    groups=decoder_params.groups,
    aliases=decoder_params.aliases,
    vocabulary_paths=decoder_params.vocabulary_paths,
    linear_inputs=decoder_params.linear_inputs,
    ignored=decoder_params.BUFFERS,
)

MLP = Family(
    name="mlp",
    model_types=("mlp",),
    config_from_hf=MLPConfig.from_hf,
    hf_fields=lambda config: {"hidden_sizes": list(config.hidden_sizes)},
    shapes=mlp_params.shapes,
    num_layers=lambda config: 0,
    names=mlp_params.names,
    groups=mlp_params.groups,
    aliases=lambda config: {},
    vocabulary_paths=lambda config: (),
    linear_inputs=mlp_params.linear_inputs,
)

FAMILIES = (DECODER, MLP)


def family_of(hf_config: Mapping[str, Any]) -> Family:
    """The family that a ``config.json`` selects by its ``model_type``.

    Raises:
        ValueError: No family computes models of this type.
    """
    kind = hf_config.get("model_type")
    for family in FAMILIES:
        if isinstance(kind, str) and kind in family.model_types:
            return family
    known = sorted(name for family in FAMILIES for name in family.model_types)
    raise ValueError(
        f"config.json: model_type {shown(kind)} is not supported; supported are {', '.join(known)}"
    )
