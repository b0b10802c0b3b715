"""Models that this package cannot run, in recipes and in a search with a fitness of one's own."""

import copy
import json

import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import api
from evojax_merge.checkpoints import CheckpointError
from evojax_merge.fitness.base import Measure, SizeBatch
from evojax_merge.models.request import Compute, Generate
from evojax_merge.models.segments import Segment
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.plan import plan
from evojax_merge.sources.reference import Ingredient
from tests.checkpoints_factory import write_checkpoint
from tests.exchange.conftest import tensors_of
from tests.named_factory import CONFIGS, tensors, write_models


def middle(tensors, layers):
    """How near one tensor is to 0.3, in each of two items."""
    distance = jnp.abs(tensors["conv_out.weight"].astype(jnp.float32) - 0.3).mean()
    return -distance * layers


class Nearness:
    """A fitness that looks at the weights alone."""

    name = "nearness"
    measure = Measure("nearness", "weights")
    splits = ("search", "validation", "test")
    current_split = "search"
    request = Compute(middle)
    batches = (SizeBatch(np.ones(2, np.int32)),)

    def __len__(self):
        return 2

    def on(self, split):
        task = copy.copy(self)
        task.current_split = split
        return task

    def bind(self, model):
        return self

    def score(self, outputs):
        return np.array(outputs[0], np.float32)

    def details(self, outputs, candidate=0):
        return [{"item": item} for item in range(2)]

    def take(self, rows):
        return self


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_recipe_merges_each_layer_as_it_says(tmp_path, kind):
    paths = list(write_models(tmp_path, kind))
    layout = api.load(paths[0]).family.layout(api.load(paths[0]).config)
    depth = layout.depth()
    segments = (
        Segment("early", layout.kinds, 0, 1),
        Segment("late", layout.kinds, 1, depth),
    )
    weights = np.array([[0.25, 1.0], [0.75, 0.0]], np.float32)
    recipe = Recipe(
        operator="evojax_merge.operators.linear",
        arguments={"normalize": False},
        base=Ingredient(str(paths[0])),
        sources=tuple(Ingredient(str(path)) for path in paths[1:]),
        segments=segments,
        coefficients={"weight": weights},
    )
    api.export(api.merge(recipe, use_cache=False), tmp_path / "out")
    first, second = map(tensors_of, paths[1:])
    found = tensors_of(tmp_path / "out")
    assert found.keys() == first.keys()
    for path, leaf in layout.leaves.items():
        for layer in layout.layers_of(path):
            name = leaf.tensor_of(layer if leaf.layered else None)
            one, other = weights[:, min(layer, 1)]
            wanted = one * first[name] + other * second[name]
            np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written.items() >= CONFIGS[kind][0].items()


def test_a_search_with_a_fitness_of_ones_own(tmp_path):
    base, *sources = write_models(tmp_path, "unet")
    overrides = [
        f"model.base={base}",
        f"model.sources=[{','.join(map(str, sources))}]",
        "operator=linear",
        "~fitness",
        "+fitness._target_=tests.runs.test_named_runs.Nearness",
        "search.evaluations=24",
        "baselines.random_search=false",
        "seed=1",
    ]
    run = api.evolve(overrides, tmp_path / "run")
    results = json.loads((run.directory / "results.json").read_text())
    scores = {row["name"]: row["score"] for row in results if row["split"] == "test"}
    assert scores["evolved"] > max(scores["average"], *(scores[path.name] for path in sources))
    found = tensors_of(run.directory / "export")
    assert found.keys() == CONFIGS["unet"][1].keys()


class Asking(Nearness):
    """A fitness for which models must generate."""

    request = Generate(4, (2,), 0)


def test_what_the_models_cannot_do_is_said_before_weights_are_read(tmp_path):
    base, *sources = write_models(tmp_path, "gpt2")
    for path in sources:  # NaN, which would be said of if weights were read
        own = {name: np.full_like(tensor, np.nan) for name, tensor in tensors_of(path).items()}
        write_checkpoint(path, CONFIGS["gpt2"][0], tensors=own)
    overrides = [
        f"model.base={base}",
        f"model.sources=[{','.join(map(str, sources))}]",
        "operator=linear",
        "~fitness",
        "+fitness._target_=tests.runs.test_named_runs.Asking",
    ]
    with pytest.raises(ValueError, match="can generate text, and models whose type"):
        api.evolve(overrides, tmp_path / "run")


def test_other_tensors_are_listed_in_one_error(tmp_path):
    config, shapes = CONFIGS["mixtral"]
    own, other = tensors(shapes, 0), tensors(shapes, 1)
    del other["lm_head.weight"]
    other["model.layers.1.self_attn.q_proj.weight"] = own["lm_head.weight"]
    paths = [
        write_checkpoint(tmp_path / name, config, tensors=held)
        for name, held in (("own", own), ("other", other))
    ]
    with pytest.raises(CheckpointError) as error:
        plan(None, list(map(str, paths)))
    assert "lacks lm_head.weight [20, 4]" in str(error.value)
    assert "model.layers.1.self_attn.q_proj.weight is [20, 4], not [4, 4]" in str(error.value)
