import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.checkpoints.headers import INDEX, WEIGHTS, read_headers, weight_files


def save(directory, file, *names):
    save_file({name: np.zeros((2, 3), np.float32) for name in names}, directory / file)


def write_index(directory, weight_map):
    (directory / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def refuses(directory, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_headers(directory)
    return str(caught.value)


def test_headers_of_shards_are_those_of_their_files(tmp_path):
    save(tmp_path, "a.safetensors", "x")
    save(tmp_path, "b.safetensors", "y")
    write_index(tmp_path, {"x": "a.safetensors", "y": "b.safetensors"})
    found = read_headers(tmp_path)
    assert {name: (info.file.name, info.dtype, info.shape) for name, info in found.items()} == {
        "x": ("a.safetensors", "F32", (2, 3)),
        "y": ("b.safetensors", "F32", (2, 3)),
    }


def test_a_single_file_goes_before_an_index_as_in_transformers(tmp_path):
    save(tmp_path, WEIGHTS, "x")
    write_index(tmp_path, {"x": "absent.safetensors"})
    assert weight_files(tmp_path) == [tmp_path / WEIGHTS]


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(tmp_path, file):
    (tmp_path / file).write_bytes(b"")
    refuses(tmp_path, f"pickled weights only .{re.escape(file)}.*convert them with transformers")


def test_no_weights_at_all(tmp_path):
    refuses(
        tmp_path,
        "holds no weights: neither model.safetensors nor diffusion_pytorch_model.safetensors",
    )


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_file_is_named(tmp_path, keep):
    save(tmp_path, WEIGHTS, "x")
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[:keep])
    refuses(tmp_path, f"{WEIGHTS}: truncated or damaged")


def test_index_naming_a_missing_file(tmp_path):
    save(tmp_path, "a.safetensors", "x")
    write_index(tmp_path, {"x": "a.safetensors", "y": "b.safetensors", "z": "c.safetensors"})
    refuses(tmp_path, "names missing files: b.safetensors, c.safetensors")


@pytest.mark.parametrize(
    "file",
    ["../a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..", "..\\a", "", "C:a"],
)
def test_index_naming_a_file_outside(tmp_path, file):
    inside = tmp_path / "inside"
    inside.mkdir()
    save(tmp_path, "a.safetensors", "x")
    write_index(inside, {"x": file})
    refuses(inside, "names files outside its directory")


def test_links_to_the_blobs_of_the_hub_cache_are_followed(tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "1", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save(blobs, "blob", "x")
    (snapshot / "a.safetensors").symlink_to(blobs / "blob")
    write_index(snapshot, {"x": "a.safetensors"})
    assert read_headers(snapshot)["x"].shape == (2, 3)


def test_index_that_disagrees_lists_every_tensor(tmp_path):
    save(tmp_path, "a.safetensors", "x", "both", "unlisted")
    save(tmp_path, "b.safetensors", "y", "both")
    write_index(
        tmp_path,
        {
            "x": "b.safetensors",
            "y": "b.safetensors",
            "both": "a.safetensors",
            "gone": "a.safetensors",
        },
    )
    message = refuses(tmp_path, "disagrees with the files")
    assert "x: in a.safetensors, the index says b.safetensors" in message
    assert "both: in both a.safetensors and b.safetensors" in message
    assert "unlisted: in a.safetensors, the index says None" in message
    assert "gone: the index says a.safetensors, which lacks it" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "a JSON object was expected"),
        ("{}", "lacks weight_map"),
        ('{"weight_map": {"x": 3}}', "weight_map.x is 3; give a text"),
        ('{"weight_map": {}}', "weight_map is empty"),
        ('{"weight_map": ' + "[" * 10_000, "nested more than 64 deep"),
        ('{"weight_map": {"x": "a", "x": "b"}}', "the key 'x' is given twice"),
    ],
)
def test_malformed_index(tmp_path, text, message):
    (tmp_path / INDEX).write_text(text)
    refuses(tmp_path, message)
