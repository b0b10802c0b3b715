import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import choice, dare_ties, fisher, linear, passthrough, slerp, ties
from evojax_merge.operators.steps.random_mask import leaf_key
from tests.operators.leaf import PATH, merge_leaf, tensors

OPTIONS = {"linear": linear(), "ties": ties(), "dare_ties": dare_ties()}
VALUES = {"weight": [0.3, 1.0, 0.6], "density": [0.2, 0.5, 0.9]}


@pytest.mark.parametrize(("number", "name"), [(0.0, "linear"), (1.9, "ties"), (3.0, "dare_ties")])
def test_the_whole_part_chooses(number, name):
    base, sources = tensors(3)
    merged = merge_leaf(choice(OPTIONS), base, sources, operator=number, **VALUES)
    own = {c.name: VALUES[c.name] for c in OPTIONS[name].coefficients}
    alone = merge_leaf(OPTIONS[name], base, sources, **own)
    np.testing.assert_allclose(merged, alone, rtol=0, atol=1e-6)


def test_layers_choose_apart():
    base, sources = tensors(3, (3, 8, 9))
    operator = choice(OPTIONS)
    merged = merge_leaf(operator, base, sources, layered=True, operator=[0.5, 1.5, 2.5], **VALUES)
    for layer, name in enumerate(OPTIONS):
        own = {c.name: VALUES[c.name] for c in OPTIONS[name].coefficients}
        whole = merge_leaf(OPTIONS[name], base, sources, layered=True, **own)
        np.testing.assert_allclose(merged[layer], whole[layer], rtol=0, atol=1e-6)


def test_coefficients_of_one_name_are_shared():
    names = [c.name for c in choice(OPTIONS).coefficients]
    assert names == ["operator", "weight", "density"]
    assert choice(OPTIONS).coefficients[0].labels == tuple(OPTIONS)


def test_it_is_one_pass_over_memory():
    base, sources = tensors(3, (256, 1024))
    operator = choice({"linear": linear(), "dare_ties": dare_ties()})
    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in VALUES.items()}
    arrays["operator"] = jnp.float32(1.0)
    statistics = operator.init(base, sources, False)
    compiled = (
        jax.jit(operator.merge)
        .lower(base, sources, arrays, statistics, leaf_key(0, PATH))
        .compile()
    )
    assert compiled.cost_analysis()["bytes accessed"] <= 1.05 * 5 * base.nbytes


TWO = {"linear": linear(), "slerp": slerp()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linear": linear()}, "at least two options, got 1"),
        (None, "options must be operators by name, not None"),
        ({"linear": linear(), "x": 1}, "x is 1; give an operator"),
        ({"linear": linear(), "c": choice(TWO)}, "c is a choice itself; give its options here"),
        ({"linear": linear(), "f": fisher("x.jsonl")}, "choice: f asks for fisher evidence, which"),
        ({"slerp": slerp(), "passthrough": passthrough()}, "needs 2 sources, another takes 1"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        choice(options)
