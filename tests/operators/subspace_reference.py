"""The subspace papers' formulas in float64 NumPy of one matrix, written apart from ours."""

import numpy as np

from tests.operators.reference import elect_and_merge, task_vector, trim


def tsv_merge(base, sources, weights, lam=1.0):
    """TSV-Merge, arXiv 2412.00081: concatenate, whiten by Procrustes, reassemble at once."""
    rank = min(base.shape) // len(sources)
    us, ss, vs = [], [], []
    for source, weight in zip(sources, weights, strict=True):
        u, s, vt = np.linalg.svd(task_vector(base, source))
        us.append(u[:, :rank])
        ss.append(weight * s[:rank])
        vs.append(vt[:rank].T)
    whitened = []
    for columns in (np.hstack(us), np.hstack(vs)):
        p, _, qt = np.linalg.svd(columns, full_matrices=False)
        whitened.append(p @ qt)
    return base + lam * whitened[0] @ np.diag(np.concatenate(ss)) @ whitened[1].T


def iso_c(base, sources, scale):
    """Iso-C, arXiv 2502.04959: the mean singular value in all directions of the sum."""
    total = np.sum([task_vector(base, source) for source in sources], axis=0)
    u, s, vt = np.linalg.svd(total, full_matrices=False)
    return base + scale * u @ np.diag(np.full(len(s), s.mean())) @ vt


def iso_cts(base, sources, scale, share):
    """Iso-CTS, arXiv 2502.04959, algorithm 2: fewer common directions, and some of each task."""
    vectors = [task_vector(base, source) for source in sources]
    rank = min(base.shape)
    own = round((rank - int(rank * share)) / len(vectors))
    common = rank - own * len(vectors)
    u, s, vt = np.linalg.svd(np.sum(vectors, axis=0), full_matrices=False)
    columns, rows, spectrum = [u[:, :common]], [vt[:common]], list(s[:common])
    for vector in vectors:
        rest = vector - u[:, :common] @ u[:, :common].T @ vector
        p, d, qt = np.linalg.svd(rest, full_matrices=False)
        columns.append(p[:, :own])
        rows.append(qt[:own])
        spectrum += list(d[:own])
    whitened = []
    for matrix in (np.hstack(columns), np.vstack(rows)):
        p, _, qt = np.linalg.svd(matrix, full_matrices=False)
        whitened.append(p @ qt)
    return base + scale * np.mean(spectrum) * whitened[0] @ whitened[1]


def wudi(base, sources, weights):
    """WUDI, arXiv 2503.08099: where the gradient of the loss of a linear layer is zero."""
    vectors = [task_vector(base, source) for source in sources]
    grams = [vector.T @ vector / np.sum(vector**2) for vector in vectors]
    inverse = np.linalg.pinv(np.sum(grams, axis=0), rcond=1e-10, hermitian=True)
    parts = [vector @ gram @ inverse for vector, gram in zip(vectors, grams, strict=True)]
    return base + sum(weight * part for weight, part in zip(weights, parts, strict=True))


def knots(base, sources, weights, densities, lam=1.0, normalize=True):
    """KnOTS-TIES, arXiv 2410.19735, with TIES (arXiv 2306.01708) on S V_i^T."""
    side_by_side = np.hstack([task_vector(base, source) for source in sources])
    u, s, vt = np.linalg.svd(side_by_side, full_matrices=False)
    kept = s > 1e-5
    u, coordinates = u[:, kept], np.diag(s[kept]) @ vt[kept]
    parts = np.split(coordinates, len(sources), axis=1)
    trimmed = [trim(part, density) for part, density in zip(parts, densities, strict=True)]
    return base + lam * u @ elect_and_merge(trimmed, weights, normalize)


def svc(base, sources, weight, alpha):
    """SVC, arXiv 2602.05536, algorithm 1, on task arithmetic with one weight for all sources."""
    vectors = [task_vector(base, source) for source in sources]
    u, s, vt = np.linalg.svd(weight * np.sum(vectors, axis=0), full_matrices=False)
    calibrated = np.zeros_like(s)
    for r, value in enumerate(s):
        merged = value * vt[r]
        counted = [merged @ (u[:, r] @ one) / np.sum((u[:, r] @ one) ** 2) for one in vectors]
        calibrated[r] = value * len(sources) / sum(max(alpha, one) for one in counted)
    return base + u @ np.diag(calibrated) @ vt


def adarank(base, sources, weights, masks):
    """AdaRank, arXiv 2503.22178: a mask for the singular values of each task vector."""
    total = np.asarray(base, np.float64)
    for source, weight, mask in zip(sources, weights, masks, strict=True):
        u, s, vt = np.linalg.svd(task_vector(base, source), full_matrices=False)
        total = total + weight * (u * (s * mask)) @ vt
    return total


def larv_scores(base, source):
    """LARV, arXiv 2602.09413, equation 8: the scores of the layers of one stacked matrix."""

    def effective_rank(matrix):
        energy = np.linalg.svd(matrix, compute_uv=False) ** 2 / np.sum(matrix**2)
        return np.exp(-np.sum(energy * np.log(energy)))

    contrasts, conflicts = [], []
    for origin, vector in zip(np.asarray(base, np.float64), task_vector(base, source), strict=True):
        contrasts.append(effective_rank(origin) / effective_rank(vector))
        left = origin @ vector.T - vector @ origin.T
        right = origin.T @ vector - vector.T @ origin
        sizes = np.sqrt(np.sum(origin**2) * np.sum(vector**2))
        conflicts.append((np.sqrt(np.sum(left**2)) + np.sqrt(np.sum(right**2))) / sizes / 2)
    depths = np.arange(1, len(contrasts) + 1) / len(contrasts)
    beyond = (conflicts - np.mean(conflicts)) / np.std(conflicts)
    return np.array(contrasts) * depths**0.5 / (1 + np.log(1 + np.exp(beyond)))
