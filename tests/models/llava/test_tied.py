"""A LLaVA whose head is tied to its embeddings, and one whose files say otherwise."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForImageTextToText

from evojax_merge.checkpoints import export, load
from tests.llava_factory import llava_config, write_llava

HEAD, EMBEDDING = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
TIED = llava_config(text_changes={"tie_word_embeddings": True}, tie_word_embeddings=True)


def write_head(directory, move):
    """Store a head beside the embeddings, moved from them."""
    write_llava(directory, TIED)
    file = directory / "model.safetensors"
    tensors = load_file(file)
    tensors[HEAD] = tensors[EMBEDDING] + np.float32(move)
    save_file(tensors, file, metadata={"format": "pt"})
    return tensors


def test_a_head_that_repeats_the_embeddings_is_left_out(tmp_path):
    write_head(tmp_path / "in", 0)
    model = load(tmp_path / "in")
    assert model.config.text.tie_word_embeddings
    assert "lm_head" not in model.params["language_model"]


def test_another_head_is_kept_as_transformers_does(tmp_path):
    tensors = write_head(tmp_path / "in", 1)
    with pytest.warns(UserWarning, match="both are kept, as transformers does"):
        model = load(tmp_path / "in")
    assert not model.config.text.tie_word_embeddings
    export(model, tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)
    theirs = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    head, embedding = (one.weight for one in (theirs.lm_head, theirs.get_input_embeddings()))
    assert torch.equal(head, torch.from_numpy(tensors[HEAD]))
    assert torch.equal(embedding, torch.from_numpy(tensors[EMBEDDING]))
