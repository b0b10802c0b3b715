import numpy as np
import pytest

from evojax_merge.strategies import Auto


@pytest.mark.parametrize(("dims", "name"), [(1, "CR_FM_NES"), (64, "CR_FM_NES"), (4288, "SNES")])
def test_chooses_by_the_number_of_genes(dims: int, name: str) -> None:
    strategy = Auto(lower=np.zeros(dims), upper=np.ones(dims))
    assert type(strategy.algorithm).__name__ == name


def test_refuses_an_impossible_box() -> None:
    with pytest.raises(ValueError, match="lower must be below upper"):
        Auto(lower=np.ones(3), upper=np.zeros(3))
