"""Every option composes, instantiates and runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from evojax_merge import evaluate, evolve, export, load
from evojax_merge import merge as merge_recipe
from evojax_merge.config import (
    ConfigError,
    build,
    build_task,
    check_sweep,
    compose,
    conf_directory,
)
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.operators import constant_coefficients, ties
from evojax_merge.spaces import kind_of
from evojax_merge.strategies import Setting, make_strategy
from tests.config.layouts import DIGITS, layout
from tests.slow import slow
from tests.trees import init_statistics, merge

CONF = conf_directory()

SEEN = ("image_classification", "digit_pictures", "visual_question", "text_to_image")
"""Tasks about pictures. They drive a search in test_clip_runs.py, test_seeing_runs.py and
test_drawing_runs.py."""

ELSE = (*SEEN, "lm_eval")
"""Those, and the tasks of another program. These drive a search in tests/fitness/harness."""


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.few(3)
@pytest.mark.parametrize("name", options("operator"))
def test_operators(name):
    config = compose([f"operator={name}", "model.sources=[x]"]).operator
    if OmegaConf.is_missing(config, "data"):
        config.data = "items.jsonl"
    operator = instantiate(config)
    tree = {"fc": {"weight": np.ones((2, 3), np.float32)}}
    sources = (tree, {"fc": {"weight": np.zeros((2, 3), np.float32)}})[: operator.sources[1]]
    base = tree if operator.needs_base else None
    kinds = {"fisher": np.ones((2, 3)), "gram": np.eye(3)}
    asked = operator.evidence and {"fc.weight": kinds[operator.evidence.kind]}
    statistics = init_statistics(operator, base, sources, asked and (asked, asked))
    coefficients = constant_coefficients(operator, tree, len(sources))
    merged = merge(operator, base, sources, coefficients, statistics, 0)
    assert np.isfinite(merged["fc"]["weight"]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize(
    "name",
    [
        name if name == "slerp" else pytest.param(name, marks=pytest.mark.slow)
        for name in options("operator")
    ],
)
def test_operators_drive_a_search(name, items, tmp_path):
    """From ``operator=NAME`` to a recipe that builds the exported checkpoint again."""
    given = compose([f"operator={name}", "model.sources=[x]"]).operator
    overrides = ["+experiment=digits_halves", f"operator={name}", "search.evaluations=8"]
    if OmegaConf.is_missing(given, "data"):
        overrides.append(f"operator.data={items['classification']}")
        given.data = "items.npz"
    operator = instantiate(given)
    if operator.sources[1] == 1:
        overrides.append("model.sources=['${experiments:}/digits/sources/low']")
    if all(coefficient.name != "weight" for coefficient in operator.coefficients):
        overrides.append("~space.coefficients.weight")
    baselines = [f"baselines.{one}=false" for one in ("sources", "published", "random_search")]
    evolve([*overrides, *baselines], tmp_path / "run")
    export(merge_recipe(tmp_path / "run" / "recipe.yaml"), tmp_path / "again")
    again, first = (tmp_path / made / "model.safetensors" for made in ("again", "run/export"))
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("name", [n for n in options("space") if n.startswith("parameter")])
def test_spaces_of_parameters(name):
    partial = instantiate(compose([f"space={name}", "model.sources=[x]"]).space)
    space = partial(operator=ties(), layout=layout(), sources=("a", "b"))
    assert space.expand(space.decode(np.float32(space.start)))


def test_space_of_weights():
    """Run in tests/runs/test_weights_runs.py."""
    space = instantiate(compose(["space=weights", "model.sources=[x]"]).space)
    made = space(shapes={"fc.weight": (3, 4), "fc.bias": (3,)}, layout=layout(DIGITS))
    assert made.dims == 15


@pytest.mark.parametrize("name", ["dataflow", "hybrid", "joint"])
def test_spaces_of_paths(name):
    """They are run in tests/runs/test_routed_runs.py."""
    space = instantiate(compose([f"space={name}", "model.sources=[x]"]).space)
    assert kind_of(space) == name
    if name == "dataflow":
        made = space(sources=("a", "b"), layers=(3, 3))
    elif name == "joint":
        made = space(operator=ties(), layout=layout(), sources=("a", "b")).dataflow
    else:
        made = space.dataflow(sources=space.members(("a", "b")), layers=(3, 3, 3))
    assert made.decode(np.float32(made.start)).length == 3


@pytest.mark.few(3)
@pytest.mark.parametrize("name", options("strategy"))
def test_strategies(name):
    partial = instantiate(compose([f"strategy={name}", "model.sources=[x]"]).strategy)
    setting = Setting([0.0] * 4, [1.0] * 4, objectives=("one", "other"), items=3)
    assert make_strategy(partial, setting).dims == 4


@pytest.mark.parametrize("name", options("mesh"))
def test_meshes(name):
    mesh = instantiate(compose([f"mesh={name}", "model.sources=[x]"]).mesh)()
    assert mesh.axis_names == make_mesh().axis_names == ("pop", "model")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize(
    "name", sorted({*options("fitness")} - {"digits", "classification", "several", "size", *ELSE})
)
def test_fitness_tasks_drive_a_search(name, models, items, tmp_path):
    run = evolve(
        [
            f"fitness={name}",
            f"fitness.data={items[name]}",
            f"model.base={models['base']}",
            f"model.sources=[{models['a']},{models['b']}]",
            "operator=task_arithmetic",
            "search.evaluations=8",
            "baselines.published=false",
            "strategy.population_size=4",
            *(["fitness.max_new_tokens=4"] if name == "generation" else []),
        ],
        tmp_path / "run",
    )
    assert [result.name for result in run.results] == ["base", "a", "b", "evolved"]
    assert (tmp_path / "run" / "export" / "tokenizer.json").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_several_tasks_drive_a_search(models, items, tmp_path):
    run = evolve(
        [
            "fitness=[generation,perplexity,size]",
            f"fitness.tasks.generation.data={items['generation']}",
            "fitness.tasks.generation.max_new_tokens=4",
            f"fitness.tasks.perplexity.data={items['perplexity']}",
            "fitness.weights={perplexity: 1}",
            f"model.base={models['base']}",
            f"model.sources=[{models['a']},{models['b']}]",
            "space=dataflow",
            "search.evaluations=8",
            "strategy.population_size=4",
        ],
        tmp_path / "run",
    )
    rows = [json.loads(line) for line in (run.directory / "history.jsonl").read_text().splitlines()]
    assert {len(row["objectives"]) for row in rows} == {3}
    for row in rows:
        assert row["fitness"] == pytest.approx(row["objectives"][1])
        assert row["objectives"][2] == row["items"][-1] <= -2 / 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classification", *slow("digits")])
def test_classification_tasks_drive_a_search(name, items, tmp_path):
    data = [f"fitness.data={items[name]}"] if name == "classification" else []
    overrides = ["+experiment=digits_halves", f"fitness={name}", *data, "search.evaluations=8"]
    run = evolve([*overrides, "baselines.random_search=false"], tmp_path / "run")
    assert run.results[-1].name == "evolved"


@pytest.mark.parametrize("name", options("experiment"))
def test_experiments_describe_a_run(name):
    config = compose([f"+experiment={name}"])
    if name in ("evollm_jp", "evovlm_jp", "evosdxl_jp"):  # their items are the user's to provide
        config.fitness.data = str(Path(__file__).parent / "data" / f"{name}.jsonl")
    assert build(config).name == name


def test_a_directory_of_ones_own_adds_options(tmp_path):
    (tmp_path / "strategy").mkdir()
    mine = "defaults: [cma_es, _self_]\npopulation_size: 6\n"
    (tmp_path / "strategy" / "mine.yaml").write_text(mine)
    chosen = compose(["strategy=mine"], tmp_path).strategy
    assert chosen == {**compose(["strategy=cma_es"]).strategy, "population_size": 6}
    with pytest.raises(ConfigError, match="no such directory"):
        compose([], tmp_path / "nowhere")


def test_a_mapping_of_ones_own_names_replaces_the_one_of_an_experiment():
    given = [
        "space.groups={queries: [q_proj], rest: '*'}",
        "space.coefficients={density: {value: 1}}",
    ]
    then = "space.coefficients.density.value=0.5"
    space = compose(["+experiment=quickstart", *given, then]).space
    assert space.groups == {"queries": ["q_proj"], "rest": "*"}
    assert space.coefficients == {"density": {"value": 0.5}}
    inner = compose(["space=hybrid", "space.parameter.fixed={mlp: {weight: 1}}"]).space.parameter
    assert inner.fixed == {"mlp": {"weight": 1}}
    with pytest.raises(ConfigError, match=r"no configuration key 'space\.groups'"):
        compose(["space=dataflow", given[0]])
    with pytest.raises(
        ConfigError, match=r"space\.groups: what is chosen for space takes .*parameter"
    ):
        build(compose(["+experiment=quickstart", "space=hybrid"]))
    check_sweep(["space=parameter_groups", f"{given[0]},{{all: '*'}}"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*its configuration differs")
def test_a_source_with_another_configuration_is_measured_as_it_is(models, items, tmp_path):
    turned = tmp_path / "turned"
    shutil.copytree(models["a"], turned)
    config = json.loads((turned / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 20.0}
    config["rope_theta"] = 20.0
    (turned / "config.json").write_text(json.dumps(config))
    run = evolve(
        [
            "fitness=perplexity",
            f"fitness.data={items['perplexity']}",
            f"model.base={models['base']}",
            f"model.sources=[{turned},{models['b']}]",
            "operator=task_arithmetic",
            "search.evaluations=4",
            "strategy.population_size=4",
            "baselines.published=false",
            "export=false",
        ],
        tmp_path / "run",
    )
    scores = {result.name: result.score for result in run.results}
    task = build_task(compose(["fitness=perplexity", f"fitness.data={items['perplexity']}"]))
    np.testing.assert_allclose(
        scores["turned"], evaluate(load(turned), task).result.score, rtol=1e-5
    )
    assert abs(scores["turned"] - evaluate(load(models["a"]), task).result.score) > 1e-4


TYPICAL = ("arcee_fusion", "fisher", "slerp", "ties")


@pytest.mark.parametrize(
    "name", [*TYPICAL, *slow(*(name for name in options("operator") if name not in TYPICAL))]
)
def test_the_digits_experiment_takes_any_operator(name):
    data = ["operator.data=items.npz"] if name in ("fisher", "regmean") else []
    experiment = build(compose(["+experiment=digits_halves", f"operator={name}", *data]))
    space = experiment.space(
        operator=experiment.operator, layout=layout(DIGITS), sources=("a", "b")
    )
    weights = [space.upper[i] for i, g in enumerate(space.genes) if g.coefficient == "weight"]
    assert set(weights) <= {2.0}
    assert bool(weights) == any(c.name == "weight" for c in experiment.operator.coefficients)
