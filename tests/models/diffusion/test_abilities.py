"""Candidates draw one after another, each what it would draw alone."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.fitness.base import DrawBatch
from evojax_merge.measuring.candidates import Candidates
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.ability import Common, PerItem
from evojax_merge.models.diffusion import drawing
from evojax_merge.models.diffusion.conditioning import encode, encode_negative, prompt_tokens
from evojax_merge.models.diffusion.conditions import Conditioning, Conditions, PromptTokens
from evojax_merge.models.diffusion.config import DiffusionConfig
from evojax_merge.models.diffusion.drawing import draw, whole_numbers
from evojax_merge.models.diffusion.params import layout as pipeline_layout
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.family import DIFFUSION, UNET
from evojax_merge.models.request import Draw, Drawing
from tests.drawing_factory import SCHEDULER, make_pipeline, read_parts

SEEDS = np.array([4, 2, 7], np.uint32)
SIZE = {"height": 16, "width": 8}


def make_request(guidance=3.0, **fields):
    vae = read_parts(make_pipeline("sdxl"))[0]["vae"]
    config = {**SCHEDULER, "prediction_type": "sample"}
    sampler = Sampler.from_hf(config, 2, kind="euler", timestep_spacing="trailing")
    return Draw(sampler=sampler, guidance=guidance, vae=vae, **{**SIZE, **fields})


def make_batch(context=56, pooled=40, judged=(), judge=None, **params):
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    ids = np.tile(np.float32([16, 8, 0, 0, 16, 8]), (3, 1))
    negative = Conditions(random(1, 5, context), random(1, pooled))
    conditions = Conditions(random(3, 5, context), random(3, pooled), ids)
    common = Common(Drawing(params, negative, judge))
    return DrawBatch(PerItem(conditions), SEEDS, PerItem(judged), common)


def brightness(weight, pictures, target):
    """A judge that has a parameter, and a number of each item."""
    return jnp.stack([weight * pictures.mean((1, 2, 3)), target], axis=1)


@pytest.fixture
def simple(monkeypatch):
    """A UNet, a VAE and noise of a line each, in the place of the real ones."""

    def forward(config, params, latents, times, context, pooled, time_ids):
        told = context.mean((1, 2)) + pooled.mean(1) + time_ids[:, 0] / 16 + times / 1000
        return params["weight"] * (latents + 0.1 * told[:, None, None, None])

    def decode(config, params, latents):
        return jnp.repeat(jnp.repeat(params["scale"] * latents[:, :3], 2, axis=2), 2, axis=3)

    def noise_of(seeds, shape, index=0):
        return jnp.sin(seeds[:, None] * jnp.arange(1.0, 1 + math.prod(shape))).reshape(-1, *shape)

    monkeypatch.setattr(drawing, "noise_of", noise_of)
    monkeypatch.setattr(drawing.unet, "forward", forward)
    monkeypatch.setattr(drawing.vae, "decode", decode)


def run_simple(request, weights, **batch):
    """The outputs of candidates of the simple UNet."""
    program = UNET.ability(request).program(None, request, {"weight": 0})
    return np.asarray(jax.jit(program)({"weight": jnp.array(weights)}, *make_batch(**batch)))


VAE = {"vae": {"scale": jnp.float32(0.05)}}


def test_each_candidate_draws_what_it_would_draw_alone(simple):
    request = make_request()
    both = run_simple(request, [0.3, 0.9], **VAE)
    assert both.shape == (2, 3, 16, 8, 3)
    assert both.dtype == np.uint8
    assert both.std(axis=(2, 3, 4)).min() > 10
    assert (both[0] != both[1]).mean() > 0.5
    for weight, pictures in zip([0.3, 0.9], both, strict=True):
        np.testing.assert_array_equal(run_simple(request, [weight], **VAE)[0], pictures)


@pytest.mark.parametrize("rows", [2, 5])
def test_a_few_pictures_at_a_time_are_the_same_pictures(simple, rows):
    expected = run_simple(make_request(), [0.3, 0.9], **VAE)
    found = run_simple(make_request(rows=rows), [0.3, 0.9], **VAE)
    np.testing.assert_array_equal(found, expected)


def test_a_judge_reads_pictures_and_what_belongs_to_each(simple):
    targets = np.float32([7, 8, 9])
    request = make_request(judge=brightness, rows=2)
    scores = run_simple(request, [0.3], judged=(targets,), judge=jnp.float32(2), **VAE)
    pictures = run_simple(make_request(), [0.3], **VAE)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores[0, :, 1], targets)
    np.testing.assert_allclose(scores[0, :, 0], 2 * pictures[0].mean((1, 2, 3)) / 255, rtol=1e-5)


def test_guidance_leads_away_from_the_negative_prompt(simple):
    plain, one, three = (
        run_simple(make_request(guidance), [0.3], **VAE).astype(float) for guidance in (0, 1, 3)
    )
    np.testing.assert_array_equal(plain, one)
    conditions, *rest = make_batch(**VAE)
    negative = rest[-1].value.negative
    shift = conditions.value.context.mean((1, 2)) - negative.context.mean()
    shift += conditions.value.pooled.mean(1) - negative.pooled.mean()
    moved = (three - plain).mean((0, 2, 3, 4))
    assert (np.sign(moved) == np.sign(shift)).all()


class Brightness:
    """A task that scores the brightness of pictures."""

    def __init__(self, request, batch):
        self.request, self.batches = request, (batch,)

    def score(self, outputs):
        return np.array(outputs[0][..., 0])


def test_a_search_measures_candidates_one_by_one(simple):
    request = make_request(judge=brightness)
    batch = make_batch(judged=(np.ones(3, np.float32),), judge=jnp.float32(2), **VAE)
    axes = {"weight": 0}
    evaluator = Evaluator(
        UNET,
        read_parts(make_pipeline("sdxl"))[0]["unet"],
        lambda materials, genotype: {"weight": materials * genotype[0]},
        jnp.float32(1),
        {"search": Brightness(request, batch)},
        mesh=make_mesh(devices=jax.devices()[:1]),
        dims=1,
        population_size=3,
        candidates=Candidates(axes, lambda own, shared: own, axes),
    )
    assert evaluator.chunk == 1
    found = evaluator(np.float32([[0.3], [0.6], [0.9]]), "search").items
    program = UNET.ability(request).program(None, request, axes)
    expected = jax.jit(program)({"weight": jnp.array([0.3, 0.6, 0.9])}, *batch)[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_less_memory_is_taken_by_fewer_rows():
    batch = make_batch()
    ability = UNET.ability(make_request())
    request, sizes = make_request(), []
    config = read_parts(make_pipeline("sdxl"))[0]["unet"]
    while request is not None:
        sizes.append(ability.bytes(config, request, batch, 4))
        last, request = request, ability.smaller(request, [batch])
    assert last.rows == 1
    assert sizes[0] > 2 * sizes[-1]
    judged = ability.bytes(config, make_request(judge=brightness, judge_bytes=1000), batch, 4)
    assert judged == sizes[0] + 3000


@pytest.mark.slow
def test_the_memory_of_a_program_is_estimated_from_above():
    config, params = (parts["unet"] for parts in read_parts(make_pipeline("sdxl")))
    vae = read_parts(make_pipeline("sdxl"))[1]["vae"]
    request = make_request(height=128, width=128)
    batch = make_batch(vae=vae)
    axes = UNET.layout(config).population_axes()
    population = jax.tree.map(np.expand_dims, params, axes)
    program = jax.jit(UNET.ability(request).program(config, request, axes))
    taken = program.lower(population, *batch).compile().memory_analysis().temp_size_in_bytes
    estimate = UNET.ability(request).bytes(config, request, batch, 4)
    assert taken <= estimate <= 4 * taken


@pytest.mark.slow
def test_a_population_of_unets_draws_what_each_draws():
    configs, params = read_parts(make_pipeline("sdxl"))
    other = read_parts(make_pipeline("sdxl", seed=1))[1]["unet"]
    request, batch = make_request(), make_batch(vae=params["vae"])
    axes = UNET.layout(configs["unet"]).population_axes()

    def stacked(*models):
        return jax.tree.map(lambda axis, *leaves: np.stack(leaves, axis), axes, *models)

    program = jax.jit(UNET.ability(request).program(configs["unet"], request, axes))
    found = np.asarray(program(stacked(params["unet"], other), *batch))
    alone = [program(stacked(model), *batch)[0] for model in (params["unet"], other)]
    np.testing.assert_array_equal(found, alone)
    assert (found[0] != found[1]).mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("merged", [("text_encoder", "unet"), ("unet", "vae")])
def test_parts_that_are_not_merged_are_given_with_the_batch(merged):
    pipeline = make_pipeline("sdxl")
    configs, params = read_parts(pipeline)
    config = DiffusionConfig(**configs, present=merged)
    request = make_request(conditioning=Conditioning("last"))
    encoders = {
        name: getattr(pipeline, name.replace("text_encoder", "tokenizer"))
        for name in config.encoders
    }
    ids = np.tile(np.float32([16, 8, 0, 0, 16, 8]), (3, 1))
    items = PromptTokens(prompt_tokens(encoders, ["a 3", "cat", "dog"]), ids)
    negative = PromptTokens(prompt_tokens(encoders, ["bad"]))
    if "text_encoder" not in merged:
        items = encode(request.conditioning, config.encoders, params, items)
        negative = encode_negative(request.conditioning, config.encoders, params, negative)
    frozen = {name: value for name, value in params.items() if name not in merged}
    batch = DrawBatch(PerItem(items), SEEDS, PerItem(()), Common(Drawing(frozen, negative)))
    axes = pipeline_layout(config).population_axes()
    own = {name: params[name] for name in merged}
    population = jax.tree.map(np.expand_dims, own, axes)
    program = jax.jit(DIFFUSION.ability(request).program(config, request, axes))
    expected = draw(config.unet, request, params, items, SEEDS, negative, encoders=config.encoders)
    found = np.asarray(program(population, *batch))[0].astype(int)
    assert np.abs(found - np.asarray(whole_numbers(expected)).astype(int)).max() <= 1
    assert found.std() > 20
