"""Searches for paths: from configuration to exported checkpoint, and after an interruption."""

import json

import jax
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from evojax_merge import api, evolve
from evojax_merge.checkpoints import load_config
from evojax_merge.cli import main
from evojax_merge.config import build_task, compose
from evojax_merge.models.decoder.absorb import AbsorptionError
from evojax_merge.recipes.coefficients import RecipeError
from evojax_merge.recipes.path import load_recipe
from evojax_merge.search.history import read_history
from evojax_merge.search.loop import search
from tests.checkpoints_factory import (
    byte_tokenizer,
    random_tensors,
    tiny_config,
    word_tokenizer,
    write_checkpoint,
)
from tests.compilations import count_compilations
from tests.slow import slow

SPACES = {
    "dataflow": ["space=dataflow", "space.repeats=2", "space.max_hops=6"],
    "hybrid": ["space=hybrid", "space.dataflow.max_hops=6", "space.share=0.4"],
    "joint": ["space=joint", "space.dataflow.max_hops=6", "space.pool=[b,merged]"],
}
KINDS = ["hybrid", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("dataflow", "joint"))]
DEPTHS = {"base": 2, "a": 2, "b": 2, "deep": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, depth) in enumerate(DEPTHS.items()):
        tokenizer = byte_tokenizer()
        config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=depth)
        write_checkpoint(folder / name, config, seed=seed, tokenizer=tokenizer)
    rows = [{"text": text} for text in ("some words", "and more", "of them", "to score")]
    for split in ("search", "test"):
        lines = [json.dumps(row) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def overrides(folder, kind, *more):
    return [
        *SPACES[kind],
        f"model.base={folder / 'base'}",
        f"model.sources=[{folder / 'a'},{folder / 'b'}]",
        "operator=task_arithmetic",
        "fitness=perplexity",
        f"fitness.data={folder / 'search.jsonl'}",
        f"fitness.test={folder / 'test.jsonl'}",
        "strategy=cma_es",
        "strategy.population_size=5",
        "search.evaluations=20",
        "baselines.published=false",
        *more,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_in_a_plain_checkpoint_that_its_recipe_rebuilds(kind, folder, tmp_path):
    run = evolve(overrides(folder, kind, "baselines.random_search=true"), tmp_path / "run")
    names = [result.name for result in run.results if result.split == "test"]
    random = "random_paths" if kind == "hybrid" else "random_search"
    assert names[-3:] == [random, "evolved", "exported"]
    assert {"a", "b"} <= set(names)
    assert ("parameter_space" in names) == (kind == "hybrid")
    assert run.result.evaluations == 20
    assert (tmp_path / "run/plots/path.png").stat().st_size > 1000
    assert (tmp_path / "run/plots/path_history.png").stat().st_size > 1000

    recipe = load_recipe(tmp_path / "run/recipe.yaml")
    assert ("merged" in recipe.pool) == (kind != "dataflow")
    rebuilt = api.merge(tmp_path / "run/recipe.yaml")
    jax.tree.map(np.testing.assert_array_equal, rebuilt.params, run.model.params)
    config = json.loads((tmp_path / "run/export/config.json").read_text())
    assert config["num_hidden_layers"] == len(recipe.hops) <= 6

    task = build_task(compose(overrides(folder, kind))).on("test")
    exported = api.evaluate(api.load(tmp_path / "run/export"), task)
    routed = api.evaluate(api.route(recipe), task)
    np.testing.assert_allclose(routed.result.score, run.result.score, rtol=1e-5)
    np.testing.assert_allclose(exported.result.score, run.result.score, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        *((kind, []) for kind in SPACES),
        ("joint", ["strategy=catcma", "operator=choice"]),
    ],
)
def test_an_interrupted_run_ends_in_the_same_bits(kind, more, folder, tmp_path, monkeypatch):
    whole = evolve(overrides(folder, kind, *more), tmp_path / "whole")
    ends = {"dataflow": 2, "hybrid": 3, "joint": 2}[kind]  # of a hybrid: in the second search
    asked = []

    def stop_at(*arguments, **options):
        saved = options["on_generation"]

        def on_generation(metrics):
            saved(metrics)
            asked.append(metrics.generation)
            if len(asked) == ends:
                raise KeyboardInterrupt

        return search(*arguments, **{**options, "on_generation": on_generation})

    monkeypatch.setattr("evojax_merge.runs.searcher.search", stop_at)
    with pytest.raises(KeyboardInterrupt):
        evolve(overrides(folder, kind, *more), tmp_path / "cut")
    monkeypatch.undo()
    resumed = api.resume(tmp_path / "cut")
    assert resumed.recipe.to_yaml() == whole.recipe.to_yaml()
    jax.tree.map(np.testing.assert_array_equal, resumed.model.params, whole.model.params)


@pytest.mark.slow
def test_models_of_different_depth_share_a_path(folder, tmp_path):
    more = [f"model.sources=[{folder / 'a'},{folder / 'deep'}]", "search.evaluations=5"]
    run = evolve(overrides(folder, "dataflow", *more), tmp_path / "run")
    assert run.model.config.num_layers == len(run.recipe.hops)


@pytest.mark.slow
def test_generations_after_the_first_compile_nothing(folder, tmp_path, monkeypatch):
    counts = []

    def counting(*arguments, **options):
        with count_compilations() as compilations:
            saved = options["on_generation"]

            def on_generation(metrics):
                saved(metrics)
                counts.append(compilations.count)

            return search(*arguments, **{**options, "on_generation": on_generation})

    monkeypatch.setattr("evojax_merge.runs.searcher.search", counting)
    evolve(overrides(folder, "dataflow"), tmp_path / "run")
    assert len(counts) == 4
    assert counts[-1] == counts[1]  # the second generation compiles what the first has no use for


@pytest.mark.slow
def test_an_empty_path_has_the_lowest_fitness_and_is_recorded(folder, tmp_path):
    more = [
        "space.fixed_ends=false",
        "space.min_hops=0",
        "space.repeats=1",
        "space.bias=0",
        "search.evaluations=40",
    ]
    evolve(overrides(folder, "dataflow", *more), tmp_path / "run")
    rows = list(read_history(tmp_path / "run/history.jsonl"))
    assert len(rows) == 40
    empty = [row for row in rows if max(row["genotype"][:4]) <= 0]
    assert empty
    assert all(row["fitness"] is None for row in empty)
    assert all(row["fitness"] is not None for row in rows if row not in empty)


def test_layers_that_do_not_fit_are_refused_by_field_before_weights_are_read(folder, tmp_path):
    odd = tiny_config(vocab_size=260, num_hidden_layers=2, num_key_value_heads=4)
    write_checkpoint(tmp_path / "odd", odd, tokenizer=byte_tokenizer())
    more = [f"model.sources=[{folder / 'a'},{tmp_path / 'odd'}]"]
    with pytest.raises(ValueError, match="odd: num_kv_heads is 4, that of a is 2"):
        evolve(overrides(folder, "dataflow", *more), tmp_path / "run")


@pytest.mark.slow
def test_a_source_that_changed_is_refused_unless_forced(folder, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(folder / name)
    run = evolve(overrides(tmp_path, "dataflow", f"model.base={folder / 'base'}", *[
        f"fitness.data={folder / 'search.jsonl'}", f"fitness.test={folder / 'test.jsonl'}",
        "search.evaluations=5",
    ]), tmp_path / "run")  # fmt: skip
    (tmp_path / "b").unlink()
    config = tiny_config(vocab_size=260, num_hidden_layers=2)
    other = random_tensors(config, 9)
    write_checkpoint(tmp_path / "b", config, tensors=other, tokenizer=byte_tokenizer())
    with pytest.raises(RecipeError, match="not the ones the recipe was made with"):
        api.merge(run.recipe)
    changed = api.merge(run.recipe, force=True)
    assert changed.config == run.model.config
    where = str(tmp_path / "out")
    assert main(["apply", str(tmp_path / "run/recipe.yaml"), "--out", where, "--force"]) in (
        0,
        None,
    )
    written = load_file(tmp_path / "out/model.safetensors")
    np.testing.assert_array_equal(
        written["model.layers.0.mlp.up_proj.weight"],
        np.asarray(changed.params["layers"]["mlp"]["up_proj"]["weight"])[0],
    )


@pytest.fixture(scope="module", params=["dataflow", *slow("joint")])
def short(request, folder, tmp_path_factory):
    """The directory of a run of five candidates."""
    directory = tmp_path_factory.mktemp("short") / "run"
    evolve(overrides(folder, request.param, "search.evaluations=5"), directory)
    return directory


@pytest.mark.slow
def test_a_recipe_is_evaluated_from_the_command_line(short, folder, tmp_path, capsys):
    main([
        "evaluate", str(short / "recipe.yaml"), "fitness=perplexity",
        f"fitness.data={folder / 'test.jsonl'}", "--out", str(tmp_path / "measured"),
    ])  # fmt: skip
    (measured,) = json.loads((tmp_path / "measured/results.json").read_text())
    results = json.loads((short / "results.json").read_text())
    expected = next(r for r in results if (r["name"], r["split"]) == ("evolved", "test"))
    np.testing.assert_allclose(measured["score"], expected["score"], rtol=1e-5)


@pytest.mark.parametrize("change", [{"scale": 0.0}, {"scale": float("nan")}])
def test_scales_written_by_hand_must_be_usable(change, short, tmp_path):
    tree = yaml.safe_load((short / "recipe.yaml").read_text())
    tree["path"][1][2] = change["scale"]
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(RecipeError, match=r"hop 1: scale .* must be finite"):
        api.merge(tmp_path / "changed.yaml")


def test_a_path_longer_than_memory_is_refused_with_the_number_that_fits(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("evojax_merge.measuring.device_memory.free_bytes", lambda device: 2_000_000)
    more = ["space.max_hops=400", "space.repeats=200", "fitness.max_new_tokens=40"]
    rows = [json.dumps({"question": "what is it", "answer": "1"})] * 64
    (tmp_path / "questions.jsonl").write_text("\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"paths may have 400 hops.*set space.max_hops=\d+"):
        evolve(
            [
                *overrides(folder, "dataflow"),
                "fitness=generation",
                f"fitness.data={tmp_path / 'questions.jsonl'}",
                "fitness.test=null",
                *more,
            ],
            tmp_path / "run",
        )


def test_only_parameter_space_has_gradients(folder, tmp_path):
    more = ["strategy=adamerging"]
    with pytest.raises(ValueError, match="space=parameter only"):
        evolve(
            [o for o in overrides(folder, "dataflow") if "population" not in o] + more,
            tmp_path / "run",
        )


def test_classifiers_have_no_layers_to_route(tmp_path):
    sources = [f"'${{experiments:}}/digits/sources/{name}'" for name in ("low", "high")]
    chosen = [f"model.sources=[{','.join(sources)}]", "space=dataflow", "fitness=digits"]
    with pytest.raises(ValueError, match="routed in decoders only"):
        evolve(chosen, tmp_path / "run")


def test_a_search_is_not_lost_where_its_winner_cannot_be_exported(folder, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AbsorptionError("o_proj leaves the range of float16")

    monkeypatch.setattr("evojax_merge.sources.pool.absorb", refuse)
    with pytest.warns(UserWarning, match="cannot be exported: o_proj leaves the range of float16"):
        run = evolve(overrides(folder, "dataflow", "search.evaluations=5"), tmp_path / "run")
    assert run.model is None
    assert "exported" not in [result.name for result in run.results]
    assert (tmp_path / "run/results.json").exists()
    assert (tmp_path / "run/plots/path.png").exists()
    assert not (tmp_path / "run/export").exists()


@pytest.mark.filterwarnings("ignore:.*its configuration differs")
@pytest.mark.parametrize("kind", ["hybrid", "joint"])
def test_layers_of_a_pool_are_checked_before_anything_is_searched(kind, folder, tmp_path):
    odd = tiny_config(vocab_size=260, num_hidden_layers=2, rope_theta=5e4)
    write_checkpoint(tmp_path / "odd", odd, tokenizer=byte_tokenizer())
    more = [f"model.sources=[{folder / 'a'},{tmp_path / 'odd'}]"]
    more += ["space.pool=null"] if kind == "joint" else []
    with pytest.raises(ValueError, match="odd: rope is"):
        evolve(overrides(folder, kind, *more), tmp_path / "run")
    assert not (tmp_path / "run/history.jsonl").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*its configuration differs")
def test_layers_keep_their_windows_in_a_joint_search(tmp_path, folder):
    windowed = {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1}
    for seed, (name, changes) in enumerate({"base": windowed, "a": {}, "b": windowed}.items()):
        config = tiny_config("qwen2", vocab_size=260, num_hidden_layers=2, **changes)
        write_checkpoint(tmp_path / name, config, seed=seed, tokenizer=byte_tokenizer())
    more = [f"model.base={tmp_path / 'base'}", f"model.sources=[{tmp_path / 'a'},{tmp_path / 'b'}]"]
    more += ["space.pool=[merged,a]", "search.evaluations=10", "space.dataflow.scaling=off"]
    run = evolve(overrides(folder, "joint", *more), tmp_path / "run")
    scores = {r.name: r.score for r in run.results if r.split == "test"}
    np.testing.assert_allclose(scores["exported"], scores["evolved"], rtol=1e-5)


@pytest.mark.slow
def test_sources_with_other_tokenizers_are_measured_with_their_own(folder, tmp_path):
    words = word_tokenizer(["some", "words", "and", "more", "of", "them", "to", "score"])
    config = tiny_config(vocab_size=len(words), num_hidden_layers=2)
    write_checkpoint(tmp_path / "words", config, tokenizer=words)
    more = [f"model.sources=[{folder / 'a'},{tmp_path / 'words'}]", "search.evaluations=5"]
    run = evolve(overrides(folder, "dataflow", *more), tmp_path / "run")
    task = build_task(compose(overrides(folder, "dataflow"))).on("test")
    expected = api.evaluate(api.load(tmp_path / "words"), task).result.score
    (score,) = [r.score for r in run.results if (r.name, r.split) == ("words", "test")]
    np.testing.assert_allclose(score, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["gemma3_text", "olmo2"])
def test_other_norms_are_merged_routed_and_absorbed(model_type, folder, tmp_path):
    for seed, name in enumerate(("base", "a", "b")):
        tokenizer = byte_tokenizer()
        config = tiny_config(model_type, vocab_size=len(tokenizer), num_hidden_layers=2)
        write_checkpoint(tmp_path / name, config, seed=seed, tokenizer=tokenizer)
    for split in ("search", "test"):
        (tmp_path / f"{split}.jsonl").write_bytes((folder / f"{split}.jsonl").read_bytes())
    run = evolve(overrides(tmp_path, "hybrid", "search.evaluations=10"), tmp_path / "run")
    scores = {row.name: row.score for row in run.results if row.split == "test"}
    np.testing.assert_allclose(scores["exported"], scores["evolved"], rtol=1e-3)
    assert load_config(tmp_path / "run/export").hf_config["model_type"] == model_type
