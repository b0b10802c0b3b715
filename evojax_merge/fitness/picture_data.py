"""Labelled pictures, from items that name files or from a folder for each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.files import at_home
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.formats import read_data
from evojax_merge.fitness.pictures import Picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""The suffixes of the files that are taken for pictures in the folder of a class."""


class LabelledPictures(NamedTuple):
    """Pictures and their classes."""

    pictures: tuple[Picture, ...]
    labels: Int[np.ndarray, " items"]


Written = tuple[tuple[Picture, str | int], ...]
"""Pictures with their labels as the data gives them: the name of a class, or its number."""


def read_pictures(data: str, image: str, label: str, limit: int | None = None) -> Written:
    """Read the places and labels of pictures; no picture is opened.

    Args:
        data: A file of items (see `evojax_merge.fitness.formats.read_data`), in which paths are
            those from its folder; or a folder with a folder of pictures for each class.
        image: The field of the path of a picture.
        label: The field of its label.
        limit: How many pictures are read at most, the first ones; in a folder, the limit of each
            class.

    Raises:
        DataError: Something is missing or malformed; file and line are named.
    """
    if limit is not None:
        check_whole("limit", limit, 1)
    check_text("data", data, empty=False)
    check_text("image", image, empty=False)
    check_text("label", label, empty=False)
    try:
        path = at_home(data)
    except DocumentError as error:
        raise DataError(f"{data}: {error}") from None
    return _folders(path, limit) if path.is_dir() else _lines(data, image, label, limit)


def class_names(
    written: Sequence[Written], given: Sequence[str] | Mapping[str, str] | None, task: str
) -> tuple[dict[str, int], list[str]]:
    """The number of each class by the label that data may give, and the classes in words.

    Args:
        written: The items of all splits.
        given: The names in the order of the classes' numbers, or what each label is in words; by
            default, the names that the data gives, in their order.
        task: The name of the task in messages.

    Raises:
        DataError: The classes are given as something else, or twice, or are numbers without names.
    """
    if given is None:
        found = {label for items in written for _, label in items}
        if any(isinstance(label, int) for label in found):
            place, number = next((p.place, n) for i in written for p, n in i if isinstance(n, int))
            raise DataError(
                f"{place}: label {number} is a number; name the classes in the order of their "
                f"numbers as fitness.classes, or give the names as labels"
            )
        names = sorted(map(str, found))
        return {name: number for number, name in enumerate(names)}, names
    texts = list(given.items()) if isinstance(given, Mapping) else [(one, one) for one in given]
    if isinstance(given, str) or not all(isinstance(one, str) for pair in texts for one in pair):
        raise DataError(
            f"{task}: classes is {shown(given)}; give a list of names, or a mapping of labels to "
            "names"
        )
    labels = [label for label, _ in texts]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise DataError(f"{task}: classes names {twice!r} twice")
    return {label: number for number, label in enumerate(labels)}, [words for _, words in texts]


def labelled(items: Written, numbers: Mapping[str, int]) -> LabelledPictures:
    """Pictures with the numbers of their classes.

    Raises:
        DataError: A label is no class; file and line are named.
    """
    found = []
    for picture, label in items:
        known = isinstance(label, int) and 0 <= label < len(numbers)
        if not known and label not in numbers:
            listed = ", ".join([*numbers][:20])
            raise DataError(
                f"{picture.place}: label {shown(label)} is none of the {len(numbers)} classes "
                f"{listed}{', …' if len(numbers) > 20 else ''}"
                f"{nearest(str(label), numbers)}"
            )
        found.append(label if isinstance(label, int) else numbers[label])
    return LabelledPictures(tuple(picture for picture, _ in items), np.array(found, np.int64))


def _lines(data: str, image: str, label: str, limit: int | None) -> Written:
    found: list[tuple[Picture, str | int]] = []
    for record in read_data(data, limit):
        name, given = record.field(image), record.field(label)
        if not isinstance(name, str) or not name:
            raise DataError(
                f"{record.place}: field {image!r} is {shown(name)}; give the path of a picture"
            )
        if type(given) not in (str, int):
            raise DataError(
                f"{record.place}: field {label!r} is {shown(given)}; give the name of a class, or "
                "its number from 0"
            )
        try:
            file = at_home(record.path).parent / at_home(name)
        except DocumentError as error:
            raise DataError(f"{record.place}: {shown(name)} {error}") from None
        if not file.is_file():
            what = "is no regular file" if file.exists() else "no such file"
            raise DataError(f"{record.place}: picture {shown(name)}: {what} ({file})")
        found.append((Picture(record.place, name, file), given))
    return tuple(found)


def _folders(path: Path, limit: int | None) -> Written:
    found: list[tuple[Picture, str | int]] = []
    for folder in sorted(one for one in path.iterdir() if one.is_dir()):
        files = sorted(one for one in folder.iterdir() if one.suffix.lower() in SUFFIXES)
        for file in files[:limit]:
            name = f"{folder.name}/{file.name}"
            if not file.is_file():
                raise DataError(f"{folder}: picture {file.name} is no regular file")
            found.append((Picture(str(folder), name, file), folder.name))
    if not found:
        raise DataError(
            f"{path}: holds no pictures; give a folder with a folder of pictures "
            f"({', '.join(SUFFIXES[:3])}, …) for each class, or a JSON Lines file"
        )
    return tuple(found)
