"""What a Qwen2.5-VL sees of a picture, which the picture's pixels alone determine.

A picture is scaled so that it can be divided into blocks of patches, each of which becomes a
feature. Windows divide it from the upper left corner on, so that those at the lower and the right
edge may be smaller. A window is a tile here, all of one size, and filled with zeros that nothing
attends to.
"""

import numpy as np

from evojax_merge.models.decoder.rope import AXES
from evojax_merge.models.qwen_vl.config import QwenVisionConfig
from evojax_merge.params.types import Int, UInt8


def windows(
    config: QwenVisionConfig, picture: UInt8[np.ndarray, "channels height width"]
) -> tuple[UInt8[np.ndarray, "windows channels side side"], Int[np.ndarray, "windows 4"]]:
    """Cut a picture into windows, from left to right and from top to bottom.

    Returns:
        The pixels of each window, and where it stands: the row and the column of its first patch
        in the picture, and how many rows and columns of patches it has.
    """
    channels, height, width = picture.shape
    side = config.side * config.patch_size
    down, across = -(-height // side), -(-width // side)
    filled = np.zeros((channels, down * side, across * side), np.uint8)
    filled[:, :height, :width] = picture
    pixels = filled.reshape(channels, down, side, across, side).transpose(1, 3, 0, 2, 4)
    first = np.stack(np.meshgrid(np.arange(down), np.arange(across), indexing="ij"), -1)
    first = first.reshape(-1, 2) * config.side
    whole = np.array([height, width]) // config.patch_size
    where = np.concatenate([first, np.minimum(whole - first, config.side)], axis=1)
    return np.ascontiguousarray(pixels.reshape(-1, channels, side, side)), where.astype(np.int32)


def feature_rows(config: QwenVisionConfig, height: int, width: int) -> Int[np.ndarray, " features"]:
    """Return the rows that a picture's features are, from left to right and from top to bottom.

    Rows count through the windows of the picture, each of which has ``config.window²`` of them.

    Args:
        config: The tower.
        height: The height of the scaled picture in pixels.
        width: Its width.
    """
    rows, columns = features_down_and_across(config, height, width)
    side = config.window
    across = -(-columns // side)
    row, column = np.arange(rows)[:, None], np.arange(columns)
    window = row // side * across + column // side
    return (window * side**2 + row % side * side + column % side).ravel().astype(np.int32)


def feature_shift(
    config: QwenVisionConfig, height: int, width: int
) -> Int[np.ndarray, "features axes"]:
    """Return how much further the position of each feature is than its place (see `Look`).

    All features have the time of the first. They count down and across from there.
    """
    rows, columns = features_down_and_across(config, height, width)
    position = np.zeros((rows, columns, AXES), np.int32)
    position[..., 1], position[..., 2] = np.arange(rows)[:, None], np.arange(columns)
    place = np.arange(rows * columns, dtype=np.int32)
    return position.reshape(-1, AXES) - place[:, None]


def features_down_and_across(config: QwenVisionConfig, height: int, width: int) -> tuple[int, int]:
    """Return how many features stand below one another, and side by side."""
    block = config.merge * config.patch_size
    return height // block, width // block
