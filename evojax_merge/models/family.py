"""Model families: what a ``config.json`` selects, and all the rest needs to know of a model.

Adding a family is adding a folder with its modelling and its tables of names and shapes, and one
entry to `FAMILIES`. The modelling is imported when a model is first made or run: many a merge needs
nothing but names and shapes.
"""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.documents.errors import shown
from evojax_merge.models.ability import Ability
from evojax_merge.models.clip import params as clip_params
from evojax_merge.models.clip.config import MODEL_TYPES as CLIP_TYPES
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.decoder import params as decoder_params
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.variants import MODEL_TYPES
from evojax_merge.models.layout import Layout, Slot
from evojax_merge.models.mlp import params as mlp_params
from evojax_merge.models.mlp.config import MLPConfig
from evojax_merge.models.named import params as named_params
from evojax_merge.models.named.config import NamedConfig, kind_of
from evojax_merge.models.request import Request
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params, PRNGKey

Shapes = Mapping[str, tuple[int, ...]]


def _with_vocab_size(config: Any, rows: int) -> Any:
    return dataclasses.replace(config, vocab_size=rows)


@dataclasses.dataclass(frozen=True)
class Family:
    """Models that share their code and the layout of their parameters.

    ``config`` below is whatever ``config_from_hf`` returns; a path is the dotted path of a leaf.

    Attributes:
        name: What the family is called in messages, and its folder.
        model_types: Values of ``model_type`` in ``config.json`` that select it.
        config_from_hf: Reads ``config.json``; raises ValueError on what the family cannot compute.
        config_from_files: Reads ``config.json`` and the shapes of the stored tensors by name, where
            the configuration alone does not say how tensors are called.
        with_vocabulary: The same configuration with another number of rows in the leaves that have
            one for each token.
        hf_fields: Fields of ``config.json`` that a merge may have changed, with their values.
        layout: Makes the layout of the models of a configuration.
        ignored: Names of tensors that are no parameters.
        carried: Whether a tensor of this name and shape is a buffer, which a merge has from its
            reference, as it has whole numbers. None: a checkpoint has no such tensors.
        architectures: Which of the ``architectures`` of a model type it computes; None: all.
    """

    name: str
    model_types: tuple[str, ...]
    config_from_hf: Callable[[Mapping[str, Any]], Any]
    hf_fields: Callable[[Any], dict[str, object]]
    layout: Callable[[Any], Layout]
    ignored: re.Pattern[str] | None = None
    config_from_files: Callable[[Mapping[str, Any], Shapes], Any] | None = None
    with_vocabulary: Callable[[Any, int], Any] = _with_vocab_size
    carried: Callable[[str, tuple[int, ...]], bool] | None = None
    architectures: re.Pattern[str] | None = None

    def computes(self, hf_config: Mapping[str, Any]) -> bool:
        """Whether a ``config.json`` is that of a model of the family."""
        kind, named = hf_config.get("model_type"), hf_config.get("architectures")
        if not isinstance(kind, str) or kind not in self.model_types:
            return False
        if self.architectures is None or not isinstance(named, list) or not named:
            return True
        return all(self.architectures.fullmatch(str(name)) for name in named)

    def read_config(self, hf_config: Mapping[str, Any], stored: Callable[[], Shapes]) -> Any:
        """The configuration of a model whose files are there.

        Args:
            hf_config: ``config.json``.
            stored: Called for the shapes of the stored tensors by name, where they are needed.

        Raises:
            ValueError: The family cannot compute such a model.
        """
        if self.config_from_files is None:
            return self.config_from_hf(hf_config)
        return self.config_from_files(hf_config, stored())

    def init_params(self, config: Any, key: PRNGKey) -> Params:
        """Random parameters."""
        return self._modeling.init_params(config, key)

    def abstract_params(self, config: Any) -> Params:
        """Shapes of the parameter tree, without memory."""
        shapes = self.layout(config).shapes.items()
        return unflatten({path: jax.ShapeDtypeStruct(s, jnp.float32) for path, s in shapes})

    @property
    def forward(self) -> Callable[..., Any]:
        """The pure function (config, params, inputs, …) -> outputs."""
        return self._modeling.forward

    @property
    def abilities(self) -> Mapping[type[Request], Ability]:
        """What models of the family can do, by the kind of request."""
        return importlib.import_module(f"evojax_merge.models.{self.name}.abilities").ABILITIES

    def ability(self, request: Request) -> Ability:
        """How models of the family carry out a request.

        Raises:
            ValueError: They cannot.
        """
        found = self.abilities.get(type(request))
        if found is None:
            able = ", ".join(kind.needs for kind in self.abilities) or "nothing"
            kinds = f"models of the family {self.name}"
            if self is NAMED:
                kinds = "models whose type this package does not compute (they are only merged)"
            raise ValueError(
                f"this task needs a model that can {request.needs}, and {kinds} cannot; they can "
                f"{able}"
            )
        return found

    @property
    def _modeling(self) -> Any:
        return importlib.import_module(f"evojax_merge.models.{self.name}.modeling")

    def slots(self, config: Any) -> dict[str, Slot]:
        """Where every tensor that a checkpoint must hold lives, by name."""
        return self.layout(config).slots

    def names(self, config: Any) -> Mapping[str, str]:
        """The tensor of each leaf, by path."""
        return self.layout(config).names

    def groups(self, config: Any) -> Mapping[str, str]:
        """The group of each leaf, by path."""
        return self.layout(config).groups

    def num_layers(self, config: Any) -> int:
        """The depth of the deepest stack of layers."""
        return self.layout(config).depth()

    def aliases(self, config: Any) -> Mapping[str, str]:
        """Names of tensors that may be stored besides, as copies -> the name copied."""
        return self.layout(config).aliases

    def vocabulary_paths(self, config: Any) -> tuple[str, ...]:
        """The paths of the leaves with a row for each token."""
        return self.layout(config).token_tables

    def linear_inputs(self, config: Any) -> dict[str, str]:
        """The path of each linear layer's weight -> the layer that stands for its input."""
        return self.layout(config).linear_inputs


