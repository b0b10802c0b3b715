"""Where the features of a picture stand, which the size of the picture alone determines.

A LLaVA-1.5 sees a picture in one tile. A LLaVA-NeXT sees it whole in a first tile, and then, scaled
to one of several sizes, in tiles from left to right and from top to bottom. What its edges are
padded with is taken out of the features again, and each row of patches ends with a newline.

Nothing here reads weights. Sizes are (height, width) in pixels.
"""

import numpy as np

from evojax_merge.models.llava.config import PictureConfig
from evojax_merge.models.seeing.vision import EXTRA, Size
from evojax_merge.params.types import Int


def tiles_of(config: PictureConfig, size: Size) -> int:
    """Return how many tiles a picture is seen in."""
    if config.pinpoints is None:
        return 1
    height, width = best_size(config.pinpoints, size)
    return 1 + (height // config.image_size) * (width // config.image_size)


def num_tokens(config: PictureConfig, size: Size) -> int:
    """Return how many features a picture has, which is how many tokens it takes in a prompt."""
    return len(gather_index(config, size))


def gather_index(
    config: PictureConfig, size: Size, first_tile: int = 0
) -> Int[np.ndarray, " features"]:
    """Return the rows that a picture's features are, in their order.

    Rows count through the tiles of a prompt, each of which has ``config.tile_tokens`` of them. The
    row of a newline is `EXTRA`.

    Args:
        config: How the model sees pictures.
        size: The height and width of the picture.
        first_tile: How many tiles come before those of this picture.
    """
    whole = np.arange(config.tile_tokens, dtype=np.int32)
    if config.pinpoints is not None:
        whole = np.concatenate([whole, _tiled(config, size)])
    return np.where(whole == EXTRA, whole, whole + first_tile * config.tile_tokens)


def best_size(sizes: tuple[Size, ...], size: Size) -> Size:
    """Return the size that a picture fits into best.

    That is the one at which most of its pixels are left, and of several the one of which least is
    empty.
    """
    height, width = size

    def rank(target: Size) -> tuple[int, int]:
        scale = min(target[1] / width, target[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - target[0] * target[1]

    return max(sizes, key=rank)


def _tiled(config: PictureConfig, size: Size) -> Int[np.ndarray, " features"]:
    """Return the rows of the tiles after the first, row of patches by row of patches."""
    assert config.pinpoints is not None
    grid = config.grid
    down, across = (side // config.image_size for side in best_size(config.pinpoints, size))
    tiles = np.arange(config.tile_tokens, (1 + down * across) * config.tile_tokens, dtype=np.int32)
    patches = tiles.reshape(down, across, grid, grid).swapaxes(1, 2)
    patches = _unpadded(patches.reshape(down * grid, across * grid), size)
    return np.pad(patches, ((0, 0), (0, 1)), constant_values=EXTRA).ravel()


def _unpadded(
    patches: Int[np.ndarray, "rows columns"], size: Size
) -> Int[np.ndarray, "unpadded_rows unpadded_columns"]:
    """Take off the patches that hold nothing of a picture."""
    (height, width), (rows, columns) = size, patches.shape
    if width / height > columns / rows:
        padding = (rows - int(round(height * (columns / width), 7))) // 2
        return patches[padding : rows - padding]
    padding = (columns - int(round(width * (rows / height), 7))) // 2
    return patches[:, padding : columns - padding]
