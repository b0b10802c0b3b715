"""Tiny random Qwen2.5-VL checkpoints, written by transformers' own torch models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import transformers
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, PreTrainedModel
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from evojax_merge.fitness.pictures import as_picture
from evojax_merge.models.qwen_vl import params as qwen_vl_params
from evojax_merge.models.qwen_vl.config import QwenVLConfig
from evojax_merge.models.qwen_vl.vision import QwenVision
from evojax_merge.models.request import Pixels
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params
from tests.checkpoints_factory import byte_tokenizer
from tests.clip_factory import randomise

Spelling = Literal["hub", "memory"]
"""How tensors are named: as on the hub, or in the memory of transformers 5."""

PATCH = 4
PICTURE_TOKEN = 260
SPECIAL = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
VOCAB = 268
PLACE = "<|vision_start|><|image_pad|><|vision_end|>"

TEXT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [1, 2, 1]},
}
VISION: dict[str, Any] = {
    "model_type": "qwen2_5_vl",
    "depth": 4,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_heads": 3,
    "patch_size": PATCH,
    "window_size": 2 * 2 * PATCH,
    "out_hidden_size": 32,
    "fullatt_block_indexes": [1, 3],
}
_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}" + PLACE + "{% else %}{{ item['text'] }}{% endif %}"
    "{% endfor %}{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def qwen_vl_config(
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A ``config.json`` as on the hub, of two decoder layers behind a tower of four."""
    return {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **TEXT,
        **(text or {}),
        "vision_config": {**VISION, **(vision or {})},
        **{name: PICTURE_TOKEN + number for number, name in enumerate(_IDS)},
        "tie_word_embeddings": False,
        **changes,
    }


def write_qwen_vl(
    directory: Path, hf_config: Mapping[str, Any], seed: int = 0, spelling: Spelling = "hub"
) -> PreTrainedModel:
    """Write a checkpoint with all that reads its inputs; return its torch model in float32.

    All parameters are random, norms and biases included. Its ``config.json`` is nested as that of
    transformers 5 in the spelling of its memory, and flat as on the hub in that of the hub.
    """
    config = AutoConfig.for_model(**hf_config)
    config.text_config.eos_token_id = config.text_config.bos_token_id = None
    cls = transformers.Qwen2_5_VLForConditionalGeneration
    model = cls._from_config(config, attn_implementation="eager").eval()
    randomise(model, seed)
    model.save_pretrained(directory)
    if spelling == "hub":
        (directory / "config.json").write_text(json.dumps(hf_config))
    else:
        file = directory / "model.safetensors"
        tensors = {_in_memory(name): leaf for name, leaf in load_file(file).items()}
        save_file(tensors, file, metadata={"format": "pt"})
    write_processor(directory)
    return model


def write_processor(directory: Path) -> None:
    """Write a tokenizer of bytes that knows pictures, a chat template and an image processor."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    assert tokenizer.convert_tokens_to_ids(SPECIAL[0]) == PICTURE_TOKEN
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(directory)
    side = 2 * PATCH
    size = {"shortest_edge": side**2, "longest_edge": 24 * side**2}
    Qwen2VLImageProcessorPil(patch_size=PATCH, size=size).save_pretrained(directory)


def read_qwen_vl(directory: Path) -> tuple[QwenVLConfig, Params]:
    """The configuration and the parameter tree; every tensor of the file must have its place."""
    tensors = load_file(directory / "model.safetensors")
    written = json.loads((directory / "config.json").read_text())
    config = QwenVLConfig.from_files(written, tensors)
    leaves = {}
    for path, leaf in qwen_vl_params.layout(config).leaves.items():
        if leaf.stacked:
            layers = [tensors.pop(leaf.tensor_of(layer)) for layer in range(leaf.shape[0])]
            leaves[path] = jnp.asarray(np.stack(layers))
        else:
            leaves[path] = jnp.asarray(tensors.pop(leaf.tensor))
        assert leaves[path].shape == leaf.shape, path
    assert not tensors
    return config, unflatten(leaves)


class Stills(Qwen2_5_VLProcessor):
    """The processor of transformers for still pictures alone, as videos take torchvision."""

    def check_argument_for_proper_class(self, name: str, given: Any) -> Any:
        return None if given is None else super().check_argument_for_proper_class(name, given)


def processor_of(directory: Path) -> Stills:
    """The processor of a checkpoint."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    images = AutoImageProcessor.from_pretrained(directory)
    return Stills(images, tokenizer, chat_template=tokenizer.chat_template)


class Pair:
    """A checkpoint as transformers and this package read it."""

    def __init__(
        self, folder: Path, hf_config: Mapping[str, Any], spelling: Spelling = "hub"
    ) -> None:
        self.model = write_qwen_vl(folder, hf_config, spelling=spelling)
        self.config, self.params = read_qwen_vl(folder)
        self.vision = QwenVision(self.config)
        self.processor = processor_of(folder)
        own = self.processor.image_processor
        mean, deviation = (np.asarray(one, np.float32) for one in (own.image_mean, own.image_std))
        self.pixels = Pixels(np.float32(own.rescale_factor) / deviation, -mean / deviation)

    def theirs(self, *prompts: tuple[str, *tuple[Image.Image, ...]]) -> Any:
        """What transformers gives its own model of prompts, padded on the left."""
        texts = [text.replace("<image>", PLACE) for text, *_ in prompts]
        images = [image for _, *own in prompts for image in own] or None
        self.processor.tokenizer.padding_side = "left"
        return self.processor(images=images, text=texts, return_tensors="pt", padding=True)

    def look(self, image: Image.Image) -> Any:
        """What the model sees of a picture."""
        processor = self.processor.image_processor
        made = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")
        return self.vision.look(
            as_picture(processor, made)[None].astype(np.uint8), (image.height, image.width)
        )

    def prompts(self, *prompts: tuple[str, *tuple[Image.Image, ...]]) -> tuple[np.ndarray, ...]:
        """Tokens and starts of prompts, and tiles, places, rows and shifts of their pictures."""
        given = self.theirs(*prompts)
        tokens = given["input_ids"].numpy().astype(np.int32)
        start = (given["attention_mask"].numpy() == 0).sum(-1).astype(np.int32)
        looks = [[self.look(image) for image in own] for _, *own in prompts]
        room = max(sum(len(one.tiles[0]) for one in own) for own in looks)
        slots = max(sum(len(one.rows) for one in own) for own in looks)
        side = self.config.vision.side * PATCH
        tiles = np.zeros((len(prompts), room, 3, side, side), np.uint8)
        where = np.zeros((len(prompts), room, 4), np.int32)
        rows = np.zeros((len(prompts), slots), np.int32)
        shift = np.zeros((len(prompts), slots, 3), np.int32)
        for row, own in enumerate(looks):
            tile = slot = before = 0
            for one in own:
                count, found = len(one.tiles[0]), len(one.rows)
                tiles[row, tile : tile + count], where[row, tile : tile + count] = one.tiles
                rows[row, slot : slot + found] = one.rows + tile * self.vision.positions
                shift[row, slot : slot + found] = one.shift + before
                tile, slot = tile + count, slot + found
                before = shift[row, slot - 1].max()
            shift[row, slot:] = before
        return tokens, start, tiles, where, rows, shift


def _in_memory(name: str) -> str:
    if name.startswith("visual."):
        return f"model.{name}"
    return name.replace("model.", "model.language_model.", 1)
