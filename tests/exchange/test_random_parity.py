"""Random masks by mergekit and here: not the same elements, but the same distribution.

Three sources have moved elements of their own, each a third of a tensor, so that every element of
a result says whether it was kept and what it was scaled by.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from evojax_merge import api
from evojax_merge.exchange.recipe_writer import to_mergekit
from evojax_merge.models.segments import Segment
from tests.checkpoints_factory import write_checkpoint
from tests.exchange.conftest import merged, tensors_of
from tests.exchange.written import RANDOM, written

pytestmark = pytest.mark.parity

SEGMENTS = (
    Segment("mlp", ("mlp",), 0, 3),
    Segment("rest", ("embedding", "attention", "norm", "head"), 0, 3),
)
DEVIATIONS = 5
"""By which the number of elements that are kept may differ from its expectation."""


@pytest.fixture(scope="module")
def disjoint(models, tmp_path_factory):
    """A base and three fine-tunes that changed other elements each."""
    root = tmp_path_factory.mktemp("disjoint")
    rng = np.random.default_rng(5)
    config = json.loads((Path(models["base"]) / "config.json").read_text())
    base = tensors_of(models["base"])
    found = {"base": str(write_checkpoint(root / "base", config, tensors=base))}
    for number, name in enumerate("abc"):
        tensors = {}
        for key, tensor in base.items():
            moved = rng.uniform(0.05, 0.3, tensor.shape) * rng.choice([-1, 1], tensor.shape)
            own = np.arange(tensor.size).reshape(tensor.shape) % 3 == number
            tensors[key] = np.where(own, tensor + moved, tensor).astype(np.float32)
        found[name] = str(write_checkpoint(root / name, config, tensors=tensors))
    return found


def probabilities(vector, density, epsilon):
    """Of every element to be kept; mergekit's della ranks the magnitudes of a row."""
    if epsilon is None:
        return np.full(vector.shape, density)
    rows = np.abs(vector).reshape(-1, vector.shape[-1])
    rank = rows.argsort(axis=1).argsort(axis=1) / (rows.shape[1] - 1)
    return (density - epsilon + 2 * epsilon * rank).reshape(vector.shape)


def check_distribution(found, models, given, norm_of_mask):
    """Compare a result with what the method says.

    Args:
        found: Tensors of the result.
        models: Paths.
        given: The recipe.
        norm_of_mask: Whether the l1 norm is restored for the very mask (mergekit) or in
            expectation (here).
    """
    normalize = given.arguments.get("normalize", given.operator.endswith("della"))
    rescaled = given.arguments.get("rescale", "l1") is not None
    base = tensors_of(models["base"])
    kept = expected = variance = 0.0
    for source, name in enumerate("abc"):
        for key, tensor in tensors_of(models[name]).items():
            segment = 0 if ".mlp." in key else 1
            values = {k: float(v[source, segment]) for k, v in given.coefficients.items()}
            vector = tensor - base[key]
            own = vector != 0
            chance = probabilities(vector, values["density"], values.get("epsilon"))
            moved = found[key] - base[key]
            mask = own & (moved != 0)
            scale = 1.0
            if rescaled and norm_of_mask and mask.any():
                scale = np.abs(vector).sum() / np.abs(vector[mask]).sum()
            elif rescaled:
                scale = np.abs(vector).sum() / (np.abs(vector) * chance).sum()
            weights = given.coefficients["weight"][:, segment]
            if normalize and given.operator.endswith("linear"):
                scale /= weights.sum()
            elif normalize:  # what has the elected sign is of one source
                scale /= weights[source]
            wanted = scale * values["weight"] * vector[mask]
            # della's ranks have 8 bits here, and so has the expected norm.
            np.testing.assert_allclose(moved[mask], wanted, rtol=2e-3, atol=1e-6, err_msg=key)
            kept += mask.sum()
            expected += chance[own].sum()
            variance += (chance * (1 - chance))[own].sum()
    assert expected > 1000
    assert abs(kept - expected) <= DEVIATIONS * np.sqrt(variance), (kept, expected)


@pytest.mark.parametrize("changes", [{}, {"rescale": None}, {"normalize": True, "rescale": "l1"}])
@pytest.mark.parametrize("operator", RANDOM)
def test_written_recipes(mergekit, disjoint, tmp_path, operator, changes):
    given = written(disjoint, operator, changes, segments=SEGMENTS)
    ours = tensors_of(api.export(api.merge(given), tmp_path / "ours"))
    check_distribution(ours, disjoint, given, norm_of_mask=False)
    tree = yaml.safe_load(to_mergekit(given))
    check_distribution(mergekit(tree, tmp_path / "theirs"), disjoint, given, norm_of_mask=True)
    again = merged(tree, tmp_path / "again", seed=given.seed)
    for name, tensor in ours.items():  # the same masks
        np.testing.assert_allclose(again[name], tensor, rtol=2e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("operator", RANDOM)
def test_files(mergekit, disjoint, tmp_path, operator):
    """A YAML of mergekit's own kind, with its defaults."""
    given = written(disjoint, operator, {}, segments=SEGMENTS)
    parameters = [
        {
            name: [
                {"filter": "mlp", "value": float(value[source, 0])},
                {"value": float(value[source, 1])},
            ]
            for name, value in given.coefficients.items()
        }
        for source in range(3)
    ]
    models = [
        {"model": disjoint[name], "parameters": own}
        for name, own in zip("abc", parameters, strict=True)
    ]
    tree = {"merge_method": operator, "base_model": disjoint["base"], "models": models}
    for found, norm_of_mask in (
        (merged(tree, tmp_path / "ours", seed=1), False),
        (mergekit(tree, tmp_path / "theirs"), True),
    ):
        check_distribution(found, disjoint, given, norm_of_mask)


def test_other_seeds_draw_other_masks(disjoint, tmp_path):
    given = yaml.safe_load(to_mergekit(written(disjoint, "dare_linear", {}, segments=SEGMENTS)))
    one, two = (merged(given, tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert all(np.any(one[name] != two[name]) for name in one)
