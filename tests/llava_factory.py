"""Tiny random LLaVA checkpoints, written by transformers' own torch models."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import transformers
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoConfig,
    AutoProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from evojax_merge.models.llava import params as llava_params
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.llava.pictures import gather_index
from evojax_merge.models.request import Pixels
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params
from tests.checkpoints_factory import byte_tokenizer, tiny_config
from tests.clip_factory import randomise

Spelling = Literal["hub", "file", "memory"]
"""How tensors are named: as on the hub, in a new file of transformers 5, or in its memory."""

IMAGE = 16
PATCH = 4
PICTURE_TOKEN = 260
VOCAB = 264
PINPOINTS = [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]]

VISION: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": IMAGE,
    "patch_size": PATCH,
}
SIGLIP: dict[str, Any] = {**VISION, "model_type": "siglip_vision_model"}
_CLASSES = {
    "llava": "LlavaForConditionalGeneration",
    "llava_next": "LlavaNextForConditionalGeneration",
}
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<image>\n{% else %}{{ item['text'] }}{% endif %}"
    "{% endfor %}{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def llava_config(
    kind: str = "llava",
    text: str = "mistral",
    text_changes: dict[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A ``config.json`` of two decoder layers of width 32 behind a tower of three of width 24."""
    sizes = {"vocab_size": VOCAB, "num_hidden_layers": 2, "max_position_embeddings": 512}
    tiles = {"image_grid_pinpoints": PINPOINTS} if kind == "llava_next" else {}
    return {
        "model_type": kind,
        "architectures": [_CLASSES[kind]],
        "text_config": tiny_config(text, **(sizes | (text_changes or {}))),
        "vision_config": {**VISION, **(vision or {})},
        "image_token_index": PICTURE_TOKEN,
        "image_seq_length": (IMAGE // PATCH) ** 2,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": False,
        **tiles,
        **changes,
    }


def write_llava(
    directory: Path, hf_config: Mapping[str, Any], seed: int = 0, spelling: Spelling = "hub"
) -> PreTrainedModel:
    """Write a checkpoint with all that reads its inputs; return its torch model in float32.

    All parameters are random, norms and biases included.
    """
    cls = getattr(transformers, hf_config["architectures"][0])
    config = AutoConfig.for_model(**hf_config)
    config.text_config.eos_token_id = None  # answers in tests are as long as they are asked for
    model = cls._from_config(config, attn_implementation="eager").eval()
    randomise(model, seed)
    model.save_pretrained(directory)
    spell(directory, spelling)
    write_processor(directory, hf_config)
    return model


def spell(directory: Path, spelling: Spelling) -> None:
    """Rename the tensors of a checkpoint that transformers 5 has just written."""
    file = directory / "model.safetensors"
    tensors = load_file(file)
    if spelling == "hub":
        tensors = {
            re.sub(r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.", name): leaf
            for name, leaf in tensors.items()
        }
    elif spelling == "memory":
        tensors = {_in_memory(name): leaf for name, leaf in tensors.items()}
    save_file(tensors, file, metadata={"format": "pt"})


def write_processor(directory: Path, hf_config: Mapping[str, Any]) -> None:
    """Write a tokenizer of bytes that knows ``<image>``, a chat template and a processor."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert tokenizer.convert_tokens_to_ids("<image>") == PICTURE_TOKEN
    vision = hf_config["vision_config"]
    side = vision["image_size"]
    settings = {
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
    }
    made: Any
    if hf_config["model_type"] == "llava_next":
        pinpoints = hf_config["image_grid_pinpoints"]
        made = LlavaNextImageProcessorPil(**settings, image_grid_pinpoints=pinpoints)
        processor: Any = LlavaNextProcessor
    else:
        made, processor = CLIPImageProcessorPil(**settings), LlavaProcessor
        if vision["model_type"] == "siglip_vision_model":
            made = SiglipImageProcessorPil(size={"height": side, "width": side})
    processor(
        image_processor=made,
        tokenizer=tokenizer,
        patch_size=vision["patch_size"],
        vision_feature_select_strategy=hf_config["vision_feature_select_strategy"],
        num_additional_image_tokens=int(vision["model_type"] == "clip_vision_model"),
        chat_template=_TEMPLATE,
    ).save_pretrained(directory)
    made.save_pretrained(directory)  # the hub's checkpoints have preprocessor_config.json too


def read_llava(directory: Path, hf_config: Mapping[str, Any]) -> tuple[LlavaConfig, Params]:
    """The configuration and the parameter tree; every tensor of the file must have its place."""
    tensors = load_file(directory / "model.safetensors")
    config = LlavaConfig.from_files(hf_config, tensors)
    leaves = {}
    for path, leaf in llava_params.layout(config).leaves.items():
        if leaf.stacked:
            layers = [tensors.pop(leaf.tensor_of(layer)) for layer in range(leaf.shape[0])]
            leaves[path] = jnp.asarray(np.stack(layers))
        else:
            leaves[path] = jnp.asarray(tensors.pop(leaf.tensor))
        assert leaves[path].shape == leaf.shape, path
    assert not tensors
    return config, unflatten(leaves)


def _in_memory(name: str) -> str:
    name = name.removeprefix("language_model.") if "lm_head" in name else f"model.{name}"
    return name.replace("model.language_model.model.", "model.language_model.")


def pixels_of(processor: Any) -> Pixels:
    """The numbers by which a processor turns pixels into what a tower reads."""
    own = processor.image_processor
    mean, deviation = (np.asarray(one, np.float32) for one in (own.image_mean, own.image_std))
    return Pixels(np.float32(own.rescale_factor) / deviation, -mean / deviation)


def pictures_of(processor: Any, image: Image.Image) -> np.ndarray:
    """The tiles of a picture, with numbers from 0 to 255."""
    made = processor.image_processor(image, do_rescale=False, do_normalize=False)
    tiles = np.asarray(made["pixel_values"][0], np.uint8)
    return tiles if tiles.ndim == 4 else tiles[None]


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture of noise, of a height and a width."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(noise)


class Pair:
    """A checkpoint as transformers and this package read it."""

    def __init__(self, folder: Path, hf_config: Mapping[str, Any]) -> None:
        self.model = write_llava(folder, hf_config)
        written = json.loads((folder / "config.json").read_text())
        self.config, self.params = read_llava(folder, written)
        self.processor = AutoProcessor.from_pretrained(folder)
        self.pixels = pixels_of(self.processor)

    def theirs(self, text: str, *images: Image.Image) -> Any:
        """What transformers gives its own model of a prompt."""
        return self.processor(images=list(images), text=[text], return_tensors="pt")

    def prompts(self, *prompts: tuple[str, *tuple[Image.Image, ...]]) -> tuple[np.ndarray, ...]:
        """Tokens and starts of prompts, padded on the left, and tiles and index of pictures."""
        config, rows = self.config.pictures, []
        for text, *images in prompts:
            tiles: list[np.ndarray] = []
            index: list[np.ndarray] = []
            for image in images:
                size = (image.height, image.width)
                index.append(gather_index(config, size, first_tile=len(tiles)))
                tiles.extend(pictures_of(self.processor, image))
                text = text.replace("<image>", "<picture>" * len(index[-1]), 1)
            tokens = self.processor.tokenizer(text.replace("<picture>", "<image>"))["input_ids"]
            rows.append((tokens, tiles, np.concatenate([*index, np.zeros(0, np.int32)])))
        length, most, slots = (max(len(row[i]) for row in rows) for i in range(3))
        tokens = np.zeros((len(rows), length), np.int32)
        side = config.image_size
        tiles_ = np.zeros((len(rows), most, 3, side, side), np.uint8)
        index_ = np.zeros((len(rows), slots), np.int32)
        for number, (own, seen, order) in enumerate(rows):
            tokens[number, length - len(own) :] = own
            tiles_[number, : len(seen)] = seen if seen else 0
            index_[number, : len(order)] = order
        start = np.array([length - len(own) for own, _, _ in rows], np.int32)
        return tokens, start, tiles_, index_
