"""Model families. A ``config.json`` selects one; it says all that the rest must know of a model.

Adding a family is adding a folder with its modelling and its tables of names and shapes, and one
entry to `FAMILIES`. The modelling is imported when a model is first made or run, since many a merge
needs nothing but names and shapes.
"""

import dataclasses
import functools
import importlib
import operator
import re
from collections.abc import Callable, Collection, Mapping
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
from evojax_merge.models.diffusion import config as diffusion_config
from evojax_merge.models.diffusion import params as diffusion_params
from evojax_merge.models.diffusion.config import DiffusionConfig
from evojax_merge.models.distancing import Distancing
from evojax_merge.models.handing import Handing
from evojax_merge.models.layout import Layout
from evojax_merge.models.llava import config as llava_config
from evojax_merge.models.llava import params as llava_params
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.mlp import params as mlp_params
from evojax_merge.models.mlp.config import MLPConfig
from evojax_merge.models.named import params as named_params
from evojax_merge.models.named.config import NamedConfig, kind_of
from evojax_merge.models.part import Part
from evojax_merge.models.qwen_vl import config as qwen_vl_config
from evojax_merge.models.qwen_vl import params as qwen_vl_params
from evojax_merge.models.qwen_vl.config import QwenVLConfig
from evojax_merge.models.request import OWN_MEASURE, Distance, HandOver, Request
from evojax_merge.models.seeing.vision import Vision
from evojax_merge.models.unet import config as unet_config
from evojax_merge.models.unet import params as unet_params
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.vae import config as vae_config
from evojax_merge.models.vae import params as vae_params
from evojax_merge.models.vae.config import VAEConfig
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params, PRNGKey

Shapes = Mapping[str, tuple[int, ...]]


def _with_vocab_size(config: Any, rows: int) -> Any:
    return dataclasses.replace(config, vocab_size=rows)


def _untied(config: Any) -> Any:
    return dataclasses.replace(config, tie_word_embeddings=False)


@dataclasses.dataclass(frozen=True)
class Family:
    """Models that share their code and the layout of their parameters.

    ``config`` below is whatever ``config_from_hf`` returns. A path is the dotted path of a leaf.

    Attributes:
        name: The name of the family in messages, and of its folder.
        model_types: The values of ``model_type`` in ``config.json`` that select it.
        config_from_hf: The function that reads ``config.json``. It raises ValueError on what the
            family cannot compute.
        config_from_files: The function that reads ``config.json`` and the shapes of the stored
            tensors by name. It is None where the configuration alone says how tensors are called.
        with_vocabulary: The function that gives a configuration another number of rows in the
            leaves that have one for each token.
        untied: The function that gives a configuration a head of its own, where the head is tied
            to the embeddings.
        hf_fields: The function that gives the fields of ``config.json`` that a merge may have
            changed, with their values.
        layout: The function that makes the layout of the models of a configuration.
        ignored: The expression that matches the names of tensors that are no parameters.
        carried: The function that says whether a tensor of a name and shape is a buffer. A merge
            has buffers from its reference, as it has whole numbers. With None a checkpoint has no
            such tensors.
        architectures: The expression that matches those ``architectures`` of a model type that the
            family computes. With None it computes all.
        class_names: The values of ``_class_name`` that select it. diffusers writes it into
            ``config.json`` where transformers writes ``model_type``.
        able: The function that says whether the family computes the parts that a ``config.json``
            names. With None it computes all.
        parts: The function that returns the parts of a model of a configuration by name. It is
            None where a model is merged as a whole.
        only: The function that gives the configuration of a model with some of its parts alone.
        holding: The function that gives the configuration of a whole whose merged parts have
            another: ``holding(whole, merged)``.
        sees: Whether the models see pictures. Their folder then has ``vision.py``.
        spelled: The function that spells the name of a tensor as the files of a model of a
            configuration do, ``spelled(config, name)``. It is None where there is one spelling.
        pipeline: Whether parts are models in folders of their own, as diffusers writes them, or in
            one file that stands for these.
        unet: The function that gives the configuration of the UNet of a model, by itself or in a
            pipeline. It is None where models have none.
    """

    name: str
    model_types: tuple[str, ...]
    config_from_hf: Callable[[Mapping[str, Any]], Any]
    hf_fields: Callable[[Any], dict[str, object]]
    layout: Callable[[Any], Layout]
    ignored: re.Pattern[str] | None = None
    config_from_files: Callable[[Mapping[str, Any], Shapes], Any] | None = None
    with_vocabulary: Callable[[Any, int], Any] = _with_vocab_size
    untied: Callable[[Any], Any] = _untied
    carried: Callable[[str, tuple[int, ...]], bool] | None = None
    architectures: re.Pattern[str] | None = None
    class_names: tuple[str, ...] = ()
    able: Callable[[Mapping[str, Any]], bool] | None = None
    parts: Callable[[Any], Mapping[str, Part]] | None = None
    only: Callable[[Any, Collection[str]], Any] | None = None
    holding: Callable[[Any, Any], Any] | None = None
    sees: bool = False
    spelled: Callable[[Any, str], str] | None = None
    pipeline: bool = False
    unet: Callable[[Any], UNetConfig] | None = None

    def computes(self, hf_config: Mapping[str, Any]) -> bool:
        """Tell whether a ``config.json`` is that of a model of the family."""
        named = hf_config.get("architectures")
        kinds = (
            (hf_config.get("model_type"), self.model_types),
            (hf_config.get("_class_name"), self.class_names),
        )
        if not any(isinstance(kind, str) and kind in known for kind, known in kinds):
            return False
        if self.able is not None and not self.able(hf_config):
            return False
        if self.architectures is None or not isinstance(named, list) or not named:
            return True
        return all(self.architectures.fullmatch(str(name)) for name in named)

    def read_config(self, hf_config: Mapping[str, Any], stored: Callable[[], Shapes]) -> Any:
        """Read the configuration of a model whose files are there.

        Args:
            hf_config: The content of ``config.json``.
            stored: A function that returns the shapes of the stored tensors by name. It is called
                only where they are needed.

        Raises:
            ValueError: The family cannot compute such a model.
        """
        if self.config_from_files is None:
            return self.config_from_hf(hf_config)
        return self.config_from_files(hf_config, stored())

    def init_params(self, config: Any, key: PRNGKey) -> Params:
        """Draw random parameters."""
        return self._modeling.init_params(config, key)

    def abstract_params(self, config: Any) -> Params:
        """Make the tree of the parameters' shapes, which takes no memory."""
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

    def vision(self, config: Any) -> Vision:
        """Return how a model of the family sees, which it does if the family `sees`."""
        module = importlib.import_module(f"evojax_merge.models.{self.name}.vision")
        found: Vision = module.VISION(config)
        return found

    def ability(self, request: Request) -> Ability:
        """Return how models of the family carry out a request.

        Raises:
            ValueError: The models cannot carry it out.
        """
        if isinstance(request, HandOver):  # which no family has to compute
            return Handing(self.layout)
        if isinstance(request, Distance):
            return Distancing(self.layout)
        found = self.abilities.get(type(request))
        if found is None:
            able = ", ".join(kind.needs for kind in self.abilities) or "nothing"
            kinds, advice = f"models of the family {self.name}", f"they can {able}"
            if self is NAMED:
                kinds = "models whose type this package does not compute (they are only merged)"
                advice = OWN_MEASURE
            raise ValueError(
                f"this task needs a model that can {request.needs}, and {kinds} cannot; {advice}"
            )
        return found

    @property
    def _modeling(self) -> Any:
        return importlib.import_module(f"evojax_merge.models.{self.name}.modeling")


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

