"""A check for NaN and infinity in tensors, as fast as memory."""

from typing import Any

import ml_dtypes
import numpy as np

PIECE = 2**18
"""How many elements are looked at together: they stay in the cache, and few pieces wait for the
interpreter's lock."""

_BITS: dict[np.dtype, tuple[Any, int, int]] = {
    np.dtype(np.float32): (np.uint32, 0x7FFFFFFF, 0x7F800000),
    np.dtype(np.float16): (np.uint16, 0x7FFF, 0x7C00),
    np.dtype(ml_dtypes.bfloat16): (np.uint16, 0x7FFF, 0x7F80),
}
"""For each dtype an integer of its width, its bits but the sign, and the bits of infinity."""


def is_finite(elements: np.ndarray) -> bool:
    """Whether no element is NaN or infinite, by the bits of the exponent, as fast as memory.

    Args:
        elements: The elements, of one axis. Those of a wider dtype are looked at as float32, in
            which merges are computed.
    """
    if elements.dtype not in _BITS:
        with np.errstate(over="ignore"):
            elements = elements.astype(np.float32)
    kind, mask, infinite = _BITS[elements.dtype]
    bits = elements.view(kind)
    held = np.empty(min(PIECE, bits.size), kind)
    for start in range(0, bits.size, PIECE):
        part = bits[start : start + PIECE]
        np.bitwise_and(part, kind(mask), out=held[: part.size])
        if held[: part.size].max() >= infinite:
            return False
    return True
