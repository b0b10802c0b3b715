"""Pieces written in any order make the files announced."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from evojax_merge.checkpoints.tensor_files import Piece, ShardWriter
from tests.exchange.conftest import tensors_of

TENSORS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.arange(7).astype(ml_dtypes.bfloat16),
    "c": np.arange(5, dtype=np.float32),
}
PIECES = [Piece(name, tensor.shape, tensor.dtype) for name, tensor in TENSORS.items()]


@pytest.mark.parametrize("most", [20, 62, 1000])
def test_any_order(tmp_path, most):
    with ShardWriter(tmp_path, PIECES, most) as writer:
        for name in "cab":
            flat = TENSORS[name].reshape(-1)
            writer.write(name, 3, flat[3:])
            writer.write(name, 0, flat[:3])
    found = tensors_of(tmp_path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(found[name], tensor)
    assert len(list(tmp_path.glob("*.safetensors"))) == {20: 3, 62: 2, 1000: 1}[most]
    if most == 1000:
        assert load_file(tmp_path / "model.safetensors").keys() == TENSORS.keys()


@pytest.mark.parametrize(
    ("first", "elements"),
    [(3, np.zeros(3, np.float32)), (0, np.zeros(2, np.float16))],
    ids=["too-many", "dtype"],
)
def test_what_does_not_belong_there_is_refused(tmp_path, first, elements):
    with (
        ShardWriter(tmp_path, PIECES, 1000) as writer,
        pytest.raises(ValueError, match=r"c: \d elements"),
    ):
        writer.write("c", first, elements)
