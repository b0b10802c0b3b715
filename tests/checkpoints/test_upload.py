"""Uploads, to a stand-in for the hub on this machine."""

import json
import os
from pathlib import Path

import huggingface_hub
import pytest

from evojax_merge import cli
from evojax_merge.api import push
from evojax_merge.checkpoints.upload import PushError, listed
from tests.checkpoints.hub_server import Hub, serving
from tests.checkpoints_factory import random_tensors, tiny_config, write_checkpoint


@pytest.fixture(scope="module")
def server():
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(server, monkeypatch):
    # Without the storage of chunks, whose server is a world of its own.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    for held in (server.files, server.private, server.commits, server.blobs):
        held.clear()
    return server


@pytest.fixture
def exported(tmp_path) -> Path:
    directory = tmp_path / "export"
    write_checkpoint(directory, tiny_config(), tensors=random_tensors(tiny_config(), 0), shards=2)
    (directory / "README.md").write_text("---\ntags: [merge]\n---\n# mine\n")
    (directory / ".hidden").write_text("secret")
    return directory


def refused(*arguments, **options) -> str:
    with pytest.raises(ValueError) as found:  # noqa: PT011 - the text is what is tested
        push(*arguments, **options)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_what_arrives_is_what_was_exported(hub: Hub, exported):
    address = push(exported, "me/mine", private=True, message="a try", endpoint=hub.address)
    assert address == f"{hub.address}/me/mine/commit/abc"
    files = hub.files["me/mine", "main"]
    assert files == {
        path.name: path.read_bytes() for path in exported.iterdir() if path.name != ".hidden"
    }
    assert hub.private == {"me/mine": True}
    assert hub.commits == ["a try"]


def test_weights_of_an_earlier_upload_do_not_stay(hub: Hub, exported):
    push(exported, "me/mine", endpoint=hub.address)
    hub.files["me/mine", "main"] |= {
        "model.safetensors": b"older, and read first by transformers",
        "lora.safetensors": b"something else",
    }
    push(exported, "me/mine", endpoint=hub.address)
    assert "model.safetensors" not in hub.files["me/mine", "main"]
    assert "lora.safetensors" in hub.files["me/mine", "main"]


def test_a_branch_is_made_and_a_run_gives_its_export(hub: Hub, exported, tmp_path):
    (tmp_path / "config.yaml").write_text("name: run\n")
    push(tmp_path, "me/mine", revision="v2", endpoint=hub.address)
    assert "config.json" in hub.files["me/mine", "v2"]
    assert not hub.files["me/mine", "main"]


def test_who_may_not_write_is_told_so(hub: Hub, exported, monkeypatch):
    assert "me/x" not in refused(exported, "you/x", endpoint=hub.address)
    told = refused(exported, "you/x", endpoint=hub.address)
    assert told == "you/x: the token may not write to you; use one with the right to write there"
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    assert "does not take the token" in refused(exported, "me/x", endpoint=hub.address)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", os.devnull)
    assert "hf auth login" in refused(exported, "me/x", endpoint=hub.address)
    assert not hub.commits


def test_no_network_is_one_line(hub: Hub, exported):
    told = refused(exported, "me/x", endpoint="http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in told


def test_what_is_no_export_is_refused(hub: Hub, exported, tmp_path):
    for name in ("mine", "a/b/c", "me/a--b", "me/<b>"):
        assert f"{name}: is no name" in refused(exported, name)
    assert "no such directory" in refused(tmp_path / "nowhere", "me/x")
    (exported / "README.md").unlink()
    assert "has no README.md" in refused(exported, "me/x")
    (exported / "README.md").symlink_to("/etc/hostname")
    assert "leads out of the export" in refused(exported, "me/x")
    (exported / "README.md").unlink()
    (exported / "README.md").write_text("# mine\n")
    (exported / "weights.bin").write_bytes(b"")
    assert "is pickled" in refused(exported, "me/x")
    (exported / "weights.bin").unlink()
    index = json.loads((exported / "model.safetensors.index.json").read_text())
    shard = next(iter(index["weight_map"].values()))
    (exported / shard).unlink()
    with pytest.raises(PushError, match=f"names '{shard}', which is not there"):
        listed(exported)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("name: run\n")
    assert "is a run without an export" in refused(tmp_path / "run", "me/x")


def test_the_command_lists_first_and_may_leave_it_there(hub: Hub, exported, capsys):
    cli.main(["push", str(exported), "me/mine", "--dry-run"])
    shown = capsys.readouterr().out
    assert "config.json" in shown
    assert ".hidden" not in shown
    assert "nothing was uploaded" in shown
    assert not hub.files
