"""Models that consist of parts are merged in one of them, and come out whole."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from evojax_merge import api
from evojax_merge.checkpoints import CheckpointError, export, load_config
from evojax_merge.exchange import ExchangeError, to_mergekit
from evojax_merge.models.family import DECODER, LLAVA
from evojax_merge.params.low_rank import Unchanged
from evojax_merge.params.tree import flatten
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.runs.run import left_by
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import plan
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
    write_llava(folder / "other", llava_config(), seed=6, spelling="file")
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


def assert_same(first, second):
    ours, theirs = tensors_of(first), tensors_of(second)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


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
    out = export(api.merge(run.directory / "recipe.yaml"), tmp_path / "out")
    assert_same(run.directory / "export", out)


def test_a_recipe_that_says_nothing_of_parts_is_refused(run):
    recipe = dataclasses.replace(run.recipe, parts=None)
    assert "parts" not in recipe.to_tree()
    with pytest.raises(RecipeError, match=r"add e.g. parts: \[language_model\] to the recipe"):
        api.merge(recipe)


def test_whoever_reads_prompts_sees_the_carrier_before_weights_are_read(models):
    prepared = plan(str(models / "base"), [str(models / "japanese"), str(models / "llava")])
    assert prepared.reference.family is DECODER
    assert prepared.reference.carrier.family is LLAVA
    assert prepared.reference.carrier.directory == models / "llava"


def test_mergekit_has_no_such_merges(run):
    with pytest.raises(
        ExchangeError, match="llava is of the family llava, for which no file of mergekit"
    ):
        to_mergekit(Recipe.load(run.directory / "recipe.yaml"))


def test_a_whole_model_can_be_merged(models):
    sources = [str(models / "llava"), str(models / "other")]
    prepared = plan(None, sources, parts=PARTS)
    layout = prepared.reference.family.layout(prepared.reference.config)
    assert {"projector", "vision_attention", "attention"} <= set(layout.kinds)
    assert prepared.reference.slots.keys() == load_config(sources[0]).slots.keys()


def see(models, texts, *more):
    """Merge all parts of two models that see and of one that does not."""
    return [
        f"model.base={models / 'llava'}",
        f"model.sources=[{models / 'other'},{models / 'japanese'}]",
        f"model.parts=[{','.join(PARTS)}]",
        "operator=task_arithmetic",
        "space.groups={reads: [attention,mlp,norm,embedding,head], sees: [vision_attention,"
        "vision_mlp,vision_norm,vision_embedding,projector]}",
        *overrides(models, texts, *more)[3:],
    ]


@pytest.fixture(scope="module")
def seeing(models, texts, tmp_path_factory):
    return api.evolve(see(models, texts), tmp_path_factory.mktemp("seeing") / "run")


def test_a_model_that_does_not_see_is_the_base_where_others_do(models):
    sources = [str(models / "other"), str(models / "japanese")]
    ingredients = load_ingredients(plan(str(models / "llava"), sources, parts=PARTS))
    own, base = (flatten(one.params) for one in (ingredients.sources[1], ingredients.base))
    lacking = {path for path, leaf in own.items() if isinstance(leaf, Unchanged)}
    assert lacking == {path for path in base if not path.startswith("language_model.")}
    *_, whole = ingredients.whole_sources()
    for path, leaf in flatten(whole.params).items():
        assert leaf.shape == base[path].shape
        assert np.array_equal(leaf, base[path] if path in lacking else own[path])


@pytest.mark.slow
def test_a_source_that_does_not_see_adds_nothing_where_others_do(seeing, models):
    recipe = Recipe.load(seeing.directory / "recipe.yaml")
    assert set(recipe.parts) == set(PARTS)
    (segment,) = [i for i, one in enumerate(recipe.segments) if "projector" in one.groups]
    weight = recipe.coefficients["weight"][0, segment]
    base, other = tensors_of(models / "llava"), tensors_of(models / "other")
    merged = tensors_of(seeing.directory / "export")
    assert merged.keys() == base.keys()
    for name, leaf in merged.items():
        if not name.startswith("language_model."):
            theirs = other[name.replace("vision_tower.vision_model.", "vision_tower.")]
            expected = base[name] + weight * (theirs - base[name])
            np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_merge_of_all_parts_is_made_again(seeing, tmp_path):
    model = api.merge(seeing.directory / "recipe.yaml")
    assert model.family is LLAVA
    assert_same(seeing.directory / "export", export(model, tmp_path / "out"))
    AutoModelForImageTextToText.from_pretrained(tmp_path / "out")


@pytest.mark.slow
def test_what_a_finished_run_left_is_read_where_it_cannot_be_written(seeing):
    assert set(left_by(seeing.directory).model.parts) == set(PARTS)


@pytest.mark.slow
def test_an_interrupted_search_ends_in_the_same_weights(run, models, texts, tmp_path):
    api.evolve(overrides(models, texts, "search.evaluations=4"), tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("evaluations: 4", "evaluations: 8"))
    assert api.resume(tmp_path / "run").model.parts == ("language_model",)
    assert_same(run.directory / "export", tmp_path / "run" / "export")


@pytest.mark.slow
@pytest.mark.parametrize("skeleton", ["llava", "japanese"])
def test_a_path_is_written_into_its_skeleton(skeleton, models, texts, tmp_path):
    chosen = ["space=dataflow", f"space.skeleton={skeleton}"]
    run = api.evolve(overrides(models, texts, *chosen)[1:], tmp_path / "run")
    assert_same(tmp_path / "run" / "export", export(run.model, tmp_path / "out"))
    export(api.merge(tmp_path / "run" / "recipe.yaml"), tmp_path / "again")
    assert_same(tmp_path / "out", tmp_path / "again")
    if skeleton == "llava":
        AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    else:
        assert load_config(tmp_path / "out").family is DECODER


@pytest.mark.slow
@pytest.mark.parametrize("space", ["hybrid", "joint"])
def test_a_merge_and_a_path_are_written_into_the_carrier(space, models, texts, tmp_path):
    run = api.evolve(overrides(models, texts, f"space={space}"), tmp_path / "run")
    assert run.model.carrier.directory == models / "llava"
    export(api.merge(tmp_path / "run" / "recipe.yaml"), tmp_path / "out")
    assert_same(tmp_path / "run" / "export", tmp_path / "out")


@pytest.mark.slow
def test_weights_found_by_themselves_are_put_into_the_carrier(models, texts, tmp_path):
    chosen = ["space=weights", "strategy=sep_cma_es", "space.origin=base"]
    api.evolve(overrides(models, texts, *chosen), tmp_path / "run")
    model = api.merge(tmp_path / "run" / "recipe.yaml")
    assert_same(tmp_path / "run" / "export", export(model, tmp_path / "out"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["model.parts=[language]"], "has no part 'language'; it has .*language_model"),
        (["model.parts=[]"], r"model.parts is \[\]; give a list of names of parts"),
        (["model.carrier=elsewhere"], "model.carrier is 'elsewhere'; give base, or one of llava"),
        (["model.carrier=base"], "model.carrier is base, which has no other parts than the merged"),
        (["space=dataflow", "model.carrier=llava"], "carrier of a data-flow merge is its skeleton"),
        (["space=dataflow", "model.parts=[projector,language_model]"], "in decoders only"),
        (["model.parts=[vision_tower]"], "base: is a decoder, .*none of the merged parts"),
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


@pytest.mark.parametrize(
    ("base", "sources", "parts", "message"),
    [
        (None, ["llava", "japanese"], PARTS, "japanese: has no vision_tower and no projector, wh"),
        ("base", ["llava", "japanese"], PARTS, "base: has no vision_tower and no projector, and"),
        ("llava", ["base", "japanese"], PARTS, "no source has a vision_tower"),
        (
            "llava",
            ["japanese", "base"],
            ["projector"],
            "japanese: .*none of the merged parts .projector",
        ),
    ],
)
def test_parts_that_are_lacking_are_named(base, sources, parts, message, models):
    paths = [str(models / name) for name in sources]
    with pytest.raises(CheckpointError, match=message):
        plan(base and str(models / base), paths, parts=parts)


def test_a_carrier_of_models_without_parts_is_refused(models, texts, tmp_path):
    sources = f"model.sources=[{models / 'base'},{models / 'japanese'}]"
    given = overrides(models, texts, sources, "model.base=null", "operator=linear")
    with pytest.raises(ValueError, match="carrier is japanese, and none of these models"):
        api.evolve([*given, "model.carrier=japanese"], tmp_path / "run")


def test_a_language_model_of_another_type_is_refused(models, tmp_path):
    write_checkpoint(tmp_path / "qwen", tiny_config("qwen2", **TEXT), tokenizer=byte_tokenizer())
    sources = [str(models / "other"), str(tmp_path / "qwen")]
    with pytest.raises(CheckpointError, match="model_type is qwen2, that of the language_model"):
        plan(str(models / "llava"), sources, parts=PARTS)


def test_language_models_of_other_shapes_are_refused(models, tmp_path):
    wide = tiny_config("mistral", **TEXT, intermediate_size=80)
    write_checkpoint(tmp_path / "wide", wide, tokenizer=byte_tokenizer())
    with pytest.raises(CheckpointError, match=r"mlp.*is \[80, 32\], not"):
        plan(None, [str(models / "llava"), str(tmp_path / "wide")])
