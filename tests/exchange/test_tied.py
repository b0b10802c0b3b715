"""Heads of models of which some are tied to their embeddings."""

import json

import numpy as np
import pytest

from evojax_merge.checkpoints import load
from tests.checkpoints_factory import random_tensors, tiny_config, write_checkpoint
from tests.exchange.conftest import merged, plan_of, tensors_of

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = tiny_config(tie_word_embeddings=True)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """``a``, ``b``: tied. ``ca``, ``cb``: with a copy. ``other``: with another. ``open``: not."""
    root = tmp_path_factory.mktemp("tied")
    found = {}
    for seed, name in enumerate(("a", "b", "ca", "cb", "other", "open")):
        config = tiny_config() if name == "open" else TIED
        tensors = random_tensors(config, seed)
        if name.startswith("c"):
            tensors[HEAD] = tensors[EMBEDDING].copy()
        if name == "other":
            tensors[HEAD] = tensors[EMBEDDING] + 0.1
        found[name] = str(write_checkpoint(root / name, config, tensors=tensors))
    return found


def linear(tied, *names, weight=0.5):
    given = {"parameters": {"weight": weight}}
    return {"merge_method": "linear", "models": [{"model": tied[name]} | given for name in names]}


def stack(tied, *names):
    parts = [
        {"sources": [{"model": tied[n], "layer_range": [i, i + 1]}]} for i, n in enumerate(names)
    ]
    return {"merge_method": "passthrough", "slices": parts}


@pytest.mark.filterwarnings("ignore:.*both are kept")
@pytest.mark.parametrize(
    ("names", "heads"),
    [
        (("a", "b"), None),
        (("ca", "cb"), None),
        (("a", "open"), (EMBEDDING, HEAD)),
        (("open", "ca"), (HEAD, EMBEDDING)),
        (("other",), (HEAD,)),
        (("a", "other"), (EMBEDDING, HEAD)),
    ],
)
def test_a_tied_model_has_its_embeddings_for_a_head(tied, tmp_path, names, heads):
    found = merged(linear(tied, *names), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["tie_word_embeddings"] is (heads is None)
    assert (HEAD in found) is (heads is not None)
    if heads:
        held = [tensors_of(tied[name])[own] for name, own in zip(names, heads, strict=True)]
        np.testing.assert_allclose(found[HEAD], np.mean(held, axis=0), rtol=1e-5, atol=1e-6)
    assert load(tmp_path / "out").config.tie_word_embeddings is (heads is None)


@pytest.mark.filterwarnings("ignore:.*its configuration differs")
def test_a_head_of_its_own_numbers_is_kept_where_copies_are_stored(tied, tmp_path):
    weight = [{"filter": "lm_head", "value": 0.9}, {"value": 0.5}]
    found = merged(
        linear(tied, "ca", "cb", weight=weight) | {"parameters": {"normalize": False}},
        tmp_path / "out",
    )
    held = [tensors_of(tied[name])[EMBEDDING] for name in ("ca", "cb")]
    np.testing.assert_allclose(found[HEAD], 0.9 * sum(held), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[EMBEDDING], 0.5 * sum(held), rtol=1e-5, atol=1e-6)


def test_a_filter_of_a_head_that_tied_models_lack_is_said(tied):
    weight = [{"filter": "lm_head", "value": 0.9}, {"value": 0.5}]
    with pytest.warns(UserWarning, match="the filter 'lm_head' matches no tensor"):
        plan = plan_of(linear(tied, "a", "b", weight=weight))
    assert HEAD not in {job.name for job in plan.jobs}


@pytest.mark.parametrize(
    ("names", "head"),
    [
        (("a", "b", "b"), None),
        (("ca", "cb", "cb"), ("cb", EMBEDDING)),
        (("a", "open", "b"), ("b", EMBEDDING)),
        (("a", "a", "open"), ("open", HEAD)),
    ],
)
def test_a_stack_has_the_head_of_its_last_model(tied, tmp_path, names, head):
    found = merged(stack(tied, *names), tmp_path / "out")
    assert (HEAD in found) is (head is not None)
    if head:
        np.testing.assert_array_equal(found[HEAD], tensors_of(tied[head[0]])[head[1]])


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*both are kept|read as")
@pytest.mark.parametrize(
    "tree",
    [
        lambda tied: linear(tied, "a", "b"),
        lambda tied: linear(tied, "a", "open"),
        lambda tied: linear(tied, "other", "b"),
        lambda tied: linear(
            tied, "a", "b", weight=[{"filter": "lm_head", "value": 9}, {"value": 1}]
        ),
        lambda tied: (
            linear(tied, "ca", "b", weight=[{"filter": "lm_head", "value": 9}, {"value": 1}])
            | {"parameters": {"normalize": False}}
        ),
        lambda tied: stack(tied, "a", "a", "open"),
        lambda tied: stack(tied, "ca", "ca", "cb"),
    ],
)
def test_the_same_as_mergekit(mergekit, tied, tmp_path, tree):
    from tests.exchange.test_parity import agree

    given = tree(tied) | {"dtype": "float32"}
    agree(merged(given, tmp_path / "ours"), mergekit(given, tmp_path / "theirs"))
