"""LoRA adapters from their files to an exported merge: planned, searched, applied again."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from evojax_merge import api
from evojax_merge.checkpoints import CheckpointError, export
from evojax_merge.models.segments import Segment
from evojax_merge.operators import linear, task_arithmetic
from evojax_merge.params.low_rank import LowRank
from evojax_merge.recipes.build import merge_recipe
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import plan
from evojax_merge.sources.reference import Ingredient
from tests.adapters_factory import adapter_tensors, task_vectors, write_adapter
from tests.checkpoints_factory import (
    byte_tokenizer,
    random_tensors,
    tiny_config,
    word_tokenizer,
    write_checkpoint,
)
from tests.slow import slow

EVIDENCE = ("fisher", "regmean")
EVERYTHING = ("embedding", "attention", "mlp", "norm", "head")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """A base, two adapters of it and a whole fine-tune, and items to search on."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = byte_tokenizer()
    config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=2, max_position_embeddings=96)
    base, noise = random_tensors(config, 0), random_tensors(config, 1)
    tuned = {name: base[name] + 0.1 * noise[name] for name in base}
    write_checkpoint(folder / "base", config, tensors=base, tokenizer=tokenizer)
    write_checkpoint(folder / "full", config, tensors=tuned, tokenizer=tokenizer)
    write_adapter(folder / "a", adapter_tensors(config, seed=2))
    both = adapter_tensors(config, seed=3, targets=("q_proj", "lm_head"), rank=3, layers=(1,))
    write_adapter(folder / "b", both, r=3, target_modules=["q_proj", "lm_head"])
    items = folder / "items.jsonl"
    items.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("some", "others")))
    return {path.stem: str(path) for path in folder.iterdir()}


def recipe(base: str, sources: list[str], weights: list[float], factory: str) -> Recipe:
    return Recipe(
        operator=f"evojax_merge.operators.{factory}",
        arguments={"normalize": False},
        base=Ingredient(base),
        sources=tuple(Ingredient(source) for source in sources),
        segments=(Segment("all", EVERYTHING, 0, 2),),
        coefficients={"weight": np.array([[w] for w in weights], np.float32)},
    )


def exported(model: api.Model, directory: Path) -> dict[str, np.ndarray]:
    export(model, directory)
    return load_file(directory / "model.safetensors")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize(
    "operator",
    [
        "ties",
        "task_arithmetic",
        *slow("linear", "tsv_merge", "fisher", "regmean"),
    ],
)
def test_a_search_over_adapters_and_checkpoints(operator, models, tmp_path):
    published = "true" if operator == "ties" else "false"
    run = api.evolve(
        [
            "fitness=perplexity",
            f"fitness.data={models['items']}",
            f"model.base={models['base']}",
            f"model.sources=[{models['a']},{models['full']},{models['b']}]",
            f"operator={operator}",
            *([f"operator.data={models['items']}"] if operator in EVIDENCE else []),
            "search.evaluations=8",
            "search.chunk=2",
            f"baselines.published={published}",
            "strategy.population_size=4",
        ],
        tmp_path / "run",
    )
    names = [result.name for result in run.results]
    extra = ["average", "task_arithmetic", "ties"] if operator == "ties" else []
    assert names == ["base", "a", "full", "b", *extra, "evolved"]
    assert all(np.isfinite(result.score) for result in run.results)
    assert all(source.sha256 for source in run.recipe.sources)
    again = exported(api.merge(tmp_path / "run" / "recipe.yaml"), tmp_path / "again")
    first = load_file(tmp_path / "run" / "export" / "model.safetensors")
    assert again.keys() == first.keys()
    for name, tensor in first.items():
        assert tensor.tobytes() == again[name].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("factory", [pytest.param("fisher", marks=pytest.mark.slow), "regmean"])
def test_evidence_of_an_adapter_is_that_of_the_model_it_makes(factory, models, tmp_path):
    """Adapters beside a whole checkpoint, and the models that they make beside it."""
    wholes = []
    for name in ("a", "b"):
        alone = recipe(models["base"], [models[name]], [1.0], "task_arithmetic")
        wholes.append(str(export(api.merge(alone), tmp_path / name)))
    weights = [0.2, 0.5, 0.3]
    merged = []
    for number, sources in enumerate(([models["a"], models["b"]], wholes)):
        given = recipe(models["base"], [*sources, models["full"]], weights, factory)
        given = dataclasses.replace(given, arguments={"data": models["items"]})
        merged.append(exported(api.merge(given), tmp_path / f"merged-{number}"))
    average = exported(
        api.merge(recipe(models["base"], [*wholes, models["full"]], weights, "linear")),
        tmp_path / "average",
    )
    for key, value in merged[1].items():
        np.testing.assert_allclose(merged[0][key], value, rtol=0, atol=2e-5, err_msg=key)
    assert any(
        np.abs(merged[1][key] - average[key]).max() > 1e-2 for key in average
    )  # evidence counts


