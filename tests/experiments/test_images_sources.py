"""diffusers loads the images experiment's sources, and draws what we draw; the command runs."""

import json

import jax
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.numpy import load_file
from transformers import AutoTokenizer, CLIPVisionModel

from evojax_merge import api
from evojax_merge.checkpoints import load_parts
from evojax_merge.config import compose
from evojax_merge.fitness import TextToImageTask
from evojax_merge.models.diffusion.drawing import noise_of
from experiments.images import data, words
from experiments.images.grid import SOURCES
from experiments.images.networks import LATENT
from experiments.images.tokenizer import build


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_tokenizers_read_what_the_generator_makes_them_read(name: str) -> None:
    shipped, made = AutoTokenizer.from_pretrained(SOURCES / "base" / name), build()
    assert len(shipped) == len(made)
    for text in ("数字の三は赤", "a picture of the three in red"):
        one, other = (own.convert_ids_to_tokens(own(text)["input_ids"]) for own in (shipped, made))
        assert one == other


def test_all_files_are_at_most_fifteen_megabytes() -> None:
    files = [file for file in SOURCES.parent.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 15e6


def test_models_load_without_a_tensor_too_few_or_too_many() -> None:
    for name in ("base/unet", "japanese", "fast"):
        _, info = UNet2DConditionModel.from_pretrained(SOURCES / name, output_loading_info=True)
        assert not any(info.values())
    _, info = CLIPVisionModel.from_pretrained(SOURCES / "judge", output_loading_info=True)
    assert not any(info.values())


def test_configurations_name_no_place_where_they_were_made() -> None:
    for file in SOURCES.rglob("*.json"):
        assert "_name_or_path" not in json.loads(file.read_text())


def test_a_class_has_the_logit_of_its_colour_and_of_its_digit() -> None:
    head = load_file(SOURCES / "judge" / "head.safetensors")
    for array in head.values():
        table = array.reshape(len(words.COLOURS), len(words.DIGITS), -1).astype(np.float64)
        sums = table[:, :1] + table[:1] - table[:1, :1]
        np.testing.assert_allclose(table, sums, atol=1e-5)


@pytest.mark.slow
def test_diffusers_draws_what_we_draw() -> None:
    task = TextToImageTask(
        data=str(data.DATA / "validation.jsonl"),
        limit=8,
        score="classification",
        scorer=str(SOURCES / "judge"),
        head=str(SOURCES / "judge" / "head.safetensors"),
        classes=[words.label(c, d) for c in range(len(words.COLOURS)) for d in range(10)],
        steps=4,
        guidance=0.0,
    )
    model = load_parts(SOURCES / "base", np.float32)
    with jax.default_matmul_precision("highest"):
        ours = api.evaluate(model, task, keep_pictures=True).pictures
    pipeline = StableDiffusionXLPipeline.from_pretrained(SOURCES / "base", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    items = data.items("validation")[:8]
    seeds = np.array([item["seed"] for item in items], np.uint32)
    noise = torch.from_numpy(np.array(noise_of(seeds, (4, LATENT, LATENT))))
    theirs = pipeline(
        [item["prompt"] for item in items],
        num_inference_steps=4,
        guidance_scale=0.0,
        latents=noise,
        output_type="np",
    ).images
    for own, other in zip(ours, theirs, strict=True):
        assert np.abs(own.pixels - 255 * other).max() <= 1.5


@pytest.mark.slow
def test_the_command_runs_on_few_evaluations(tmp_path) -> None:
    few = ["search.evaluations=8", "baselines.random_search=false", "export=false"]
    run = api.evolve(compose(["+experiment=images", *few]), tmp_path / "run")
    scores = {result.name: result for result in run.results if result.split == "test"}
    assert scores["evolved"].score >= scores["base"].score
    assert (tmp_path / "run" / "plots" / "gallery.png").is_file()
