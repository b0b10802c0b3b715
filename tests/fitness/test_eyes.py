"""What candidates do not have of their own is laid out as what they have."""

import jax
import numpy as np
import pytest

from evojax_merge.checkpoints import load, load_config
from evojax_merge.fitness.eyes import Eyes
from evojax_merge.models.seeing.config import LANGUAGE, PROJECTOR, TOWER
from tests.fitness.test_picture_features import carrier

__all__ = ["carrier"]


@pytest.mark.parametrize("merged", [(TOWER, PROJECTOR), (TOWER,)])
def test_a_language_model_that_is_not_merged_has_layers_of_their_own(carrier, merged):
    checkpoint = load_config(carrier)
    vision = checkpoint.family.vision(checkpoint.config)
    others = Eyes(vision, checkpoint, merged).others()
    assert others.keys() == {TOWER, PROJECTOR, LANGUAGE} - set(merged)
    model = load(carrier)
    whole = model.family.layout(model.config).unroll(model.params)
    assert isinstance(others[LANGUAGE]["layers"], tuple)
    for name, part in others.items():
        jax.tree.map(np.testing.assert_array_equal, part, whole[name])
