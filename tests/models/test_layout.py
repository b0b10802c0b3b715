"""A layout says where every leaf stands, also where there are two stacks of layers."""

import numpy as np
import pytest

from evojax_merge.models import Layout, Leaf, Slot, Stack
from evojax_merge.models.segments import Segment, assign
from evojax_merge.operators import linear
from evojax_merge.params.tree import unflatten
from evojax_merge.spaces import ParameterSpace

STACKS = {"text.layers": Stack("text.layers", 2), "vision.layers": Stack("vision.layers", 3)}


def towers() -> Layout:
    """Two towers of different depth, each with an embedding before and a projection behind."""
    leaves = {}
    for tower, depth in (("text", 2), ("vision", 3)):
        stack = f"{tower}.layers"
        name = f"{tower}_model.layers.{{layer}}.q.weight"
        leaves[f"{tower}.embed.weight"] = Leaf(
            (5, 4), f"{tower}_model.embed.weight", "embedding", stack, "first"
        )
        leaves[f"{stack}.q.weight"] = Leaf((depth, 4, 4), name, "attention", stack, "each")
        leaves[f"{tower}.projection.weight"] = Leaf(
            (4, 4), f"{tower}_projection.weight", "projection", stack, "last"
        )
    return Layout(leaves, STACKS)


def test_axes_slots_and_layers_of_two_towers():
    layout = towers()
    assert layout.stacked == {"text.layers.q.weight", "vision.layers.q.weight"}
    assert layout.population_axes() == {
        tower: {
            "embed": {"weight": 0},
            "layers": {"q": {"weight": 1}},
            "projection": {"weight": 0},
        }
        for tower in ("text", "vision")
    }
    assert layout.slots["vision_model.layers.2.q.weight"] == Slot(
        "vision.layers.q.weight", 2, (4, 4)
    )
    assert len(layout.slots) == 2 + 2 + 3 + 2
    assert layout.depth() == 3
    assert layout.depth("text.layers") == 2
    assert list(layout.layers_of("vision.projection.weight")) == [2]
    assert list(layout.layers_of("text.projection.weight")) == [1]
    assert list(layout.layers_of("text.embed.weight")) == [0]
    assert layout.kinds == ("embedding", "attention", "projection")


def test_only_stacks_that_say_so_are_unrolled():
    stacks = {**STACKS, "text.layers": Stack("text.layers", 2, unrolled=True)}
    layout = Layout(towers().leaves, stacks)
    params = unflatten(
        {path: np.arange(np.prod(s)).reshape(s) for path, s in layout.shapes.items()}
    )
    unrolled = layout.unroll(params)
    layers = unrolled["text"]["layers"]
    assert isinstance(layers, tuple)
    for layer, own in enumerate(layers):
        weight = params["text"]["layers"]["q"]["weight"][layer]
        np.testing.assert_array_equal(own["q"]["weight"], weight)
    assert unrolled["vision"] == params["vision"]
    assert unrolled["text"]["embed"] == params["text"]["embed"]
    axes = layout.unrolled_axes()
    assert axes["text"]["layers"] == ({"q": {"weight": 0}},) * 2
    assert axes["vision"] == layout.population_axes()["vision"]


def test_segments_of_one_stack_and_of_all():
    segments = (
        Segment("early", ("attention", "embedding", "projection"), 0, 1, "text.layers"),
        Segment("late", ("attention", "embedding", "projection"), 1, 2, "text.layers"),
        Segment("seen", ("attention", "embedding", "projection"), 0, 3, "vision.layers"),
    )
    found = {path: owner.tolist() for path, owner in assign(segments, towers()).items()}
    assert found == {
        "text.embed.weight": 0,
        "text.layers.q.weight": [0, 1],
        "text.projection.weight": 1,
        "vision.embed.weight": 2,
        "vision.layers.q.weight": [2, 2, 2],
        "vision.projection.weight": 2,
    }
    whole = assign((Segment("all", ("attention", "embedding", "projection"), 0, 3),), towers())
    assert {owner.max() for owner in whole.values()} == {0}


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (Segment("a", ("attention",), 0, 2, "audio.layers"), "there is no stack 'audio.layers'"),
        (Segment("a", ("attention",), 0, 3, "text.layers"), "of a model of 2 layers"),
        (Segment("a", ("attention",), 0, 4), "of a model of 3 layers"),
        (Segment("a", ("atention",), 0, 3), "did you mean attention"),
    ],
)
def test_segments_that_do_not_fit(segment, message):
    with pytest.raises(ValueError, match=message):
        assign([segment], towers())


def test_a_space_divides_each_stack():
    space = ParameterSpace(linear(), towers(), ["a", "b"], layers_per_block=2)
    assert [(s.first, s.stop, s.stack) for s in space.segments] == [
        (0, 2, "text.layers"),
        (0, 2, "vision.layers"),
        (2, 3, "vision.layers"),
    ]
    undivided = ParameterSpace(linear(), towers(), ["a", "b"])
    assert [(s.first, s.stop, s.stack) for s in undivided.segments] == [(0, 3, None)]
    anchored = ParameterSpace(linear(), towers(), ["a"], layers_per_block=1, anchors=2)
    assert anchored.dims == 4


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (Leaf((2, 4), "x.{layer}.w", "mlp", "audio", "each"), "stack 'audio' is none of"),
        (
            Leaf((2, 4), "x.w", "mlp", "text.layers", "each"),
            "whether it is in a layer",
        ),
        (Leaf((4,), "x.{layer}.w", "mlp", "text.layers"), "whether it is in a layer"),
        (Leaf((3, 4), "x.{layer}.w", "mlp", "text.layers", "each"), "of a stack of 2 layers"),
        (Leaf((4,), "x.{layer}.w", "mlp", None, 1), "in layer 1 of no stack"),
    ],
)
def test_a_leaf_that_contradicts_its_stack(leaf, message):
    with pytest.raises(ValueError, match=message):
        Layout({"w": leaf}, STACKS)
