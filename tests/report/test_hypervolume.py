import moocore
import numpy as np
import pytest

from evojax_merge.report.hypervolume import hypervolume, non_dominated


@pytest.mark.parametrize(("members", "tasks"), [(40, 2), (40, 3), (15, 4), (8, 5)])
@pytest.mark.parametrize("decimals", [1, 6])
def test_agrees_with_moocore(members: int, tasks: int, decimals: int) -> None:
    rng = np.random.default_rng(members + decimals)
    for _ in range(5):
        front = rng.normal(size=(members, tasks)).round(decimals)
        reference = rng.normal(-0.5, 0.3, size=tasks).round(decimals)
        expected = moocore.hypervolume(front, reference, maximise=True)
        assert hypervolume(front, reference) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_known_volumes() -> None:
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), [0, 0]) == 3.0
    assert hypervolume(np.array([[1.0, 2.0], [1.0, 2.0], [0.5, 0.5]]), [0, 0]) == 2.0
    assert hypervolume(np.eye(3) + 1, [0, 0, 0]) == 4.0


def test_what_is_not_above_the_reference_or_not_finite_adds_nothing() -> None:
    front = np.array([[1.0, 1.0], [5.0, 0.0], [np.nan, 9.0], [9.0, np.inf], [2.0, -1.0]])
    assert hypervolume(front, [0, 0]) == 1.0
    assert hypervolume(np.zeros((0, 2)), [0, 0]) == 0.0


def test_refuses_a_reference_of_another_length() -> None:
    with pytest.raises(ValueError, match="one number for each objective"):
        hypervolume(np.ones((4, 2)), [0, 0, 0])


def test_of_equal_members_the_first_is_not_dominated() -> None:
    front = np.array([[1.0, 1.0], [0.0, 2.0], [1.0, 1.0], [0.0, 1.0]])
    assert non_dominated(front).tolist() == [True, True, False, False]
