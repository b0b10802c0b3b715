"""Searches are planned from shapes: of every bundled experiment, and of configurations alone."""

import functools
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from evojax_merge.commands.plan import make_plan
from evojax_merge.config import build, compose
from evojax_merge.costs.devices import Figures
from evojax_merge.costs.topologies import parse
from evojax_merge.measuring.device_memory import Memory
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.planning.assumed import Assumption, task_of
from evojax_merge.planning.outline import outline
from evojax_merge.planning.plan import plan
from evojax_merge.planning.table import document, show
from tests.planning.shapes import write_configs

BUNDLED = {
    "digits": ["parameter"],
    "digits_halves": ["parameter"],
    "digits_m2n2": ["weights"],
    "digits_clip": ["parameter"],
    "quickstart": ["parameter"],
    "spaces_parameter": ["parameter"],
    "spaces_dataflow": ["dataflow"],
    "spaces_hybrid": ["parameter_space", "hybrid"],
    "spaces_joint": ["joint"],
    "vision": ["parameter"],
    "images": ["parameter"],
}
QUIET = Console(quiet=True)
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def described(overrides):
    config = compose(overrides, None)
    task = task_of(config, Assumption(items=6, prompt_tokens=16), [])
    return build(config, task, described=True)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_experiment_has_an_outline(name):
    devices = jax.devices()[:1]
    _, searches = outline(described([f"+experiment={name}"]), devices, lambda line: None)
    assert [search.stage.name for search in searches] == BUNDLED[name]
    mesh = make_mesh(1, 1, devices)
    for search in searches:
        work = search.outlined.on(mesh, Memory("cpu", 2**33))
        assert work.chunk >= 1
        for leaf in jax.tree.leaves((work.materials, work.shared, work.buffer)):
            assert isinstance(leaf, jax.ShapeDtypeStruct)


def test_objectives_beside_answers_run_no_program_of_their_own():
    base, *others = (
        EXPERIMENTS / "quickstart" / "sources" / name for name in ("base", "change", "japanese")
    )
    models = [f"model.base={base}", f"model.sources=[{','.join(map(str, others))}]"]
    fitness = "fitness=[generation,length,agreement,distance]"
    experiment = described([*models, "operator=linear", "strategy=nsga2", fitness])
    _, (search,) = outline(experiment, jax.devices()[:1], lambda line: None)
    work = search.outlined.on(make_mesh(1, 1, jax.devices()[:1]), Memory("cpu", 2**33))
    assert [type(one).__name__ for one in work.requests["search"]] == ["Generate", "Distance"]