@pytest.mark.slow
def test_an_adapter_scores_as_the_model_that_it_makes(models, tmp_path):
    common = ["fitness=perplexity", f"fitness.data={models['items']}", "search.evaluations=4"]
    common += [f"model.base={models['base']}", "operator=linear", "strategy.population_size=4"]
    common += ["baselines.published=false", "export=false"]
    alone = recipe(models["base"], [models["a"]], [1.0], "task_arithmetic")
    export(api.merge(alone), tmp_path / "merged")
    sources = f"model.sources=[{models['a']},{tmp_path / 'merged'}]"
    run = api.evolve([*common, sources], tmp_path / "run")
    scores = {result.name: result.score for result in run.results}
    assert scores["a"] == pytest.approx(scores["merged"], rel=1e-6)
    assert scores["a"] != scores["base"]


@pytest.mark.slow
def test_paths_lead_through_the_layers_of_an_adapted_model(models, tmp_path):
    """Data flow over an adapter and a checkpoint is that over the model that it makes."""
    made = recipe(models["base"], [models["a"]], [1.0], "task_arithmetic")
    export(api.merge(made), tmp_path / "whole")
    common = ["fitness=perplexity", f"fitness.data={models['items']}", "space=dataflow"]
    common += ["strategy=snes", "strategy.population_size=4", "search.evaluations=8"]
    common += [f"model.base={models['base']}", "baselines.random_search=false", "export=false"]
    scores, paths = [], []
    for name, first in (("adapter", models["a"]), ("whole", str(tmp_path / "whole"))):
        sources = f"model.sources=[{first},{models['full']}]"
        run = api.evolve([*common, sources], tmp_path / name)
        scores.append([result.score for result in run.results])
        paths.append(exported(api.merge(tmp_path / name / "recipe.yaml"), tmp_path / f"{name}-out"))
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert paths[0].keys() == paths[1].keys()
    for key, tensor in paths[0].items():
        np.testing.assert_allclose(tensor, paths[1][key], rtol=0, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("factory", ["task_arithmetic", "linear"])
def test_a_recipe_of_adapters(factory, models, tmp_path):
    weights = [0.5, 0.25] if factory == "task_arithmetic" else [0.75, 0.25]
    given = recipe(models["base"], [models["a"], models["b"]], weights, factory)
    merged = exported(api.merge(given), tmp_path / "merged")
    expected = load_file(Path(models["base"]) / "model.safetensors")
    for name, weight, scale in (("a", weights[0], 6 / 4), ("b", weights[1], 6 / 3)):
        tensors = load_file(Path(models[name]) / "adapter_model.safetensors")
        for key, added in task_vectors(tensors, lambda _, scale=scale: scale).items():
            expected[key] = expected[key] + weight * added
    for key, value in expected.items():
        np.testing.assert_allclose(merged[key], value, rtol=0, atol=1e-6, err_msg=key)


def test_a_recipe_whose_adapter_is_scaled_otherwise_since_is_refused(models, tmp_path):
    tensors = load_file(Path(models["a"]) / "adapter_model.safetensors")
    directory = write_adapter(tmp_path / "adapter", tensors)
    given = recipe(models["base"], [str(directory)], [1.0], "task_arithmetic")
    (hashed,) = plan(models["base"], [str(directory)]).source_ingredients
    given = dataclasses.replace(given, sources=(hashed,))
    api.merge(given)
    write_adapter(directory, tensors, lora_alpha=60)
    with pytest.raises(RecipeError, match=r"(?s)are not the ones .*adapter"):
        api.merge(given)


def test_adapters_follow_a_vocabulary_of_another_source(tmp_path):
    words = [f"w{number}" for number in range(60)]
    config = tiny_config(num_hidden_layers=2)
    base = write_checkpoint(tmp_path / "base", config, tokenizer=word_tokenizer(words))
    moved = word_tokenizer([*words[::-1], "new"])
    chat_config = tiny_config(num_hidden_layers=2, vocab_size=65)
    chat = write_checkpoint(tmp_path / "chat", chat_config, seed=1, tokenizer=moved)
    targets = ("embed_tokens", "q_proj")
    tensors = adapter_tensors(config, targets=targets)
    adapter = write_adapter(tmp_path / "adapter", tensors, target_modules=list(targets))
    sources = [str(chat), str(adapter)]
    loaded = load_ingredients(plan(str(base), sources, reference=0))
    table = loaded.source_params[1]["embed_tokens"]["weight"]
    assert isinstance(table, LowRank)
    assert table.shape == (65, 32)
    added = task_vectors(tensors, lambda _: 6 / 4)["model.embed_tokens.weight"]
    ours = np.asarray(table.task_vector())
    np.testing.assert_allclose(ours[4:64], added[4:64][::-1], rtol=0, atol=1e-6)
    assert not ours[64].any()  # a token that the adapter's base does not have
    given = recipe(str(base), sources, [0.5, 0.5], "linear")
    given = dataclasses.replace(given, reference=0)
    for operator in (linear(), task_arithmetic()):
        merge_recipe(given, operator, loaded)


def test_what_an_adapter_needs_is_said(models):
    adapter, base = models["a"], models["base"]
    with pytest.raises(CheckpointError, match=r"is a LoRA adapter, .* give that as model.base"):
        plan(None, [adapter])
    with pytest.raises(CheckpointError, match=r"no configuration of its own; .*tokenizer=base"):
        plan(base, [adapter, models["full"]], reference=0)
    with pytest.raises(CheckpointError, match=r"is a LoRA adapter, no model; list it in"):
        plan(adapter, [models["full"]])
    with pytest.raises(CheckpointError, match=r"is a LoRA adapter, no model; list it in"):
        api.load(adapter)
