"""Genotypes of data-flow space against a transcription of the paper in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.spaces import DataflowSpace

NAMES, LAYERS = ("a", "b"), (3, 2)
POOL = 5


def in_python(space, genotype, *, repeats, ends, least, most, duplicates, scaling, semantics):
    """What the paper describes, with its limits on length, by loops."""
    slots = POOL * repeats
    indicators = [float(x) for x in genotype[:slots]]
    numbers = genotype[slots:]
    allowed = list(range(slots))
    if not duplicates:
        best = {}
        for slot in allowed:
            layer = slot % POOL
            if ends and layer in ends:
                continue
            if layer not in best or indicators[slot] > indicators[best[layer]]:
                best[layer] = slot
        allowed = sorted(best.values())
    ranked = sorted(allowed, key=lambda slot: (-indicators[slot], slot))
    taken = [slot for slot in allowed if indicators[slot] > 0]
    room = (most if most is not None else slots + len(ends)) - len(ends)
    if not duplicates:
        room = min(room, POOL - len(ends))
    if len(taken) > room:
        taken = ranked[:room]
    if len(taken) < least - len(ends):
        taken = ranked[: least - len(ends)]
    hops = [(slot % POOL, slot) for slot in sorted(taken)]
    if ends:
        hops = [(ends[0], 0), *hops, (ends[1], slots)]
    scales = [1.0] * len(hops)
    for place in range(1, len(hops)):
        (before, _), (layer, slot) = hops[place - 1], hops[place]
        if scaling == "matrix":
            scales[place] = numbers[before * POOL + layer]
        elif scaling == "hop":
            scales[place] = numbers[slot]
    return [layer for layer, _ in hops], scales


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    repeats=st.integers(1, 3),
    fixed=st.booleans(),
    least=st.integers(0, 6),
    most=st.sampled_from([None, 2, 4, 7]),
    duplicates=st.booleans(),
    scaling=st.sampled_from(["matrix", "hop", "off"]),
    semantics=st.sampled_from(["stream", "branch"]),
)
def test_decoding_is_the_papers(seed, repeats, fixed, least, most, duplicates, scaling, semantics):
    ends = (0, 2) if fixed else ()
    most_possible = min(repeats * POOL + len(ends), 99 if most is None else most)
    if not duplicates:
        most_possible = min(most_possible, POOL)
    least = min(least, most_possible)
    space = DataflowSpace(
        NAMES,
        LAYERS,
        repeats=repeats,
        scaling=scaling,
        semantics=semantics,
        fixed_ends=fixed,
        min_hops=least,
        max_hops=most,
        duplicates=duplicates,
    )
    genotype = np.random.default_rng(seed).normal(0, 0.5, space.dims).astype(np.float32)
    path = space.decode(jnp.asarray(genotype))
    length = int(path.length)
    layers, scales = in_python(
        space,
        genotype,
        repeats=repeats,
        ends=ends,
        least=least,
        most=most,
        duplicates=duplicates,
        scaling=scaling,
        semantics=semantics,
    )
    assert path.layer[:length].tolist() == layers
    np.testing.assert_array_equal(path.branch[:length], np.array(scales, np.float32))
    expected = path.branch if semantics == "stream" else np.ones_like(path.branch)
    np.testing.assert_array_equal(path.residual, expected)
    assert path.layer.shape == (space.hops,)
    assert (path.branch[length:] == 1).all()


def test_numbers_of_genes_are_the_papers():
    space = DataflowSpace(("a", "b"), (32, 32))
    assert (space.slots, space.dims) == (192, 4288)
    assert space.hops == 194


@pytest.mark.few(2)
@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("skeleton", [None, "b"])
@pytest.mark.parametrize("scaling", ["matrix", "network", "hop", "off"])
def test_the_start_is_the_skeleton_itself(fixed, skeleton, scaling):
    space = DataflowSpace(
        NAMES, LAYERS, fixed_ends=fixed, skeleton=skeleton, scaling=scaling, semantics="stream"
    )
    path = space.decode(jnp.asarray(space.start))
    assert path.layer[: path.length].tolist() == ([3, 4] if skeleton else [0, 1, 2])
    assert (path.branch == 1).all()
    assert (space.lower < space.start).all()
    assert (space.start < space.upper).all()


def test_a_network_is_a_function_of_layers_and_slot():
    space = DataflowSpace(NAMES, LAYERS, scaling="network", hidden=2, scale=(-5.0, 5.0))
    genes = np.random.default_rng(0).normal(size=11).astype(np.float32)
    genotype = np.concatenate([np.full(space.slots, 0.1, np.float32), genes])
    path = space.decode(jnp.asarray(genotype))
    for hop in (1, 4, 16):
        slot = hop - 1 if hop < 16 else 15
        before, layer = path.layer[hop - 1] / 4, path.layer[hop] / 4
        weights = genes[:6].reshape(3, 2)
        within = before * weights[0] + layer * weights[1] + slot / 15 * weights[2] + genes[6:8]
        expected = 1 + np.tanh(within) @ genes[8:10] + genes[10]
        np.testing.assert_allclose(path.branch[hop], expected, rtol=1e-5)


def test_one_alone_is_one_of_many():
    space = DataflowSpace(NAMES, LAYERS, scaling="network")
    population = np.random.default_rng(1).normal(0, 0.3, (9, space.dims)).astype(np.float32)
    together, _ = space.decode_all(population)
    for row, genotype in enumerate(population):
        alone = jax.jit(space.decode)(genotype)
        jax.tree.map(
            lambda many, one, row=row: np.testing.assert_array_equal(many[row], one),
            together,
            alone,
        )


def test_an_empty_path_and_a_zero_scale_are_legal_and_not_valid():
    space = DataflowSpace(NAMES, LAYERS, fixed_ends=False, min_hops=0, scale=(-1.0, 2.0))
    empty = np.full(space.dims, -0.5, np.float32)
    zero = space.start.copy()
    zero[space.slots + 0 * POOL + 1] = 0.0
    unused = space.start.copy()
    unused[space.slots + 1 * POOL + 0] = 0.0
    paths, valid = space.decode_all(np.stack([empty, space.start, zero, unused]))
    assert paths.length.tolist() == [0, 3, 3, 3]
    assert valid.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scaling": "matrx"}, "did you mean matrix"),
        ({"semantics": "residual"}, "space.semantics"),
        ({"skeleton": "c"}, "space.skeleton"),
        ({"repeats": 0}, "space.repeats must be a whole number of at least 1, not 0"),
        ({"repeats": 2.5}, "space.repeats must be a whole number of at least 1, not 2.5"),
        ({"scale": 5}, "space.scale is 5"),
        ({"scale": ["a", "b"]}, "space.scale is"),
        ({"hidden": 0}, "space.hidden must be a whole number of at least 1, not 0"),
        ({"fixed_ends": "maybe"}, "space.fixed_ends is 'maybe'"),
        ({"bias": 5}, "space.bias is 5"),
        ({"scale": [1.5, 2.0]}, "with 1 between them"),
        ({"scale": [0.5, float("inf")]}, "with 1 between them"),
        ({"max_hops": 1}, "paths of 1 to 1 hops are impossible"),
        ({"min_hops": 9, "max_hops": 5}, "paths of 9 to 5 hops"),
        ({"min_hops": 6, "duplicates": False}, "are impossible"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DataflowSpace(NAMES, LAYERS, **changes)


def test_layers_are_choices_that_begin_as_likely_as_their_indicators():
    space = DataflowSpace(NAMES, LAYERS, repeats=2, scaling="hop")
    slots = space.slots
    drawn = space.start + space.span / 6 * np.random.default_rng(0).normal(
        size=(20_000, space.dims)
    )
    np.testing.assert_allclose(
        space.choices[:slots, 1], (drawn[:, :slots] > 0).mean(axis=0), atol=0.01
    )
    np.testing.assert_allclose(space.choices[:slots].sum(axis=1), 1)
    np.testing.assert_array_equal(space.choices[slots:], 0)
    assert space.choices[1, 1] > 0.9 > 0.1 > space.choices[3, 1]  # of the skeleton, of the other
