"""The papers' formulas in float64 NumPy, one tensor at a time, written without looking at ours."""

from math import acos, cos, sin

import numpy as np


def linear(sources, weights, normalize=True):
    total = sum(w * s.astype(np.float64) for w, s in zip(weights, sources, strict=True))
    return total / sum(weights) if normalize else total


def slerp(first, second, t, threshold=0.9995):
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = [np.linalg.norm(v) for v in (a, b)]
    units = [v / n if n > 1e-8 else v for v, n in zip((a, b), norms, strict=True)]
    cosine = float(np.clip(np.sum(units[0] * units[1]), -1, 1))
    if abs(cosine) > threshold:
        return (1 - t) * a + t * b
    theta = acos(cosine)
    return (sin((1 - t) * theta) * a + sin(t * theta) * b) / sin(theta)


def task_arithmetic(base, sources, weights, lam=1.0, normalize=False):
    merged = sum(w * task_vector(base, s) for w, s in zip(weights, sources, strict=True))
    return base + lam * (merged / sum(weights) if normalize else merged)


def task_vector(base, source):
    # The difference of two float32 numbers is rounded once by every implementation.
    return (source.astype(np.float32) - base.astype(np.float32)).astype(np.float64)


def trim(vector, density):
    """Keep the max(1, int(density * n)) largest magnitudes.

    Among equals those first whose index, times the golden ratio, has the smallest fraction.
    """
    if density >= 1:
        return vector.copy()
    if density <= 0:
        return np.zeros_like(vector)
    flat = vector.reshape(-1)
    ranked = sorted(range(flat.size), key=lambda i: (-abs(flat[i]), i * 0x9E3779B9 % 2**32))
    kept = np.zeros_like(flat)
    for i in ranked[: max(1, int(density * flat.size))]:
        kept[i] = flat[i]
    return kept.reshape(vector.shape)


def elect_and_merge(vectors, weights, normalize):
    """Algorithm 1 of TIES, element by element: elect a sign, average those that have it."""
    stacked = np.stack([v.reshape(-1) for v in vectors])
    merged = np.zeros(stacked.shape[1])
    for i in range(stacked.shape[1]):
        mass = sum(w * v for w, v in zip(weights, stacked[:, i], strict=True))
        sign = 1 if mass >= 0 else -1
        agreeing = [
            (w, v) for w, v in zip(weights, stacked[:, i], strict=True) if np.sign(w * v) == sign
        ]
        if agreeing:
            value = sum(w * v for w, v in agreeing)
            merged[i] = value / sum(w for w, _ in agreeing) if normalize else value
    return merged.reshape(vectors[0].shape)


def ties(base, sources, weights, densities, normalize=True, rescale=None, lam=1.0):
    vectors = []
    for source, density in zip(sources, densities, strict=True):
        vector = task_vector(base, source)
        trimmed = trim(vector, density)
        if rescale == "l1" and np.abs(trimmed).sum() > 1e-7:
            trimmed *= np.abs(vector).sum() / np.abs(trimmed).sum()
        vectors.append(trimmed)
    return base + lam * elect_and_merge(vectors, weights, normalize)


def dare(base, sources, weights, densities, masks, elect, normalize=False, lam=1.0):
    """DARE on given masks: drop, divide by 1 - p, add; with the election of TIES if ``elect``."""
    vectors = [
        task_vector(base, source) * mask / density
        for source, density, mask in zip(sources, densities, masks, strict=True)
    ]
    if elect:
        return base + lam * elect_and_merge(vectors, weights, normalize)
    merged = sum(w * v for w, v in zip(weights, vectors, strict=True))
    return base + lam * (merged / sum(weights) if normalize else merged)


def combine(base, vectors, weights, elect, normalize, lam):
    """The last steps of a task-vector merge."""
    if elect:
        return base + lam * elect_and_merge(vectors, weights, normalize)
    merged = sum(w * v for w, v in zip(weights, vectors, strict=True))
    return base + lam * (merged / sum(weights) if normalize else merged)


