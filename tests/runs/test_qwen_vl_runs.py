"""The language model of a Qwen2.5-VL is merged with a text model, and comes out whole."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from transformers import AutoModelForImageTextToText

from evojax_merge import api
from evojax_merge.checkpoints import (
    CheckpointError,
    as_part,
    export,
    load_config,
    load_parts,
    take_parts,
)
from evojax_merge.fitness import VisualQuestionTask
from evojax_merge.models.decoder.windows import window_fields
from evojax_merge.models.family import DECODER, QWEN_VL
from evojax_merge.sources.plan import plan
from tests.checkpoints_factory import byte_tokenizer, tiny_config, write_checkpoint
from tests.llava_factory import picture
from tests.qwen_vl_factory import TEXT, processor_of, qwen_vl_config, write_qwen_vl

NEW = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A Qwen2.5-VL, a text model with fewer tokens, and another Qwen2.5-VL."""
    folder = tmp_path_factory.mktemp("models")
    write_qwen_vl(folder / "qwen", qwen_vl_config(), seed=1)
    write_qwen_vl(folder / "other", qwen_vl_config(), seed=2, spelling="memory")
    sizes = {name: value for name, value in TEXT.items() if name != "rope_scaling"}
    config = tiny_config("qwen2", **{**sizes, "vocab_size": 260})
    write_checkpoint(folder / "japanese", config, tokenizer=byte_tokenizer())
    return folder


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    lines = []
    for number, size in enumerate(((16, 20), (60, 8), (5, 5))):
        picture(size, number).save(folder / f"{number}.png")
        item = {"image": f"{number}.png", "question": "What?", "answer": f"abcdefgh {number}"}
        lines.append(json.dumps(item))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "items.jsonl"


def overrides(sources, items, *more):
    return [
        f"model.sources=[{','.join(map(str, sources))}]",
        "operator=linear",
        "fitness=visual_question",
        f"fitness.data={items}",
        "fitness.words=characters",
        "fitness.chat=true",
        f"fitness.max_new_tokens={NEW}",
        "fitness.keep_features=null",
        "search.evaluations=8",
        "baselines.published=false",
        *more,
    ]


def tensors_of(directory):
    return load_file(directory / "model.safetensors")


def test_a_text_model_stands_as_the_language_model(models):
    sources = [str(models / "japanese"), str(models / "qwen")]
    prepared = plan(str(models / "japanese"), sources)
    assert prepared.reference.family is DECODER
    assert prepared.reference.carrier.family is QWEN_VL
    sections = prepared.reference.config.rope.sections
    assert sections == (1, 2, 1)
    text = load_config(models / "japanese")
    assert text.config.rope.sections == ()
    whole = load_config(models / "qwen")
    for parts in (["language_model"], ["language_model", "projector"]):
        standing = as_part(text, take_parts(whole, parts)).config
        assert getattr(standing, "text", standing).rope.sections == sections


def test_a_text_model_of_another_type_is_refused(models, tmp_path):
    write_checkpoint(tmp_path / "llama", tiny_config("llama"), tokenizer=byte_tokenizer())
    parts = ["language_model", "projector"]
    with pytest.raises(CheckpointError, match="model_type is llama, that of the language_model"):
        plan(str(models / "qwen"), [str(models / "other"), str(tmp_path / "llama")], parts=parts)


@pytest.mark.parametrize("carrier", ["qwen", "other"])
def test_what_a_merge_changes_is_written_where_the_carrier_has_it(carrier, models, tmp_path):
    whole = load_parts(models / carrier)
    config = dataclasses.replace(whole.config, num_layers=1, windows=whole.config.windows[:1])
    layers = jax.tree.map(lambda leaf: leaf[:1], whole.params["layers"])
    shorter = dataclasses.replace(
        whole,
        config=config,
        hf_config=whole.hf_config | window_fields(whole.hf_config, config.windows),
        params={**whole.params, "layers": layers},
    )
    out = export(shorter, tmp_path / "out")
    own, written = (json.loads((d / "config.json").read_text()) for d in (models / carrier, out))
    assert ("text_config" in written) == ("text_config" in own)
    assert written.get("text_config", written)["num_hidden_layers"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = AutoModelForImageTextToText.from_pretrained(out)
    assert len(model.model.language_model.layers) == 1
    assert load_config(out).config.text.rope.sections == (1, 2, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize("carrier", ["qwen", "other"])
def test_the_export_answers_as_in_the_search(carrier, models, items, tmp_path):
    sources = [models / carrier, models / "japanese"]
    found = api.evolve(overrides(sources, items), tmp_path / "run")
    out = found.directory / "export"
    own, merged = tensors_of(models / carrier), tensors_of(out)
    assert own.keys() == merged.keys()
    same = {name for name in own if np.array_equal(own[name], merged[name])}
    assert same == {name for name in own if "visual." in name}
    assert {"japanese", carrier} <= {result.name for result in found.results}

    task = VisualQuestionTask(
        data=str(items), words="characters", chat=True, max_new_tokens=NEW, keep_features=None
    )
    measured = api.evaluate(load_parts(out), task)
    (evolved,) = [result for result in found.results if result.name == "evolved"]
    assert measured.result.score == pytest.approx(evolved.score)
    for item, record in zip(
        map(json.loads, items.read_text().splitlines()), measured.details, strict=True
    ):
        assert record["text"] == answered_by_theirs(out, items.parent, item)


def answered_by_theirs(directory, folder, item):
    """What transformers writes about an item, with the chat template and the processor."""
    model = AutoModelForImageTextToText.from_pretrained(directory, attn_implementation="eager")
    processor = processor_of(directory)
    content = [{"type": "image"}, {"type": "text", "text": item["question"]}]
    text = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    with Image.open(folder / item["image"]) as image:
        inputs = processor(images=image, text=text, return_tensors="pt")
    with torch.no_grad():
        tokens = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)[0]
    answer = tokens[inputs["input_ids"].shape[1] :]
    return processor.tokenizer.decode(answer, skip_special_tokens=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_two_are_merged_whole_each_candidate_seeing_by_itself(models, items, tmp_path):
    sources = [models / "qwen", models / "other"]
    parts = "model.parts=[language_model,vision_tower,projector]"
    found = api.evolve(overrides(sources, items, parts), tmp_path / "run")
    own, merged = tensors_of(models / "qwen"), tensors_of(found.directory / "export")
    assert own.keys() == merged.keys()
    assert not any(np.array_equal(own[name], merged[name]) for name in own)
    AutoModelForImageTextToText.from_pretrained(found.directory / "export")
