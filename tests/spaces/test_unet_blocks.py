"""The spaces of UNets: the blocks that image people name, attention, and transformer blocks."""

import numpy as np
import pytest
from hydra.utils import instantiate

from evojax_merge.config import compose
from evojax_merge.models.diffusion.architectures import ARCHITECTURES
from evojax_merge.models.diffusion.original_unet import unet_name
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.unet.params import layout
from evojax_merge.operators import linear

SDXL, SD1 = (UNetConfig.from_hf(ARCHITECTURES[kind]["unet"]) for kind in ("SDXL", "SD 1.x"))


def space_of(name, config):
    settings = compose(["model.sources=[a,b]", f"space={name}", "fitness.data=x.jsonl"]).space
    return instantiate(settings)(linear(), layout(config), ["a", "b"])


def block_of(name):
    """The block of a tensor by its original name, as sd-mecha assigns it."""
    first, number, *_ = name.split(".")
    if first == "input_blocks":
        return f"IN{int(number):02d}"
    if first == "output_blocks":
        return f"OUT{int(number):02d}"
    return {"middle_block": "M00", "out": "last OUT"}.get(first, "BASE")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "config", "count"), [("unet_blocks", SDXL, 20), ("unet_blocks_sd1", SD1, 26)]
)
def test_the_blocks_are_those_of_the_original_layout(name, config, count):
    space = space_of(name, config)
    names = [segment.name for segment in space.segments]
    assert len(names) == len(set(names)) == count
    assert space.dims == 2 * count
    leaves = space.expand({"weight": np.arange(count, dtype=np.float32)[None].repeat(2, 0)})
    own = layout(config)
    for tensor, slot in own.slots.items():
        weight = np.asarray(leaves[slot.path]["weight"])[0]
        found = names[int(weight if slot.layer is None else weight[slot.layer])]
        wanted = block_of(unet_name(tensor, config))
        assert found == (names[-1] if wanted == "last OUT" else wanted), tensor


@pytest.mark.parametrize(("name", "config"), [("unet_blocks", SD1), ("unet_blocks_sd1", SDXL)])
def test_blocks_of_another_architecture(name, config):
    with pytest.raises(ValueError, match=r"part of no leaf's path.* the one for this architecture"):
        space_of(name, config)


def test_the_parameters_of_the_blocks_of_sdxl():
    space = space_of("unet_blocks", SDXL)
    counts = {}
    for path, index in space._assignment.items():
        name = space.segments[int(np.ravel(index)[0])].name
        counts[name] = counts.get(name, 0) + int(np.prod(layout(SDXL).shapes[path]))
    assert counts["IN00"] == 11_840
    assert sum(counts.values()) == 2_567_463_684
    wide = ("M00", "OUT00", "OUT01", "OUT02", "IN07", "IN08")
    assert sum(counts[name] for name in wide) == 2_377_090_560


def test_attention_is_that_of_sakana():
    space = space_of("unet_attention", SDXL)
    assert [segment.name for segment in space.segments] == ["attention", "rest"]
    words = ("to_k", "to_q", "to_v", "to_out.0")
    tensors = elements = 0
    for name, slot in layout(SDXL).slots.items():
        inside = any(word in name for word in words)
        assert int(np.ravel(space._assignment[slot.path])[0]) == (0 if inside else 1)
        tensors += inside
        elements += inside * int(np.prod(slot.shape))
    assert (tensors, elements) == (700, 955_353_600)


@pytest.mark.slow
def test_every_transformer_block_is_apart():
    space = space_of("unet_transformer_blocks", SDXL)
    blocks = [segment for segment in space.segments if segment.name == "transformer"]
    assert len(blocks) == 70
    assert len(space.segments) == 71