def breadcrumbs(base, sources, weights, densities, gammas, elect, normalize=False, lam=1.0):
    """Drop the int(gamma n) largest magnitudes, keep the int(density n) that follow."""
    vectors = []
    for source, density, gamma in zip(sources, densities, gammas, strict=True):
        vector = task_vector(base, source)
        flat = vector.reshape(-1)
        kept = int(density * flat.size)
        dropped = min(int(gamma * flat.size), flat.size - kept)
        order = np.argsort(-np.abs(flat), kind="stable")
        sparse = np.zeros_like(flat)
        chosen = order[dropped : dropped + kept]
        sparse[chosen] = flat[chosen]
        vectors.append(vector if density >= 1 else sparse.reshape(vector.shape))
    return combine(base, vectors, weights, elect, normalize, lam)


def della_probabilities(vector, density, epsilon):
    """MAGPRUNE: rank each row by magnitude, from density - epsilon to density + epsilon."""
    matrix = np.atleast_2d(vector)
    ranks = np.argsort(np.argsort(np.abs(matrix), axis=1, kind="stable"), axis=1)
    return (density - epsilon + 2 * epsilon * ranks / (matrix.shape[1] - 1)).reshape(vector.shape)


def nuslerp(first, second, weights, axis=None, base=None):
    """Slerp of the vectors along an axis (None: the tensor), their lengths left in."""
    origin = 0.0 if base is None else base.astype(np.float64)
    a, b = (x.astype(np.float64) - origin for x in (first, second))
    t = weights[1] / sum(weights)
    norms = [np.linalg.norm(x, axis=axis, keepdims=True) for x in (a, b)]
    cosine = np.clip((a * b).sum(axis=axis, keepdims=True) / (norms[0] * norms[1]), -1, 1)
    theta = np.arccos(cosine)
    return origin + (np.sin((1 - t) * theta) * a + np.sin(t * theta) * b) / np.sin(theta)


def multislerp(sources, weights):
    """Goddard: project to the tangent space at the mean direction, average, project back."""
    vectors = np.stack([s.astype(np.float64).ravel() for s in sources])
    w = np.array(weights) / sum(weights)
    norms = np.linalg.norm(vectors, axis=1)
    units = vectors / norms[:, None]
    mean = w @ units
    mean /= np.linalg.norm(mean)
    tangent = w @ (units - (units @ mean)[:, None] * mean)
    length = np.linalg.norm(tangent)
    point = cos(length) * mean + sin(length) * tangent / length
    return (point * (w @ norms)).reshape(sources[0].shape)


def karcher(sources, weights, iterations=200):
    """Gradient descent to the Frechet mean on the sphere, run to convergence."""
    vectors = np.stack([s.astype(np.float64).ravel() for s in sources])
    w = np.array(weights) / sum(weights)
    norms = np.linalg.norm(vectors, axis=1)
    units = vectors / norms[:, None]
    mean = w @ units
    mean /= np.linalg.norm(mean)
    for _ in range(iterations):
        cosines = np.clip(units @ mean, -1, 1)
        angles = np.arccos(cosines)
        factors = w * np.where(angles > 1e-12, angles / np.maximum(np.sin(angles), 1e-300), 1.0)
        tangent = factors @ (units - cosines[:, None] * mean)
        length = np.linalg.norm(tangent)
        if length < 1e-15:
            break
        mean = cos(length) * mean + sin(length) * tangent / length
    return (mean * (w @ norms)).reshape(sources[0].shape)


def model_stock(base, sources, filter_wise=False):
    """Jang et al., equation 3, for the tensor or for each of its rows."""
    vectors = [task_vector(base, source) for source in sources]
    rows = [v if filter_wise and v.ndim > 1 else v.reshape(1, -1) for v in vectors]
    count = len(rows)
    cosines = [
        (rows[i] * rows[j]).sum(-1)
        / (np.linalg.norm(rows[i], axis=-1) * np.linalg.norm(rows[j], axis=-1))
        for i in range(count)
        for j in range(i + 1, count)
    ]
    cosine = np.mean(cosines, axis=0)[..., None]
    ratio = count * cosine / (1 + (count - 1) * cosine)
    mean = sum(rows) / count
    return base + (ratio * mean).reshape(base.shape)


