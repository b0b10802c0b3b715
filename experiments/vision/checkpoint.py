"""The architectures of the vision experiment, and their parameters as Hugging Face directories."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerFast

from evojax_merge.models import Family
from evojax_merge.models.request import Pixels
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params
from experiments.vision.tokenizer import LENGTH
from experiments.vision.world import SIDE

LONGEST_ANSWER = 12
PATCH = 8
MEAN, DEVIATION = 0.25, 0.5


def text_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A ``config.json`` of a Llama of 0.36 M parameters."""
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 24,
        "hidden_act": "silu",
        "max_position_embeddings": LENGTH,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "dtype": "float32",
    }


def llava_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A ``config.json`` of a LLaVA: that Llama, and a CLIP tower of 0.17 M parameters."""
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_channels": 3,
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": 64,
    }
    return {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": text_config(tokenizer),
        "vision_config": vision,
        "image_token_index": tokenizer.image_token_id,
        "image_seq_length": (SIDE // PATCH) ** 2,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "dtype": "float32",
    }


def pixels() -> Pixels:
    """The numbers that the processor of `save_processor` turns pixels into input by."""
    one = np.ones(3, np.float32)
    return Pixels(one / np.float32(255 * DEVIATION), -one * np.float32(MEAN / DEVIATION))


def initial(family: Family, config: Any, seed: int) -> Params:
    """Random parameters, of matrices with σ² = 0.64 / inputs: 0.02 is little for so few."""
    leaves = flatten(family.init_params(config, jax.random.key(seed)))
    for path, leaf in family.layout(config).leaves.items():
        inputs = math.prod(leaf.shape[1 + leaf.stacked :])
        if leaf.group.rpartition("_")[2] not in ("norm", "embedding") and path.endswith("weight"):
            leaves[path] = leaves[path] * (40 / math.sqrt(inputs))
    return unflatten(leaves)


def save(
    directory: Path,
    family: Family,
    hf_config: Mapping[str, Any],
    params: Params,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Write config, weights, tokenizer and generation settings."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(directory)
    _write(directory / "config.json", hf_config)
    ends = ("pad_token_id", "bos_token_id", "eos_token_id")
    answers = {"do_sample": False, "max_new_tokens": LONGEST_ANSWER}
    _write(directory / "generation_config.json", answers | {name: hf_config[name] for name in ends})
    leaves = flatten(params)
    tensors = {
        tensor: np.array(leaves[slot.path][... if slot.layer is None else slot.layer])
        for tensor, slot in family.layout(family.config_from_hf(hf_config)).slots.items()
    }
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def load(directory: Path, family: Family, config: Any) -> Params:
    """Read the parameters that `save` wrote."""
    tensors = load_file(directory / "model.safetensors")
    leaves = {}
    for path, leaf in family.layout(config).leaves.items():
        names = [leaf.tensor_of(layer) for layer in range(leaf.shape[0])] if leaf.stacked else []
        leaves[path] = np.stack([tensors[n] for n in names]) if names else tensors[leaf.tensor]
    return unflatten({path: jnp.asarray(leaf) for path, leaf in leaves.items()})


def save_processor(directory: Path) -> None:
    """Write how pictures become pixels, and how many tokens of a prompt one takes."""
    size = {"height": SIDE, "width": SIDE}
    pictures = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [DEVIATION] * 3,
    }
    _write(directory / "preprocessor_config.json", pictures)
    whole = {
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        "patch_size": PATCH,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    _write(directory / "processor_config.json", whole)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
