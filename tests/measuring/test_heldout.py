"""What is measured after a search."""

import numpy as np

from evojax_merge.measuring.heldout import Heldout


def test_each_genotype_is_measured_once_on_a_split(digits):
    evaluator = digits.evaluator()
    asked = []

    class Counting:
        tasks = evaluator.tasks

        def __call__(self, genotypes, split, interrupted):
            asked.append((split, len(genotypes)))
            return evaluator(genotypes, split, interrupted)

    known = Heldout(Counting(), lambda: None)
    assert known.splits == ["test", "search"]
    rng = np.random.default_rng(0)
    genotypes = rng.uniform(0, 1, (4, digits.space.dims)).astype(np.float32)
    twice = np.concatenate([genotypes[[2, 0]], genotypes])
    expected = evaluator(genotypes, "test").fitness
    np.testing.assert_array_equal(known.fitness(twice, "test"), expected[[2, 0, 0, 1, 2, 3]])
    known.add(genotypes[:1], "search", np.float32([[7]]))
    assert known.fitness(genotypes[:2], "search")[0] == 7
    known.fitness(genotypes, "test")
    assert asked == [("test", 4), ("search", 1)]
