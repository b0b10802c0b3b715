"""Clusters of points by k-means."""

import warnings

import numpy as np

from evojax_merge.params.types import Float, Int

_STARTS = 10
_ITERATIONS = 50


def clusters(
    points: Float[np.ndarray, "points dims"], count: int, seed: int
) -> tuple[Float[np.ndarray, "clusters dims"], Int[np.ndarray, " points"]]:
    """The centres of clusters, and the cluster of each point, which is that of the nearest centre.

    Of several starts by k-means++ (Arthur & Vassilvitskii, 2007) it is the one that ends with the
    smallest sum of squared distances. There are no more clusters than distinct points.

    Args:
        points: The points.
        count: The number of clusters.
        seed: The seed of the starts.
    """
    from scipy.cluster import vq  # half a second of import, for searches that ask for it

    count = min(count, len(np.unique(points, axis=0)))
    rng = np.random.default_rng(seed)
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        for _ in range(_STARTS):
            centres, _ = vq.kmeans2(points, count, iter=_ITERATIONS, minit="++", rng=rng)
            labels, distances = vq.vq(points, centres)
            found.append((float(np.square(distances).sum()), centres, labels))
    _, centres, labels = min(found, key=lambda one: one[0])
    return centres, labels
