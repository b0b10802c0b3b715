import pytest

from evojax_merge.checkpoints import CheckpointError, weights_hash
from tests.checkpoints_factory import tiny_config, write_checkpoint


@pytest.mark.parametrize("shards", [1, 3])
def test_the_hash_is_of_the_weights_and_not_of_the_place(tmp_path, shards):
    first = write_checkpoint(tmp_path / "a", tiny_config(), shards=shards)
    second = write_checkpoint(tmp_path / "b", tiny_config(rope_theta=2.0), shards=shards)
    other = write_checkpoint(tmp_path / "c", tiny_config(), shards=shards, seed=1)
    assert weights_hash(first) == weights_hash(second)
    assert weights_hash(first) != weights_hash(other)
    assert len(weights_hash(first)) == 64


def test_one_changed_byte_changes_the_hash(tmp_path):
    directory = write_checkpoint(tmp_path, tiny_config())
    before = weights_hash(directory)
    file = directory / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert weights_hash(directory) != before


def test_nothing_to_hash(tmp_path):
    with pytest.raises(CheckpointError, match="holds no weights"):
        weights_hash(tmp_path)
