"""Recipes of every operator that mergekit can express, a different number in each segment."""

import numpy as np

from evojax_merge.exchange.equivalents import OWN, express
from evojax_merge.operators import make_operator
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.reference import Ingredient
from tests.exchange.test_recipe_writer import BLOCKS

SETTINGS = {
    "linear": [{}, {"normalize": False}],
    "slerp": [{}],
    "nuslerp": [
        {},
        {"of_task_vectors": True},
        {"along": "rows", "of_task_vectors": True},
        {"along": "columns"},
    ],
    "multislerp": [{}, {"normalize": False, "of_task_vectors": True}],
    "karcher": [{}, {"max_iter": 3, "tol": 1e-3}],
    "model_stock": [{}, {"filter_wise": True}],
    "task_arithmetic": [{}, {"normalize": True, "lam": 0.7}],
    "ties": [{}, {"normalize": False, "rescale": "l1", "lam": 0.8}],
    "breadcrumbs": [{}, {"normalize": True}],
    "breadcrumbs_ties": [{}, {"normalize": True, "rescale": "l1"}],
    "sce": [{}],
    "ram": [{}, {"epsilon": 0.02}],
    "ramplus": [{}, {"epsilon": 0.02}],
    "nearswap": [{}],
    "arcee_fusion": [{}],
    "passthrough": [{}],
    "task_vectors": [
        {"trim": "magnitude", "consensus": "sum", "normalize": True},
        {"trim": "outliers", "rescale": "l1"},
        {"trim": "none", "consensus": "sum", "normalize": True, "lam": 0.8},
    ],
}
"""Arguments of the deterministic ones."""

RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")

RANGES = {"density": (0.2, 0.8), "epsilon": (0.02, 0.15), "gamma": (0.01, 0.05), "t": (0.01, 0.4)}


def written(models, name, arguments, dtype="float32", count=3, segments=BLOCKS):
    """A recipe of ``count`` sources, or as many as the operator takes."""
    operator = make_operator(OWN + name, arguments)
    expression = express(OWN + name, arguments)
    neutral = expression.neutral
    least, most = operator.sources
    names = "abc"[: min(max(count, least), most or count)]
    rng = np.random.default_rng(3)
    coefficients = {}
    for coefficient in operator.coefficients:
        shape = (len(names), len(segments)) if coefficient.per_source else (len(segments),)
        drawn = rng.uniform(*RANGES.get(coefficient.name, (0.1, 0.9)), shape)
        if coefficient.name in neutral:
            drawn = np.full(shape, neutral[coefficient.name])
        if coefficient.name in expression.equal:
            drawn = np.broadcast_to(drawn[:1], shape)
        coefficients[coefficient.name] = drawn.astype(np.float32)
    return Recipe(
        operator=OWN + name,
        arguments=arguments,
        base=Ingredient(models["base"]) if "base" in models else None,
        sources=tuple(Ingredient(models[source]) for source in names),
        segments=segments,
        coefficients=coefficients,
        seed=7,
        dtype=dtype,
    )
