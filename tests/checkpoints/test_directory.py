import subprocess
import sys

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from evojax_merge.checkpoints import CheckpointError, hub, load_config
from evojax_merge.checkpoints.directory import resolve
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint
from tests.processes import environment


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
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "owner/tiny"],
        env=environment(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    first, other, absent = done.stdout.strip().splitlines()
    assert first == "0123abcd 6 (32,)"
    for name, message in (("owner/tiny@other", other), ("owner/absent", absent)):
        assert message.startswith(f"{name}: no such directory, and the Hugging Face hub cannot be")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (RepositoryNotFoundError, "the hub has none of this name"),
        (GatedRepoError, "is gated; accept its terms"),
        (RevisionNotFoundError, "has no such revision"),
        (LocalEntryNotFoundError, "cannot be reached .* check the connection, or give a directory"),
        (ConnectionError, "cannot be reached"),
        (PermissionError, "gave nothing by this name"),
    ],
)
def test_why_the_hub_gave_nothing(monkeypatch, kind, message):
    def refuse(*args, **options):
        error = kind.__new__(kind)
        error.args = ("Got: ConnectError: [Errno -2] Name or service not known",)
        raise error

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(CheckpointError, match=rf"^owner/name: no such directory, and .*{message}"):
        resolve("owner/name")
