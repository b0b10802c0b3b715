"""Every option of conf/fitness composes, instantiates, and measures a model."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf.errors import MissingMandatoryValue

from evojax_merge.fitness import GenerationTask, LangId, ScriptRule
from evojax_merge.models.request import Classify, Generate, Loglikelihood

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(file.stem for file in (CONF / "fitness").glob("*.yaml"))
ITEM = {"question": "1+1", "answer": 1, "choices": ["1", "2"], "text": "abc"}


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=list(overrides)).fitness


# The others are in external, test_several.py, test_image_classification.py, test_text_to_image.py,
# test_visual_question.py, the folder harness and tests/documentation/test_how_to.py; they run in
# tests/config and tests/runs.
@pytest.mark.parametrize(
    "option",
    sorted(
        {*OPTIONS}
        - {"several", "size", "external", "own", "image_classification", "digit_pictures"}
        - {"agreement", "distance", "length"}
        - {"visual_question", "text_to_image"}
        - {"lm_eval"}
    ),
)
def test_every_option_measures(option, write, model, tmp_path):
    data = write(ITEM)
    if option == "classification":
        data = str(tmp_path / "data.npz")
        np.savez(data, inputs=np.ones((2, 64)), label=np.array([0, 9]))
    overrides = [] if option == "digits" else [f"fitness.data={data}"]
    task = instantiate(composed(f"+fitness={option}", *overrides))
    assert task.name == ("log-likelihood" if option == "perplexity" else option)
    assert task.measure.name in ("accuracy", "log-likelihood")
    classifier = SimpleNamespace(config=SimpleNamespace(hidden_sizes=(64, 10)))
    bound = task.bind(classifier if option in ("classification", "digits") else model)
    shapes = {
        Generate: lambda batch: (2, len(batch.start), bound.request.max_new_tokens),
        Loglikelihood: lambda batch: (2, len(batch.start)),
        Classify: lambda batch: (2, len(batch.inputs), 10),
    }
    dtype = np.int32 if isinstance(bound.request, Generate) else np.float32
    outputs = [np.zeros(shapes[type(bound.request)](batch), dtype) for batch in bound.batches]
    scores = bound.score(outputs)
    assert scores.shape == (2, len(task))
    assert np.isfinite(scores).all()
    assert len(bound.details(outputs, candidate=1)) == len(task)


def test_every_key_has_a_comment_and_is_an_argument(write):
    for option in OPTIONS:
        for line in (CONF / "fitness" / f"{option}.yaml").read_text().splitlines():
            key = line.partition(":")[0]
            if key.isidentifier() and not key.startswith("_") and key != "defaults":
                assert "#" in line or key == "extract", f"{option}: {key} has no comment"


@pytest.mark.parametrize(
    ("override", "kind"),
    [
        ("fitness/language=script", ScriptRule),
        ("fitness/language=langid", LangId),
        ("fitness.language=ja", ScriptRule),
        ("fitness.language=null", type(None)),
    ],
)
def test_languages(override, kind, write):
    task = instantiate(composed("+fitness=generation", f"fitness.data={write(ITEM)}", override))
    assert isinstance(task, GenerationTask)
    assert isinstance(task.language, kind)


@pytest.mark.parametrize("option", ["lingua", "fasttext"])
def test_languages_that_need_more_compose(option):
    overrides = (f"fitness/language={option}", "fitness.data=x.jsonl")
    assert composed("+fitness=generation", *overrides).language.language == "ja"


def test_the_data_is_mandatory():
    with pytest.raises(MissingMandatoryValue, match=r"fitness\.data|data"):
        instantiate(composed("+fitness=generation"))
