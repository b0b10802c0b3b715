import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.strategies.box import PENALTY, make_box

BOX = make_box([-3.0, 0.0, 1e-3], [5.0, 0.7, 2e-3], [5.0, 0.1, 1.4e-3], 1 / 6)
FINITE = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=3, max_size=3))
def test_every_sample_lands_inside(z: list[float]) -> None:
    genotype = BOX.genotype(jnp.asarray(z, jnp.float32))
    assert (genotype >= BOX.lower).all()
    assert (genotype <= BOX.upper).all()


def test_only_samples_outside_are_penalised_by_their_distance_in_deviations() -> None:
    rng = np.random.default_rng(0)
    z = jnp.asarray(3 * rng.standard_normal((50, 3)), jnp.float32)
    inside = BOX.sample(BOX.genotype(z))
    np.testing.assert_allclose(BOX.violation(inside), 0.0, atol=1e-9)
    beyond = np.asarray(z - inside, np.float64) / np.std(np.asarray(z, np.float64), axis=0)
    np.testing.assert_allclose(
        BOX.violation(z), PENALTY * np.mean(beyond**2, axis=1), rtol=1e-4, atol=1e-7
    )


def test_the_penalty_does_not_fade_as_the_search_narrows() -> None:
    far = jnp.asarray(np.random.default_rng(0).standard_normal((50, 3)), jnp.float32)
    wide, narrow = (BOX.violation(100 + scale * far) for scale in (1.0, 1e-2))
    assert narrow.std() > 50 * wide.std()


def test_one_sample_outside_is_no_error() -> None:
    assert jnp.isfinite(BOX.violation(jnp.full((1, 3), 100.0))).all()


def test_zero_is_the_start_and_sigma_a_share_of_the_range() -> None:
    np.testing.assert_array_equal(BOX.genotype(jnp.zeros(3)), BOX.start)
    step = BOX.genotype(-jnp.ones(3)) - BOX.start
    np.testing.assert_allclose(step[0], -(5 + 3) / 6, rtol=1e-6)


def test_start_defaults_to_the_middle() -> None:
    np.testing.assert_allclose(make_box([0.0, -1.0], [1.0, 3.0], None, 0.1).start, [0.5, 1.0])
