"""A disk that is full, and what a killed save leaves behind."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from evojax_merge.evolution.checkpointing import Checkpointer, CheckpointingError
from evojax_merge.evolution.loop import init_state, search
from evojax_merge.strategies import cma_es
from tests.evolution.test_loop import run, same, sphere, strategy

_FULL = """
import resource, sys
from pathlib import Path
import jax
from evojax_merge.evolution.checkpointing import Checkpointer, CheckpointingError
from evojax_merge.evolution.loop import search
from tests.evolution.test_loop import sphere, strategy

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
