import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.params.tree import flatten, is_stacked, unflatten

keys = st.text("abc_", min_size=1, max_size=3)
trees = st.recursive(
    st.integers(), lambda child: st.dictionaries(keys, child, min_size=1, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@settings(deadline=None)
@given(trees)
def test_flatten_is_undone_by_unflatten_and_keeps_the_order(tree):
    assert unflatten(flatten(tree)) == tree
    assert list(flatten(unflatten(flatten(tree)))) == list(flatten(tree))


def test_paths_are_keys_joined_with_dots():
    tree = {"layers": {"q_proj": {"weight": 1}}, "norm": {"weight": 2}}
    assert flatten(tree) == {"layers.q_proj.weight": 1, "norm.weight": 2}


@pytest.mark.parametrize("tree", [{"a.b": 1}, {"": 1}, {1: 2}, {"a": {"b.c": 1}}])
def test_keys_that_make_paths_ambiguous_are_refused(tree):
    with pytest.raises(ValueError, match="parameter tree key"):
        flatten(tree)


@pytest.mark.parametrize("flat", [{"a": 1, "a.b": 2}, {"a.b": 1, "a": 2}])
def test_a_path_cannot_be_leaf_and_branch(flat):
    with pytest.raises(ValueError, match="path"):
        unflatten(flat)


def test_only_leaves_below_layers_are_stacked():
    assert is_stacked("layers.q_proj.weight")
    assert not is_stacked("layers")
    assert not is_stacked("layers_norm.weight")
    assert is_stacked("vision.layers.weight")
    assert not is_stacked("vision.layers")
