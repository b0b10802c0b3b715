"""Recipes of pipelines: the published numbers of Evo-Ukiyoe, and what is kept of carriers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from evojax_merge import export, merge
from evojax_merge.cli import main
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.reference import Ingredient
from tests.pipelines_factory import (
    folder_tensors,
    pipeline_configs,
    pipeline_tensors,
    write_folder,
    write_single,
)

UKIYOE = Path("experiments/recipes/evo_ukiyoe.yaml")
CONFIGS = pipeline_configs()
ATTENTION = (0.1877279276437178, 0.20014114603909822, 0.3922685507065275, 0.2198623756106564)
REST = (0.15928833971605916, 0.1032449268871776, 0.6503217149752791, 0.08714501842148402)


def half(seed):
    return {name: t.astype(np.float16) for name, t in pipeline_tensors(CONFIGS, seed).items()}


@pytest.fixture(scope="module")
def tensors():
    return [half(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def sources(tensors, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sources")
    paths = [write_folder(directory / f"{n}", CONFIGS, tensors[n]) for n in range(3)]
    return [*paths, write_single(directory / "3.safetensors", CONFIGS, tensors[3])]


@pytest.fixture
def recipe(sources, tmp_path):
    published = Recipe.load(UKIYOE)
    deepest = max(CONFIGS["unet"]["transformer_layers_per_block"])
    own = dataclasses.replace(
        published,
        sources=tuple(Ingredient(str(path)) for path in sources),
        carriers={"text_encoder": Ingredient(str(sources[3]))},
        segments=tuple(segment._replace(stop=deepest) for segment in published.segments),
    )
    own.save(tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def transcriptions(name, tensors):
    """The weighted sum of a tensor in float32, rounded once, from the published numbers alone.

    A processor that multiplies and adds in one step rounds no product before it is added. Which of
    the steps are such ones is a compiler's choice, so all are here. A float64 holds the product of
    a float32 and a float16, and its sum with another as closely as it matters.
    """
    inside = any(word in name for word in ("to_k", "to_q", "to_v", "to_out.0"))
    weights = [np.float64(np.float32(weight)) for weight in (ATTENTION if inside else REST)]
    whole = [w * own[name].astype(np.float64) for w, own in zip(weights, tensors, strict=True)]
    rounded = [product.astype(np.float32).astype(np.float64) for product in whole]
    totals = [rounded[0] + rounded[1], whole[0] + rounded[1], rounded[0] + whole[1]]
    for plain, fused in zip(rounded[2:], whole[2:], strict=True):
        sums = [total.astype(np.float32).astype(np.float64) for total in totals]
        totals = [total + product for total in sums for product in (plain, fused)]
    return [total.astype(np.float32).astype(np.float16) for total in totals]


@pytest.mark.slow
def test_from_file_to_file_are_the_bits_of_a_merge_in_memory(recipe, tmp_path):
    export(merge(recipe), tmp_path / "memory.safetensors")
    main(["apply", str(recipe), "--out", str(tmp_path / "files.safetensors")])
    memory, files = (load_file(tmp_path / f"{n}.safetensors") for n in ("memory", "files"))
    assert memory.keys() == files.keys()
    for name, tensor in memory.items():
        np.testing.assert_array_equal(tensor, files[name], err_msg=name)


@pytest.mark.slow
def test_apply_gives_the_published_sum_to_the_bit(recipe, tensors, tmp_path):
    main(["apply", str(recipe), "--out", str(tmp_path / "out")])
    found = folder_tensors(tmp_path / "out")
    assert found.keys() == tensors[0].keys()
    for name, tensor in found.items():
        assert tensor.dtype == np.float16
        if name.startswith("unet/"):
            sums = transcriptions(name, tensors)
            assert np.all(np.any([tensor == total for total in sums], axis=0)), name
            assert np.mean(tensor == sums[0]) > 0.99
        else:
            origin = tensors[3 if name.startswith("text_encoder/") else 0]
            np.testing.assert_array_equal(tensor, origin[name], err_msg=name)


def test_what_carriers_are_is_kept_and_checked(recipe, sources):
    again = Recipe.from_yaml(Recipe.load(recipe).to_yaml())
    assert again.carriers == {"text_encoder": Ingredient(str(sources[3]))}
    stale = dataclasses.replace(again, carriers={"text_encoder": Ingredient(str(sources[3]), "0")})
    with pytest.raises(RecipeError, match=r"3\.safetensors; use them all the same with force=True"):
        merge(stale)


def test_paths_are_found_beside_the_recipe(sources, tmp_path):
    (tmp_path / "models").symlink_to(sources[0].parent)
    baked = Ingredient("models/0+models/lora.safetensors:0.5")
    assert Ingredient("models/3.safetensors").at(tmp_path).path == str(
        tmp_path / "models/3.safetensors"
    )
    (tmp_path / "models/lora.safetensors").touch()
    wanted = f"{tmp_path}/models/0+{tmp_path}/models/lora.safetensors:0.5"
    assert baked.at(tmp_path).path == wanted
