"""Pictures that methods drew, small and within the page."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from evojax_merge.report.pictures import Thumbnail, folder_of, thumbnail

_METHODS, _PROMPTS = 12, 8
_BYTES = 900_000
"""The most bytes of all pictures together."""

_SIDES = (192, 128, 96, 64)
"""Sides in pixels, of which the first is taken with which all pictures fit in."""


class Shown(NamedTuple):
    """A picture in a page."""

    source: str
    width: int
    height: int
    is_small: bool


class Drawings(NamedTuple):
    """What a method drew of each prompt; None where the picture is not there."""

    method: str
    pictures: Sequence[Shown | None]


class Gallery(NamedTuple):
    """Pictures of the same prompts by several methods.

    Attributes:
        prompts: The prompts.
        methods: The pictures of each method.
        left_out: How many prompts and methods there are besides.
    """

    prompts: Sequence[str]
    methods: Sequence[Drawings]
    left_out: tuple[int, int]


def gallery(folder: Path, names: Sequence[str]) -> Gallery | None:
    """The pictures of a run; None if there are none.

    Args:
        folder: The folder of pictures of the run, with a folder for each method.
        names: The methods, in the order of the results.
    """
    found = [name for name in dict.fromkeys(names) if (folder / folder_of(name)).is_dir()]
    if not found:
        return None
    chosen = found if len(found) <= _METHODS else [*found[: _METHODS - 1], found[-1]]
    files = {name: sorted((folder / folder_of(name)).glob("[0-9]*.png")) for name in chosen}
    count = max(map(len, files.values()))
    if not count:
        return None
    for side in _SIDES:
        shown = {
            name: [thumbnail(file, side) for file in own[:_PROMPTS]] for name, own in files.items()
        }
        if sum(len(one.content) for own in shown.values() for one in own if one) <= _BYTES:
            break
    prompts = [_prompt(shown.values(), at) for at in range(min(count, _PROMPTS))]
    rows = [
        Drawings(name, [_shown(own[at] if at < len(own) else None) for at in range(len(prompts))])
        for name, own in shown.items()
    ]
    return Gallery(prompts, rows, (count - len(prompts), len(found) - len(rows)))


def _prompt(methods: Iterable[Sequence[Thumbnail | None]], place: int) -> str:
    """The prompt in a place, which is the same for all methods."""
    found = (own[place] for own in methods if place < len(own))
    return next((one.prompt for one in found if one), "")


def _shown(one: Thumbnail | None) -> Shown | None:
    if one is None:
        return None
    source = f"data:{one.kind};base64,{base64.b64encode(one.content).decode()}"
    return Shown(source, one.width, one.height, one.is_small)
