"""Where features stand, against what transformers packs for pictures of all sizes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlavaNextConfig
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next.modeling_llava_next import (
    LlavaNextModel,
    image_size_to_num_patches,
)
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.llava.pictures import gather_index, num_tokens, tiles_of
from tests.llava_factory import PINPOINTS, llava_config

LARGE = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "image_size": 336,
    "patch_size": 14,
}
PUBLISHED = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONE = LlavaConfig.from_hf(llava_config()).pictures
TINY = LlavaConfig.from_hf(llava_config("llava_next")).pictures
FULL = LlavaConfig.from_hf(
    {"model_type": "llava_next", "vision_config": LARGE, "image_grid_pinpoints": PUBLISHED}
).pictures


def packed(config, size):
    """The rows that transformers packs, where a row holds its number and the newline −1."""
    pinpoints = [list(one) for one in config.pinpoints]
    model = SimpleNamespace(config=LlavaNextConfig(image_grid_pinpoints=pinpoints))
    model.config.vision_config.image_size = config.image_size
    model.config.vision_config.patch_size = config.image_size // config.grid
    tiles = image_size_to_num_patches(list(size), pinpoints, config.image_size)
    rows = torch.arange(tiles * config.tile_tokens, dtype=torch.float64)
    (found,), _ = LlavaNextModel.pack_image_features(
        model,
        [rows.reshape(tiles, config.tile_tokens, 1)],
        torch.tensor([size]),
        "default",
        torch.tensor([-1.0], dtype=torch.float64),
    )
    return tiles, found[:, 0].numpy().astype(int)


SIDE = st.integers(1, 50) | st.integers(1, 4000)


@pytest.mark.parametrize("config", [TINY, FULL], ids=["tiny", "published"])
@given(height=SIDE, width=SIDE)
def test_features_are_packed_as_transformers_packs_them(config, height, width):
    tiles, rows = packed(config, (height, width))
    assert tiles_of(config, (height, width)) == tiles
    np.testing.assert_array_equal(gather_index(config, (height, width)), rows)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((336, 336), 1176),
        ((480, 640), 2340),
        ((640, 480), 2352),
        ((500, 333), 1476),
        ((1024, 1024), 2928),
        ((300, 900), 2328),
    ],
)
def test_published_numbers_of_tokens(size, tokens):
    assert num_tokens(FULL, size) == tokens


@given(height=SIDE, width=SIDE)
def test_a_prompt_has_as_many_tokens_as_the_processor_of_transformers_writes(height, width):
    processor = SimpleNamespace(
        image_processor=LlavaNextImageProcessorPil(image_grid_pinpoints=PINPOINTS),
        patch_size=4,
        num_additional_image_tokens=1,
    )
    processor._get_unpadded_features = LlavaNextProcessor._get_unpadded_features.__get__(processor)
    found = LlavaNextProcessor._get_number_of_features(processor, height, width, 16, 16)
    assert num_tokens(TINY, (height, width)) == found - 1


def test_a_model_without_tiles_sees_one_and_has_no_newline():
    assert (tiles_of(ONE, (1, 900)), num_tokens(ONE, (1, 900))) == (1, 16)
    np.testing.assert_array_equal(gather_index(ONE, (7, 3)), np.arange(16))


def test_the_rows_of_a_later_picture_come_after_those_of_the_tiles_before():
    first, later = gather_index(TINY, (20, 30)), gather_index(TINY, (20, 30), first_tile=4)
    np.testing.assert_array_equal(later == -1, first == -1)
    np.testing.assert_array_equal(later[later >= 0], first[first >= 0] + 4 * 16)
