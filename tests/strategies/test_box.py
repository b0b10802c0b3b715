import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.strategies.box import make_box

BOX = make_box([-3.0, 0.0, 1e-3], [5.0, 0.7, 2e-3], [5.0, 0.1, 1.4e-3], 1 / 6)
FINITE = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=3, max_size=3))
def test_every_sample_lands_inside_and_only_outside_ones_are_penalised(z: list[float]) -> None:
    sample = jnp.asarray(z, jnp.float32)
    genotype = BOX.genotype(sample)
    assert (genotype >= BOX.lower).all()
    assert (genotype <= BOX.upper).all()
    inside = BOX.sample(genotype)
    np.testing.assert_allclose(BOX.violation(inside), 0.0, atol=1e-9)
    distance = np.sum((np.asarray(sample - inside, np.float64) / 6) ** 2)
    np.testing.assert_allclose(BOX.violation(sample), distance, rtol=1e-3, atol=1e-6)


def test_zero_is_the_start_and_sigma_a_share_of_the_range() -> None:
    np.testing.assert_array_equal(BOX.genotype(jnp.zeros(3)), BOX.start)
    step = BOX.genotype(-jnp.ones(3)) - BOX.start
    np.testing.assert_allclose(step[0], -(5 + 3) / 6, rtol=1e-6)


def test_start_defaults_to_the_middle() -> None:
    np.testing.assert_allclose(make_box([0.0, -1.0], [1.0, 3.0], None, 0.1).start, [0.5, 1.0])
