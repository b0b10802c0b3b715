import numpy as np
import pytest

from evojax_merge.fitness import digits_task, load_digits


def test_splits_are_disjoint_complete_and_repeatable():
    splits = load_digits(seed=3)
    assert list(splits) == ["train", "search", "validation", "test"]
    rows = np.concatenate([split.inputs for split in splits.values()])
    assert rows.shape == (1797, 64)
    assert rows.min() == 0
    assert rows.max() == 1
    from sklearn import datasets

    pixels = datasets.load_digits().data.astype(np.float32) / 16
    order = np.random.default_rng(3).permutation(len(rows))
    np.testing.assert_array_equal(rows, pixels[order])
    labels = np.concatenate([split.labels for split in splits.values()])
    np.testing.assert_array_equal(labels, datasets.load_digits().target[order])
    assert len(splits["test"].labels) == pytest.approx(0.2 * 1797, abs=1)
    again, other = load_digits(seed=3), load_digits(seed=4)
    np.testing.assert_array_equal(again["test"].inputs, splits["test"].inputs)
    assert (other["test"].labels != splits["test"].labels).any()


def test_classes_and_fractions():
    splits = load_digits(fractions={"train": 0.8, "test": 0.1}, classes=[0, 1])
    assert {split: set(one.labels) for split, one in splits.items()} == {
        "train": {0, 1},
        "test": {0, 1},
    }
    for fractions in ({"train": 0.8, "test": 0.3}, {"train": 0.0, "test": 0.3}):
        with pytest.raises(ValueError, match="fractions"):
            load_digits(fractions=fractions)


def test_the_task_measures_the_search_split():
    task = digits_task(seed=3)
    assert task.current_split == "search"
    assert len(task) == len(load_digits(seed=3)["search"].labels)
    assert task.splits == ("train", "search", "validation", "test")