def geometric_median(sources, weights, iterations=2000):
    """Weiszfeld's iteration on the vectors themselves."""
    points = np.stack([s.astype(np.float64).ravel() for s in sources])
    w = np.array(weights, np.float64)
    median = w @ points / w.sum()
    for _ in range(iterations):
        pull = w / np.maximum(np.linalg.norm(points - median, axis=1), 1e-12)
        median = pull @ points / pull.sum()
    return median.reshape(sources[0].shape)


def nearswap(base, source, t):
    difference = task_vector(base, source)
    share = np.clip(t / np.maximum(np.abs(difference), 1e-6), 0, 1)
    return base + share * difference


def arcee_fusion(base, source, spread=1.5):
    """Importance |difference| x KL of the rows' softmax; kept from median + spread x IQR."""

    def softmax(x):
        powers = np.exp(x - x.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    a, b = base.astype(np.float64), source.astype(np.float64)
    p, q = softmax(b) + 1e-8, softmax(a) + 1e-8
    importance = np.abs(task_vector(base, source)) * (p * np.log(p / q)).sum(-1, keepdims=True)
    ordered = np.sort(importance, axis=None)
    first, median, third = (ordered[int(f * (ordered.size - 1))] for f in (0.25, 0.5, 0.75))
    return np.where(importance >= median + spread * (third - first), b, a), importance


def magmax(base, sources, weights, largest=True):
    vectors = np.stack([w * task_vector(base, s) for w, s in zip(weights, sources, strict=True)])
    pick = (np.argmax if largest else np.argmin)(np.abs(vectors), axis=0)
    return base + np.take_along_axis(vectors, pick[None], axis=0)[0]


def sign_only(base, sources, weights):
    vectors = [task_vector(base, source) for source in sources]
    return base + sum(
        w * np.abs(v).mean() * np.sign(v) for w, v in zip(weights, vectors, strict=True)
    )


def ram(base, sources, weights, r=None, alpha=None, epsilon=1e-5):
    """Unique changes whole (raised with ``r``), common ones averaged."""
    vectors = [task_vector(base, source) for source in sources]
    changed = [np.abs(v) > epsilon for v in vectors]
    count = sum(mask.astype(int) for mask in changed)
    total = np.zeros(base.shape)
    for w, vector, mask in zip(weights, vectors, changed, strict=True):
        own, common = (mask & (count == 1)).sum(), (mask & (count > 1)).sum()
        raised = 1.0 if r is None else 1 + r * np.clip(common / max(own, epsilon), 0, alpha)
        total += w * np.where(
            mask, vector * np.where(count == 1, raised, 1 / np.maximum(count, 1)), 0
        )
    return base + total


def consensus_ta(base, sources, weights, thresholds, least=2):
    vectors = [task_vector(base, source) for source in sources]
    merged = sum(w * v for w, v in zip(weights, vectors, strict=True))
    votes = sum(
        (np.abs(v) >= t * np.abs(merged - v)).astype(int)
        for v, t in zip(vectors, thresholds, strict=True)
    )
    return base + np.where(votes >= least, merged, 0)


def sce(base, sources, topk, weights):
    """Select by variance over sources, calculate energies, erase minority signs."""
    vectors = np.stack([task_vector(base, source) for source in sources])
    variance = vectors.var(axis=0)
    if topk < 1:
        kept = int(np.count_nonzero(variance) * topk)
        chosen = np.argsort(-variance, axis=None, kind="stable")[:kept]
        mask = np.zeros(variance.size)
        mask[chosen] = 1
        vectors = vectors * mask.reshape(variance.shape)
    energy = np.square(vectors).reshape(len(sources), -1).mean(axis=1)
    energy = (
        energy / energy.sum() if energy.sum() >= 1e-6 else np.full(len(sources), 1 / len(sources))
    )
    energy = (energy * np.array(weights)).reshape(-1, *(1,) * base.ndim)
    sign = np.where(vectors.sum(axis=0) >= 0, 1, -1)
    share = energy * (np.sign(vectors) == sign)
    return base + (vectors * share).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-6)
