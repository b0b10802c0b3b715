import os
import subprocess
import sys

import pytest

from evojax_merge.checkpoints import CheckpointError, load_config
from evojax_merge.checkpoints.directory import resolve
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint


def test_a_directory_is_itself(tmp_path):
    assert resolve(tmp_path) == tmp_path
    assert resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["/no/such/directory", "./models/none", "none", "a/b/c"])
def test_missing_directory(source):
    with pytest.raises(CheckpointError, match="no such directory"):
        resolve(source)


def test_a_file_is_no_checkpoint(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file; give the checkpoint's directory"):
        resolve(tmp_path / "model.safetensors")


def test_directory_without_config(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json: missing"):
        load_config(tmp_path)


SCRIPT = """
import sys
from evojax_merge.checkpoints import CheckpointError, load
model = load(sys.argv[1])
print(model.directory.name, len(model.tokenizer), model.params["norm"]["weight"].shape)
for name in (sys.argv[1] + "@other", "owner/absent"):
    try:
        load(name)
    except CheckpointError as error:
        print(error)
"""


def test_hub_id_from_the_cache_offline(tmp_path):
    """The cache's layout: files are links to blobs, ``refs`` name the snapshot of a revision."""
    repository = tmp_path / "hub" / "models--owner--tiny"
    snapshot = repository / "snapshots" / "0123abcd"
    written = write_checkpoint(
        tmp_path / "written", tiny_config(), tokenizer=word_tokenizer(["a", "b"]), shards=2
    )
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    snapshot.mkdir(parents=True)
    for number, file in enumerate(written.iterdir()):
        file.rename(repository / "blobs" / str(number))
        (snapshot / file.name).symlink_to(repository / "blobs" / str(number))
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "owner/tiny"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, other, absent = done.stdout.strip().splitlines()
    assert first == "0123abcd 6 (32,)"
    assert other.startswith("owner/tiny@other: no such directory, and the hub gave nothing")
    assert absent.startswith("owner/absent: no such directory, and the hub gave nothing")
