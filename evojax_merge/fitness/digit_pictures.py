"""Tasks for models that see: scikit-learn's handwritten digits as pictures, without a download."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from evojax_merge.documents.arguments import check_option
from evojax_merge.fitness.classification import Examples
from evojax_merge.fitness.digits import FRACTIONS, load_digits
from evojax_merge.fitness.image_classification import ImageClassificationTask
from evojax_merge.fitness.picture_data import LabelledPictures
from evojax_merge.fitness.pictures import Picture

NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARITIES = ("even", "odd")

VIEWS = ("upright", "turned", "negative")
"""The digits as written, light on dark; turned by a quarter to the left; dark on light."""

QUESTIONS = {"digit": NUMERALS, "parity": PARITIES}
"""The possible answers to each question about a picture."""

TEMPLATES = {
    "digit": ("a photo of the digit {}.", "a handwritten {}."),
    "parity": ("a photo of an {} number.", "an {} digit."),
}

_SIDE = 8


def digit_pictures_task(
    question: str = "digit",
    view: str = "upright",
    templates: Sequence[str] | None = None,
    seed: int = 0,
    fractions: Mapping[str, float] = FRACTIONS,
    name: str = "digit_pictures",
) -> ImageClassificationTask:
    """A task about the 1,797 digits (see `evojax_merge.fitness.digits.load_digits`).

    Args:
        question: What is asked, ``digit`` or ``parity``.
        view: How the digit is shown, one of `VIEWS`.
        templates: The prompts for the names of the answers; by default, those of the question.
        seed: The seed of the shuffle before the split.
        fractions: The shares of the splits.
        name: What results tables call the task.

    Raises:
        ValueError: There is no such question or view, or the digits cannot be divided so.
    """
    check_option(f"{name}: question", question, [*QUESTIONS])
    check_option(f"{name}: view", view, VIEWS)
    splits = {
        split: digit_pictures(examples, question, view)
        for split, examples in load_digits(seed, fractions).items()
    }
    chosen = TEMPLATES[question] if templates is None else templates
    return ImageClassificationTask(splits, QUESTIONS[question], chosen, name=name)


def digit_pictures(examples: Examples, question: str, view: str) -> LabelledPictures:
    """Digits as grey pictures of 8 × 8 pixels, with the answers to a question.

    Args:
        examples: The digits, a split that `load_digits` gives.
        question: What is asked, one of `QUESTIONS`.
        view: How the digit is shown, one of `VIEWS`.
    """
    pixels = np.rint(255 * examples.inputs.reshape(-1, _SIDE, _SIDE)).astype(np.uint8)
    if view == "turned":
        pixels = np.rot90(pixels, axes=(1, 2))
    if view == "negative":
        pixels = 255 - pixels
    pictures = tuple(
        Picture("scikit-learn's digits", f"{view} {index}", Image.fromarray(own))
        for index, own in enumerate(np.ascontiguousarray(pixels))
    )
    labels = examples.labels % 2 if question == "parity" else examples.labels
    return LabelledPictures(pictures, labels)
