"""The Fisher that is collected, against one gradient at a time and against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder.modeling import forward
from evojax_merge.operators import fisher
from evojax_merge.params.tree import flatten
from evojax_merge.sources.evidence import collect, prepare


def one_at_a_time(loglikelihood, params, items):
    total = None
    for item in items:
        gradient = jax.jit(jax.grad(lambda params, item=item: loglikelihood(params, *item)))
        squares = jax.tree.map(jnp.square, gradient(params))
        total = squares if total is None else jax.tree.map(jnp.add, total, squares)
    return flatten(jax.tree.map(lambda leaf: leaf / len(items), total))


@pytest.mark.slow
def test_of_texts_it_is_the_mean_square_of_each_ones_gradient(decoders, texts):
    operator = fisher(texts, template="{question}", batch_size=2)
    items = prepare(operator, decoders[0], 1)
    (found,) = collect(operator, items, decoders[:1], ["a"])
    model = decoders[0]

    def loglikelihood(params, ids, known):
        # Without padding, position by position: an item as one writes it down.
        logits, _ = forward(model.config, params, jnp.asarray([ids]), jnp.array([0]))
        logs = jax.nn.log_softmax(logits[0])
        return logs[np.arange(known, len(ids)) - 1, ids[known:]].sum()

    rows = []
    for n in range(5):
        context = model.tokenizer("abc"[: n % 3 + 1] + "?").input_ids
        ids = model.tokenizer("abc"[: n % 3 + 1] + "? " + "answer" * (n + 1)).input_ids
        rows.append((ids, len(context)))
    want = one_at_a_time(loglikelihood, model.params, rows)
    assert found.keys() == want.keys()
    for path, leaf in want.items():
        scale = float(jnp.abs(leaf).max())
        np.testing.assert_allclose(found[path], leaf, rtol=1e-3, atol=1e-5 * scale)


def test_of_a_classifier_it_is_numpys(classifiers, table):
    operator = fisher(table, batch_size=3)
    (found,) = collect(operator, prepare(operator, classifiers[0], 1), classifiers[:1], ["a"])
    p = jax.tree.map(np.float64, classifiers[0].params)
    data = np.load(table)
    want = dict.fromkeys(found, 0.0)
    for x, label in zip(np.float64(data["inputs"]), data["label"], strict=True):
        hidden = p["fc1"]["weight"] @ x + p["fc1"]["bias"]
        logits = p["fc2"]["weight"] @ np.maximum(hidden, 0) + p["fc2"]["bias"]
        out = np.eye(3)[label] - np.exp(logits) / np.exp(logits).sum()
        back = (p["fc2"]["weight"].T @ out) * (hidden > 0)
        for path, gradient in {
            "fc1.weight": np.outer(back, x),
            "fc1.bias": back,
            "fc2.weight": np.outer(out, np.maximum(hidden, 0)),
            "fc2.bias": out,
        }.items():
            want[path] += gradient**2 / 7
    for path, leaf in want.items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 8), pytest.param((2, 3), marks=pytest.mark.slow)])
def test_batches_of_any_size_give_the_same(decoders, texts, sizes):
    found = []
    for size in sizes:
        operator = fisher(texts, batch_size=size)
        items = prepare(operator, decoders[0], 1)
        found += collect(operator, items, decoders[:1], ["a"])
    for path, leaf in found[0].items():
        np.testing.assert_allclose(found[1][path], leaf, rtol=1e-4, atol=1e-6 * leaf.max())
