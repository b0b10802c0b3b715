"""Parameter space: granularity, what evolves, and genotypes under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models import Layout, family_of
from evojax_merge.operators import choice, conflicts, della, linear, slerp, ties
from evojax_merge.spaces import ParameterSpace
from tests.checkpoints_factory import tiny_config

SOURCES = ("math", "japanese")


@pytest.fixture(scope="module")
def layout() -> Layout:
    config = tiny_config()
    family = family_of(config)
    return family.layout(family.config_from_hf(config))


def space(layout: Layout, operator=None, **options) -> ParameterSpace:
    return ParameterSpace(operator or ties(), layout, SOURCES, **options)


def test_by_default_a_source_has_one_weight_and_one_density(layout):
    whole = space(layout)
    assert whole.dims == 4
    assert [segment.label for segment in whole.segments] == ["all 0–2"]
    np.testing.assert_array_equal(whole.start, 0.5)
    np.testing.assert_array_equal((whole.lower, whole.upper), [[0.0] * 4, [1.0] * 4])


def test_granularity_counts_sources_times_segments_times_coefficients(layout):
    groups = {"attention": ["attention"], "mlp": ["mlp"], "rest": "*"}
    assert space(layout, layers_per_block=1).dims == 2 * 3 * 2
    assert space(layout, layers_per_block=2).dims == 2 * 2 * 2
    assert space(layout, groups=groups).dims == 2 * 3 * 2
    apart = {"layers": ["attention", "mlp", "norm"], "ends": ["embedding", "head"]}
    divided = space(layout, groups=apart, layers_per_block=1)
    assert [segment.label for segment in divided.segments] == [
        "layers 0–0", "layers 1–1", "layers 2–2", "ends 0–2",
    ]  # fmt: skip


def test_every_leaf_gets_the_genes_of_its_group_and_layer(layout):
    divided = space(layout, linear(), layers_per_block=1)
    genotype = jnp.arange(divided.dims, dtype=jnp.float32)
    leaves = divided.expand(divided.decode(genotype))
    np.testing.assert_array_equal(
        leaves["layers.mlp.up_proj.weight"]["weight"], [[0, 1, 2], [3, 4, 5]]
    )
    np.testing.assert_array_equal(leaves["embed_tokens.weight"]["weight"], [0, 3])
    np.testing.assert_array_equal(leaves["norm.weight"]["weight"], [2, 5])
    np.testing.assert_array_equal(leaves["lm_head.weight"]["weight"], [2, 5])


def test_genes_of_a_group_are_those_of_all_its_layers_and_sources(layout):
    groups = {"attention": ["attention"], "rest": "*"}
    divided = space(layout, linear(), groups=groups, layers_per_block=1)
    names = ["attention" if divided.gene_groups[n] == 0 else "rest" for n in range(divided.dims)]
    assert names == [divided.segments[gene.segment].name for gene in divided.genes]
    assert not space(layout).gene_groups.any()


def test_a_gene_is_named_for_what_it_changes(layout):
    divided = space(layout, layers_per_block=1)
    for index, gene in enumerate(divided.genes):
        changed = divided.decode(jnp.zeros(divided.dims).at[index].set(1.0))
        assert float(changed[gene.coefficient][gene.source, gene.segment]) == 1.0
        assert sum(float(value.sum()) for value in changed.values()) == 1.0


def test_decoding_is_the_same_under_jit_and_vmap(layout):
    divided = space(layout, layers_per_block=2, normalize=True)
    population = jax.random.uniform(jax.random.key(0), (5, divided.dims))
    alone = [divided.expand(divided.decode(genotype)) for genotype in population]
    together = jax.jit(jax.vmap(lambda g: divided.expand(divided.decode(g))))(population)
    for index, leaves in enumerate(alone):
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[index]), leaves, together)  # noqa: B023


def test_normalised_weights_add_up_to_one_and_others_are_left_alone(layout):
    normalised = space(layout, normalize=True)
    decoded = normalised.decode(jnp.array([0.2, 0.6, 0.3, 0.9]))
    np.testing.assert_allclose(decoded["weight"].sum(axis=0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(decoded["density"][:, 0], [0.3, 0.9])
    zero = normalised.decode(jnp.zeros(4))
    assert np.isfinite(zero["weight"]).all()


def test_fixed_values_do_not_evolve(layout):
    fixed = space(
        layout,
        groups={"head": ["head"], "rest": "*"},
        coefficients={"density": {"value": 0.8}},
        fixed={"head": {"weight": 0.25}},
    )
    assert [gene.coefficient for gene in fixed.genes] == ["weight", "weight"]
    decoded = fixed.decode(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(decoded["weight"], [[0.25, 0.1], [0.25, 0.2]])
    np.testing.assert_allclose(decoded["density"], 0.8)


def test_bounds_and_start_can_be_set(layout):
    wide = space(layout, coefficients={"weight": {"lower": -1.0, "upper": 2.0}})
    np.testing.assert_array_equal(wide.lower[:2], -1.0)
    np.testing.assert_array_equal(wide.start[:2], 0.5)
    np.testing.assert_array_equal(wide.upper[2:], 1.0)


def test_a_shared_coefficient_has_one_gene_a_segment(layout):
    shared = space(layout, slerp(), layers_per_block=1)
    assert shared.dims == 3
    leaves = shared.expand(shared.decode(jnp.array([0.1, 0.2, 0.3])))
    name = slerp().coefficients[0].name
    np.testing.assert_allclose(leaves["layers.mlp.up_proj.weight"][name], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": {"a": ["atention"], "b": "*"}}, "did you mean attention"),
        ({"groups": {"a": ["attention"]}}, "mlp, norm, head is in no group|is in no group"),
        ({"groups": {"a": ["mlp"], "b": ["mlp", "*"]}}, "mlp is in two groups"),
        (
            {"groups": {"a": ["attention", "mlp", "norm", "embedding", "head"], "b": "*"}},
            "groups.b: the other groups leave it no parameters; give all groups",
        ),
        ({"layers_per_block": 0}, "layers_per_block must be a whole number of at least 1"),
        ({"coefficients": {"wieght": {"upper": 2.0}}}, "did you mean weight"),
        ({"coefficients": {"weight": {"uper": 2.0}}}, "did you mean upper"),
        ({"coefficients": {"weight": {"lower": 1.0, "upper": 0.0}}}, "must rise"),
        ({"coefficients": {"density": {"upper": 1.5}}}, "must rise, within"),
        ({"coefficients": {"weight": {"start": 3.0}}}, "start 3.0 is outside"),
        (
            {"coefficients": {"density": {"value": 1.5}}},
            "must be a finite number from 0 to 1, not 1.5",
        ),
        ({"fixed": {"hed": {"weight": 0.0}}}, "there is no 'hed'"),
        (
            {"coefficients": {"weight": {"value": 1.0}, "density": {"value": 1.0}}},
            "nothing is left to evolve",
        ),
    ],
)
def test_a_wrong_setting_is_named(layout, options, message):
    with pytest.raises(ValueError, match=message):
        space(layout, **options)


def test_a_part_of_a_path_takes_its_leaves_out_of_their_group(layout):
    divided = space(layout, linear(), groups={"queries": ["q_proj"], "rest": "*"})
    leaves = divided.expand(divided.decode(jnp.arange(4.0)))
    np.testing.assert_array_equal(
        leaves["layers.self_attn.q_proj.weight"]["weight"], [[0, 0, 0], [2, 2, 2]]
    )
    np.testing.assert_array_equal(
        leaves["layers.self_attn.k_proj.weight"]["weight"], [[1, 1, 1], [3, 3, 3]]
    )
    with pytest.raises(ValueError, match=r"'q_prj' is no parameter group .*did you mean q_proj"):
        space(layout, groups={"queries": ["q_prj"], "rest": "*"})


def test_a_list_is_a_gradient_over_the_layers(layout):
    graded = space(
        layout,
        ties(),
        layers_per_block=1,
        coefficients={"density": {"value": [0.2, 0.8]}},
    )
    decoded = graded.decode(jnp.asarray(graded.start))
    np.testing.assert_allclose(decoded["density"], [[0.2, 0.5, 0.8]] * 2)
    with pytest.raises(ValueError, match=r"runs over the layers, which share one number here"):
        space(layout, ties(), fixed={"all": {"density": [0.0, 0.5, 1.0]}})


def test_what_is_in_no_layer_stands_at_an_end_of_a_gradient(layout):
    groups = {"input": ["embedding"], "output": ["head"], "rest": "*"}
    fixed = {name: {"density": [0.2, 0.8]} for name in groups}
    graded = space(layout, ties(), groups=groups, layers_per_block=1, fixed=fixed)
    densities = graded.decode(jnp.asarray(graded.start))["density"][0]
    found = dict(zip((s.label for s in graded.segments), np.asarray(densities), strict=True))
    np.testing.assert_allclose([found["input 0–2"], found["output 0–2"]], [0.2, 0.8])


@pytest.mark.parametrize("number", [float("inf"), 1e300, float("nan")])
def test_numbers_that_no_merge_can_use_are_refused(layout, number):
    with pytest.raises(ValueError, match="must be a finite number"):
        space(layout, linear(), coefficients={"weight": {"value": number}})
    with pytest.raises(ValueError, match="upper must be a finite number"):
        space(layout, linear(), coefficients={"weight": {"upper": number}})


def test_anchors_are_evolved_and_layers_between_them_interpolated(layout):
    anchored = space(layout, linear(), layers_per_block=1, anchors=2)
    assert anchored.dims == 2 * 2
    decoded = jax.jit(anchored.decode)(jnp.array([0.0, 1.0, 0.5, 0.5]))
    np.testing.assert_allclose(decoded["weight"], [[0, 0.5, 1], [0.5, 0.5, 0.5]])
    with pytest.raises(ValueError, match="least 2, and layers_per_block 1"):
        space(layout, linear(), anchors=2)


def test_operators_are_mixed_by_name(layout):
    mixed = space(
        layout,
        choice({"linear": linear(), "ties": ties()}),
        groups={"attention": ["attention"], "rest": "*"},
        fixed={"attention": {"operator": "ties"}, "rest": {"operator": "linear"}},
    )
    decoded = mixed.decode(jnp.asarray(mixed.start))
    np.testing.assert_array_equal(np.floor(decoded["operator"]), [1, 0])
    with pytest.raises(ValueError, match=r"there is no 'tie' \(did you mean ties"):
        space(
            layout,
            choice({"linear": linear(), "ties": ties()}),
            fixed={"all": {"operator": "tie"}},
        )


def test_constants_that_do_not_go_together_are_refused(layout):
    with pytest.raises(ValueError, match=r"density 0\.9 \+- epsilon 0\.2 must stay within"):
        space(layout, della(), coefficients={"density": {"value": 0.9}, "epsilon": {"value": 0.2}})


@pytest.mark.parametrize("operator", [della(), choice({"ties": ties(), "della": della()})])
def test_what_a_search_draws_goes_together(layout, operator):
    drawn = space(layout, operator, layers_per_block=1, coefficients={"epsilon": {"upper": 0.5}})
    rng = np.random.default_rng(0)
    changed = 0
    for genotype in rng.uniform(drawn.lower, drawn.upper, (200, drawn.dims)).astype(np.float32):
        decoded = {name: np.asarray(value) for name, value in drawn.decode(genotype).items()}
        for index in range(len(drawn.segments)):
            values = {name: value[..., index] for name, value in decoded.items()}
            assert not list(conflicts(operator, values))
        given = [genotype[i] for i, gene in enumerate(drawn.genes) if gene.coefficient == "epsilon"]
        changed += np.count_nonzero(decoded["epsilon"].ravel() != given)
    assert 0 < changed < 200 * 6  # only what had to


def test_constants_of_a_chosen_operator_must_go_together(layout):
    operator = choice({"ties": ties(), "della": della()})
    apart = {"mlp": ["mlp"], "rest": "*"}
    values = {"density": {"value": 0.9}, "epsilon": {"value": 0.2}}
    space(layout, operator, groups=apart, coefficients=values, fixed={"mlp": {"operator": "ties"}})
    fixed = {"mlp": {"operator": "della"}}
    with pytest.raises(ValueError, match=r"space, mlp 0–2, math: density 0\.9 \+- epsilon 0\.2"):
        space(layout, operator, groups=apart, coefficients=values, fixed=fixed)


def test_genes_with_labels_are_choices_that_begin_equally_likely(layout):
    operator = choice({"linear": linear(), "ties": ties(), "della": della()})
    whole = space(layout, operator)
    place = [gene.coefficient for gene in whole.genes].index("operator")
    np.testing.assert_allclose(whole.choices[place], 1 / 3)
    np.testing.assert_array_equal(np.delete(whole.choices, place, axis=0), 0)
    first = {"operator": {"lower": 0, "upper": 2}}
    np.testing.assert_allclose(
        space(layout, operator, coefficients=first).choices[place], [0.5, 0.5]
    )
    between = {"operator": {"lower": 0.5, "upper": 2}}
    assert not space(layout, operator, coefficients=between).choices.any()
    assert not space(layout, operator, layers_per_block=1, anchors=2).choices.any()
    assert not space(layout).choices.any()


def test_experts_are_the_base_the_sources_and_these_trimmed(layout):
    whole = space(layout, coefficients={"density": {"start": 0.3}, "weight": {"upper": 0.9}})
    names = [(gene.coefficient, gene.source) for gene in whole.genes]
    assert names == [("weight", 0), ("weight", 1), ("density", 0), ("density", 1)]
    wanted = [[0, 0, 0.3, 0.3], [0.9, 0, 1, 1], [0, 0.9, 1, 1]]
    wanted += [[0.9, 0, 0.3, 0.3], [0, 0.9, 0.3, 0.3]]
    np.testing.assert_allclose(whole.experts, wanted, rtol=1e-6)
    np.testing.assert_array_equal(space(layout, linear()).experts, np.eye(2))  # without a base
    groups = {"mlp": ["mlp"], "rest": "*"}
    assert space(layout, groups=groups).experts.shape == (5, 8)
    assert space(layout, slerp()).experts is None
    assert space(layout, coefficients={"weight": {"value": 1}}).experts is None
