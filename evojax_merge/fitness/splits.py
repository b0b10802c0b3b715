"""One file of items divided into those that drive a search and those that it never sees."""

import hashlib
import math
from collections.abc import Mapping, Sequence

PARTS = {1: ("search",), 2: ("search", "test"), 3: ("search", "validation", "test")}
"""The splits that shares belong to, by the number of shares."""


def divide(
    contents: Sequence[bytes],
    shares: Sequence[float],
    seed: int,
    name: str,
    files: Mapping[str, str | None],
) -> dict[str, list[int]]:
    """Which items belong to which split.

    Items come in the order of a hash of the seed and their content, and each split takes the next
    share of them. So the division depends on nothing but the items and the seed, is the same on
    every machine, and has equal items in one split.

    Args:
        contents: The content of each item.
        shares: The shares of the search, validation and test items, or of the search and test
            items, or of the search items alone; only the first must be above 0. The items that they
            leave are not used.
        seed: The seed of the division.
        name: The name of the task in messages.
        files: The files given for other splits, by key; any of them is an error.

    Returns:
        The places of the items of each split that has some, in the order of the data.

    Raises:
        ValueError: The shares or the seed make no sense, a split would be without items, or there
            are other files.
    """
    given = _checked(shares, seed, name)
    for key, path in files.items():
        if path is not None:
            raise ValueError(
                f"{name}: split divides the items of data, and {key} names a file of its own "
                f"({path}); leave one of them out"
            )
    count = len(contents)
    keys = [hashlib.sha256(b"%d " % seed + content).digest() for content in contents]
    order = sorted(range(count), key=keys.__getitem__)
    found: dict[str, list[int]] = {}
    begin = 0
    for number, part in enumerate(PARTS[len(given)]):
        end = min(count, math.floor(math.fsum(given[: number + 1]) * count + 0.5))
        while 0 < end < count and keys[order[end]] == keys[order[end - 1]]:
            end += 1  # equal items stay together
        if given[number]:
            if end <= begin:
                raise ValueError(
                    f"{name}: split is {list(given)}, which leaves no {part} items of {count}; "
                    "give that part a larger share, or more items that differ"
                )
            found[part] = sorted(order[begin:end])
        begin = max(begin, end)
    return found


def check_undivided(seed: int, name: str) -> None:
    """Raise ValueError if there is a seed and nothing to divide by it."""
    if seed != 0:
        raise ValueError(
            f"{name}: split_seed is {seed!r}, and there is no split; give one, e.g. "
            "split=[0.6,0.2,0.2], or leave the seed out"
        )


def _checked(shares: Sequence[float], seed: int, name: str) -> tuple[float, ...]:
    """The shares as numbers, if they and the seed make sense."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"{name}: split_seed is {seed!r}; give a whole number from 0 up")
    listed = isinstance(shares, list | tuple) and len(shares) in PARTS
    if not listed or not all(
        isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1
        for share in shares
    ):
        raise ValueError(
            f"{name}: split is {shares!r}; give shares between 0 and 1 of the search, validation "
            "and test items, e.g. [0.6,0.2,0.2], or of the search and test items, e.g. [0.7,0.3]"
        )
    if not shares[0] > 0:
        raise ValueError(f"{name}: split is {shares!r}, which leaves nothing to search by")
    if math.fsum(shares) > 1 + 1e-9:
        raise ValueError(
            f"{name}: the shares of split={list(shares)!r} add up to {math.fsum(shares):g}; give "
            "shares that add up to at most 1"
        )
    return tuple(map(float, shares))
