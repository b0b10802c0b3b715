"""Segments must cover every leaf once."""

import pytest

from evojax_merge.models import Layout, family_of
from evojax_merge.models.segments import Segment, assign
from tests.checkpoints_factory import mlp_config, tiny_config


def layout(config: dict) -> Layout:
    family = family_of(config)
    return family.layout(family.config_from_hf(config))


ALL = ("attention", "mlp", "norm", "embedding", "head")


def test_a_leaf_in_no_segment_or_in_two_is_named():
    decoder = layout(tiny_config())
    with pytest.raises(ValueError, match=r"layers.mlp.up_proj.weight, layer 2: in no segment"):
        assign([Segment("a", ALL, 0, 2)], decoder)
    twice = [Segment("a", ALL, 0, 3), Segment("b", ("head",), 0, 3)]
    with pytest.raises(ValueError, match=r"lm_head.weight: in a 0–2, b 0–2"):
        assign(twice, decoder)


def test_a_model_without_layers_is_covered_by_its_groups():
    classifier = layout(mlp_config(4, 8, 3))
    found = assign([Segment("hidden", ("mlp",), 0, 0), Segment("out", ("head",), 0, 0)], classifier)
    assert {path: int(index) for path, index in found.items()} == {
        "fc1.weight": 0, "fc1.bias": 0, "fc2.weight": 1, "fc2.bias": 1,
    }  # fmt: skip
