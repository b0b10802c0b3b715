import pytest

from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.zero_shot import prompts


def test_every_class_is_put_into_every_template():
    found = prompts(["cat", "{tree} 9"], ["a photo of a {}.", "a {}, drawn in {ink}."])
    assert found == [
        ["a photo of a cat.", "a cat, drawn in {ink}."],
        ["a photo of a {tree} 9.", "a {tree} 9, drawn in {ink}."],
    ]
    assert prompts(["cat"]) == [["a photo of a cat."]]


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        ([], ["a {}."], "at least one name"),
        (["cat"], [], "at least one template"),
        ("cat", ["a {}."], "need a list"),
        (["cat"], "a {}.", "need a list"),
        (["cat", "dog", "cat"], ["a {}."], "class 'cat'"),
        (["cat", " "], ["a {}."], "class ' '"),
        (["cat"], ["a photo."], "template 'a photo.'"),
        (["cat"], ["a {} and a {}."], "template"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(names, templates, message):
    with pytest.raises(DataError, match=message):
        prompts(names, templates)
