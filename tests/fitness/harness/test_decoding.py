"""Answers are generated as transformers would for the harness, or the task is refused."""

import json

import pytest

from evojax_merge.fitness.harness.decoding import decoding_of


@pytest.fixture
def model(tmp_path):
    def write(**settings):
        (tmp_path / "generation_config.json").write_text(json.dumps(settings))
        return tmp_path

    return write


def test_settings_of_the_task():
    given = {"until": ["Q:", "</s>"], "max_gen_toks": 7, "max_new_tokens": 9, "temperature": 0.0}
    found = decoding_of(given, None, "</s>", "task")
    assert found == (7, 7, ("Q:", "</s>"), 1.0)
    assert decoding_of({"until": "\n", "top_p": 0.9}, None, None, "task") == (
        256,
        256,
        ("\n",),
        1.0,
    )


def test_settings_of_the_model_count_where_the_task_has_none(model):
    directory = model(max_new_tokens=24, repetition_penalty=1.1, do_sample=True, max_length=5)
    assert decoding_of({"max_tokens": 8}, directory, None, "task") == (8, 24, (), 1.1)
    assert decoding_of({"repetition_penalty": 1.5}, directory, None, "task")[3] == 1.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"do_sample": True}, "its answers are sampled"),
        ({"temperature": 0.7}, "its answers are sampled"),
        ({"num_beams": 4}, "sets num_beams to 4, .*; set it to 1"),
        ({"logits_processor": "x"}, "have logits_processor, which is not known"),
    ],
)
def test_what_is_not_carried_out_is_refused(given, message):
    with pytest.raises(ValueError, match=f"^task: .*{message}"):
        decoding_of(given, None, None, "task")


def test_what_a_model_asks_for_is_refused_unless_the_task_says_otherwise(model):
    directory = model(no_repeat_ngram_size=3)
    with pytest.raises(ValueError, match=r"generation_config\.json sets no_repeat_ngram_size to 3"):
        decoding_of({}, directory, None, "task")
    assert decoding_of({"no_repeat_ngram_size": 0}, directory, None, "task").max_new_tokens == 256
