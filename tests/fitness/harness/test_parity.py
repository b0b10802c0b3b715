"""Every item has the result that the harness gives it with transformers in place of our engine."""

import numpy as np
import pytest

from evojax_merge import api
from evojax_merge.fitness import lm_eval_task
from tests.fitness.harness.folder import QUICKSTART, TASKS

pytestmark = pytest.mark.parity

COMPARED = [name for name in TASKS if name not in ("qs_f1", "qs_sampled", "qs_unsafe")]
LIMIT = 24


def harness(model, folder, tasks, **settings):
    """What the harness says of each item of each task."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32", "device": "cpu"},
        tasks=list(tasks),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **settings,
    )
    return found["results"], found["samples"]


def compare(details, samples):
    """Check texts, choices and metrics of every item; return the largest difference of a number."""
    theirs = {(one["doc_id"], one["filter"]): one for one in samples}
    largest, compared = 0.0, 0
    for record in details:
        for key, value in record["metrics"].items():
            metric, _, name = key.partition(",")
            sample = theirs[record["document"], name]
            compared += 1
            expected = [list(one) for one in sample["arguments"]]
            assert [list(one) for one in record["requests"]] == expected
            if isinstance(record["responses"][0], str):
                assert record["responses"] == [texts[0] for texts in sample["resps"]]
                assert record["filtered"][name] == sample["filtered_resps"]
            for ours, other in zip(_flat(value), _flat(sample[metric]), strict=True):
                np.testing.assert_allclose(ours, other, rtol=2e-5, atol=2e-5)
                largest = max(largest, abs(ours - other))
    assert compared == sum(len(one["metrics"]) for one in samples)
    return largest


def _flat(value):
    parts = value if isinstance(value, list | tuple | np.ndarray) else [value]
    return [float(number) for part in parts for number in np.ravel(part)]


@pytest.fixture(scope="module")
def theirs(folder):
    return harness(QUICKSTART / "sources" / "japanese", folder, COMPARED, limit=LIMIT)


@pytest.mark.parametrize("name", COMPARED)
def test_items_of_every_kind_of_task(name, folder, japanese, theirs):
    results, samples = theirs
    task = lm_eval_task([name], include_path=str(folder), limit=LIMIT).on("test")
    found = api.evaluate(japanese, task)
    compare(found.details, samples[name])
    first = found.details[0]["metrics"].keys() & results[name].keys()
    metric = f"{task._leaves[0].metric.name},{task._leaves[0].metric.filter}"
    assert metric in first
    aggregate, score = float(results[name][metric]), found.result.score
    if "perplexity" in metric:
        score = np.exp(-score)
    if "bits" in metric:
        score = -score
    np.testing.assert_allclose(score, aggregate, rtol=1e-4)


def test_answers_are_of_both_kinds(theirs):
    _, samples = theirs
    for name, metric in (("qs_generate", "exact_match"), ("qs_last", "acc"), ("qs_choice", "acc")):
        assert {float(one[metric]) for one in samples[name]} == {0.0, 1.0}, name


@pytest.mark.parametrize("multiturn", [True, False])
def test_conversations(multiturn, folder, chatty):
    names = ["qs_generate", "qs_choice_all"]
    chat = {
        "apply_chat_template": True,
        "fewshot_as_multiturn": multiturn,
        "system_instruction": "答えて",
    }
    _, samples = harness(chatty, folder, names, limit=6, num_fewshot=1, **chat)
    for name in names:
        own = lm_eval_task([name], include_path=str(folder), limit=6, num_fewshot=1, **chat)
        compare(api.evaluate(api.load(chatty), own.on("test")).details, samples[name])


def test_settings_of_the_command(folder, japanese):
    settings = {"num_fewshot": 2, "limit": 6}
    names = ["qs_generate", "qs_last"]
    _, samples = harness(
        QUICKSTART / "sources" / "japanese",
        folder,
        names,
        gen_kwargs={"max_gen_toks": 12},
        **settings,
    )
    for name in names:
        own = lm_eval_task(
            [name], include_path=str(folder), generation_kwargs={"max_gen_toks": 12}, **settings
        )
        compare(api.evaluate(japanese, own.on("test")).details, samples[name])


def test_a_group_is_the_mean_over_its_items(folder, japanese):
    results, _ = harness(
        QUICKSTART / "sources" / "japanese", folder, ["qs_choice", "qs_choice_all"], limit=8
    )
    expected = np.mean([results[name]["acc,none"] for name in ("qs_choice", "qs_choice_all")])
    task = lm_eval_task(["qs_group"], include_path=str(folder), metric="acc", limit=8).on("test")
    assert len(task) == 16
    assert api.evaluate(japanese, task).result.score == pytest.approx(expected)
