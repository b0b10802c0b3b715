"""Language models are merged by how they answer questions about pictures."""

import json

import pytest
from safetensors.numpy import load_file

from evojax_merge import api
from evojax_merge.checkpoints import CheckpointError
from evojax_merge.cli import main
from evojax_merge.config import build, compose
from evojax_merge.fitness import DataError
from evojax_merge.runs.preparation import set_up
from tests.checkpoints_factory import byte_tokenizer, tiny_config, write_checkpoint
from tests.llava_factory import llava_config, picture, write_llava

TEXT = {"num_hidden_layers": 2, "vocab_size": 260, "max_position_embeddings": 512}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A text model and a LLaVA, whose language model is merged with it."""
    folder = tmp_path_factory.mktemp("models")
    config = tiny_config("mistral", **TEXT)
    write_checkpoint(folder / "japanese", config, tokenizer=byte_tokenizer())
    write_llava(folder / "llava", llava_config(), seed=5)
    return folder


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    lines = []
    for number in range(3):
        picture((20, 16 + number), number).save(folder / f"{number}.png")
        item = {"image": f"{number}.png", "question": "?", "answer": f"abcdefgh {number}"}
        lines.append(json.dumps(item))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "items.jsonl"


def overrides(models, items, *more):
    return [
        f"model.sources=[{models / 'llava'},{models / 'japanese'}]",
        "operator=linear",
        "fitness=visual_question",
        f"fitness.data={items}",
        "fitness.words=characters",
        "fitness.max_new_tokens=4",
        "search.evaluations=4",
        "baselines.published=false",
        *more,
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_a_language_model_is_merged_by_what_it_says_of_pictures(models, items, tmp_path):
    found = api.evolve(overrides(models, items), tmp_path / "run")
    own = load_file(models / "llava" / "model.safetensors")
    assert load_file(found.directory / "export" / "model.safetensors").keys() == own.keys()
    assert {result.measure.name for result in found.results} == {"ROUGE-L of characters"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_a_tower_is_merged_by_what_the_model_says_of_pictures(models, items, tmp_path):
    write_llava(tmp_path / "other", llava_config(), seed=6)
    sources = f"model.sources=[{models / 'llava'},{tmp_path / 'other'}]"
    more = [sources, "model.parts=[vision_tower,projector]"]
    found = api.evolve(overrides(models, items, *more), tmp_path / "run")
    assert len(found.results) > 0


def test_what_cannot_be_is_refused_before_weights_are_read(models, items, tmp_path, monkeypatch):
    monkeypatch.setattr("evojax_merge.checkpoints.loader._read_params", None)
    text = f"model.sources=[{models / 'japanese'}]"
    with pytest.raises(ValueError, match="needs a model that sees pictures"):
        api.evolve(overrides(models, items, text), tmp_path / "run")
    more = f"fitness.processor={models / 'japanese'}"
    with pytest.raises(CheckpointError, match=r"no preprocessor_config.json"):
        api.evolve(overrides(models, items, more), tmp_path / "run")
    (items.parent / "4.png").write_text("no picture")
    bad = items.with_name("bad.jsonl")
    bad.write_text(json.dumps({"image": "4.png", "question": "?", "answer": "a"}))
    with pytest.raises(DataError, match=r"line 1: 4.png cannot be read as a picture \(it is none"):
        api.evolve(overrides(models, items, f"fitness.test={bad}"), tmp_path / "run")


@pytest.mark.parametrize("operator", ["fisher", "regmean"])
def test_evidence_on_pictures_is_refused_before_weights_are_read(
    operator, models, items, tmp_path, monkeypatch
):
    monkeypatch.setattr("evojax_merge.checkpoints.loader._read_params", None)
    given = overrides(models, items, f"operator={operator}", f"operator.data={items}")
    with pytest.raises(DataError, match=r"items.jsonl, line 1: has a field 'image'.* give texts"):
        api.evolve(given, tmp_path / "run")
    write_llava(tmp_path / "other", llava_config(), seed=6)
    sources = f"model.sources=[{models / 'llava'},{tmp_path / 'other'}]"
    parts = "model.parts=[vision_tower,projector,language_model]"
    with pytest.raises(ValueError, match=r"merge model.parts=\[language_model\] with texts"):
        api.evolve([*given, sources, parts], tmp_path / "run")


def test_a_task_of_text_says_that_only_the_language_model_is_measured(models, items, tmp_path):
    def lines(*more):
        experiment = build(compose(overrides(models, items, *more)))
        return [line for line in set_up(experiment).describe() if "sees pictures" in line]

    assert lines() == []
    file = tmp_path / "texts.jsonl"
    file.write_text(json.dumps({"text": "one two"}))
    of_pictures = (
        "fitness=visual_question",
        "fitness.words=characters",
        "fitness.max_new_tokens=4",
    )
    given = overrides(models, file, "fitness=perplexity")
    text = [one for one in given if one not in of_pictures]
    (line,) = set_up(build(compose(text))).describe()[1:]
    assert line == "llava sees pictures and the task has none: only its language model is measured"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_a_member_of_a_pool_that_reads_text_alone_is_left_out_of_the_comparison(
    models, items, tmp_path
):
    given = overrides(models, items, "space=dataflow", "strategy.population_size=4")
    with pytest.warns(UserWarning, match="japanese is left out of the comparison: .* sees"):
        found = api.evolve(given, tmp_path / "run")
    assert [result.name for result in found.results][:1] == ["llava"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_a_text_model_of_a_joint_search_is_measured_in_the_carrier(models, items, tmp_path):
    found = api.evolve(overrides(models, items, "space=joint"), tmp_path / "run")
    assert {"llava", "japanese"} <= {result.name for result in found.results}


@pytest.mark.slow
def test_pictures_are_found_from_where_a_run_was_started(models, items, tmp_path, monkeypatch):
    """A relative path of data means the directory of the start, wherever one is later."""
    monkeypatch.chdir(items.parent)
    more = ["search.evaluations=1", "strategy=random", "strategy.population_size=1"]
    relative = overrides(models, items.name, *more, "baselines.sources=false", "export=false")
    api.evolve(relative, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    main(["evaluate", str(tmp_path / "run"), "--out", "scores"])
    assert (tmp_path / "scores" / "results.json").is_file()
