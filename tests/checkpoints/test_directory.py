import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from evojax_merge.checkpoints import CheckpointError, hub, load_config
from evojax_merge.checkpoints.directory import member, resolve
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
    (tmp_path / "config.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file; give the checkpoint's directory"):
        resolve(tmp_path / "config.json")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated or damaged"):
        load_config(tmp_path / "model.safetensors")


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


@pytest.fixture
def checkpoint(tmp_path):
    directory = tmp_path / "repository" / "snapshots" / "0123"
    directory.mkdir(parents=True)
    (directory / "own.txt").write_text("own")
    (tmp_path / "repository" / "blobs").mkdir()
    (tmp_path / "repository" / "blobs" / "content").write_text("content")
    (tmp_path / "secret").write_text("secret")
    return directory


@pytest.mark.parametrize("target", ["own.txt", "../../blobs/content"])
def test_links_within_a_checkpoint_and_into_the_blobs_beside_it_are_followed(checkpoint, target):
    (checkpoint / "merges.txt").symlink_to(target)
    assert member(checkpoint, "merges.txt").read_text() in ("own", "content")


def test_a_file_that_is_not_there_has_a_path(checkpoint):
    assert not member(checkpoint, "merges.txt").exists()


@pytest.mark.parametrize(
    "target", ["../../../secret", "../../refs", "/etc/hostname", "absent/../.."]
)
def test_a_link_out_of_a_checkpoint_is_refused(checkpoint, target):
    (checkpoint / "merges.txt").symlink_to(target)
    with pytest.raises(CheckpointError, match=r"merges\.txt: leads out of the checkpoint"):
        member(checkpoint, "merges.txt")


def test_blobs_that_are_a_link_themselves_are_refused(checkpoint, tmp_path):
    blobs = tmp_path / "repository" / "blobs"
    (blobs / "content").unlink()
    blobs.rmdir()
    blobs.symlink_to(tmp_path)
    (checkpoint / "merges.txt").symlink_to("../../blobs/secret")
    with pytest.raises(CheckpointError, match="leads out of the checkpoint"):
        member(checkpoint, "merges.txt")


def test_a_folder_that_leads_out_of_a_checkpoint_is_refused(checkpoint, tmp_path):
    (checkpoint / "templates").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="leads out of the checkpoint"):
        member(checkpoint, "templates/secret")


def test_links_in_a_circle_are_refused(checkpoint):
    (checkpoint / "a").symlink_to("b")
    (checkpoint / "b").symlink_to("a")
    with pytest.raises(CheckpointError, match="leads nowhere"):
        member(checkpoint, "a")


def test_a_pipe_is_no_file_of_a_checkpoint(checkpoint):
    os.mkfifo(checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match="is no regular file"):
        member(checkpoint, "model.safetensors")


@pytest.mark.slow
def test_no_advice_to_install_torch_is_printed():
    source = Path(__file__).parents[2] / "experiments" / "quickstart" / "sources" / "base"
    script = f"from evojax_merge import load; load({str(source)!r}).tokenizer"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "PyTorch" not in done.stderr
