import numpy as np
from sklearn.cluster import KMeans

from evojax_merge.savers.clusters import clusters


def spent(points, centres, labels):
    return np.square(points - centres[labels]).sum()


def test_clusters_are_as_tight_as_those_of_scikit_learn():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(200, 3)) * [1, 2, 0.5]
        points[:60] += 3
        centres, labels = clusters(points, 12, seed)
        theirs = KMeans(12, n_init=4, random_state=seed).fit(points)
        assert spent(points, centres, labels) < 1.06 * theirs.inertia_
        apart = np.square(points[:, None] - centres).sum(axis=2)
        np.testing.assert_array_equal(labels, apart.argmin(axis=1))
        again, _ = clusters(points, 12, seed)
        np.testing.assert_array_equal(again, centres)


def test_there_are_no_more_clusters_than_distinct_points():
    points = np.repeat(np.eye(3), 5, axis=0)
    centres, labels = clusters(points, 8, 0)
    np.testing.assert_array_equal(centres[labels], points)
    assert len(centres) == 3
