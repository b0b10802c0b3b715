"""Each process that does jobs has a GPU of its own, if asked for."""

import subprocess
import sys

import pytest

from evojax_merge.sweeps import devices
from tests.processes import environment

CLAIM = """
from evojax_merge.sweeps.devices import claim_gpu
import os
claim_gpu()
claim_gpu()
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
input()
"""


@pytest.fixture
def claimed(tmp_path):
    """What starts a process that claims a GPU, and waits until it has one."""
    running = []

    def start() -> str:
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM],
            env=environment(CUDA_VISIBLE_DEVICES="3,GPU-5", XDG_CACHE_HOME=str(tmp_path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process.stdout.readline().strip() or process.stderr.read()

    start.running = running
    yield start
    for process in running:
        process.communicate("\n")


def test_no_two_processes_share_a_gpu(claimed):
    assert [claimed(), claimed()] == ["3", "GPU-5"]
    assert "all 2 GPUs of this machine are taken" in claimed()
    claimed.running[0].kill()
    claimed.running[0].wait()
    assert claimed() == "3"


@pytest.mark.parametrize("given", ["", "-1"])
def test_a_machine_without_gpus_is_left_as_it_is(monkeypatch, given):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.visible_gpus() == []
    devices.claim_gpu()
    assert not devices._held


def test_gpus_are_counted_where_none_are_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_DRIVER", tmp_path)
    assert devices.visible_gpus() == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert devices.visible_gpus() == ["0", "1"]
