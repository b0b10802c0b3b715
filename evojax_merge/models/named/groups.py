"""The group of a tensor, told from the words in its name."""

import re

_OUTSIDE = (
    (r"\.(multi_modal_)?projector\.|mm_projector|connector|(visual|text)_projection", "projector"),
    (r"(^|\.)(lm_head|embed_out|proj_out|classifier|score|qa_outputs|cls|head)\.", "head"),
    (r"(^|\.)pooler\.", "head"),
    (r"(^|\.)time_(embedding|proj)|add_embedding", "time"),
)
"""Expressions for tensors that are in no layer. The first that is found says the group."""

_ANYWHERE = (
    (r"norm|(^|\.)ln(_|\d|\.)", "norm"),
    (r"\.(router|gate)\.|shared_expert_gate", "router"),
    (r"attn|attention", "attention"),
    (r"mlp|feed_forward|feedforward|(^|\.)ffn?\.|\.fc\d|densereludense|expert|\.moe\.", "mlp"),
    (r"(^|\.)(intermediate|output)\.dense\.", "mlp"),
    (r"embed|(^|\.)(wte|wpe|shared)\.|(class|cls|mask)_token", "embedding"),
    (r"conv|resnet|sampler", "conv"),
)


def group_of(name: str, layered: bool) -> str:
    """Return the group of a tensor, or ``other`` where no word tells it.

    Args:
        name: The name of the tensor.
        layered: Whether the tensor is in a layer.
    """
    lowered = f".{name.lower()}."
    for pattern, group in _ANYWHERE if layered else (*_OUTSIDE, *_ANYWHERE):
        if re.search(pattern, lowered):
            return group
    return "other"
