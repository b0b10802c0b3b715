"""The papers' formulas in float64 NumPy, one tensor at a time, written without looking at ours."""

from math import acos, sin

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


def ties(base, sources, weights, densities, normalize=True, rescale=False, lam=1.0):
    vectors = []
    for source, density in zip(sources, densities, strict=True):
        vector = task_vector(base, source)
        trimmed = trim(vector, density)
        if rescale and np.abs(trimmed).sum() > 1e-7:
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
