"""Stock transformers loads the vision experiment's sources, and answers as we do."""

import json

import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from evojax_merge.models import family_of
from experiments.vision import checkpoint
from experiments.vision.data import items
from experiments.vision.judge import Judge
from experiments.vision.make_sources import SOURCES


@pytest.mark.parametrize(("name", "tokens"), [("base", 177), ("japanese", 176)])
def test_text_models_load_without_a_tensor_too_few_or_too_many(name: str, tokens: int) -> None:
    model, info = AutoModelForCausalLM.from_pretrained(SOURCES / name, output_loading_info=True)
    assert not any(info.values())
    assert len(AutoTokenizer.from_pretrained(SOURCES / name)) == tokens
    assert model.get_input_embeddings().weight.shape == (tokens, 96)


def test_the_seer_answers_in_transformers_as_here() -> None:
    model, info = AutoModelForImageTextToText.from_pretrained(
        SOURCES / "seer", output_loading_info=True
    )
    assert not any(info.values())
    processor = AutoProcessor.from_pretrained(SOURCES / "seer")
    written = json.loads((SOURCES / "seer" / "config.json").read_text())
    family = family_of(written)
    config = family.config_from_hf(written)
    params = checkpoint.load(SOURCES / "seer", family, config)
    ours = Judge(config, params, "validation", "en").answers(params["language_model"])
    for item, expected in zip(list(items("validation", "en"))[:8], ours, strict=False):
        content = [{"type": "image"}, {"type": "text", "text": item.question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}])
        inputs = processor(images=Image.fromarray(item.picture), text=text, return_tensors="pt")
        with torch.no_grad():
            output = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
        assert processor.tokenizer.decode(output, skip_special_tokens=True) == expected
