"""A disk that is full, what a killed save leaves behind, and damage."""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from evojax_merge.search.checkpointer import (
    Checkpointer,
    CheckpointingError,
    DamagedCheckpointWarning,
)
from evojax_merge.search.loop import init_state, search
from evojax_merge.strategies import cma_es
from tests.search.test_loop import run, same, sphere, strategy

_FULL = """
import resource, sys
from pathlib import Path
import jax
from evojax_merge.search.checkpointer import Checkpointer, CheckpointingError
from evojax_merge.search.loop import search
from tests.search.test_loop import sphere, strategy

checkpointer = Checkpointer(Path(sys.argv[1]))

def fill(metrics):
    if metrics.generation == 3:
        checkpointer.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))  # every later write fails

try:
    search("evolved", strategy(), sphere, key=jax.random.key(1), generations=8, archive_size=4,
           checkpointer=checkpointer, on_generation=fill)
except CheckpointingError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_names_the_last_good_generation(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "checkpoints")],
        env={"JAX_PLATFORMS": "cpu", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "could not be saved" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "The newest good checkpoint: generation 3" in done.stdout
    resumed = search(
        "evolved",
        strategy(),
        sphere,
        key=jax.random.key(1),
        generations=8,
        archive_size=4,
        checkpointer=Checkpointer(tmp_path / "checkpoints"),
    )
    same(resumed, run())


def test_a_half_written_save_is_passed_over_and_removed(tmp_path):
    run(folder=tmp_path, generations=2)
    folder = tmp_path / "checkpoints"
    half = folder / "3.orbax-checkpoint-tmp-0"
    half.mkdir()
    (half / "data").write_text("half")
    state = Checkpointer(folder).restore(init_state(strategy(), jax.random.key(1), 4))
    assert int(state.generation) == 2
    assert not half.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointingError, match=r"file/checkpoints: cannot hold checkpoints"):
        Checkpointer(tmp_path / "file" / "checkpoints")


def test_a_restored_state_has_the_dtypes_it_was_saved_with(tmp_path):
    saved = run(folder=tmp_path, generations=2)
    like = init_state(strategy(), jax.random.key(9), 4)
    restored = Checkpointer(tmp_path / "checkpoints").restore(like)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        assert ours.dtype == theirs.dtype
    assert np.isfinite(np.asarray(restored.archive.fitness)).all()


def test_a_state_with_other_parts_is_refused_in_words(tmp_path, monkeypatch):
    run(folder=tmp_path, generations=2)
    monkeypatch.setattr(cma_es, "MANY", 1)
    like = init_state(strategy(), jax.random.key(9), 4)
    with pytest.raises(CheckpointingError, match=r"generation 2 was saved by another version"):
        Checkpointer(tmp_path / "checkpoints").restore(like)


def flip(file, place=0):
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 16
    file.write_bytes(data)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def empty_everything(folder):
    for file in files(folder):
        file.write_bytes(b"")


DAMAGES = {
    "numbers cut short": lambda folder: [os.truncate(f, 3) for f in files(folder / "default/d")],
    "numbers missing": lambda folder: shutil.rmtree(folder / "default/d"),
    "state missing": lambda folder: shutil.rmtree(folder / "default"),
    "manifest missing": lambda folder: (folder / "default/manifest.ocdbt").unlink(),
    "structure flipped": lambda folder: flip(folder / "default/_METADATA", 300),
    "a name flipped": lambda folder: flip(folder / "default/array_metadatas/process_0", 40),
    "everything empty": empty_everything,
    "nothing there": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    "costs flipped": lambda folder: flip(folder / "spent.json", 16),
    "seal missing": lambda folder: (folder / "SHA256SUMS").unlink(),
    "seal flipped": lambda folder: flip(folder / "SHA256SUMS", 5),
    "seal cut short": lambda folder: os.truncate(folder / "SHA256SUMS", 200),
    "seal not text": lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff\xfe"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_generation_the_one_before_is_gone_on_from(tmp_path, damage, capfd):
    whole = run(folder=tmp_path)
    DAMAGES[damage](tmp_path / "checkpoints/8")
    with pytest.warns(DamagedCheckpointWarning) as caught:
        same(run(folder=tmp_path), whole)
    (warning,) = caught
    assert re.search(r"checkpoints: generation 8 cannot be read \(.*\); ", str(warning.message))
    assert str(warning.message).endswith("the search goes on from generation 7")
    same(run(folder=tmp_path), whole)  # and is whole again
    assert "Traceback" not in capfd.readouterr().err


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    whole = run(folder=tmp_path)
    rng = random.Random(0)
    like = init_state(strategy(), jax.random.key(9), 4)
    for file in files(tmp_path / "checkpoints/8"):
        if file.name in ("_CHECKPOINT_METADATA", "commit_success.txt"):  # never read
            continue
        good = file.read_bytes()
        flip(file, rng.randrange(len(good)))
        with pytest.warns(DamagedCheckpointWarning, match="generation 8 cannot be read"):
            restored = Checkpointer(tmp_path / "checkpoints").restore(like)
        assert int(restored.generation) == 7
        file.write_bytes(good)
    same(Checkpointer(tmp_path / "checkpoints").restore(like), whole)


def test_where_no_generation_can_be_read_settings_are_not_blamed(tmp_path):
    run(folder=tmp_path)
    for generation in ("7", "8"):
        (tmp_path / "checkpoints" / generation / "default/manifest.ocdbt").unlink()
    with pytest.raises(CheckpointingError) as caught:
        run(folder=tmp_path)
    message = str(caught.value)
    assert "no saved generation can be read: generation 8 cannot be read (default/mani" in message
    assert "generation 7 cannot be read" in message
    assert "version" not in message


def test_generations_of_a_version_that_sealed_none_are_read(tmp_path):
    whole = run(folder=tmp_path)
    for generation in ("7", "8"):
        for name in ("SHA256SUMS", "spent.json"):
            (tmp_path / "checkpoints" / generation / name).unlink()
    same(run(folder=tmp_path), whole)
    shutil.rmtree(tmp_path / "checkpoints/8/default")
    with pytest.warns(DamagedCheckpointWarning, match="generation 8 cannot be read"):
        same(run(folder=tmp_path), whole)


def test_a_generation_can_be_checked_without_this_package(tmp_path):
    run(folder=tmp_path)
    for generation in ("7", "8"):
        folder = tmp_path / "checkpoints" / generation
        subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=folder, check=True)
        assert json.loads((folder / "spent.json").read_text()) == {
            "evaluations": 6 * int(generation),
            "item_evaluations": 6 * 3 * int(generation),
            "seconds": 0.0,
        }
