"""Models that consist of parts are merged in one of them, and come out whole."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from evojax_merge import api
from evojax_merge.checkpoints import CheckpointError, export, load_config
from evojax_merge.exchange import ExchangeError, to_mergekit
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.ingredients import plan
from tests.checkpoints_factory import byte_tokenizer, tiny_config, write_checkpoint
from tests.llava_factory import llava_config, write_llava

PARTS = ["language_model", "vision_tower", "projector"]
TEXT = {"num_hidden_layers": 2, "vocab_size": 260, "max_position_embeddings": 512}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A text model, a LLaVA with a token more and rows of padding, and another text model."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "japanese")):
        config = tiny_config("mistral", **TEXT)
        write_checkpoint(folder / name, config, seed=seed, tokenizer=byte_tokenizer())
    write_llava(folder / "llava", llava_config(), seed=5)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    lines = [json.dumps({"text": text}) for text in ("one two", "three", "4")]
    file.write_text("\n".join(lines))
    return file


def overrides(models, texts, *more):
    return [
        f"model.base={models / 'base'}",
        f"model.sources=[{models / 'llava'},{models / 'japanese'}]",
        "operator=task_arithmetic",
        "fitness=perplexity",
        f"fitness.data={texts}",
        "search.evaluations=8",
        "baselines.published=false",
        *more,
    ]


@pytest.fixture(scope="module")
def run(models, texts, tmp_path_factory):
    return api.evolve(overrides(models, texts), tmp_path_factory.mktemp("run") / "run")


def tensors_of(directory):
    return load_file(directory / "model.safetensors")


def test_a_text_model_joins_the_language_model_of_one_that_sees(run, models):
    recipe = Recipe.load(run.directory / "recipe.yaml")
    assert (recipe.reference, recipe.parts) == (0, ("language_model",))
    assert recipe.vocabulary["base"]["method"] == "by_token"
    own, merged = tensors_of(models / "llava"), tensors_of(run.directory / "export")
    assert own.keys() == merged.keys()
    same = [name for name in own if np.array_equal(own[name], merged[name])]
    assert same == [name for name in own if not name.startswith("language_model.")]


def test_the_export_sees_and_reads(run, models):
    AutoModelForImageTextToText.from_pretrained(run.directory / "export")
    tokenizer = AutoTokenizer.from_pretrained(run.directory / "export")
    assert tokenizer.convert_tokens_to_ids("<image>") == 260


def test_the_recipe_makes_the_export_again(run, tmp_path):
    export(api.merge(run.directory / "recipe.yaml"), tmp_path / "out")
    first, second = tensors_of(run.directory / "export"), tensors_of(tmp_path / "out")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_mergekit_has_no_such_merges(run):
    with pytest.raises(
        ExchangeError, match="llava is of the family llava, for which no file of mergekit"
    ):
        to_mergekit(Recipe.load(run.directory / "recipe.yaml"))


def test_a_whole_model_can_be_merged(models, tmp_path):
    write_llava(tmp_path / "other", llava_config(), seed=6)
    sources = [str(models / "llava"), str(tmp_path / "other")]
    prepared = plan(None, sources, parts=PARTS)
    layout = prepared.reference.family.layout(prepared.reference.config)
    assert {"projector", "vision_attention", "attention"} <= set(layout.kinds)
    assert prepared.reference.slots.keys() == load_config(sources[0]).slots.keys()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["model.parts=[language]"], "has no part 'language'; it has .*language_model"),
        (["model.parts=[]"], r"model.parts is \[\]; give a list of names of parts"),
        (["model.carrier=elsewhere"], "model.carrier is 'elsewhere'; give base, or one of llava"),
        (["model.carrier=japanese"], "japanese: has no other parts .* model.carrier"),
        (
            ["model.carrier=llava", "model.tokenizer=japanese"],
            "a merge has the tokenizer of its carrier",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_weights_are_read(more, message, models, texts, tmp_path):
    with pytest.raises(ValueError, match=message):
        api.evolve(overrides(models, texts, *more), tmp_path / "run")


def test_parts_of_models_without_parts_are_refused(models):
    paths = [str(models / "base"), str(models / "japanese")]
    with pytest.raises(CheckpointError, match="none of these models consists of parts"):
        plan(None, paths, parts=["language_model"])


def test_language_models_of_other_shapes_are_refused(models, tmp_path):
    wide = tiny_config("mistral", **TEXT, intermediate_size=80)
    write_checkpoint(tmp_path / "wide", wide, tokenizer=byte_tokenizer())
    with pytest.raises(CheckpointError, match=r"mlp.*is \[80, 32\], not"):
        plan(None, [str(models / "llava"), str(tmp_path / "wide")])
