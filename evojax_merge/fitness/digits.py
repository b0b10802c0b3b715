"""Handwritten digits, 8 × 8 pixels, in a file beside this one: real data without a download.

They are the test set of Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak (UCI
Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49), which is licensed under CC BY
4.0 (https://creativecommons.org/licenses/by/4.0). The numbers and their order are as there, and as
in scikit-learn's ``load_digits``. Only the format of the file is ours.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from evojax_merge.documents.arguments import check_number, check_whole
from evojax_merge.fitness.classification import ClassificationTask, Examples

FRACTIONS = {"train": 0.4, "search": 0.3, "validation": 0.1, "test": 0.2}
_BRIGHTEST = 16.0
_FILE = Path(__file__).with_suffix(".npz")
"""``pixels``, ``[1797, 64]`` from 0 to 16, and ``labels``, ``[1797]``."""


def load_digits(
    seed: int = 0,
    fractions: Mapping[str, float] = FRACTIONS,
    classes: Collection[int] | None = None,
) -> dict[str, Examples]:
    """The 1,797 digits in disjoint random splits, pixels in [0, 1].

    Args:
        seed: The seed of the shuffle; the splits of one seed are always the same.
        fractions: The share of each split; all shares together are at most 1.
        classes: The digits that every split keeps; by default, all.

    Raises:
        ValueError: The fractions are no shares.
    """
    check_whole("digits: seed", seed, 0, 2**32 - 1)
    for split, share in fractions.items():
        check_number(f"digits: fractions.{split}", share, 0, 1)
    if not fractions or min(fractions.values()) <= 0 or sum(fractions.values()) > 1 + 1e-9:
        raise ValueError(
            f"digits: fractions must be positive and add up to at most 1, not {dict(fractions)}"
        )
    for one in classes or ():
        check_whole("digits: an entry of classes", one, 0, 9)
    with np.load(_FILE, allow_pickle=False) as file:
        pixels, labels = file["pixels"], file["labels"]
    order = np.random.default_rng(seed).permutation(len(labels))
    ends = np.rint(np.cumsum(list(fractions.values())) * len(labels)).astype(int)
    splits = {}
    for split, rows in zip(fractions, np.split(order, ends), strict=False):
        kept = rows if classes is None else rows[np.isin(labels[rows], list(classes))]
        inputs = pixels[kept].astype(np.float32) / _BRIGHTEST
        splits[split] = Examples(inputs, labels[kept].astype(np.int64))
    return splits


def digits_task(
    seed: int = 0,
    fractions: Mapping[str, float] = FRACTIONS,
    classes: Collection[int] | None = None,
    name: str = "digits",
) -> ClassificationTask:
    """The classification task of the digits that `load_digits` gives."""
    return ClassificationTask(load_digits(seed, fractions, classes), name=name)