LLAVA = Family(
    name="llava",
    model_types=llava_config.MODEL_TYPES,
    config_from_hf=LlavaConfig.from_hf,
    config_from_files=LlavaConfig.from_files,
    with_vocabulary=LlavaConfig.with_vocabulary,
    untied=LlavaConfig.untied,
    hf_fields=llava_params.hf_fields,
    layout=llava_params.layout,
    ignored=llava_params.BUFFERS,
    architectures=re.compile(r"Llava(Next)?ForConditionalGeneration"),
    able=llava_config.computes,
    parts=functools.partial(llava_params.parts, decoder=DECODER),
    only=LlavaConfig.only,
    holding=LlavaConfig.holding,
    sees=True,
    spelled=LlavaConfig.spelled,
)

QWEN_VL = Family(
    name="qwen_vl",
    model_types=qwen_vl_config.MODEL_TYPES,
    config_from_hf=QwenVLConfig.from_hf,
    config_from_files=QwenVLConfig.from_files,
    with_vocabulary=QwenVLConfig.with_vocabulary,
    untied=QwenVLConfig.untied,
    hf_fields=qwen_vl_params.hf_fields,
    layout=qwen_vl_params.layout,
    ignored=qwen_vl_params.BUFFERS,
    architectures=re.compile(r"Qwen2_5_VLForConditionalGeneration"),
    able=qwen_vl_config.computes,
    parts=functools.partial(qwen_vl_params.parts, decoder=DECODER),
    only=QwenVLConfig.only,
    holding=QwenVLConfig.holding,
    sees=True,
    spelled=QwenVLConfig.spelled,
)

UNET = Family(
    name="unet",
    model_types=(),
    class_names=(unet_config.CLASS_NAME,),
    config_from_hf=UNetConfig.from_hf,
    hf_fields=unet_params.hf_fields,
    layout=unet_params.layout,
    able=unet_config.computes,
    unet=lambda config: config,
)

VAE = Family(
    name="vae",
    model_types=(),
    class_names=(vae_config.CLASS_NAME,),
    config_from_hf=VAEConfig.from_hf,
    config_from_files=VAEConfig.from_files,
    hf_fields=vae_params.hf_fields,
    layout=vae_params.layout,
    able=vae_config.computes,
)

DIFFUSION = Family(
    name="diffusion",
    model_types=(),
    class_names=diffusion_config.PIPELINES,
    config_from_hf=DiffusionConfig.from_hf,
    config_from_files=DiffusionConfig.from_files,
    with_vocabulary=DiffusionConfig.with_vocabulary,
    hf_fields=diffusion_params.hf_fields,
    layout=diffusion_params.layout,
    parts=functools.partial(
        diffusion_params.parts,
        families={
            diffusion_config.UNET: UNET,
            diffusion_config.TEXT: CLIP,
            diffusion_config.TEXT_2: CLIP,
            diffusion_config.VAE: VAE,
        },
    ),
    only=DiffusionConfig.only,
    holding=DiffusionConfig.holding,
    pipeline=True,
    unet=operator.attrgetter("unet"),
)

FAMILIES = (DECODER, MLP, CLIP, LLAVA, QWEN_VL, UNET, VAE, DIFFUSION)

NAMED = Family(
    name="named",
    model_types=(),
    config_from_hf=NamedConfig.from_hf,
    config_from_files=NamedConfig.from_files,
    hf_fields=NamedConfig.hf_fields,
    layout=named_params.layout,
    carried=named_params.is_buffer,
)
"""The family of models that no other family computes. They can be merged, and not run."""


def family_of(hf_config: Mapping[str, Any]) -> Family:
    """Find the family that a ``config.json`` selects by its ``model_type``.

    Raises:
        ValueError: The file does not say which type of model it is of.
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