def test_a_plan_counts_what_the_search_does():
    found = make_plan(parse("local"), ["+experiment=digits_halves"], QUIET)
    assert found.fits
    (search,) = found.searches
    merge, *runs = search.programs
    assert merge.splits == ()
    assert [one.splits for one in runs] == [("search",), ("validation",), ("test",)]
    assert search.parameters == 64 * 256 + 256 + 256 * 10 + 10
    assert merge.cost.operations > search.parameters * search.chunk
    assert search.seconds >= search.evaluations * search.seconds_per_candidate * 0.99
    assert search.least_model == 1
    written = document(found)
    assert written["searches"][0]["programs"][0]["peak"] == merge.peak
    console = Console(width=120, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    show(found, console)
    assert "everything fits" in console.export_text()


@pytest.mark.few(1)
@pytest.mark.parametrize("operator", ["dare_ties", "della"])
def test_configurations_alone(operator, tmp_path):
    overrides = [*write_configs(tmp_path), f"operator={operator}", "fitness.max_new_tokens=8"]
    found = make_plan(parse("local"), overrides, QUIET, items=6, prompt_tokens=16)
    (search,) = found.searches
    assert search.dtype == "bfloat16"
    assert search.items == 6
    assert any("6 items of 16 tokens are assumed" in note for note in found.notes)
    run = search.programs[1]
    assert run.steps == 7
    kinds = {"dare_ties": 3, "della": 3 + 1}  # della knows one byte for each element of each source
    assert search.materials > 2 * search.parameters * (kinds[operator] - 1)


def test_other_tasks_from_configurations_alone(tmp_path):
    models = write_configs(tmp_path)
    for fitness in ("perplexity", "multiple_choice"):
        experiment = described([*models, f"fitness={fitness}"])
        _, (search,) = outline(experiment, jax.devices()[:1], lambda line: None)
        (batch,) = search.outlined.tasks["search"].batches
        assert [leaf.shape for leaf in batch] == [(6, 16), (6,), (6, 16)]


@pytest.mark.parametrize(
    ("folder", "sources", "fitness", "shapes"),
    [
        ("vision", "seer japanese", "visual_question", [(6, 16 + 16), (6,), (6, 16, 96)]),
        pytest.param(
            "images",
            "fast japanese",
            "text_to_image",
            [(6, 12, 96), (6, 64), (6, 6), (6,)],
            marks=pytest.mark.slow,
        ),
        ("digits_clip", "turned upright", "image_classification", [(6, 3, 8, 8), (3,), (3,)]),
    ],
)
def test_models_with_pictures_from_configurations_alone(folder, sources, fitness, shapes, tmp_path):
    here = EXPERIMENTS / folder / "sources"
    shutil.copytree(here, tmp_path / folder, ignore=shutil.ignore_patterns("*.safetensors"))
    base, *others = (str(tmp_path / folder / name) for name in ("base", *sources.split()))
    overrides = [f"model.base={base}", f"model.sources=[{','.join(others)}]"]
    experiment = described([*overrides, f"fitness={fitness}", "operator=task_arithmetic"])
    devices = jax.devices()[:1]
    _, (search,) = outline(experiment, devices, lambda line: None)
    (batch,) = search.outlined.tasks["search"].batches
    assert [leaf.shape for leaf in jax.tree.leaves(batch)][: len(shapes)] == shapes
    work = search.outlined.on(make_mesh(1, 1, devices), Memory("cpu", 2**33))
    (program,) = work.programs["search"]
    assert program.trace(work.buffer, work.shared, *batch).jaxpr.eqns


def test_what_does_not_fit_says_by_how_much(tmp_path):
    experiment = described([*write_configs(tmp_path), "fitness.max_new_tokens=4"])
    devices = jax.devices()[:1]
    small = Figures(memory=1e4, bandwidth=1e9, narrow=1e9, wide=1e9)
    found = plan(experiment, "local", devices, small)
    assert not found.fits
    assert found.searches[0].least_model is None
    assert all(one.left(small.memory) < 0 for one in found.searches[0].programs)
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(found, console)
    assert "it does not fit" in console.export_text()


@pytest.mark.slow
def test_more_answers_take_longer(tmp_path):
    models = [*write_configs(tmp_path), "fitness.max_new_tokens=16"]
    make = functools.partial(make_plan, parse("local"), models, QUIET, items=4, prompt_tokens=8)
    whole, short = make(), make(answer_tokens=4)
    operations = [one.searches[0].programs[1].cost.operations for one in (whole, short)]
    assert operations[0] > 2 * operations[1]


@pytest.mark.slow
def test_continuous_batching_counts_every_answer(tmp_path):
    models = [*write_configs(tmp_path), "fitness.max_new_tokens=9"]
    make = functools.partial(make_plan, parse("local"), items=16, prompt_tokens=8)
    together = make(models, QUIET)
    in_turn = make([*models, "fitness.slots=4"], QUIET)
    steps = [one.searches[0].programs[1].steps for one in (together, in_turn)]
    assert steps == [8, 32]
    assert in_turn.searches[0].slots == {"search": 4}


def test_statistics_of_an_outline_are_shapes(tmp_path):
    experiment = described([*write_configs(tmp_path), "operator=ties"])
    _, (search,) = outline(experiment, jax.devices()[:1], lambda line: None)
    _, _, statistics, _ = search.outlined.materials
    leaves = jax.tree.leaves(statistics)
    assert leaves
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert np.prod(leaves[0].shape) < 10_000
