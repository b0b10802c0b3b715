"""Models of no family are known by the names and the shapes of their tensors."""

import pytest

from evojax_merge.models import family_of
from evojax_merge.models.family import DECODER, NAMED
from evojax_merge.models.layout import Slot, Stack
from evojax_merge.models.request import Generate
from tests.checkpoints_factory import tiny_config
from tests.named_factory import CONFIGS


def layout_of(kind):
    config, shapes = CONFIGS[kind]
    assert family_of(config) is NAMED
    own = {name: s for name, s in shapes.items() if not NAMED.carried(name, s)}
    return NAMED.layout(NAMED.read_config(config, lambda: own)), own


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_tensor_has_its_slot(kind):
    layout, shapes = layout_of(kind)
    assert {name: slot.shape for name, slot in layout.slots.items()} == shapes


def test_layers_are_found_wherever_their_number_stands():
    layout, _ = layout_of("gpt2")
    assert layout.stacks == {"transformer.h": Stack("transformer.h", 11)}
    assert layout.slots["transformer.h.10.ln_1.weight"] == Slot(
        "transformer.h.*.ln_1.weight", 10, (4,)
    )
    assert layout.token_tables == ("transformer.wte.weight",)
    assert not any("attn.bias" in name for name in layout.slots)
    t5, _ = layout_of("t5")
    assert {name: stack.depth for name, stack in t5.stacks.items()} == {
        "encoder.block": 2,
        "decoder.block": 3,
    }
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    assert (t5.leaves[bias].place, t5.leaves[bias].stack) == (0, "encoder.block")
    assert t5.leaves["encoder.final_layer_norm.weight"].stack == "encoder.block"
    assert set(t5.token_tables) == {"shared.weight", "lm_head.weight"}


def test_layers_that_differ_stand_alone():
    layout, _ = layout_of("unet")
    assert layout.stacked == {"mid_block.attentions.*.transformer_blocks.0.attn1.to_q.weight"}
    conv = "down_blocks.1.resnets.0.conv1.weight"
    assert list(layout.layers_of(conv)) == [1]
    assert list(layout.in_layer("down_blocks", 0).values()) == [
        "down_blocks.0.resnets.0.conv1.weight"
    ]


@pytest.mark.parametrize(
    ("kind", "path", "group"),
    [
        ("gpt2", "transformer.h.*.mlp.c_fc.weight", "mlp"),
        ("gpt2", "transformer.h.*.attn.c_attn.weight", "attention"),
        ("gpt2", "transformer.ln_f.weight", "norm"),
        ("gpt2", "transformer.wpe.weight", "embedding"),
        ("t5", "encoder.block.*.layer.1.DenseReluDense.wi.weight", "mlp"),
        ("t5", "lm_head.weight", "head"),
        ("mixtral", "model.layers.*.block_sparse_moe.gate.weight", "router"),
        ("mixtral", "model.layers.*.block_sparse_moe.experts.1.w1.weight", "mlp"),
        ("unet", "down_blocks.1.resnets.0.conv1.weight", "conv"),
        ("unet", "time_embedding.linear_1.weight", "time"),
    ],
)
def test_groups_are_told_from_words(kind, path, group):
    assert layout_of(kind)[0].groups[path] == group


def test_what_is_known_stays_with_its_family_and_a_classifier_does_not():
    assert family_of(tiny_config()) is DECODER
    assert family_of(tiny_config(architectures=["LlamaForSequenceClassification"])) is NAMED


def test_such_models_cannot_be_run():
    with pytest.raises(ValueError, match=r"models whose type .* cannot; fitness=external"):
        NAMED.ability(Generate(4, (2,), 0))


@pytest.mark.parametrize("name", ["a..b", "a.{layer}.b"])
def test_names_that_no_module_has_are_refused(name):
    with pytest.raises(ValueError, match="no module gives it"):
        NAMED.read_config({"model_type": "bert"}, lambda: {name: (2,)})