DECODER = Family(
    name="decoder",
    model_types=MODEL_TYPES,
    config_from_hf=DecoderConfig.from_hf,
    hf_fields=decoder_params.hf_fields,
    layout=decoder_params.layout,
    ignored=decoder_params.BUFFERS,
    architectures=re.compile(r"\w*ForCausalLM"),
)

MLP = Family(
    name="mlp",
    model_types=("mlp",),
    config_from_hf=MLPConfig.from_hf,
    hf_fields=lambda config: {"hidden_sizes": list(config.hidden_sizes)},
    layout=mlp_params.layout,
)

CLIP = Family(
    name="clip",
    model_types=CLIP_TYPES,
    config_from_hf=CLIPConfig.from_hf,
    config_from_files=CLIPConfig.from_files,
    with_vocabulary=CLIPConfig.with_vocabulary,
    hf_fields=clip_params.hf_fields,
    layout=clip_params.layout,
    ignored=clip_params.BUFFERS,
)

FAMILIES = (DECODER, MLP, CLIP)

NAMED = Family(
    name="named",
    model_types=(),
    config_from_hf=NamedConfig.from_hf,
    config_from_files=NamedConfig.from_files,
    hf_fields=NamedConfig.hf_fields,
    layout=named_params.layout,
    carried=named_params.is_buffer,
)
"""Models that no other family computes: they can be merged, and not run."""


def family_of(hf_config: Mapping[str, Any]) -> Family:
    """The family that a ``config.json`` selects by its ``model_type``.

    Raises:
        ValueError: It does not say what it is of.
    """
    for family in FAMILIES:
        if family.computes(hf_config):
            return family
    if kind_of(hf_config) is None:
        raise ValueError(
            f"config.json: model_type is {shown(hf_config.get('model_type'))}; it must name the "
            "type of the model, or _class_name that of a diffusers model"
        )
    return NAMED
