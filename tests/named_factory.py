"""Tiny checkpoints of architectures that this package does not compute, by names and shapes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoints_factory import write_checkpoint

Shapes = dict[str, tuple[int, ...]]


def layers(stack: str, depth: int, **shapes: tuple[int, ...]) -> Shapes:
    """Tensors of each layer; ``__`` in a name stands for a dot."""
    return {
        f"{stack}.{layer}.{name.replace('__', '.')}": shape
        for layer in range(depth)
        for name, shape in shapes.items()
    }


GPT2 = {
    "transformer.wte.weight": (20, 4),
    "transformer.wpe.weight": (8, 4),
    **layers(
        "transformer.h",
        11,
        attn__c_attn__weight=(4, 12),
        attn__bias=(1, 1, 8, 8),
        ln_1__weight=(4,),
        mlp__c_fc__weight=(4, 16),
    ),
    "transformer.ln_f.weight": (4,),
}

T5 = {
    "shared.weight": (20, 4),
    **layers(
        "encoder.block",
        2,
        layer__0__SelfAttention__q__weight=(4, 4),
        layer__1__DenseReluDense__wi__weight=(8, 4),
    ),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (6, 2),
    "encoder.final_layer_norm.weight": (4,),
    **layers("decoder.block", 3, layer__1__EncDecAttention__q__weight=(4, 4)),
    "lm_head.weight": (20, 4),
}

MIXTRAL = {
    "model.embed_tokens.weight": (20, 4),
    **layers(
        "model.layers",
        2,
        self_attn__q_proj__weight=(4, 4),
        block_sparse_moe__gate__weight=(2, 4),
        block_sparse_moe__experts__0__w1__weight=(6, 4),
        block_sparse_moe__experts__1__w1__weight=(6, 4),
    ),
    "lm_head.weight": (20, 4),
}

UNET = {
    "conv_in.weight": (4, 3, 3, 3),
    "time_embedding.linear_1.weight": (8, 4),
    "down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3),
    "down_blocks.1.resnets.0.conv1.weight": (8, 4, 3, 3),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight": (8, 8),
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight": (8, 8),
    "conv_out.weight": (3, 4, 3, 3),
}

CONFIGS: dict[str, tuple[dict[str, Any], Shapes]] = {
    "gpt2": ({"model_type": "gpt2", "vocab_size": 20, "n_layer": 11}, GPT2),
    "t5": ({"model_type": "t5", "vocab_size": 20, "tie_word_embeddings": False}, T5),
    "mixtral": (
        {"model_type": "mixtral", "vocab_size": 20, "num_hidden_layers": 2}
        | {"tie_word_embeddings": False, "architectures": ["MixtralForCausalLM"]},
        MIXTRAL,
    ),
    "unet": ({"_class_name": "UNet2DModel", "_diffusers_version": "0.30"}, UNET),
}
"""``config.json`` and the shapes of all tensors, by architecture."""


def tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Random numbers; what counts from 0 is of whole numbers."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 9, shape)
        if name.endswith("position_ids")
        else rng.standard_normal(shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_models(folder: Path, kind: str, **changes: Any) -> Iterator[Path]:
    """A base and two others of an architecture."""
    config, shapes = CONFIGS[kind]
    for seed, name in enumerate(("base", "a", "b")):
        yield write_checkpoint(folder / name, config | changes, tensors=tensors(shapes, seed))
