"""Searches over models that draw, from files to pictures and to what diffusers makes of them."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from diffusers import DiffusionPipeline
from PIL import Image

from evojax_merge import api
from evojax_merge.checkpoints import load_config, load_parts
from evojax_merge.cli import main
from evojax_merge.models.diffusion.drawing import noise_of
from tests.clip_factory import clip_config, write_clip, write_reading_files
from tests.diffusion_factory import SMALL, write_drawing_pipeline

pytestmark = pytest.mark.slow

PROMPTS = ("red cat", "blue dog", "a house", "green")
RUN = [
    "model.base=m0",
    "model.sources=[m1,m2]",
    "operator=linear",
    "strategy=random",
    "strategy.population_size=2",
    "search.evaluations=2",
    "search.finalists=1",
    "baselines.published=false",
    "fitness.data=items.jsonl",
    "fitness.split=[0.5,0.5]",
    "fitness.scorer=clip",
    "fitness.steps=4",
    "fitness.spacing=trailing",
    "fitness.guidance=0",
    "fitness.shown=1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("drawing_runs")
    for number in range(3):
        write_drawing_pipeline(directory / f"m{number}", seed=number, **SMALL)
    write_clip(directory / "clip", clip_config(), seed=5)
    write_reading_files(directory / "clip")
    lines = [json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS]
    (directory / "items.jsonl").write_text("".join(lines))
    return directory


@pytest.fixture(scope="module")
def run(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return api.evolve(["fitness=text_to_image", *RUN], folder / "run")


def pixels(file):
    with Image.open(file) as picture:
        return np.asarray(picture)


def assert_alike(file, other):
    """A batch of another size sums in another order, which may round to the next of 255 steps."""
    assert np.abs(pixels(file).astype(int) - pixels(other)).max() <= 1


def texts_of(file):
    with Image.open(file) as picture:
        picture.load()
        return picture.text


def test_a_run_keeps_pictures_with_their_recipe(run):
    folders = sorted(path.name for path in (run.directory / "images").iterdir())
    assert folders == ["base", "evolved", "m1", "m2"]
    file = run.directory / "images" / "evolved" / "000.png"
    texts = texts_of(file)
    recipe = (run.directory / "recipe.yaml").read_text()
    assert texts["recipe"] == recipe
    assert texts["prompt"] in PROMPTS
    assert yaml.safe_load(recipe)["notes"]["drawing"]["steps"] == 4
    drawn = [pixels(run.directory / "images" / name / "000.png") for name in folders]
    assert len({one.tobytes() for one in drawn}) == 4
    assert all(one.std() > 5 for one in drawn)
    assert (run.directory / "plots" / "gallery.png").stat().st_size > 1000
    assert all(result.flawed == 0 for result in run.results if result.split == "test")


def test_m2n2_splits_attention_and_the_rest_apart(folder, monkeypatch):
    monkeypatch.chdir(folder)
    overrides = [
        "fitness=text_to_image",
        "fitness.formula=ncs",
        *RUN,
        "space=unet_attention",
        "strategy=m2n2",
        "strategy.split=group",
    ]
    evaluations = "search.evaluations=6"
    whole = api.evolve([*overrides, evaluations], folder / "split")
    api.evolve([*overrides, "search.evaluations=4"], folder / "shorter")
    (folder / "shorter" / "config.yaml").unlink()  # of the same run, but longer
    again = api.evolve([*overrides, evaluations], folder / "shorter")
    histories = [(one.directory / "history.jsonl").read_text() for one in (whole, again)]
    genotypes = [[json.loads(row)["genotype"] for row in one.splitlines()] for one in histories]
    assert genotypes[0] == genotypes[1]
    assert len(genotypes[0]) == 6


def assert_diffusers_draws_the_same(run, spacing, guidance=0.0):
    pipeline = DiffusionPipeline.from_pretrained(run.directory / "export")
    pipeline.scheduler = pipeline.scheduler.from_config(
        pipeline.scheduler.config, timestep_spacing=spacing
    )
    pipeline.set_progress_bar_config(disable=True)
    for file in sorted((run.directory / "images" / "evolved").iterdir()):
        texts = texts_of(file)
        noise = np.array(noise_of(np.array([int(texts["seed"])], np.uint32), (4, 8, 8)))
        made = pipeline(
            texts["prompt"],
            num_inference_steps=4,
            guidance_scale=guidance,
            height=16,
            width=16,
            latents=torch.from_numpy(noise),
            output_type="np",
        ).images[0]
        assert np.abs(np.rint(made * 255) - pixels(file)).max() <= 1


def test_diffusers_draws_what_the_gallery_shows(run):
    assert_diffusers_draws_the_same(run, "trailing")


@pytest.mark.parametrize(
    ("kind", "changes", "overrides"),
    [
        ("SD 1.x", {}, []),
        ("SD 2.x", {"scheduler": {"prediction_type": "v_prediction"}}, []),
        ("SDXL", {}, ["model.parts=[unet,text_encoder]"]),
    ],
)
def test_every_architecture_with_guidance_and_a_prompt_that_is_too_long(
    kind, changes, overrides, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    small = {part: dict(own) for part, own in SMALL.items()}
    if kind != "SDXL":
        del small["unet"]["transformer_layers_per_block"]
    for number in range(3):
        write_drawing_pipeline(tmp_path / f"m{number}", kind, seed=number, **small, **changes)
    prompts = ("red cat", "a house", "green", "a very large red cat on a small green house")
    lines = [json.dumps({"prompt": prompt}) + "\n" for prompt in prompts]
    (tmp_path / "items.jsonl").write_text("".join(lines))
    spacing = ["fitness.spacing=leading", "fitness.guidance=5", "fitness.shown=2"]
    scorer = f"fitness.scorer={folder / 'clip'}"
    task = ["fitness=text_to_image", *RUN, *spacing, scorer]
    with pytest.warns(UserWarning, match="longer than the 20 tokens") as warned:
        run = api.evolve([*task, *overrides], tmp_path / "run")
    assert len([one for one in warned if "longer than" in str(one.message)]) == 1
    assert_diffusers_draws_the_same(run, "leading", 5.0)
    main(["apply", str(run.directory), "--out", "again.safetensors"])
    own = [one for one in task if one.startswith("fitness")]
    more = ["fitness.tokenizers=m0", "--split", "test", "--out", "measured"]
    main(["evaluate", "again.safetensors", *own, *more])
    (result,) = json.loads((tmp_path / "measured" / "results.json").read_text())
    assert result["score"] == pytest.approx(run.result.score, abs=1e-5)


def test_evaluating_a_run_gives_its_score_and_keeps_pictures(run, folder, tmp_path, capsys):
    main(["evaluate", str(run.directory), "--split", "test", "--out", str(tmp_path / "out")])
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["score"] == pytest.approx(run.result.score, abs=1e-5)
    rows = [
        json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    ]
    assert [row["flaw"] for row in rows] == [None, None]
    files = sorted((tmp_path / "out" / "images").iterdir())
    assert len(files) == 2
    assert_alike(files[0], run.directory / "images" / "evolved" / "000.png")


def test_a_pipeline_is_measured_with_parts_from_elsewhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    assembled = shutil.copytree("m1", tmp_path / "assembled")
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(assembled / part)
        shutil.copytree(f"m2/{part}", assembled / part)
    task = ["fitness=text_to_image", *(one for one in RUN if one.startswith("fitness"))]
    scores = []
    carriers = "model.carriers={text_encoder: m2}"
    for model, *more in (("m1",), ("m1", carriers), (str(assembled),)):
        main(["evaluate", model, *task, *more, "--out", str(tmp_path / "out")])
        (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
        scores.append(result["score"])
    assert scores[1] == scores[2] != scores[0]


def test_a_recipe_draws_the_prompts_of_a_file(run, tmp_path, capsys):
    shown = texts_of(run.directory / "images" / "evolved" / "000.png")
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": shown["prompt"], "seed": int(shown["seed"])}, {"prompt": "赤い猫"}]
    prompts.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    main(["apply", str(run.directory), "--images", str(prompts), "--out", str(tmp_path / "out")])
    assert re.search(r"2 pictures in .*out", capsys.readouterr().out)
    first, second = sorted((tmp_path / "out").iterdir())
    assert_alike(first, run.directory / "images" / "evolved" / "000.png")
    assert texts_of(second)["prompt"] == "赤い猫"
    with pytest.raises(SystemExit):
        main(["apply", str(run.directory)])
    assert "--out, or --images" in capsys.readouterr().err


def test_several_scores_are_a_front_of_one_drawing(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    task = [one.replace("fitness.", "") for one in RUN if one.startswith("fitness.")]
    settings = [f"fitness.tasks.{name}.{one}" for name in ("prompt", "red") for one in task]
    own = [one for one in RUN if not one.startswith(("fitness.", "strategy"))]
    found = api.evolve(
        [
            "fitness=several",
            "+fitness@fitness.tasks.prompt=text_to_image",
            "+fitness@fitness.tasks.red=text_to_image",
            f"fitness.tasks.red.function={__name__}.redness",
            *settings,
            *own,
            "strategy=nsga2",
            "strategy.population_size=4",
        ],
        tmp_path / "run",
    )
    assert (tmp_path / "run" / "front.json").is_file()
    assert set(found.result.tasks) == {"prompt", "red"}
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"names code .*test_drawing_runs\.redness"):
        api.resume(tmp_path / "run")


def redness(prompts, pictures):
    """A score of one's own."""
    return pictures[..., 0].mean(axis=(1, 2)) - pictures[..., 1:].mean(axis=(1, 2, 3))


def test_a_text_encoder_of_another_pipeline_reads_the_prompts(folder, run, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    changed = api.evolve(
        ["fitness=text_to_image", *RUN, "model.carriers={text_encoder: m1}"], tmp_path / "run"
    )
    ours = pixels(run.directory / "images" / "m2" / "000.png")
    theirs = pixels(changed.directory / "images" / "m2" / "000.png")
    assert not np.array_equal(ours, theirs)
    exported = load_config(changed.directory / "export")
    assert exported.family.name == "diffusion"


def test_merged_text_encoders_read_as_frozen_ones_do(folder, run, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    merged = api.evolve(
        ["fitness=text_to_image", *RUN, "model.parts=[unet,text_encoder,text_encoder_2]"],
        tmp_path / "run",
    )
    files = [one.directory / "images" / "base" / "000.png" for one in (run, merged)]
    assert_alike(*files)
    assert merged.recipe.parts == ("unet", "text_encoder", "text_encoder_2")


def test_a_model_draws_in_python(folder):
    model = load_parts(folder / "m0")
    first, second = api.draw(model, ["red cat", "red cat"])
    assert first.pixels.shape == (16, 16, 3)
    assert not np.array_equal(first.pixels, second.pixels)
