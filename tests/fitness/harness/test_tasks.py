"""Tasks by their names, their splits and worked examples, and what is refused of them."""

import pytest

from evojax_merge.config import build_task, compose
from evojax_merge.fitness import SeveralTasks, lm_eval_task

pytestmark = pytest.mark.parity


def task(folder, *names, **settings):
    return lm_eval_task(names, **{"include_path": str(folder), **settings})


def asked(bound):
    """The requests of every item."""
    items = getattr(bound, "_items", None) or bound._all
    return [item.requests for item in items]


def test_an_item_is_not_among_its_own_examples(folder, japanese):
    """Nor is it where the split of the examples is only implied."""
    for name in ("qs_generate", "qs_choice"):
        search = task(folder, name, num_fewshot=3, limit=40)
        assert search.current_split == "search"
        for requests in asked(search.bind(japanese)):
            document, prompt = requests[0].doc, requests[0].args[0]
            assert prompt.count(document["question"]) == 1
            assert prompt.count("りますか") + prompt.count("ですか") + prompt.count("か。") >= 4


def test_a_choice_of_items_does_not_change_their_prompts(folder, japanese):
    whole = task(folder, "qs_generate", num_fewshot=2).on("test")
    prompts = {one[0].doc["question"]: one[0].args[0] for one in asked(whole.bind(japanese))}
    part = task(folder, "qs_generate", num_fewshot=2, split=[0.5, 0.5])
    assert len(part) + len(part.on("test")) == len(whole)
    for split in ("search", "test"):
        for one in asked(part.on(split).bind(japanese)):
            assert prompts[one[0].doc["question"]] == one[0].args[0]


def test_items_that_are_in_two_splits_are_counted(folder):
    same = task(folder, "qs_choice", search_split="test", limit=10)
    assert same.repeated == 0
    assert same.on("test").repeated == 10
    assert task(folder, "qs_choice", limit=10).on("test").repeated < 10


def test_tags_are_several_tasks_and_groups_one(folder):
    tag = task(folder, "qs_tag", limit=4)
    assert isinstance(tag, SeveralTasks)
    assert list(tag.tasks) == ["qs_choice", "qs_last"]
    assert tag.reported_split == "test"
    group = task(folder, "qs_group", limit=4, metric="acc")
    assert (group.name, len(group)) == ("qs_group", 8)


def test_a_configuration_builds_them(folder):
    given = ["fitness=lm_eval", "fitness.tasks=[qs_last,qs_choice]", "fitness.limit=4"]
    given += [
        f"fitness.include_path={folder}",
        "fitness.metric={qs_last: acc}",
        "model.sources=[x]",
    ]
    built = build_task(compose(given))
    assert {name: one.measure.name for name, one in built.tasks.items()} == {
        "qs_last": "acc",
        "qs_choice": "acc",
    }


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["qs_f1"], {}, "f1 is computed from all items at once.* one of acc"),
        (["qs_choice"], {"metric": "ac_norm"}, "no metric 'ac_norm'.*did you mean acc_norm"),
        (["qs_generate"], {"metric": "exact_match,none"}, "no filter 'none'.*strict, flexible"),
        (["qs_unsafe"], {}, "fitness.confirm_run_unsafe_code=true"),
        (["qs_alike"], {}, "counts its tasks alike"),
        (["qs_chioce"], {}, "no task 'qs_chioce'.*did you mean qs_choice"),
        (["qs_choice"], {"metric": {"qs_other": "acc"}}, "there is no task 'qs_other'"),
        (["qs_choice"], {"weights": {"qs_choice": 1}}, "there is one task"),
        (["qs_choice"], {"include_path": "no/such"}, "include_path no/such: no such directory"),
    ],
)
def test_what_cannot_be_measured_is_refused(folder, names, settings, message):
    with pytest.raises(ValueError, match=message):
        task(folder, *names, **settings)


def test_a_task_may_be_one_only_to_be_reported(folder):
    only = task(folder, "qs_test_only", limit=4)
    assert (only.splits, only.current_split) == (("test",), "test")
    with pytest.raises(ValueError, match=r"no documents for the search split.*fitness\.split="):
        only.on("search")
    several = task(folder, "qs_test_only", "qs_choice", limit=4)
    assert several.current_split == "test"
    with pytest.raises(ValueError, match=r"qs_test_only: has no documents for the search split"):
        several.on("search")


def test_what_a_model_cannot_answer_is_refused(folder, japanese):
    with pytest.raises(ValueError, match="qs_sampled: its answers are sampled"):
        task(folder, "qs_sampled", limit=2).bind(japanese)
    with pytest.raises(ValueError, match=r"no chat template; set fitness\.apply_chat_template="):
        task(folder, "qs_generate", limit=2, apply_chat_template=True).bind(japanese)
    mixed = task(folder, "qs_generate", generation_kwargs={"max_gen_toks": 200}, limit=2)
    with pytest.raises(ValueError, match="an answer may have 200 tokens, and a sequence 128"):
        mixed.bind(japanese)
